"""Which levels this robot speaks."""

MIN_SUPPORTED_VERSION = "2.0"
MAX_SUPPORTED_VERSION = "2.20"

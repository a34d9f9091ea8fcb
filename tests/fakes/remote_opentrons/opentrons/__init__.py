"""A stand-in for what an OT-2 has in its own Python, as far as labd's worker uses it; writes down every call."""

__version__ = "8.1.0"

"""The hardware."""

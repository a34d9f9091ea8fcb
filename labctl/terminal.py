"""The two places where labctl's words go: answers to standard output, everything said to a person to standard error."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line of the answer."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """A line for the person; seen at once."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()

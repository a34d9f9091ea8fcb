"""Time that passes: a fault that lasts, a life that is lived for a while; the one place of the chaos test to wait."""

from __future__ import annotations

import threading

_never = threading.Event()


def pause(seconds: float) -> None:
    """Return after so long."""
    _never.wait(seconds)

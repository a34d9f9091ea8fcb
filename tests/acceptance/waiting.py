"""Waiting for a claim about another process to become true, under a deadline: the one place that looks repeatedly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LOOK_AGAIN_S = 0.02
_NEVER = threading.Event()


def eventually(claim: Callable[[], T], within_s: float, what: str = "") -> T:
    """The first true value of a claim; an assertion with its last value when time is over.

    A claim that fails an assertion or meets an error of labd or of the system is not true yet.
    """
    from labd.errors import LabdError

    deadline = time.monotonic() + within_s
    last: object = None
    while True:
        try:
            value = claim()
            if value:
                return value
            last = value
        except (AssertionError, LabdError, OSError) as fault:
            last = fault
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what or 'the claim'} did not come true within {within_s:g} s; last: {last!r}")
        _NEVER.wait(LOOK_AGAIN_S)

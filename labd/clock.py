"""Time as an argument: the wall clock for instants, the monotonic clock for durations."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What labd knows of time."""

    def wall(self) -> float:
        """Now, in seconds since 1970-01-01T00:00Z."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` monotonic seconds."""
        ...


class SystemClock:
    """The host's clocks."""

    def wall(self) -> float:
        """Now, in seconds since 1970-01-01T00:00Z; whole microseconds, so that an instant as shown is found again."""
        return time.time_ns() // 1000 / 1e6

    def monotonic(self) -> float:
        """Seconds since boot or so; never goes back."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` monotonic seconds."""
        await asyncio.sleep(delay_s)


@lru_cache(maxsize=1024)
def iso(instant: float | None) -> str | None:
    """An instant as on the wire: UTC, ISO 8601, microseconds, `Z`.

    Cached, since the jobs of one list share most of their instants.
    """
    if instant is None:
        return None
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def from_iso(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 instant.

    Raises:
        ValueError: Not ISO 8601, or without a time zone.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text}: an instant needs a time zone, such as 2026-01-31T08:00:00Z")
    return instant.timestamp()

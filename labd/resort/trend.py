"""The last hour of one motor's readings, in memory alone: what the trend lines of the dashboard are drawn from.

Why its own slow look: whoever opens the page wants to know how the motor got where it is, and nobody may have looked
meanwhile. Why extremes and not the last value of a stretch: a peak of current lasts shorter than a stretch, and it is
what wears the motor. Why nothing on disk: a host with Prometheus has the long history there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from labd.clock import Clock, iso
from labd.resort.drive.carousel import ServoState

EVERY_S = 10.0
KEPT = 360


@dataclass(slots=True)
class Stretch:
    """What was seen within `EVERY_S`: the heat last, the voltage at its lowest, the others at their largest."""

    began_at: float
    read_at: float
    temperature_celsius: float
    voltage_v: float
    current_ma: float | None
    load_percent: float | None
    velocity_rpm: float

    def take(self, state: ServoState) -> None:
        """One more reading of the same stretch."""
        self.read_at = state.read_at
        self.temperature_celsius = state.temperature_celsius
        self.voltage_v = min(self.voltage_v, state.voltage_v)
        self.current_ma = _larger(self.current_ma, state.current_ma)
        self.load_percent = _larger(self.load_percent, state.load_percent)
        self.velocity_rpm = max(self.velocity_rpm, state.velocity_rpm, key=abs)


class Trend:
    """A ring of stretches.

    Args:
        look: Reads the motor if it answers, else gives the last state known; takes into the trend what it reads.
    """

    def __init__(self, clock: Clock, look: Callable[[], Awaitable[object]]) -> None:
        self._clock = clock
        self._look = look
        self._ring: deque[Stretch] = deque(maxlen=KEPT)
        self._task: asyncio.Task[None] | None = None
        self._latest: ServoState | None = None

    def take(self, state: ServoState) -> None:
        """A reading; one that was taken already changes nothing."""
        last = self._ring[-1] if self._ring else None
        if last is not None and state.read_at == last.read_at:
            return
        self._latest = state
        if last is not None and 0.0 <= state.read_at - last.began_at < EVERY_S:
            last.take(state)
            return
        self._ring.append(
            Stretch(
                state.read_at, state.read_at, state.temperature_celsius, state.voltage_v, state.current_ma,
                state.load_percent, state.velocity_rpm,
            )
        )  # fmt: skip

    def shown(self, device: str) -> dict[str, Any]:
        """All of it, oldest first, a list for each quantity; what the model does not tell is null throughout.

        `latest` is the newest reading as it was, null before the first.
        """
        names = ("temperature_celsius", "voltage_v", "current_ma", "load_percent", "velocity_rpm")
        columns = {name: [getattr(one, name) for one in self._ring] for name in names}
        newest = self._latest
        latest = newest and {"read_at": iso(newest.read_at), **{name: getattr(newest, name) for name in names}}
        read_at = [iso(one.read_at) for one in self._ring]
        return {"device": device, "every_s": EVERY_S, "latest": latest, "read_at": read_at, **columns}

    def start(self) -> None:
        """Begin to look now and then."""
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="resort trend")

    async def close(self) -> None:
        """End looking; a second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._clock.sleep(EVERY_S)
            await self._look()


def _larger(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other, key=abs)

"""What is seen of one carousel: readings shared by everybody who asks, its activity, and its last error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from labd.clock import Clock, iso
from labd.errors import DeviceError, LabdError
from labd.resort.allowed import Situation
from labd.resort.drive.carousel import Carousel, ServoState
from labd.resort.trend import Trend

FRESH_S = 0.2  # a reading younger than this answers everybody who asks, so eight pollers cost one transaction

T = TypeVar("T")
log = structlog.get_logger("resort")


def observed_activity(now: Situation, torque_was_released: bool) -> str:
    """idle, running or unknown; a port that was closed after torque was read back as off leaves an idle carousel."""
    if now.state == "ready":
        return "running" if now.moving else "idle"
    return "idle" if now.state == "closed" and torque_was_released else "unknown"


class Observation:
    """Looks at one carousel.

    Args:
        situation: The facts of now, of which the activity follows.
    """

    def __init__(self, carousel: Carousel, clock: Clock, situation: Callable[[], Situation]) -> None:
        self.last_error: dict[str, Any] | None = None
        self.activity_since = clock.wall()
        self._carousel = carousel
        self._clock = clock
        self._situation = situation
        self._activity = "unknown"
        self._reading: asyncio.Task[ServoState] | None = None
        self._read_mono = float("-inf")
        self.trend = Trend(clock, self.look)

    async def look(self) -> ServoState | None:
        """The state as fresh as it can be had at no cost to others; the last known where the motor does not answer."""
        if self._carousel.state == "ready" and self._clock.monotonic() - self._read_mono > FRESH_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.get_running_loop().create_task(self.read())
                self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
            try:
                await asyncio.shield(self._reading)
            except LabdError as fault:
                log.debug("device.read_failed", port=self._carousel.settings.port, error=fault.message)
        self.activity()
        return self._carousel.snapshot

    def forget(self) -> None:
        """Let the next look read anew."""
        self._read_mono = float("-inf")

    async def read(self) -> ServoState:
        """The state, read now."""
        state = await self.guarded(self._carousel.read_state())
        self._read_mono = self._clock.monotonic()
        self.trend.take(state)
        return state

    def activity(self) -> str:
        """idle, running or unknown, by what the motor shows; keeps when it last changed."""
        state = self._carousel.snapshot
        activity = observed_activity(
            self._situation(), state is not None and not state.torque_enabled and not state.moving
        )
        if activity != self._activity:
            self._activity = activity
            self.activity_since = self._clock.wall()
        return activity

    async def guarded(self, work: Awaitable[T]) -> T:
        """Await the driver; what the device did wrong is kept as `last_error`. A refusal is not the device's error."""
        try:
            return await work
        except DeviceError as fault:
            self.note_error(fault.code, fault.message)
            raise

    def note_error(self, code: str, message: str, severity: str = "error") -> None:
        """Keep the newest error of the device."""
        self.last_error = {"code": code, "message": message, "severity": severity, "at": iso(self._clock.wall())}

    async def close(self) -> None:
        """End a reading under way, and the looks of the trend."""
        await self.trend.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

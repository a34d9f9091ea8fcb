"""A carousel on a virtual bus: fast settings, a list of events, and waiting for what happens instead of sleeping."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from labd.clock import Clock, SystemClock
from labd.resort.drive.carousel import Carousel, DriveSettings, MoveProgress
from labd.resort.drive.lanes import Bus
from labd.resort.virtual.simulator import VirtualBus
from labd.resort.virtual.virtual_servo import VirtualServo
from tests.fakes.virtual_bus import virtual_bus

FAST: dict[str, Any] = {
    "baud_rate": 1_000_000,
    "speed_rpm": 58.0,
    "acceleration_rpm_per_s": 600.0,
    "reply_timeout_s": 0.02,
    "watchdog_period_s": 0.3,
    "lease_s": 0.2,
    "stall_s": 0.3,
    "reconnect_s": 0.1,
    "stop_confirm_s": 2.0,
}


class Rig:
    """One carousel, its motor, and everything either of them told."""

    def __init__(self, bus: VirtualBus, link: Path) -> None:
        self.bus = bus
        self.servo, *self.more_servos = bus.servos
        self.link = link
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.progress: list[MoveProgress] = []
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        forward = self.servo.on_event

        def on_event(servo: VirtualServo, event: str, facts: dict[str, Any]) -> None:
            forward(servo, event, facts)
            self._touch()

        for servo in bus.servos:
            servo.on_event = on_event
        self.carousels: list[Carousel] = []

    def carousel(self, clock: Clock | None = None, bus: Bus | None = None, **changes: Any) -> Carousel:
        """Another carousel on the port; not opened yet."""
        made = Carousel(self.settings(**changes), clock or SystemClock(), self.tell, bus)
        self.carousels.append(made)
        return made

    def settings(self, **changes: Any) -> DriveSettings:
        """Fast settings for the port."""
        return DriveSettings(port=str(self.link), **{**FAST, **changes})

    def tell(self, name: str, facts: dict[str, Any]) -> None:
        """Take an event of a carousel."""
        self.told.append((name, facts))
        self._touch()

    def on_progress(self, progress: MoveProgress) -> None:
        """Take a look of a move."""
        self.progress.append(progress)
        self._touch()

    def names(self) -> list[str]:
        """The events so far."""
        return [name for name, _ in self.told]

    def last(self, name: str) -> dict[str, Any]:
        """Facts of the newest event of that name."""
        return next(facts for told, facts in reversed(self.told) if told == name)

    async def until(self, claim: Callable[[], Any], limit_s: float = 3.0) -> None:
        """Wait until a claim holds, looked at after each change of motor or carousel."""
        async with asyncio.timeout(limit_s):
            while not claim():
                self._changed.clear()
                await self._changed.wait()

    async def event(self, name: str, limit_s: float = 3.0) -> dict[str, Any]:
        """Wait for an event that may have come already."""
        await self.until(lambda: name in self.names(), limit_s)
        return self.last(name)

    def _touch(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._changed.set()
        else:
            self._loop.call_soon_threadsafe(self._changed.set)


@asynccontextmanager
async def carousel_rig(folder: Path, *servos: VirtualServo, **more: Any) -> AsyncIterator[Rig]:
    """A virtual bus with one motor in extended position mode, or those given, and a link to it; closed at the end."""
    link = folder / "port"
    with virtual_bus(*(servos or (extended(),)), link=link, **more) as bus:
        rig = Rig(bus, link)
        try:
            yield rig
        finally:
            for carousel in rig.carousels:
                await carousel.close()


def extended(model_number: int = 1060, **more: Any) -> VirtualServo:
    """A motor set up as a carousel's is."""
    servo = VirtualServo(model_number, **more)
    servo.table["operating_mode"] = 4
    return servo

"""Who has a motor: one connect, move, hold or disconnect at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from labd.errors import DeviceBusy


class Occupancy:
    """What one motor is doing, in the event loop.

    Args:
        subject: The motor, for messages.
        port: Its port, for details.
    """

    def __init__(self, subject: str, port: str) -> None:
        self._subject = subject
        self._port = port
        self._doing = ""
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def claim(self, what: str) -> Iterator[None]:
        """Have the motor for a while.

        Raises:
            DeviceBusy: Something else is under way.
        """
        if self._doing:
            raise DeviceBusy(
                f"{self._subject}: {what} is refused while {self._doing} is under way; wait for it, or "
                "`labctl resort hold`",
                port=self._port,
            )
        self._doing = what
        self._idle.clear()
        try:
            yield
        finally:
            self._doing = ""
            self._idle.set()

    async def idle(self) -> None:
        """Return when nothing is under way."""
        await self._idle.wait()

    async def over(self, what: str) -> None:
        """Return when that is not under way."""
        while self._doing == what:
            await self._idle.wait()

"""Connecting without being asked: at start, when a lost carousel is back, and after a reset.

Why not while a job uses the carousel: connecting puts the goal to the present position, which would end a move. A job
that begins meanwhile waits for it instead of being refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from labd.errors import LabdError
from labd.resort.latch import Store

log = structlog.get_logger("resort")


class SelfConnection:
    """Keeps one carousel ready unless a person released it.

    Args:
        device: Name of the carousel.
        wanted: `auto_connect` of the settings.
        connect: Goal where it stands, then torque on.
        may: Whether connecting is right now: reachable, not stopped, not in use.
    """

    def __init__(
        self, device: str, wanted: bool, store: Store, connect: Callable[[], Awaitable[object]], may: Callable[[], bool]
    ) -> None:
        self.problem: str | None = None
        self._device = device
        self._wanted = wanted
        self._store = store
        self._connect = connect
        self._may = may
        self._key = f"resort:{device}:released"  # a person released the torque; outlives a restart
        self._released = False
        self._is_due = False
        self._task: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether labd connects without being asked."""
        return self._wanted and not self._released

    def want(self, wanted: bool) -> None:
        """`auto_connect` was changed; torque that is on stays on."""
        self._wanted = wanted
        self.begin()

    async def load(self) -> None:
        """Whether a person released the carousel before labd last ended."""
        self._released = bool(await self._store.stored_value(self._key))

    async def remember_released(self, released: bool) -> None:
        """A person released it, or connected it again; a full disk keeps nobody from releasing the torque."""
        self._released = released
        self.problem = None
        try:
            await self._store.store_value(self._key, True if released else None)
        except LabdError as fault:
            log.warning("device.note_not_stored", device=self._device, released=released, error=fault.message)

    def begin(self) -> None:
        """Connect in the background if that is wanted and right; once at a time.

        Where it is not right yet, the wish stands: whoever ends what stood in the way calls `begin_if_due`.
        """
        self._is_due = self.wanted and not self._may()
        if self.wanted and not self._is_due and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run())

    def begin_if_due(self) -> None:
        """Connect if it was wanted while it was not right."""
        if self._is_due:
            self.begin()

    async def settled(self) -> None:
        """Return when no connecting of this kind is under way."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    async def close(self) -> None:
        """End a connecting under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._connect()
        except LabdError as fault:
            self.problem = fault.message
            log.warning("device.connect_failed", device=self._device, error=fault.message)
        else:
            self.problem = None

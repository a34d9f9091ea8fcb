"""The stop latch of one robot: runs and homing stay refused until somebody resets it by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from labd.clock import Clock, iso
from labd.errors import LabdError
from labd.ot2.own_run import Store

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 5.0


class LatchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who stopped, when, why."""

    by: str
    at: float
    reason: str = ""


class StopLatch:
    """In memory at once, on disk as soon as it can be; tried again until it lands.

    Args:
        on_change: Called after anything changed, in the event loop.
    """

    def __init__(self, device: str, store: Store, clock: Clock, on_change: Callable[[], None]) -> None:
        self.record: LatchRecord | None = None
        self.known = False
        self.durable = False
        self._key = f"ot2:{device}:stop_latch"
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._writer: asyncio.Task[None] | None = None

    @property
    def latched(self) -> bool:
        """Whether motion is refused."""
        return self.record is not None

    async def load(self) -> None:
        """Read what an earlier daemon left; what cannot be read counts as latched."""
        value = await self._store.stored_value(self._key)
        if value is not None and self.record is None:
            try:
                self.record = msgspec.convert(value, LatchRecord)
            except msgspec.ValidationError:
                self.record = LatchRecord(by="unknown", at=self._clock.wall(), reason="an unreadable record")
            self.durable = True
        self.known = True
        self._on_change()

    def set(self, by: str, reason: str) -> None:
        """Latch; a second stop keeps the first record. Never blocks."""
        if self.record is None:
            self.record = LatchRecord(by=by, at=self._clock.wall(), reason=reason)
            self.durable = False
        if not self.durable and (self._writer is None or self._writer.done()):
            self._writer = asyncio.get_running_loop().create_task(self._write(self.record))
        self._on_change()

    async def settled(self, timeout_s: float) -> bool:
        """Whether it is on disk, after waiting a while for it."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=timeout_s)
        return self.durable

    async def reset(self) -> None:
        """Off the disk first, then out of memory.

        Raises:
            StoreFull: It could not be removed; it stays latched.
        """
        await self.close()
        await self._store.store_value(self._key, None)
        self.record, self.durable = None, False
        self._on_change()

    async def close(self) -> None:
        """End the writer."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def told(self) -> dict[str, Any] | None:
        """As on the wire."""
        if self.record is None:
            return None
        return {
            "by": self.record.by,
            "at": iso(self.record.at),
            "reason": self.record.reason,
            "durable": self.durable,
        }

    async def _write(self, record: LatchRecord) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                await self._store.store_value(self._key, msgspec.to_builtins(record))
            except LabdError:
                await self._clock.sleep(delay_s)
                delay_s = min(2 * delay_s, LONGEST_RETRY_S)
                continue
            self.durable = True
            self._on_change()
            return

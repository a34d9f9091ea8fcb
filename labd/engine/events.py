"""The live feed of changes, with a cursor: whoever comes back with the last number it saw misses nothing.

Why a shared ring and no queue per listener: a slow listener holds only its own position. When it falls out of the
ring it reads on from the database, so it can neither lose events nor hold memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from labd.engine.group import Event

RING = 8192
PAGE = 1000
ReadAfter = Callable[[int, int, int], Awaitable[list[Event]]]


class EventFeed:
    """Committed events in order of `seq`.

    Args:
        read_after: `(after, up_to, limit)` -> events on disk.
        last_seq: The number of the last event on disk.
    """

    def __init__(self, read_after: ReadAfter, last_seq: int) -> None:
        self._read_after = read_after
        self._ring: deque[Event] = deque(maxlen=RING)
        self._ring_from = last_seq
        self.last_seq = last_seq
        self._fresh = asyncio.Event()
        self.closed = False

    def publish(self, events: list[Event]) -> None:
        """Committed events, in order."""
        if not events:
            return
        for event in events:
            if len(self._ring) == RING:
                self._ring_from = self._ring[0].seq
            self._ring.append(event)
        self.last_seq = events[-1].seq
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()

    @property
    def fresh(self) -> asyncio.Event:
        """Set by the next publication, or by the end; to be taken before one looks what there is."""
        return self._fresh

    def recent(self, after: int) -> list[Event] | None:
        """Events behind number `after`, from memory; None where memory does not reach so far back."""
        if after < self._ring_from:
            return None
        newer: list[Event] = []
        for event in reversed(self._ring):
            if event.seq <= after:
                break
            newer.append(event)
        newer.reverse()
        return newer

    @property
    def memory_from(self) -> int:
        """The number behind which memory has everything."""
        return self._ring_from

    def close(self) -> None:
        """End every subscription after what it has still to read."""
        self.closed = True
        self._fresh.set()

    async def subscribe(self, after: int | None = None) -> AsyncIterator[Event]:
        """Every event behind number `after` (None: from now on), for ever."""
        cursor = self.last_seq if after is None else after
        while True:
            fresh = self._fresh
            if cursor < self.last_seq:
                for event in await self._next(cursor):
                    yield event
                    cursor = event.seq
                continue
            if self.closed:
                return
            await fresh.wait()

    async def _next(self, cursor: int) -> list[Event]:
        if cursor < self._ring_from:
            found = await self._read_after(cursor, self.last_seq, PAGE)
            if found:
                return found
            cursor = self._ring_from  # what lay between has passed its retention
        return self.recent(cursor) or []

"""The processes that answer queries: few, warm for a while, one query at a time each.

Why a process for each query that runs: a query that brings the library down, or does not heed its timeout, takes no
other query with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from labd.errors import GraphRefused, GraphUnreachable
from labd.snapshots.embedded_child import Child

IDLE_S = 60.0
GRACE_S = 2.0


class Readers:
    """Up to `limit` processes.

    Args:
        limit: More queries than that wait for each other.
        idle_s: A process that had nothing to do for so long is ended.
    """

    def __init__(self, limit: int, idle_s: float = IDLE_S) -> None:
        self._room = asyncio.Semaphore(limit)
        self._idle: list[Child] = []
        self._dead: list[Child] = []
        self._idle_s = idle_s
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ask(self, database: str, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """One request on one database.

        Raises:
            GraphRefused: The store says no, or it took longer than it may.
            GraphUnreachable: The process died, or the store is closed.
        """
        async with self._room:
            child = self._take(database) or await Child.start()
            child.opened.add(database)
            try:
                await self._bury()
                async with asyncio.timeout(timeout_s + GRACE_S):
                    return await child.ask(request)
            except TimeoutError:
                raise GraphRefused(
                    f"the query took longer than {timeout_s:g} s and did not stop; its process was ended",
                    timeout_s=timeout_s,
                ) from None
            finally:
                if child.is_alive and not self._closed:
                    self._idle.append(child)
                    self._wait_idle()
                else:
                    await child.end()

    def _take(self, database: str) -> Child | None:
        """One that has the database open, if there is one; raises when the store is closed."""
        if self._closed:
            raise GraphUnreachable("embedded graph store: it is closed")
        self._dead += [child for child in self._idle if not child.is_alive]
        self._idle = [child for child in self._idle if child.is_alive]
        for child in self._idle:
            if database in child.opened:
                self._idle.remove(child)
                return child
        return self._idle.pop() if self._idle else None

    async def _bury(self) -> None:
        """Let go of what processes that died while they were idle have left."""
        dead, self._dead = self._dead, []
        for child in dead:
            await child.end()

    async def forget(self, database: str) -> None:
        """End the idle processes that may have a database open."""
        holding = [child for child in self._idle if database in child.opened]
        self._idle = [child for child in self._idle if child not in holding]
        for child in holding:
            await child.end()

    async def close(self) -> None:
        """End all; those at work when their query is over."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._dead += self._idle
        self._idle = []
        await self._bury()
        if self._ending:
            await asyncio.gather(*self._ending)

    def _wait_idle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    def _end_idle(self) -> None:
        idle, self._idle = self._idle, []
        for child in idle:
            task = asyncio.get_running_loop().create_task(child.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

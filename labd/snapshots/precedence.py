"""Which snapshot of a customer comes first: the newest, and the others wait for what becomes of it.

Why: after a night without labd or without the store, ten versions of a customer wait, of which one will serve. Loading
them in the order of coming makes readers wait for nine that nobody is ever switched to. So an older one that came by
itself waits, with a cause that `labctl job why` tells, until the newer one is verified, and then has nothing to do; if
the newer one fails, is held, or its job is cancelled, the next one is loaded as if there had been no newer one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort

import structlog

from labd.engine.engine import Engine
from labd.engine.job import ENDED, Cause
from labd.errors import LabdError
from labd.snapshots.book import SnapshotBook
from labd.snapshots.record import OVERTAKING, UNDECIDED, Record
from labd.snapshots.scan import SnapshotKey

FOLLOW_S = 3600.0
LOADING = "snapshots/load"

log = structlog.get_logger("snapshots")


def load_of(customer: str, timestamp: str) -> str:
    """The resource of one snapshot's load: two jobs never fill one database."""
    return f"{LOADING}.{customer}.{timestamp}"


class Precedence:
    """Follows the jobs of snapshots, and holds the loads of older ones back.

    Args:
        engine: Its gates hold them; it is asked when jobs end.
    """

    def __init__(self, engine: Engine, book: SnapshotBook) -> None:
        self._engine = engine
        self._book = book
        self._going: dict[str, list[tuple[int, str]]] = {}  # by customer, of unfinished jobs, ascending
        self._tasks: dict[SnapshotKey, asyncio.Task[None]] = {}

    def follow(self, record: Record) -> None:
        """A job brings this snapshot in; its last one counts."""
        key = record.key
        before = self._tasks.pop(key, None)
        if before is not None:
            before.cancel()
        else:
            insort(self._going.setdefault(key.customer, []), (record.number, key.timestamp))
            self._engine.add_gate(load_of(*key), lambda: self.cause(key))
        name = f"snapshot {key.customer}/{key.timestamp}"
        self._tasks[key] = asyncio.get_running_loop().create_task(self._follow(key, record.body.job_id), name=name)

    def cause(self, key: SnapshotKey) -> Cause | None:
        """Why the load of this snapshot waits for a newer one."""
        record = self._book.live.get(key)
        if record is None or record.body.wished or record.database is not None:
            return None
        newer = self._ahead(record)
        if newer is None:
            return None
        text = f"{newer.customer}/{newer.timestamp} is newer and {newer.state}; it comes first"
        return Cause("snapshot_newer_first", text, {"customer": newer.customer, "timestamp": newer.timestamp})

    def _ahead(self, record: Record) -> Record | None:
        """The newest one that is not decided; None where one is verified, for then there is nothing to load."""
        going = self._going.get(record.customer, ())
        for number, timestamp in reversed(going):
            if number <= record.number:
                break
            newer = self._book.live.get(SnapshotKey(record.customer, timestamp))
            if newer is None or newer.state in OVERTAKING:
                return None
            if newer.state in UNDECIDED:
                return newer
        return None

    async def _follow(self, key: SnapshotKey, job_id: int | None) -> None:
        try:
            while job_id is not None and (await self._engine.wait(job_id, FOLLOW_S)).state not in ENDED:
                pass
        except LabdError as fault:  # its retention is over, or labd ends
            log.debug("snapshot.watch_ended", task=str(key), problem=fault.message)
        self._forget(key)

    def _forget(self, key: SnapshotKey) -> None:
        self._tasks.pop(key, None)
        self._engine.remove_gates(load_of(*key))
        going = self._going[key.customer]
        del going[bisect_left(going, (int(key.timestamp), key.timestamp))]
        if not going:
            del self._going[key.customer]
        self._engine.wake()

    async def close(self) -> None:
        """Follow none any more; a second call does nothing."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

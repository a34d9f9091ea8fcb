"""Queues as people handle them: pause, resume, limits; the rules of who runs stand in the dispatcher."""

from __future__ import annotations

from collections.abc import Callable

from labd.clock import Clock
from labd.engine.audit_trail import AuditTrail
from labd.engine.dispatcher import Lane
from labd.engine.job import Caller
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.views import QueueView
from labd.errors import BadRequest, UnknownQueue


class Queues:
    """All queues of the host.

    Args:
        lanes: The dispatcher's; changed in place.
        wake: Looks for jobs that may start now.
    """

    def __init__(
        self,
        lanes: dict[str, Lane],
        journal: Journal,
        book: JobBook,
        audit: AuditTrail,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._journal = journal
        self._book = book
        self._audit = audit
        self._clock = clock
        self._wake = wake

    async def open(self, configured: dict[str, tuple[int, int]]) -> None:
        """Make the configured queues and those that were added, with the pauses that were on."""
        self.configure(configured)
        for name, priority, concurrency, paused_by, reason, paused_at in await self._journal.read("queues"):
            lane = self._lanes.setdefault(name, Lane(name, priority, concurrency))
            lane.paused_by, lane.paused_reason, lane.paused_at = paused_by, reason, paused_at

    def configure(self, configured: dict[str, tuple[int, int]]) -> None:
        """Put the settings' priorities and limits in force."""
        for name, (priority, concurrency) in configured.items():
            lane = self._lanes.setdefault(name, Lane(name, priority, concurrency))
            lane.priority, lane.concurrency = priority, concurrency
        self._wake()

    def add(self, name: str, priority: int, concurrency: int) -> None:
        """Make a queue where there is none of that name."""
        self._lanes.setdefault(name, Lane(name, priority, concurrency))

    def all(self) -> list[QueueView]:
        """All queues, the most urgent first."""
        return [self.view_of(lane) for lane in sorted(self._lanes.values(), key=lambda q: (q.priority, q.name))]

    def view_of(self, lane: Lane) -> QueueView:
        """One queue as it stands."""
        return QueueView(
            lane.name, lane.priority, lane.concurrency, lane.paused_by is not None, lane.paused_by, lane.paused_reason,
            lane.paused_at, lane.queued, lane.running, lane.held,
        )  # fmt: skip

    def lane(self, name: str) -> Lane:
        """The lane of a name.

        Raises:
            UnknownQueue: None of that name.
        """
        lane = self._lanes.get(name)
        if lane is None:
            raise UnknownQueue(f"no queue is named {name}; there are {', '.join(self._lanes)}", queue=name)
        return lane

    async def pause(self, name: str, caller: Caller, reason: str = "") -> QueueView:
        """Start no more jobs of a queue; pausing a paused one changes nothing."""
        lane = self.lane(name)
        if lane.paused_by is None:
            lane.paused_by, lane.paused_reason, lane.paused_at = caller.name, reason or None, self._clock.wall()
            self._audit.add(caller, "queue.pause", name, {"reason": reason})
            await self._store_lane(lane, "queue.paused")
        return self.view_of(lane)

    async def resume(self, name: str, caller: Caller) -> QueueView:
        """Start jobs of a queue again."""
        lane = self.lane(name)
        if lane.paused_by is not None:
            lane.paused_by = lane.paused_reason = lane.paused_at = None
            self._audit.add(caller, "queue.resume", name, {})
            await self._store_lane(lane, "queue.resumed")
            self._wake()
        return self.view_of(lane)

    async def change(
        self, name: str, caller: Caller, concurrency: int | None = None, priority: int | None = None
    ) -> QueueView:
        """Change a queue's limit or the priority of its future jobs; the settings file rules again after a restart."""
        lane = self.lane(name)
        if concurrency is not None and not 0 <= concurrency <= 10_000:
            raise BadRequest(
                f"concurrency {concurrency} is not between 0 and 10000", field="concurrency", value=concurrency
            )
        if priority is not None and not 0 <= priority <= 9:
            raise BadRequest(f"priority {priority} is not between 0 and 9", field="priority", value=priority)
        lane.concurrency = lane.concurrency if concurrency is None else concurrency
        lane.priority = lane.priority if priority is None else priority
        self._audit.add(caller, "queue.change", name, {"concurrency": lane.concurrency, "priority": lane.priority})
        await self._store_lane(lane, "queue.changed")
        self._wake()
        return self.view_of(lane)

    async def _store_lane(self, lane: Lane, kind: str) -> None:
        self._journal.execute(
            "put_queue", lane.name, lane.priority, lane.concurrency, lane.paused_by, lane.paused_reason, lane.paused_at
        )
        self._book.publish(kind, {"queue": lane.name, "by": lane.paused_by, "reason": lane.paused_reason})
        await self._journal.commit()

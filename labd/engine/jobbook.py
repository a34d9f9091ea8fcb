"""The jobs in memory and their changes: every change gets its number, its event and its place in the journal here.

In memory are the jobs that run, that are ready within the window, that become ready soon, and those whose last change
is still on its way to the disk. All others are read from the database when asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from labd.clock import Clock
from labd.engine import event_texts, rows
from labd.engine.attendant import Attendance
from labd.engine.dispatcher import Dispatcher
from labd.engine.event_texts import EventText
from labd.engine.events import PAGE, EventFeed
from labd.engine.group import Event
from labd.engine.job import ENDED, Job, JobState
from labd.engine.journal import Journal
from labd.errors import UnknownJob

BODIES = 1000
ENDED_KINDS = frozenset({"job.succeeded", "job.failed", "job.cancelled", "job.interrupted"})


class JobBook:
    """Jobs by id, with their changes.

    Args:
        journal: Takes every change.
        dispatcher: Knows which jobs are ready in memory.
    """

    def __init__(self, journal: Journal, dispatcher: Dispatcher, clock: Clock, attendance: Attendance) -> None:
        self.journal = journal
        self.dispatcher = dispatcher
        self.clock = clock
        self.attendance = attendance
        self.live: dict[int, Job] = {}
        self.delayed: dict[int, Job] = {}
        self.counts: dict[str, int] = {state.value: 0 for state in JobState}
        self.sweeps: dict[str, int] = {}  # how often everything that holds or waits for a resource was ended or held
        self._readers: list[set[int]] = []
        self.feed: EventFeed | None = None
        self.last_id = 0
        self._bodies: dict[tuple[str, str, int], tuple[dict[str, Any], str | None]] = {}
        self._waiters: dict[int, list[asyncio.Future[None]]] = {}

    async def open(self) -> None:
        """Take the numbers from the journal and listen to its commits."""
        highest = await self.journal.read("highest_ids")
        self.last_id = max(highest[0][0] or 0, int(await self.journal.fact("job_id_floor") or 0))
        self.feed = EventFeed(self._read_events, self.journal.last_seq)
        self.journal.on_committed = self._committed

    def next_id(self) -> int:
        """The id of the next job."""
        self.last_id += 1
        return self.last_id

    def admit(self, job: Job) -> None:
        """A new job; `journal.admitted()` tells when it is on disk."""
        event = self._event(job, "job.submitted", None)
        self.live[job.id] = job
        self.counts["queued"] += 1
        self.journal.admit(job, event)

    def change(self, job: Job, kind: str, state: JobState | None = None, data: dict[str, Any] | None = None) -> None:
        """A change that has happened: the state moves, an event is made, the row is written with the next commit."""
        before = job.state
        if state is not None and state is not before:
            self.counts[before] -= 1
            self.counts[state] += 1
            job.state = state
            if job.needs is not None:
                self.attendance.change(job, before, state)
        self._note_change(job.id)
        self.live[job.id] = job
        self.journal.record(job, self._event(job, kind, data))

    def publish(self, kind: str, data: dict[str, Any], job_id: int | None = None) -> None:
        """An event that is no change of a job."""
        self.journal.add_event(Event(self.journal.next_seq(), self.clock.wall(), kind, job_id, data))

    def forget(self, job: Job) -> None:
        """A job whose admission was refused: as if it had never been."""
        self.live.pop(job.id, None)
        self.delayed.pop(job.id, None)
        self.counts[job.state.value] -= 1
        self.attendance.forget(job)

    def _event(self, job: Job, kind: str, data: dict[str, Any] | None) -> Event:
        job.seq = self.journal.next_seq()
        body, encoded = self._body(job.task, job.queue, job.attempt)
        if data:
            body, encoded = {**body, **data}, None
        return Event(job.seq, self.clock.wall(), kind, job.id, body, encoded)

    def _body(self, task: str, queue: str, attempt: int) -> tuple[dict[str, Any], str | None]:
        """What every event of a job says; made once for all jobs of the same task, queue and attempt."""
        key = (task, queue, attempt)
        found = self._bodies.get(key)
        if found is None:
            if len(self._bodies) > BODIES:
                self._bodies.clear()
            body = {"task": task, "queue": queue, "attempt": attempt}
            found = self._bodies[key] = (body, rows.encode(body))
        return found

    async def find(self, job_id: int) -> Job:
        """The job as it stands on disk and in memory.

        Raises:
            UnknownJob: Never made, or past its retention.
        """
        job = self.live.get(job_id)
        if job is not None:
            return job
        while True:
            async with self.reading() as changed:
                found = await self.journal.read("job", job_id)
                if not found:
                    text = f"job {job_id} is not there; it never was, or its retention is over"
                    raise UnknownJob(text, job=job_id)
                job = self.current(found[0], changed)
                if job is not None:
                    return job

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[set[int]]:
        """Around a read of rows and what is done with them; gives the jobs whose rows may be old by then.

        Race: a reader sees a job that is queued; before its rows are handed over, the job's end is committed and the
        job leaves the memory. Taken from its row it would be queued once more, and end twice or be held after its end.
        """
        changed: set[int] = set()
        self._readers.append(changed)
        try:
            yield changed
        finally:
            self._readers = [other for other in self._readers if other is not changed]

    def current(self, row: tuple[Any, ...], changed: set[int]) -> Job | None:
        """The job of a row that was read within `reading`; None if the row is old and the job no longer in memory."""
        job = self.live.get(row[0])
        return job if job is not None or row[0] in changed else rows.from_row(row)

    def _note_change(self, job_id: int) -> None:
        for changed in self._readers:
            changed.add(job_id)

    async def settled(self, job_id: int) -> Job:
        """The job, with everything that is shown of it on disk; on a full disk as the disk has it."""
        job = await self.find(job_id)
        while job.seq > self.journal.durable_seq:
            await self.journal.settle()
            if self.journal.full_reason is not None:
                found = await self.journal.read("job", job_id)
                return rows.from_row(found[0]) if found else job
        return job

    async def by_keys(self, keys: Collection[str]) -> dict[str, Job]:
        """The committed jobs of idempotency keys, in one look: a list of a thousand would otherwise wait for it all."""
        found = await self.journal.read("jobs_by_keys", rows.encode(list(keys)))
        jobs = (self.live.get(row[0]) or rows.from_row(row) for row in found)
        return {job.idempotency_key: job for job in jobs if job.idempotency_key is not None}

    async def ended(self, job_id: int, timeout_s: float) -> Job:
        """The job once it has ended, or as it stands when the time is over."""
        job = await self.settled(job_id)
        if job.state in ENDED or timeout_s <= 0:
            return job
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, []).append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            pass
        finally:
            waiters = self._waiters.get(job_id)
            if waiters is not None:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[job_id]
        return await self.settled(job_id)

    def _committed(self, events: list[Event]) -> None:
        durable = self.journal.durable_seq
        for event in events:
            job_id = event.job_id
            if job_id is None:
                continue
            job = self.live.get(job_id)
            if job is not None and job.seq <= durable and self._is_at_rest(job):
                del self.live[job_id]
                if job.state in ENDED or job.hold is not None:
                    self._note_change(job_id)
            if event.kind in ENDED_KINDS and job_id in self._waiters:
                for waiter in self._waiters[job_id]:
                    if not waiter.done():
                        waiter.set_result(None)
        assert self.feed is not None
        self.feed.publish(events)

    def _is_at_rest(self, job: Job) -> bool:
        if job.state is JobState.QUEUED:
            return job.id not in self.dispatcher.ready and job.id not in self.delayed
        return job.state in ENDED

    async def _read_events(self, after: int, up_to: int, limit: int) -> list[Event]:
        return [_event_of(row) for row in await self.journal.look("events_after", after, up_to, limit)]

    async def event_texts(self, after: int) -> list[EventText]:
        """The next events on disk behind number `after`; none where they have passed their retention."""
        statement = event_texts.statement(self.journal.statement("events_after"))
        found = await self.journal.look_sql(statement, (after, self.journal.durable_seq, PAGE))
        return await event_texts.composed(found[0][0])

    async def events_of(self, job_id: int) -> list[Event]:
        """What happened to a job, oldest first."""
        return [_event_of(row) for row in await self.journal.read("events_of_job", job_id)]


def _event_of(row: tuple[Any, ...]) -> Event:
    return Event(row[0], row[1], row[2], row[3], rows.decode(row[4]))

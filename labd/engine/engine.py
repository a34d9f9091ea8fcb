"""The engine's face: what the doors and the wings ask of it.

It joins the journal (what is on disk), the job book (what is in memory), the dispatcher (who is next), the runs (what
goes on) and the ways in, and adds nothing to their rules. What one of the parts does alone is that part's own method
under a public name here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import structlog

from labd.clock import Clock, iso
from labd.engine import listing, recovery, rows, store
from labd.engine.alerts import AlertBook
from labd.engine.attendant import Attendance, Attendant
from labd.engine.audit_trail import AuditTrail
from labd.engine.cache import ResultCache
from labd.engine.clock_watch import ClockWatch
from labd.engine.decisions import Decisions
from labd.engine.delayed import DelayedJobs
from labd.engine.dispatcher import Dispatcher, Gate, Lane
from labd.engine.event_texts import EventText
from labd.engine.events import EventFeed
from labd.engine.group import Event
from labd.engine.intake import Intake
from labd.engine.job import GOING, Caller, Cause, Job, JobState
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.logbook import Logbook
from labd.engine.pump import Pump
from labd.engine.queues import Queues
from labd.engine.registry import Registry, StopSpec
from labd.engine.retention import Retention
from labd.engine.runs import Runs
from labd.engine.schedules import ScheduleSpec, preview
from labd.engine.schema import Schema
from labd.engine.timeline import Timeline
from labd.engine.timetable import Timetable
from labd.engine.tokens import TokenShelf
from labd.engine.views import Figure, JobFilter, JobSpan, LogLine, ScheduleView
from labd.engine.waiting import Waiting
from labd.errors import BadRequest, Conflict, UnknownTask

log = structlog.get_logger()
RETENTION_S = 600.0
CLOCK_LOOK_S = 5.0
SHORT_PAGE = 100
REST_AT_MOST_S = 0.1
FEW_JOBS = 5_000  # so many are sorted in a few milliseconds


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The engine's share of the settings."""

    queues: dict[str, tuple[int, int]] = field(
        default_factory=lambda: {
            "high-priority": (1, 8),
            "standard": (2, 8),
            "low-priority": (3, 4),
            "maintenance": (4, 4),
            "monitoring": (5, 8),
        }
    )
    resources: dict[str, int] = field(default_factory=dict)
    ageing_s: float = 60.0
    expires_in_s: float = 600.0
    keep_s: float = 90 * 86_400.0
    keep_jobs: int = 100_000
    keep_lines_s: float = 14 * 86_400.0
    seed: str = "labd"


class Engine:
    """The job engine of one host.

    Args:
        state_dir: Where both databases live; the caller holds its lock.
        registry: The tasks; complete before `start`.
        schemas: Tables of wings in the journal's file.
    """

    def __init__(
        self, state_dir: Path, registry: Registry, clock: Clock, random: Random, options: EngineOptions | None = None,
        schemas: Sequence[Schema] = (),
    ) -> None:  # fmt: skip
        self.registry = registry
        self.options = options = options or EngineOptions()
        self.clock = clock
        self.draining = False
        self.journal = Journal(state_dir / "labd.db", clock, schemas)
        self.logbook = Logbook(state_dir / "logbook.db")
        self._state_dir = state_dir
        self._tasks: set[asyncio.Task[Any]] = set()
        self._long_page = asyncio.Semaphore(1)
        self._long_pages = 0  # that are asked for
        self._meters: list[Callable[[], list[Figure]]] = []
        self.attendance = Attendance(registry)
        self._dispatcher = Dispatcher(dict(options.resources), self.attendance.cause)
        self._book = JobBook(self.journal, self._dispatcher, clock, self.attendance)
        self._delayed = DelayedJobs(self._book.delayed)
        self._audit = AuditTrail(self.journal, clock)
        self._tokens = TokenShelf(self.journal, clock)
        self.timeline = Timeline(self.journal)
        self._pump = Pump(self._book, self._dispatcher, self._delayed, self.journal, registry, clock, self._spawn)
        self.wake = self._pump.wake
        cache = ResultCache(self.journal, clock)
        self._runs = Runs(
            self._book, self._dispatcher, self._delayed, self.journal, self.logbook, registry, clock, random,
            options.ageing_s, cache, self.attendance, self.wake,
        )  # fmt: skip
        self.clock_watch = ClockWatch(
            self._book, self.journal, self._delayed, clock, options.ageing_s, self._runs.wait_for_turn, self._expiry_s
        )
        self._runs.expiry_clock = self.clock_watch.expiry_now
        self._queues = Queues(self._dispatcher.lanes, self.journal, self._book, self._audit, clock, self.wake)
        self._intake = Intake(
            self._book, self._dispatcher, self._delayed, self.journal, registry, self._audit, self._pump, cache,
            self.attendance, clock, options.ageing_s, options.expires_in_s,
        )  # fmt: skip
        self._decisions = Decisions(
            self._book, self._runs, self._dispatcher, self.journal, registry, self._audit, clock, options.ageing_s,
            options.expires_in_s, self._spawn, self.attendance,
        )  # fmt: skip
        self.waiting = Waiting(
            self._book, self.journal, clock, self._intake.submit, self._runs.go_on, self._runs.fail_waiting,
            self._runs.end_cancelled,
        )  # fmt: skip
        self._runs.waiting = self.waiting
        self.journal.crowd = self._runs.crowd
        self.waiting.cancel_child = self._decisions.cancel_child
        self._timetable = Timetable(self._book, self.journal, clock, self._intake.submit_with, options.seed)
        self.retention = Retention(
            self.journal, self.logbook, clock, options.keep_s, options.keep_jobs, options.keep_lines_s
        )
        self.submit = self._intake.submit
        self.submit_one = self._intake.submit_one
        self.answer = self.waiting.answer
        self.steps = self.waiting.steps_of
        self.cancel = self._decisions.cancel
        self.retry = self._decisions.retry
        self.release = self._decisions.release
        self.cancel_holding = self._decisions.cancel_holding
        self.hold_queued = self._decisions.hold_queued
        self.queues = self._queues.all
        self.pause_queue = self._queues.pause
        self.resume_queue = self._queues.resume
        self.change_queue = self._queues.change
        self.audit = self._audit.add
        self.audit_page = self._audit.page
        self.audit_verify = self._audit.verify
        self.tokens = self._tokens.all
        self.put_token = self._tokens.put
        self.delete_token = self._tokens.revoke
        self.publish = self._book.publish
        self.wait = self._book.ended
        self.alerts = AlertBook(self.journal, clock, self._audit.add, self._book.publish)
        self.job = self._book.settled
        self.stored_value = self.journal.fact

    async def open(self) -> None:
        """Open both databases; raises as `store.prepare`. Nothing runs before `start`."""
        await self.journal.open()
        await self.logbook.open()
        await self._book.open()
        await self._audit.open()
        await self._tokens.open()
        await self._queues.open(self.options.queues)
        await self._timetable.open()
        await self.alerts.open(self.events.last_seq)

    async def start(self) -> recovery.Recovered:
        """Settle what the last daemon left, read the waiting jobs, and let jobs run."""
        marker = self._state_dir / "restored.json"
        restored = json.loads(marker.read_text()).get("created_at", "unknown date") if marker.exists() else None
        found = await recovery.recover(
            self._book, self.journal, self.registry, self.clock, self.options.ageing_s, restored
        )
        if restored is not None:
            marker.unlink()
        await self.clock_watch.begin()
        await self._count()
        await self._take_up_waiting()
        await self._pump.open(self._runs)
        self._spawn(self._timetable.run(), "schedules")
        self._spawn(self._upkeep(), "upkeep")
        return found

    async def _take_up_waiting(self) -> None:
        waiting = [rows.from_row(row) for row in await self.journal.read("waiting")]
        for job in waiting:
            self._book.live[job.id] = job
            self._dispatcher.keep(job)
        for job in waiting:
            await self.waiting.load(job)

    async def _count(self) -> None:
        lanes = self._dispatcher.lanes
        for name, count in await self.journal.read("queued_by_queue"):
            lanes.setdefault(name, Lane(name, 5, 1)).queued = count
        for name, count in await self.journal.read("held_by_queue"):
            lanes[name].held = count
        self._book.counts.update(dict.fromkeys(self._book.counts, 0))
        for state, count in await self.journal.read("notable_by_state"):
            self._book.counts[state] = count
        self._book.counts["queued"] = sum(lane.queued for lane in lanes.values())

    async def drain(self, limit_s: float, at_rest: Callable[[], None] = lambda: None) -> None:
        """Take nothing new, give running work `limit_s`, then cut it off; physical work becomes `interrupted`.

        Args:
            at_rest: Called when the time is over, before the rest is cut off.
        """
        self.draining = True
        self._dispatcher.stopped = Cause("draining", "the daemon is ending; the job starts after its restart")
        await self._runs.drain(limit_s, at_rest)

    async def close(self) -> None:
        """Write everything and close; jobs still running are given up as they are. A second call does nothing."""
        self._pump.close()
        self.waiting.close()
        await self._runs.abandon()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._book.feed is not None:
            self._book.feed.close()
        await self.journal.close()
        await self.logbook.close()

    def change_options(self, options: EngineOptions) -> None:
        """Put changed settings in force: queues, resources and retention."""
        self.options = options
        self.retention.keep_s, self.retention.keep_jobs = options.keep_s, options.keep_jobs
        self.retention.keep_lines_s = options.keep_lines_s
        self._dispatcher.change_capacities(dict(options.resources))
        self._queues.configure(options.queues)

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expiry_s(self, job: Job) -> float:
        try:
            spec = self.registry.find(job.task)
        except UnknownTask:
            return self.options.expires_in_s
        return getattr(spec, "expires_in_s", None) or self.options.expires_in_s

    async def _upkeep(self) -> None:
        """Retention now and then, and a look whether the wall clock has jumped."""
        since_retention_s = 0.0
        while True:
            await self.clock.sleep(CLOCK_LOOK_S)
            if await self.clock_watch.look():
                self.wake()
                self._timetable.wake()
            since_retention_s += CLOCK_LOOK_S
            if since_retention_s >= RETENTION_S and self.journal.full_reason is None:
                since_retention_s = 0.0
                await self.retention.sweep()

    def asking(self) -> list[Job]:
        """Jobs that ask a person."""
        return self.waiting.asking()

    async def jobs(self, which: JobFilter) -> list[Job]:
        """A page of jobs, newest first."""
        await self.journal.settle()
        statement, values = which.statement(*self._few(which))
        return [rows.from_row(row) for row in await self.journal.look_sql(statement, values)]

    async def job_page(self, which: JobFilter, brief: bool = False) -> listing.JobListing:
        """The same page as the API shows it.

        Why long pages go one after the other: a short one would have to wait for all of them, however many ask.
        """
        await self.journal.settle()
        statement, values = listing.statement(which, *self._few(which))
        async with contextlib.nullcontext() if which.limit <= SHORT_PAGE else self._a_long_page():
            found = await self.journal.look_sql(statement, values)
            return await listing.composed(found[0][0], brief)

    async def event_texts(self, after: int) -> list[EventText]:
        """A page of old events as the API shows them; one page at a time, as of long lists."""
        async with self._a_long_page():
            return await self._book.event_texts(after)

    @contextlib.asynccontextmanager
    async def _a_long_page(self) -> AsyncIterator[None]:
        """One at a time; where others wait for theirs, a rest as long as this one took, for all else."""
        loop = asyncio.get_running_loop()
        self._long_pages += 1
        try:
            await self._long_page.acquire()
            began = loop.time()
            try:
                yield
            finally:
                rest_s = loop.time() - began if self._long_pages > 1 else 0.0
                loop.call_later(min(rest_s, REST_AT_MOST_S), self._long_page.release)
        finally:
            self._long_pages -= 1

    def _few(self, which: JobFilter) -> tuple[bool, bool]:
        """Whether few jobs stand in the states of a filter, and whether few are held."""
        counts = self.counts()
        standing = sum(counts.get(state, 0) for state in which.states)
        held = sum(lane.held for lane in self._dispatcher.lanes.values())
        return standing <= FEW_JOBS, held <= FEW_JOBS

    async def job_span(self) -> JobSpan:
        """Between which numbers the jobs lie that are kept."""
        await self.journal.settle()
        lowest, highest = (await self.journal.read("job_span"))[0]
        return JobSpan(lowest or 0, highest or 0, {str(state): count for state, count in self.counts().items()})

    async def why(self, job_id: int) -> list[Cause]:
        """What a job waits for, or why it stands where it stands."""
        job = await self._book.find(job_id)
        if job.state is JobState.QUEUED:
            return self._dispatcher.causes(job, self.clock.wall(), iso)
        if job.state is JobState.WAITING:
            return await self._why_waiting(job)
        if job.state in GOING:
            since = iso(job.started_at)
            return [Cause(job.state.value, f"attempt {job.attempt} of {job.max_attempts} is {job.state} since {since}")]
        if job.error is not None:
            return [Cause(job.error.code, job.error.message, job.error.details)]
        if job.cached_from is not None:
            text = f"its result is the recorded one of job {job.cached_from}; `--no-cache` runs it anew"
            return [Cause("cached", text, {"job": job.cached_from})]
        return [Cause(job.state.value, f"it has ended as {job.state} at {iso(job.finished_at)}")]

    async def _why_waiting(self, job: Job) -> list[Cause]:
        question = self.waiting.question_of(job.id)
        if question is not None:
            answers = question.question.answers if question.question is not None else ""
            kinds = f" ({answers})" if answers else ""
            text = f"it asks: {question.what}{kinds} - `labctl job answer {job.id} VALUE`"
            return [Cause("question", text, {"question": job.asks})]
        children = [await self._book.find(child_id) for child_id in self.waiting.open_children(job.id)]
        return [
            Cause("child", f"it waits for job {child.id} ({child.task}), which is {child.state}", {"job": child.id})
            for child in children
        ] or [Cause("turn", "its steps are done; it waits for a slot of its queue", {"queue": job.queue})]

    async def logs(self, job_id: int, after: int = 0, limit: int = 500) -> list[LogLine]:
        """Lines of a job's log behind line `after`."""
        await self._book.find(job_id)
        return await self.logbook.lines(job_id, after, limit)

    async def job_events(self, job_id: int) -> list[Event]:
        """What happened to a job, oldest first."""
        await self._book.settled(job_id)
        return await self._book.events_of(job_id)

    def counts(self) -> dict[str, int]:
        """Jobs by state; `succeeded` counts from the start of the daemon."""
        return {**self._book.counts, "succeeded": self._runs.succeeded_since_start}

    def schedules(self) -> list[ScheduleView]:
        """All schedules by name."""
        return [self._timetable.view(name) for name in sorted(self._timetable.entries)]

    def schedule(self, name: str) -> ScheduleView:
        """One schedule."""
        return self._timetable.view(name)

    async def put_schedule(
        self, spec: ScheduleSpec, caller: Caller, create: bool | None = None, origin: str = "api"
    ) -> ScheduleView:
        """Make (`create=True`), change (`create=False`) or put (None) a schedule.

        Raises:
            Conflict: It is there already and was to be made.
            UnknownSchedule: It is not there and was to be changed.
            InvalidArguments, UnknownTask: The rule or the task's arguments are wrong.
        """
        exists = spec.name in self._timetable.entries
        if create is True and exists:
            raise Conflict(
                f"schedule {spec.name} exists already; change it with `labctl schedule edit`", schedule=spec.name
            )
        if create is False:
            self._timetable.view(spec.name)
        task = self.registry.find(spec.task)
        if isinstance(task, StopSpec):
            raise BadRequest(f"{task.name} is a stop; it is never scheduled", task=task.name)
        self.registry.check_args(task, spec.args)
        if spec.queue is not None:
            self._queues.lane(spec.queue)
        view = self._timetable.put(spec, origin, caller)
        self.audit(caller, "schedule.put", spec.name, msgspec.to_builtins(spec))
        await self.journal.commit()
        return view

    async def delete_schedule(self, name: str, caller: Caller) -> None:
        """Forget a schedule."""
        self._timetable.delete(name)
        self.audit(caller, "schedule.delete", name, {})
        await self.journal.commit()

    async def pause_schedule(self, name: str, caller: Caller) -> ScheduleView:
        """Let a schedule make no jobs."""
        return await self._set_paused(name, caller, True)

    async def resume_schedule(self, name: str, caller: Caller) -> ScheduleView:
        """Let a schedule make jobs again; what it missed is not made up for."""
        return await self._set_paused(name, caller, False)

    async def _set_paused(self, name: str, caller: Caller, paused: bool) -> ScheduleView:
        view = self._timetable.view(name)
        changed = self._timetable.put(msgspec.structs.replace(view.spec, paused=paused), view.origin, caller)
        self.audit(caller, "schedule.pause" if paused else "schedule.resume", name, {})
        await self.journal.commit()
        return changed

    def preview(self, name: str, count: int) -> list[float]:
        """The next runs of a schedule, seconds since 1970."""
        if not 1 <= count <= 1000:
            raise BadRequest(f"count {count} is not between 1 and 1000", field="count", value=count)
        return preview(self._timetable.view(name).spec, count, self.clock.wall())

    @property
    def events(self) -> EventFeed:
        """The live feed."""
        if self._book.feed is None:
            raise RuntimeError("the engine is not open")
        return self._book.feed

    @property
    def audit_head(self) -> str:
        """The newest hash of the audit chain."""
        return self._audit.head

    def attend(self, attendant: Attendant) -> None:
        """Let `attendant` keep account of what jobs need; there is one at most, set before `start`."""
        if self.attendance.attendant is not None:
            raise ValueError("there is an attendant already")
        self.attendance.attendant = attendant

    async def consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        """Debit what a job took that does not run any more; on disk when it returns, the same step counts once."""
        await self.attendance.recall(job)
        self.attendance.consume(job, step, volumes_ul)
        await self.journal.commit()

    def limit_resource(self, resource: str, count: int) -> None:
        """Let `count` jobs use a resource of a wing at once, unless `[engine] resources` says otherwise."""
        self._dispatcher.limit(resource, count)

    def add_queue(self, name: str, priority: int, concurrency: int) -> None:
        """Make a queue of a wing, unless the settings or somebody else have one of that name."""
        self._queues.add(name, priority, concurrency)

    def add_gate(self, resource: str, gate: Gate) -> None:
        """Hold every job of a resource while `gate` answers a cause; call `wake` when it may have opened."""
        self._dispatcher.add_gate(resource, gate)

    def remove_gates(self, resource: str) -> None:
        """The gates of a resource that will not be asked for again; call `wake` after it."""
        self._dispatcher.remove_gates(resource)

    async def store_value(self, key: str, value: Any) -> None:
        """Keep a small JSON value (None removes it); on disk when it returns.

        Raises:
            StoreFull: It is not on disk; it will be when there is space again.
        """
        self.journal.refuse_if_full()
        self.journal.put_fact(key, value)
        await asyncio.shield(self.journal.admitted())

    @property
    def store_problem(self) -> str:
        """What people are told while the disk takes no writes; empty while it does."""
        reason = self.journal.full_reason
        return "" if reason is None else store.standing_problem(reason)

    @property
    def store_full(self) -> bool:
        """True while the disk takes no more."""
        return self.journal.full_reason is not None

    async def backup(self, folder: Path) -> list[Path]:
        """Consistent copies of both databases in an existing folder, while work goes on."""
        await self.journal.settle()
        await self.journal.copy(folder / self.journal.path.name)
        await self.logbook.copy(folder / self.logbook.path.name)
        return [folder / self.journal.path.name, folder / self.logbook.path.name]

    async def check_stores(self) -> dict[str, list[str]]:
        """Problems of each database file, found by reading all of it beside the work; a large one takes a while."""
        paths = (self.journal.path, self.logbook.path)
        return {path.name: await asyncio.to_thread(store.problems, path) for path in paths}

    def add_meter(self, meter: Callable[[], list[Figure]]) -> None:
        """Let a wing's figures stand in /metrics; it is asked at each look and does no I/O."""
        self._meters.append(meter)

    def figures(self) -> list[Figure]:
        """Of all wings."""
        return [figure for meter in self._meters for figure in meter()]

    def statistics(self) -> dict[str, float]:
        """Figures for /metrics."""
        journal = self.journal
        return {
            "commits_total": journal.commits,
            "commit_seconds_total": journal.commit_s_total,
            "last_commit_seconds": journal.last_commit_s,
            "last_seq": journal.durable_seq,
            "store_full": float(self.store_full),
            "store_size_bytes": _size(journal.path),
            "store_wal_size_bytes": _size(journal.path.with_name(journal.path.name + "-wal")),
            "logbook_size_bytes": _size(self.logbook.path),
            "log_lines_dropped_total": self.logbook.dropped,
            "jobs_in_memory": len(self._book.live),
            "audit_entries": self._audit.entries,
            **self.alerts.statistics(),
        }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

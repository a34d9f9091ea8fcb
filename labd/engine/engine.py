"""The engine's face: what the doors and the wings ask of it.

It joins the journal (what is on disk), the job book (what is in memory), the dispatcher (who is next) and the runs
(what goes on), and adds nothing to their rules.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import structlog

from labd.clock import Clock, iso
from labd.engine import admission, audit, recovery, rows
from labd.engine.audit import AuditChain, AuditEntry, AuditReport
from labd.engine.delayed import DelayedJobs
from labd.engine.dispatcher import Dispatcher, Gate, Lane, rank
from labd.engine.events import EventFeed
from labd.engine.job import ENDED, GOING, INTERNAL, Caller, Cause, Hold, Job, JobError, JobState, Submission
from labd.engine.jobbook import JobBook
from labd.engine.journal import Event, Journal
from labd.engine.logbook import Logbook
from labd.engine.registry import Registry, StopSpec, TaskSpec
from labd.engine.retention import Retention
from labd.engine.runs import Runs, cancel_reason
from labd.engine.schedules import ScheduleSpec, preview
from labd.engine.timetable import Timetable
from labd.engine.views import JobFilter, LogLine, QueueView, ScheduleView, TokenRow
from labd.errors import BadRequest, Conflict, Draining, JobStateConflict, LabdError, NotFound, UnknownQueue

log = structlog.get_logger()
SUBMISSIONS_LIMIT = 1000
FILL = 2000
RETENTION_S = 600.0
CLOCK_LOOK_S = 15.0
CLOCK_STEP_S = 2.0


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
    keep_s: float = 90 * 86_400.0
    keep_jobs: int = 2_000_000
    seed: str = "labd"


class Engine:
    """The job engine of one host.

    Args:
        state_dir: Where both databases live; the caller holds its lock.
        registry: The tasks; complete before `start`.
    """

    def __init__(
        self, state_dir: Path, registry: Registry, clock: Clock, random: Random, options: EngineOptions | None = None
    ) -> None:
        self.registry = registry
        self.options = options or EngineOptions()
        self.clock = clock
        self.draining = False
        self.journal = Journal(state_dir / "labd.db", clock)
        self.logbook = Logbook(state_dir / "logbook.db")
        self._state_dir = state_dir
        self._dispatcher = Dispatcher(dict(self.options.resources))
        self._book = JobBook(self.journal, self._dispatcher, clock)
        self._delayed = DelayedJobs(self._book.delayed)
        self._runs = Runs(
            self._book, self._dispatcher, self._delayed, self.journal, self.logbook, registry, clock, random,
            self.options.ageing_s, self.wake,
        )  # fmt: skip
        self._timetable = Timetable(self._book, self.journal, clock, self._submit, self.options.seed)
        self.retention = Retention(self.journal, self.logbook, clock, self.options.keep_s, self.options.keep_jobs)
        self._chain = AuditChain()
        self._tokens: dict[int, TokenRow] = {}
        self._last_token = 0
        self._keys_coming: dict[str, asyncio.Future[None]] = {}
        self._keys_landed = 0
        self._woken = False
        self._started = False
        self._due_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open both databases; raises as `store.prepare`. Nothing runs before `start`."""
        await self.journal.open()
        await self.logbook.open()
        await self._book.open()
        last = await self.journal.read("last_audit")
        if last:
            self._chain = AuditChain(last[0][0], last[0][1])
        for row in await self.journal.read("tokens"):
            token = TokenRow(row[0], row[1], row[2], tuple(json.loads(row[3])), *row[4:])
            self._tokens[token.id] = token
            self._last_token = token.id
        await self._open_queues()
        await self._timetable.open()

    async def _open_queues(self) -> None:
        lanes = self._dispatcher.lanes
        for name, (priority, concurrency) in self.options.queues.items():
            lanes[name] = Lane(name, priority, concurrency)
        for name, priority, concurrency, paused_by, reason, paused_at in await self.journal.read("queues"):
            lane = lanes.setdefault(name, Lane(name, priority, concurrency))
            if name not in self.options.queues:
                lane.priority, lane.concurrency = priority, concurrency
            lane.paused_by, lane.paused_reason, lane.paused_at = paused_by, reason, paused_at

    async def start(self) -> recovery.Recovered:
        """Settle what the last daemon left, read the waiting jobs, and let jobs run."""
        marker = self._state_dir / "restored.json"
        restored = json.loads(marker.read_text()).get("created_at", "unknown date") if marker.exists() else None
        found = await recovery.recover(
            self._book, self.journal, self.registry, self.clock, self.options.ageing_s, restored
        )
        if restored is not None:
            marker.unlink()
        lanes = self._dispatcher.lanes
        for name, count in await self.journal.read("queued_by_queue"):
            lanes.setdefault(name, Lane(name, 5, 1)).queued = count
            self._book.counts["queued"] += count
        for name, count in await self.journal.read("held_by_queue"):
            lanes[name].held = count
        for state, count in await self.journal.read("notable_by_state"):
            self._book.counts[state] = count
        self._book.counts["queued"] = sum(lane.queued for lane in lanes.values())
        for lane in lanes.values():
            if lane.queued:
                lane.window_end = (float("-inf"), 0)
        self._delayed.window_end = (float("-inf"), 0)
        await self._fill()
        self._started = True
        self._spawn(self._timetable.run(), "schedules")
        self._spawn(self._upkeep(), "upkeep")
        self.wake()
        return found

    async def drain(self, limit_s: float, at_rest: Callable[[], None] = lambda: None) -> None:
        """Take nothing new, give running work `limit_s`, then cut it off; physical work becomes `interrupted`.

        Args:
            at_rest: Called when the time is over, before the rest is cut off.
        """
        self.draining = True
        self._dispatcher.stopped = Cause("draining", "the daemon is ending; the job starts after its restart")
        await self._runs.drain(limit_s, at_rest)

    async def close(self) -> None:
        """Write everything and close; jobs still running are given up as they are."""
        self._started = False
        if self._due_timer is not None:
            self._due_timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._book.feed is not None:
            self._book.feed.close()
        await self.journal.close()
        await self.logbook.close()

    def change_options(self, options: EngineOptions) -> None:
        """Put changed settings in force: queues, ageing of new jobs, retention."""
        lanes = self._dispatcher.lanes
        for name, (priority, concurrency) in options.queues.items():
            lane = lanes.setdefault(name, Lane(name, priority, concurrency))
            lane.priority, lane.concurrency = priority, concurrency
        self.options = options
        self.retention.keep_s, self.retention.keep_jobs = options.keep_s, options.keep_jobs
        self.wake()

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _upkeep(self) -> None:
        """Retention now and then, and a look whether the wall clock has jumped."""
        offset = self.clock.wall() - self.clock.monotonic()
        since_retention_s = 0.0
        while True:
            await self.clock.sleep(CLOCK_LOOK_S)
            now_offset = self.clock.wall() - self.clock.monotonic()
            if abs(now_offset - offset) > CLOCK_STEP_S:
                log.warning("clock.stepped", by_s=round(now_offset - offset, 3))
                self._book.publish("clock.stepped", {"by_s": round(now_offset - offset, 3)})
                self.wake()
            offset = now_offset
            since_retention_s += CLOCK_LOOK_S
            if since_retention_s >= RETENTION_S and self.journal.full_reason is None:
                since_retention_s = 0.0
                await self.retention.sweep()

    # -- the pump ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look for jobs to start, at the next turn of the loop."""
        if not self._woken and self._started:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        if not self._started:
            return
        for job in self._delayed.due(self.clock.wall()):
            self._dispatcher.offer(job)
        if self._runs.start_ready():
            self.wake()
        if self._dispatcher.lanes_to_fill() or self._delayed.is_low():
            self._spawn(self._fill(), "fill")
        self._set_timer()

    def _set_timer(self) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        at = self._delayed.next_at()
        if at is not None:
            wait_s = min(max(at - self.clock.wall(), 0.001), CLOCK_LOOK_S)
            self._due_timer = asyncio.get_running_loop().call_later(wait_s, self.wake)

    async def _fill(self) -> None:
        """Read the next waiting jobs of every queue whose window runs low."""
        book = self._book
        lanes = self._dispatcher.lanes_to_fill()
        delayed = self._delayed.is_low()
        for lane in lanes:
            lane.filling = True
        self._delayed.filling = self._delayed.filling or delayed
        book.reads_going += 1
        try:
            now = self.clock.wall()
            for lane in lanes:
                found = await self.journal.read("ready_after", lane.name, *lane.window_end, now, FILL)
                jobs = self._known(found)
                end = (found[-1][8], found[-1][0]) if found else None
                self._dispatcher.filled(lane, jobs, exhausted=len(found) < FILL, end=end, changed=book.changed)
            if delayed:
                found = await self.journal.read("delayed_after", *self._delayed.window_end, now, FILL)
                jobs = [rows.from_row(row) for row in found]
                self._delayed.filled(jobs, exhausted=len(found) < FILL, changed=book.changed)
        finally:
            book.reads_going -= 1
            if not book.reads_going:
                book.changed.clear()
        self.wake()

    def _known(self, found: list[tuple[Any, ...]]) -> list[Job]:
        """The jobs of rows; one whose task no wing offers now is held until one does."""
        jobs: list[Job] = []
        for row in found:
            job = self._book.live.get(row[0]) or rows.from_row(row)
            if recovery.knows(self.registry, job):
                jobs.append(job)
                self._book.live[job.id] = job
            elif row[0] not in self._book.changed:
                self._runs.hold(job, Hold("task_missing", f"no wing offers {job.task} now", self.clock.wall()))
        return jobs

    # -- submission --------------------------------------------------------------------------------------------------

    async def submit(self, items: list[Submission], caller: Caller) -> list[Job]:
        """Accept jobs, all or none, in one commit; on disk when it returns.

        A known idempotency key gives the job that already has it.

        Raises:
            BadRequest, UnknownTask, InvalidArguments, Refused, IdempotencyConflict, StoreFull, Draining
        """
        return await self._submit(items, caller)

    async def submit_one(self, item: Submission, caller: Caller) -> tuple[Job, bool]:
        """Accept one job; False if its idempotency key was known."""
        before = self._book.last_id
        job = (await self._submit([item], caller))[0]
        return job, job.id > before or job.id == 0

    async def _submit(self, items: list[Submission], caller: Caller, staged: Callable[[], None] | None = None) -> list[Job]:
        if len(items) == 1:
            spec = self.registry.find(items[0].task)
            if isinstance(spec, StopSpec):
                return [await self._stop(spec, items[0], caller)]
        if len(items) > SUBMISSIONS_LIMIT:
            raise BadRequest(f"{len(items)} submissions at once; at most {SUBMISSIONS_LIMIT}", limit=SUBMISSIONS_LIMIT)
        if self.draining:
            raise Draining("labd is ending and takes no new jobs; try again when it is back")
        self.journal.refuse_if_full()
        checked = [self._check(item) for item in items]
        known = await self._known_keys(items) if any(item.idempotency_key is not None for item in items) else {}
        jobs = self._stage(items, checked, known, caller, staged)
        await asyncio.shield(self.journal.admitted())
        return jobs

    def _check(self, item: Submission) -> TaskSpec:
        spec = self.registry.find(item.task)
        if isinstance(spec, StopSpec):
            raise BadRequest(f"{spec.name} is a stop and goes alone, not in a list", task=spec.name)
        self.registry.check_args(spec, item.args)
        if spec.precheck is not None:
            spec.precheck(item.args)
        return spec

    def _stage(
        self, items: list[Submission], specs: list[TaskSpec], known: dict[str, Job], caller: Caller,
        staged: Callable[[], None] | None,
    ) -> list[Job]:  # fmt: skip
        """Build all, then admit all: a fault in the last leaves nothing of the first. No await in here."""
        book, now = self._book, self.clock.wall()
        lanes, ageing_s = self._dispatcher.lanes, self.options.ageing_s
        first_id = book.last_id
        jobs: list[Job] = []
        fresh: list[Job] = []
        for item, spec in zip(items, specs, strict=True):
            key = item.idempotency_key
            if key is not None and key in known:
                jobs.append(admission.same_request(known[key], spec.name, item.args))
                continue
            job = admission.build(item, spec, item.args, caller, lanes, first_id + len(fresh) + 1, now, ageing_s)
            fresh.append(job)
            jobs.append(job)
            if key is not None:
                known[key] = job
        for job in fresh:
            book.next_id()
            book.admit(job)
            lane = lanes[job.queue]
            lane.queued += 1
            if job.run_at > now:
                self._delayed.offer(job)
            else:
                self._dispatcher.offer(job)
            if job.effect == "physical":
                self.audit(caller, "job.submit", f"job {job.id}", {"task": job.task, "args": job.args})
        if staged is not None:
            staged()
        if fresh:
            admitted = self.journal.admitted()
            admitted.add_done_callback(lambda done: self._admission_settled(done, fresh))
            for job in fresh:
                if job.idempotency_key is not None:
                    self._keys_coming[job.idempotency_key] = admitted
            self._pump()  # a job that can start at once shares the commit of its admission
        return jobs

    def _admission_settled(self, done: asyncio.Future[None], fresh: list[Job]) -> None:
        refused = done.cancelled() or done.exception() is not None
        for job in fresh:
            if job.idempotency_key is not None:
                self._keys_coming.pop(job.idempotency_key, None)
                self._keys_landed += 1
            if refused and job.id in self._book.live and job.state is JobState.QUEUED:
                self._dispatcher.withdraw(job)
                self._delayed.withdraw(job)
                self._dispatcher.lanes[job.queue].queued -= 1
                self._book.forget(job)

    async def _known_keys(self, items: list[Submission]) -> dict[str, Job]:
        """Jobs that have one of the keys already; waits for keys that are on their way to the disk.

        Race: two requests with one key come in one after the other. The second finds the key in `_keys_coming`, waits
        for that commit, and reads the job. A key that was staged and landed while this one was reading is seen by
        `_keys_landed`, and the reading is done again; between the last look and `_stage` there is no await.
        """
        keys = {item.idempotency_key for item in items if item.idempotency_key is not None}
        while True:
            coming = next((self._keys_coming[key] for key in keys if key in self._keys_coming), None)
            if coming is not None:
                await asyncio.wait([asyncio.shield(coming)])
                continue
            landed = self._keys_landed
            known: dict[str, Job] = {}
            for key in keys:
                job = await self._book.by_key(key)
                if job is not None:
                    known[key] = job
            if landed == self._keys_landed and not keys & self._keys_coming.keys():
                return known

    async def _stop(self, spec: StopSpec, item: Submission, caller: Caller) -> Job:
        """Stop first, write afterwards."""
        now = self.clock.wall()
        job = Job(
            id=0, task=spec.name, args=item.args, queue="high-priority", priority=0, state=JobState.QUEUED, attempt=1,
            max_attempts=1, rank=now, run_at=now, created_at=now, started_at=now, submitted_by=caller.name,
            effect="physical", idempotency_key=None, tags=tuple(item.tags),
        )  # fmt: skip
        try:
            job.result = await spec.function(item.args, caller)
            state, kind = JobState.SUCCEEDED, "job.succeeded"
        except LabdError as fault:
            job.error = JobError(fault.code, fault.message, type(fault).__name__, fault.details)
            state, kind = JobState.FAILED, "job.failed"
        if self.journal.full_reason is not None:
            job.state, job.finished_at = state, self.clock.wall()
            return job  # the stop is done; only its record is missing, and id 0 says so
        job.id = self._book.next_id()
        if job.queue not in self._dispatcher.lanes:
            job.queue = next(iter(self._dispatcher.lanes))
        self._book.admit(job)
        job.finished_at = self.clock.wall()
        self._book.change(job, kind, state)
        try:
            await asyncio.shield(self.journal.admitted())
        except LabdError:
            self._book.forget(job)
            job.id = 0
        return job

    # -- jobs --------------------------------------------------------------------------------------------------------

    async def job(self, job_id: int) -> Job:
        """One job; what it shows is on disk.

        Raises:
            UnknownJob: Never made, or past its retention.
        """
        return await self._book.settled(job_id)

    async def jobs(self, which: JobFilter) -> list[Job]:
        """A page of jobs, newest first."""
        await self.journal.commit()
        statement, values = which.statement()
        return [rows.from_row(row) for row in await self.journal.read_sql(statement, values)]

    async def wait(self, job_id: int, timeout_s: float) -> Job:
        """The job once it has ended, or as it stands when the time is over."""
        return await self._book.ended(job_id, timeout_s)

    async def cancel(self, job_id: int, caller: Caller, reason: str = "") -> Job:
        """Withdraw a waiting job, or ask a running one to end; it is `cancelled` only when its work has ended.

        Raises:
            JobStateConflict: It has ended.
        """
        job = await self._book.find(job_id)
        if job.state in ENDED and job.state is not JobState.INTERRUPTED:
            raise JobStateConflict(f"job {job_id} is {job.state} already; there is nothing to cancel", job=job_id, state=job.state)
        self.audit(caller, "job.cancel", f"job {job_id}", {"state": job.state, "reason": reason})
        self._cancel(job, cancel_reason(caller, reason))
        await self.journal.commit()
        return job

    def _cancel(self, job: Job, reason: JobError) -> None:
        if job.state is JobState.QUEUED:
            self._runs.cancel_queued(job, reason)
        elif job.state is JobState.INTERRUPTED:
            self._book.change(job, "job.cancelled", JobState.CANCELLED, {"code": reason.code, "message": reason.message})
        elif job.id in self._runs.going:
            self._runs.cancel_going(job, reason)

    def cancel_holding(self, resource: str, caller: Caller, reason: str, error_code: str) -> list[int]:
        """Ask everything that holds or waits for a resource to end; never waits. Returns the ids known in memory.

        Queued jobs that are only on disk follow in the background; close a gate first so that none starts meanwhile.
        """
        error = cancel_reason(caller, reason, error_code)
        found = [job for job in list(self._book.live.values()) if resource in job.resources and job.state not in ENDED]
        for job in found:
            self._cancel(job, error)
        self._spawn(self._sweep_disk(resource, lambda job: self._cancel(job, error)), "cancel_holding")
        return [job.id for job in found]

    def hold_queued(self, resource: str, code: str, reason: str) -> list[int]:
        """Let every queued job of a resource wait for `release`."""
        hold = Hold(code, reason, self.clock.wall())
        found = [j for j in list(self._book.live.values()) if resource in j.resources and j.state is JobState.QUEUED and j.hold is None]
        for job in found:
            self._runs.hold(job, hold)
        self._spawn(self._sweep_disk(resource, lambda job: self._runs.hold(job, hold)), "hold_queued")
        return [job.id for job in found]

    async def _sweep_disk(self, resource: str, act: Callable[[Job], None]) -> None:
        before = self._book.last_id
        for row in await self.journal.read("queued_physical"):
            job = self._book.live.get(row[0]) or rows.from_row(row)
            if job.id <= before and resource in job.resources and job.state is JobState.QUEUED and job.hold is None:
                act(job)

    async def retry(self, job_id: int, caller: Caller) -> Job:
        """Queue a job again that failed, was cancelled or was interrupted; a person's decision.

        Raises:
            JobStateConflict: It waits, runs or has succeeded.
            Refused: The task's precondition does not hold.
        """
        job = await self._book.settled(job_id)
        if job.state not in (JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED):
            raise JobStateConflict(
                f"job {job_id} is {job.state}; only failed, cancelled and interrupted jobs are retried", job=job_id, state=job.state
            )
        spec = self.registry.find(job.task)
        if isinstance(spec, StopSpec):
            raise JobStateConflict(f"job {job_id} was a stop; stop again instead", job=job_id)
        if spec.precheck is not None:
            spec.precheck(job.args)
        if self.draining:
            raise Draining("labd is ending; retry when it is back")
        now = self.clock.wall()
        job.max_attempts = max(job.max_attempts, job.attempt + spec.max_attempts)
        job.run_at, job.rank = now, rank(job.priority, now, self.options.ageing_s)
        job.finished_at, job.result, job.progress, job.crashes = None, None, None, 0
        if job.effect == "physical":
            job.expires_at = now + spec.expires_in_s
        self._dispatcher.lanes[job.queue].queued += 1
        self.audit(caller, "job.retry", f"job {job_id}", {"task": job.task, "from": job.state})
        self._book.change(job, "job.retried", JobState.QUEUED, {"by": caller.name})
        self._runs.wait_for_turn(job)
        await self.journal.commit()
        return job

    async def release(self, job_id: int, caller: Caller) -> Job:
        """Let a held job go.

        Raises:
            JobStateConflict: It is not held.
        """
        job = await self._book.find(job_id)
        if job.state is not JobState.QUEUED or job.hold is None:
            raise JobStateConflict(f"job {job_id} is {job.state} and not held; there is nothing to release", job=job_id)
        now = self.clock.wall()
        code, job.hold = job.hold.code, None
        self._dispatcher.lanes[job.queue].held -= 1
        if job.effect == "physical":
            spec = self.registry.find(job.task)
            job.expires_at = max(now, job.run_at) + (spec.expires_in_s if isinstance(spec, TaskSpec) else 600.0)
        self.audit(caller, "job.release", f"job {job_id}", {"task": job.task, "held_for": code})
        self._book.change(job, "job.released", None, {"by": caller.name})
        self._runs.wait_for_turn(job)
        await self.journal.commit()
        return job

    async def why(self, job_id: int) -> list[Cause]:
        """What a job waits for, or why it stands where it stands."""
        job = await self._book.find(job_id)
        if job.state is JobState.QUEUED:
            return self._dispatcher.causes(job, self.clock.wall(), iso)
        if job.state in GOING:
            since = iso(job.started_at)
            return [Cause(job.state.value, f"attempt {job.attempt} of {job.max_attempts} is {job.state} since {since}")]
        if job.error is not None:
            return [Cause(job.error.code, job.error.message, job.error.details)]
        return [Cause(job.state.value, f"it has ended as {job.state} at {iso(job.finished_at)}")]

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

    # -- queues ------------------------------------------------------------------------------------------------------

    def queues(self) -> list[QueueView]:
        """All queues, the most urgent first."""
        return [self._queue_view(lane) for lane in sorted(self._dispatcher.lanes.values(), key=lambda q: (q.priority, q.name))]

    def _queue_view(self, lane: Lane) -> QueueView:
        return QueueView(
            lane.name, lane.priority, lane.concurrency, lane.paused_by is not None, lane.paused_by, lane.paused_reason,
            lane.paused_at, lane.queued, lane.running, lane.held,
        )  # fmt: skip

    def _lane(self, name: str) -> Lane:
        lane = self._dispatcher.lanes.get(name)
        if lane is None:
            raise UnknownQueue(f"no queue is named {name}; there are {', '.join(self._dispatcher.lanes)}", queue=name)
        return lane

    async def pause_queue(self, name: str, caller: Caller, reason: str = "") -> QueueView:
        """Start no more jobs of a queue; pausing a paused one changes nothing."""
        lane = self._lane(name)
        if lane.paused_by is None:
            lane.paused_by, lane.paused_reason, lane.paused_at = caller.name, reason or None, self.clock.wall()
            self.audit(caller, "queue.pause", name, {"reason": reason})
            await self._store_lane(lane, "queue.paused")
        return self._queue_view(lane)

    async def resume_queue(self, name: str, caller: Caller) -> QueueView:
        """Start jobs of a queue again."""
        lane = self._lane(name)
        if lane.paused_by is not None:
            lane.paused_by = lane.paused_reason = lane.paused_at = None
            self.audit(caller, "queue.resume", name, {})
            await self._store_lane(lane, "queue.resumed")
            self.wake()
        return self._queue_view(lane)

    async def change_queue(
        self, name: str, caller: Caller, concurrency: int | None = None, priority: int | None = None
    ) -> QueueView:
        """Change a queue's limit or the priority of its future jobs; the settings file rules again after a restart."""
        lane = self._lane(name)
        if concurrency is not None and not 0 <= concurrency <= 10_000:
            raise BadRequest(f"concurrency {concurrency} is not between 0 and 10000", field="concurrency", value=concurrency)
        if priority is not None and not 0 <= priority <= 9:
            raise BadRequest(f"priority {priority} is not between 0 and 9", field="priority", value=priority)
        lane.concurrency = lane.concurrency if concurrency is None else concurrency
        lane.priority = lane.priority if priority is None else priority
        self.audit(caller, "queue.change", name, {"concurrency": lane.concurrency, "priority": lane.priority})
        await self._store_lane(lane, "queue.changed")
        self.wake()
        return self._queue_view(lane)

    async def _store_lane(self, lane: Lane, kind: str) -> None:
        self.journal.execute(
            "put_queue", lane.name, lane.priority, lane.concurrency, lane.paused_by, lane.paused_reason, lane.paused_at
        )
        self._book.publish(kind, {"queue": lane.name, "by": lane.paused_by, "reason": lane.paused_reason})
        await self.journal.commit()

    # -- schedules ---------------------------------------------------------------------------------------------------

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
            raise Conflict(f"schedule {spec.name} exists already; change it with `labctl schedule edit`", schedule=spec.name)
        if create is False:
            self._timetable.view(spec.name)
        task = self.registry.find(spec.task)
        if isinstance(task, StopSpec):
            raise BadRequest(f"{task.name} is a stop; it is never scheduled", task=task.name)
        self.registry.check_args(task, spec.args)
        if spec.queue is not None:
            self._lane(spec.queue)
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

    # -- events, audit, gates, facts ---------------------------------------------------------------------------------

    @property
    def events(self) -> EventFeed:
        """The live feed."""
        if self._book.feed is None:
            raise RuntimeError("the engine is not open")
        return self._book.feed

    def publish(self, kind: str, data: dict[str, Any], job_id: int | None = None) -> None:
        """Put an event into the feed; durable with the next commit."""
        self._book.publish(kind, data, job_id)

    def audit(self, actor: Caller, action: str, subject: str, details: dict[str, Any]) -> None:
        """Record who did what; durable with the next commit."""
        self.journal.execute("add_audit", *self._chain.row(self.clock.wall(), actor.name, action, subject, details))

    async def audit_page(self, before: int | None, limit: int) -> list[AuditEntry]:
        """Entries before an id, newest first."""
        await self.journal.commit()
        found = await self.journal.read("audit_page", before if before is not None else 2**62, limit)
        return [audit.entry(row) for row in found]

    async def audit_verify(self) -> AuditReport:
        """Follow the whole chain."""
        await self.journal.commit()
        total, head, last_id = 0, audit.GENESIS, 0
        while True:
            found = await self.journal.read("audit_after", last_id, 5000)
            report = audit.verify(found, head, last_id)
            total += report.entries
            if not report.ok or not found:
                return AuditReport(report.ok, total, report.head if found else head, report.broken_at, report.problem)
            head, last_id = report.head, found[-1][0]

    @property
    def audit_head(self) -> str:
        """The newest hash of the chain."""
        return self._chain.head

    def add_gate(self, resource: str, gate: Gate) -> None:
        """Hold every job of a resource while `gate` answers a cause; call `wake` when it may have opened."""
        self._dispatcher.add_gate(resource, gate)

    async def store_value(self, key: str, value: Any) -> None:
        """Keep a small JSON value (None removes it); on disk when it returns.

        Raises:
            StoreFull: It is not on disk; it will be when there is space again.
        """
        self.journal.refuse_if_full()
        self.journal.put_fact(key, value)
        await asyncio.shield(self.journal.admitted())

    async def stored_value(self, key: str) -> Any:
        """A kept value, None if there is none."""
        return await self.journal.fact(key)

    @property
    def store_full(self) -> bool:
        """True while the disk takes no more."""
        return self.journal.full_reason is not None

    # -- tokens ------------------------------------------------------------------------------------------------------

    def tokens(self) -> list[TokenRow]:
        """All tokens, revoked ones too."""
        return list(self._tokens.values())

    async def put_token(self, token: TokenRow) -> TokenRow:
        """Keep a new token (id 0) or a changed one."""
        if token.id == 0:
            self._last_token += 1
            token.id = self._last_token
        self._tokens[token.id] = token
        scopes = json.dumps(token.scopes)
        self.journal.execute(
            "put_token", token.id, token.name, token.hash, scopes, token.created_at, token.created_by,
            token.expires_at, token.last_used_at, token.revoked_at,
        )  # fmt: skip
        await self.journal.commit()
        return token

    async def delete_token(self, token_id: int) -> TokenRow:
        """Revoke a token; it stays in the list."""
        token = self._tokens.get(token_id)
        if token is None:
            raise NotFound(f"no token has the id {token_id}; `labctl token list` shows all", token=token_id)
        token.revoked_at = token.revoked_at or self.clock.wall()
        return await self.put_token(token)

    # -- upkeep ------------------------------------------------------------------------------------------------------

    async def backup(self, folder: Path) -> list[Path]:
        """Consistent copies of both databases in an existing folder, while work goes on."""
        await self.journal.commit()
        await self.journal.copy(folder / self.journal.path.name)
        await self.logbook.copy(folder / self.logbook.path.name)
        return [folder / self.journal.path.name, folder / self.logbook.path.name]

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
            "audit_entries": self._chain.last_id,
        }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


__all__ = ["INTERNAL", "Engine", "EngineOptions"]

"""Starts, ends, cancels and drains jobs: the acting half of the dispatcher's decisions.

The order that the promises rest on: `take` decides, the start is staged, the commit lands, and only then the task's
first line runs. An end is staged, frees slot and resources at once, and is shown to nobody before it is on disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import structlog

from labd.clock import Clock, iso
from labd.engine import baton, inline, retry
from labd.engine.attendant import Attendance
from labd.engine.cache import ResultCache
from labd.engine.delayed import DelayedJobs
from labd.engine.dispatcher import Dispatcher, rank
from labd.engine.inline import InlineContext, Outcome
from labd.engine.job import Caller, Hold, Job, JobError, JobState, Progress
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.logbook import Logbook
from labd.engine.registry import Registry, TaskSpec
from labd.engine.waiting import Waiting

log = structlog.get_logger()
BATCH = 256
CROWD = 12
PROGRESS_S = 0.5


@dataclass(slots=True)
class Run:
    """One attempt under way, and why it was asked to end, if it was.

    `is_first`: the body has never run before, so no step of it can have been recorded.
    """

    job: Job
    spec: TaskSpec
    is_first: bool = True
    task: asyncio.Task[None] | None = None
    end_reason: JobError | None = None
    draining: bool = False
    progress_at: float = 0.0


class Runs:
    """Everything that is running.

    Args:
        wake: Asks the engine to look for jobs to start.
    """

    def __init__(
        self, book: JobBook, dispatcher: Dispatcher, delayed: DelayedJobs, journal: Journal, logbook: Logbook,
        registry: Registry, clock: Clock, random: Random, ageing_s: float, cache: ResultCache, attendance: Attendance,
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self.going: dict[int, Run] = {}
        self.succeeded_since_start = 0
        self._book = book
        self._dispatcher = dispatcher
        self._delayed = delayed
        self._journal = journal
        self._logbook = logbook
        self._registry = registry
        self._clock = clock
        self._random = random
        self._ageing_s = ageing_s
        self._cache = cache
        self._attendance = attendance
        self._wake = wake
        self._launching: deque[baton.Begin] = deque()
        self._abandoned = False
        self.waiting: Waiting
        self._idle = asyncio.Event()
        self._idle.set()
        self.expiry_clock: Callable[[], float] = clock.wall

    def crowd(self) -> int:
        """How many starts a commit may wait for, because so much is going on that a single end need not hurry."""
        going = len(self.going)
        return going // 2 if going >= CROWD else 0

    def start_ready(self) -> bool:
        """Start what may start now; True if there may be more."""
        started, expired = self._dispatcher.take(self.expiry_clock(), BATCH)
        for job in expired:
            self._expire(job)
        for job in started:
            self._start(job)
        return len(started) == BATCH or (bool(started) and started[-1].needs is not None)

    def _start(self, job: Job) -> None:
        spec = self._registry.find(job.task)
        assert isinstance(spec, TaskSpec)
        resumed = job.state is JobState.WAITING
        if not resumed:
            self._journal.expect_start(job)
            job.attempt += 1
            job.started_at = self._clock.wall()
            job.progress = None
            job.code = spec.code
        run = Run(job, spec, is_first=not resumed and job.attempt == 1)
        self.going[job.id] = run
        self._idle.clear()
        self._book.change(job, "job.resumed" if resumed else "job.started", JobState.RUNNING)
        self._journal.when_started(job, partial(self._launch, run))

    def _launch(self, run: Run, is_on_disk: bool) -> None:
        """The start is on disk: now the work may begin. Or the admission was refused: the job never was."""
        if not is_on_disk:
            self._leave(run)
            self._book.forget(run.job)
            return
        if self._abandoned:
            return  # given up while the start was on its way to the disk: the next daemon settles it
        self._launching.append(partial(self._begin, run))
        if len(self._launching) == 1:
            baton.carry(self._launching)

    def _begin(self, run: Run, carrier: asyncio.Task[None]) -> Coroutine[Any, Any, None] | None:
        if self._abandoned:
            return None
        if run.end_reason is not None:
            self._finish(run, Outcome(cancelled=True))
            return None
        run.task = carrier
        return self._run(run)

    async def _run(self, run: Run) -> None:
        steps = await self.waiting.recorded(run.job.id) if run.spec.origin and not run.is_first else []
        context = InlineContext(run.job, self._add_line, self._set_progress, steps, self._consume)
        self._finish(run, await inline.attempt(run.spec, context))

    def _leave(self, run: Run, *, waits: bool = False) -> None:
        del self.going[run.job.id]
        if waits:
            self._dispatcher.pause(run.job)
        else:
            self._dispatcher.release(run.job)
        if not self.going:
            self._idle.set()
        self._wake()

    def _finish(self, run: Run, outcome: Outcome) -> None:
        job = run.job
        if self._abandoned:
            return
        if outcome.suspended is not None and run.end_reason is None and job.effect == "repeatable":
            self._leave(run, waits=True)
            self._book.change(job, "job.waiting", JobState.WAITING)
            self.waiting.suspend(job, outcome.suspended)
            return
        self._leave(run)
        if outcome.suspended is not None and run.end_reason is None:
            message = (
                f"{job.task} (job {job.id}) is physical and called or asked; "
                "physical acts are child jobs of a repeatable task"
            )
            self._fail(run, JobError("task_failed", message, "Suspended"))
        elif outcome.cancelled or outcome.suspended is not None:
            self._cut_off(run)
        elif outcome.error is not None:
            self._fail(run, outcome.error)
        else:
            job.result = outcome.result
            job.error = None
            self.succeeded_since_start += 1
            self._end(job, "job.succeeded", JobState.SUCCEEDED)
            if run.spec.cached:
                self._cache.keep(run.spec, job)

    def _end(self, job: Job, kind: str, state: JobState, error: JobError | None = None) -> None:
        job.finished_at = self._clock.wall()
        if error is not None:
            job.error = error
        data = None if job.error is None else {"code": job.error.code, "message": job.error.message}
        self._book.change(job, kind, state, data)
        if job.parent_id is not None:
            self.waiting.ended(job)
        self.waiting.forget(job)

    def go_on(self, job: Job) -> None:
        """A waiting job has all its answers: it takes its turn for a slot."""
        self._dispatcher.offer(job)
        self._wake()

    def fail_waiting(self, job: Job, error: JobError) -> None:
        """End a waiting job whose steps can never be done."""
        self._dispatcher.let_go(job)
        self._end(job, "job.failed", JobState.FAILED, error)
        self._wake()

    def end_cancelled(self, job: Job) -> None:
        """End a waiting job that was cancelled, after its last child."""
        self._dispatcher.let_go(job)
        self._end(job, "job.cancelled", JobState.CANCELLED)
        self._wake()

    def cancel_waiting(self, job: Job, reason: JobError) -> None:
        """Cancel a job that waits for its steps, and its children before it."""
        self._dispatcher.withdraw(job)
        job.error, job.asks = reason, None
        self._book.change(job, "job.cancelling", JobState.CANCELLING, {"code": reason.code, "message": reason.message})
        self.waiting.cancel(job, reason)

    def _cut_off(self, run: Run) -> None:
        job = run.job
        if run.draining and job.effect == "physical":
            error = JobError(
                "job_interrupted",
                f"job {job.id} was cut off when labd was stopped; {_physical_hint(job)}",
                "JobInterrupted",
            )
            self._end(job, "job.interrupted", JobState.INTERRUPTED, error)
        elif run.draining:
            self._requeue(job, self._clock.wall(), "job.requeued", None)
        elif run.end_reason is not None:
            self._end(job, "job.cancelled", JobState.CANCELLED, run.end_reason)
        else:
            message = f"{job.task} (job {job.id}) cancelled itself; a task ends by returning or raising"
            self._fail(run, JobError("task_failed", message, "CancelledError"))

    def _fail(self, run: Run, error: JobError) -> None:
        job = run.job
        if job.state is JobState.RUNNING and retry.may_retry(
            job.effect, job.attempt, job.max_attempts, error.retryable
        ):
            delay_s = retry.delay_s(job.attempt, run.spec.retry_delay_s, run.spec.backoff, self._random)
            self._requeue(job, self._clock.wall() + delay_s, "job.retrying", error)
            return
        if job.effect == "physical" and error.code == "worker_died":
            self._end(job, "job.interrupted", JobState.INTERRUPTED, error)  # nobody knows how far it came
            return
        self._end(job, "job.failed", JobState.FAILED, error)

    def _requeue(self, job: Job, run_at: float, kind: str, error: JobError | None) -> None:
        job.run_at = run_at
        job.rank = rank(job.priority, run_at, self._ageing_s)
        job.error = error
        lane = self._dispatcher.lanes[job.queue]
        lane.queued += 1
        self.waiting.forget(job)
        data = None if error is None else {"code": error.code, "message": error.message, "run_at": iso(run_at)}
        self._book.change(job, kind, JobState.QUEUED, data)
        self.wait_for_turn(job)

    def wait_for_turn(self, job: Job) -> None:
        """Put a queued job where it is looked for: ready now, ready later, or held."""
        if job.hold is not None:
            return
        if job.run_at > max(self._clock.wall(), job.created_at):  # one without a delay waits for no clock
            self._delayed.offer(job)
        else:
            self._dispatcher.offer(job)
        self._wake()

    def _expire(self, job: Job) -> None:
        waited_s = self._clock.wall() - job.created_at
        waited = f"waited {waited_s:.0f} s" if waited_s >= 0 else "has waited since before the clock was set back"
        if job.attempt:
            waited += f" for another try since its start at {iso(job.started_at)} (what it did then stands)"
        error = JobError(
            "job_expired",
            f"job {job.id} {waited}, past its expires_at {iso(job.expires_at)}; submit it again if it is still wanted",
            "JobExpired",
            {"expires_at": iso(job.expires_at)},
        )
        self._end(job, "job.cancelled", JobState.CANCELLED, error)

    def cancel_queued(self, job: Job, reason: JobError) -> None:
        """A job that has not started ends at once."""
        lane = self._dispatcher.lanes[job.queue]
        self._dispatcher.withdraw(job)
        self._delayed.withdraw(job)
        lane.queued -= 1
        if job.hold is not None:
            lane.held -= 1
            job.hold = None
        self._end(job, "job.cancelled", JobState.CANCELLED, reason)

    def cancel_going(self, job: Job, reason: JobError) -> None:
        """Ask a running job to end; it is `cancelled` only when its work has ended."""
        run = self.going[job.id]
        if run.end_reason is None:
            run.end_reason = reason
            self._book.change(
                job, "job.cancelling", JobState.CANCELLING, {"code": reason.code, "message": reason.message}
            )
            if run.task is not None:
                run.task.cancel()

    async def drain(self, limit_s: float, at_rest: Callable[[], None]) -> None:
        """Let running work end for `limit_s`, then cut it off; returns when all of it has ended."""
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            pass
        at_rest()
        for run in list(self.going.values()):
            run.draining = run.end_reason is None
            if run.task is not None:
                run.task.cancel()
            elif run.end_reason is None:
                run.end_reason = JobError("job_interrupted", "labd was stopped", "JobInterrupted")
        await self._idle.wait()

    async def abandon(self) -> None:
        """Give up what still runs, as a death of the daemon would: the next start settles it."""
        self._abandoned = True
        tasks = [run.task for run in self.going.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # carriers that had nothing to begin end here

    def hold(self, job: Job, hold: Hold) -> None:
        """Let a queued job wait for a person."""
        self._dispatcher.withdraw(job)
        self._delayed.withdraw(job)
        if job.hold is None:
            self._dispatcher.lanes[job.queue].held += 1
        job.hold = hold
        self._book.change(job, "job.held", None, {"code": hold.code, "reason": hold.reason})

    def _add_line(self, job: Job, level: str, text: str) -> None:
        self._logbook.add_line(job.id, self._clock.wall(), job.attempt, level, text)

    async def _consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        """Debit what a job takes from stock; on disk when it returns."""
        self._attendance.consume(job, step, volumes_ul)
        await self._journal.commit()

    def _set_progress(self, job: Job, done: float, total: float | None, text: str) -> None:
        """Keep the newest figure; write and tell it at most every half second."""
        run = self.going.get(job.id)
        job.progress = Progress(done, total, text)
        now = self._clock.monotonic()
        if run is not None and now - run.progress_at >= PROGRESS_S:
            run.progress_at = now
            self._book.change(job, "job.progress", None, {"done": done, "total": total, "text": text})


def cancel_reason(caller: Caller, reason: str, code: str = "job_cancelled") -> JobError:
    """The error of a cancelled job: who, and why."""
    because = f": {reason}" if reason else ""
    return JobError(code, f"cancelled by {caller.name}{because}", "JobCancelled", {"by": caller.name})


def _physical_hint(job: Job) -> str:
    return f"look at the device, then `labctl job retry {job.id}` or `labctl job cancel {job.id}`"

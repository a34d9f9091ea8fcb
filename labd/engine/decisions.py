"""What people and wings decide about jobs that are there: cancel, hold, release, retry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labd.clock import Clock
from labd.engine.attendant import Attendance
from labd.engine.audit_trail import AuditTrail
from labd.engine.dispatcher import Dispatcher, rank
from labd.engine.job import ENDED, Caller, Hold, Job, JobError, JobState
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.registry import Registry, StopSpec, TaskSpec
from labd.engine.runs import Runs, cancel_reason
from labd.errors import Draining, JobStateConflict

RETRIABLE = (JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)


class Decisions:
    """Acts on single jobs, and on all jobs of a resource.

    Args:
        spawn: Runs a coroutine beside, under a name.
    """

    def __init__(
        self, book: JobBook, runs: Runs, dispatcher: Dispatcher, journal: Journal, registry: Registry,
        audit: AuditTrail, clock: Clock, ageing_s: float,
        expires_in_s: float, spawn: Callable[[Any, str], None], attendance: Attendance,
    ) -> None:  # fmt: skip
        self._book = book
        self._runs = runs
        self._dispatcher = dispatcher
        self._journal = journal
        self._registry = registry
        self._audit = audit
        self._clock = clock
        self._ageing_s = ageing_s
        self._expires_in_s = expires_in_s
        self._spawn = spawn
        self._attendance = attendance

    async def cancel(self, job_id: int, caller: Caller, reason: str = "") -> Job:
        """Withdraw a waiting job, or ask a running one to end; it is `cancelled` only when its work has ended.

        Raises:
            JobStateConflict: It has ended.
        """
        job = await self._book.find(job_id)
        if job.state in ENDED and job.state is not JobState.INTERRUPTED:
            raise JobStateConflict(
                f"job {job_id} is {job.state} already; there is nothing to cancel", job=job_id, state=job.state
            )
        self._audit.add(caller, "job.cancel", f"job {job_id}", {"state": job.state, "reason": reason})
        self._cancel(job, cancel_reason(caller, reason))
        await self._journal.commit()
        return job

    def _cancel(self, job: Job, reason: JobError) -> None:
        if job.state is JobState.QUEUED:
            self._runs.cancel_queued(job, reason)
        elif job.state is JobState.INTERRUPTED:
            self._book.change(
                job, "job.cancelled", JobState.CANCELLED, {"code": reason.code, "message": reason.message}
            )
            if job.parent_id is not None:
                self._runs.waiting.ended(job)  # it waited for this decision
        elif job.id in self._runs.going:
            self._runs.cancel_going(job, reason)
        elif job.state is JobState.WAITING:
            self._runs.cancel_waiting(job, reason)

    def cancel_child(self, job_id: int, reason: JobError) -> None:
        """Cancel a child of a job that is being cancelled; its end lets the parent end."""
        self._spawn(self._cancel_child(job_id, reason), "cancel child")

    async def _cancel_child(self, job_id: int, reason: JobError) -> None:
        child = await self._book.find(job_id)
        if child.state not in ENDED:
            self._cancel(child, reason)

    def cancel_holding(self, resource: str, caller: Caller, reason: str, error_code: str) -> list[int]:
        """Ask everything that holds or waits for a resource to end; never waits. Returns the ids known in memory.

        Queued jobs that are only on disk follow in the background; close a gate first so that none starts meanwhile.
        """
        self._book.sweeps[resource] = self._book.sweeps.get(resource, 0) + 1
        error = cancel_reason(caller, reason, error_code)
        found = [job for job in list(self._book.live.values()) if resource in job.resources and job.state not in ENDED]
        for job in found:
            self._cancel(job, error)
        self._spawn(self._sweep_disk(resource, lambda job: self._cancel(job, error)), "cancel_holding")
        return [job.id for job in found]

    def hold_queued(self, resource: str, code: str, reason: str) -> list[int]:
        """Let every queued job of a resource wait for `release`."""
        self._book.sweeps[resource] = self._book.sweeps.get(resource, 0) + 1
        hold = Hold(code, reason, self._clock.wall())
        found = [
            j
            for j in list(self._book.live.values())
            if resource in j.resources and j.state is JobState.QUEUED and j.hold is None
        ]
        for job in found:
            self._runs.hold(job, hold)
        self._spawn(self._sweep_disk(resource, lambda job: self._runs.hold(job, hold)), "hold_queued")
        return [job.id for job in found]

    async def _sweep_disk(self, resource: str, act: Callable[[Job], None]) -> None:
        before = self._book.last_id
        is_old = True
        while is_old:
            is_old = False
            async with self._book.reading() as changed:
                for row in await self._journal.read("queued_physical"):
                    job = self._book.current(row, changed)
                    if job is None:
                        is_old = True
                    elif job.id <= before and resource in job.resources and _waits_freely(job):
                        act(job)

    async def retry(self, job_id: int, caller: Caller) -> Job:
        """Queue a job again that failed, was cancelled or was interrupted; a person's decision.

        Raises:
            JobStateConflict: It waits, runs or has succeeded.
            Refused: The task's precondition does not hold.
        """
        job = await self._book.settled(job_id)
        if job.state not in RETRIABLE:
            raise JobStateConflict(
                f"job {job_id} is {job.state}; only failed, cancelled and interrupted jobs are retried",
                job=job_id,
                state=job.state,
            )
        spec = self._registry.find(job.task)
        if isinstance(spec, StopSpec):
            raise JobStateConflict(f"job {job_id} was a stop; stop again instead", job=job_id)
        if spec.precheck is not None:
            spec.precheck(job.args)
        if self._dispatcher.stopped is not None:
            raise Draining("labd is ending; retry when it is back")
        await self._runs.waiting.forget_failed(job_id)
        if job.state not in RETRIABLE:
            raise JobStateConflict(f"job {job_id} was retried by somebody else just now", job=job_id, state=job.state)
        self._attendance.check_retry(job)  # no await from here to the change
        now = self._clock.wall()
        job.max_attempts = max(job.max_attempts, job.attempt + spec.max_attempts)
        job.run_at, job.rank = now, rank(job.priority, now, self._ageing_s)
        job.finished_at, job.result, job.progress, job.crashes = None, None, None, 0
        if job.effect == "physical":
            job.expires_at = now + (spec.expires_in_s or self._expires_in_s)
        self._dispatcher.lanes[job.queue].queued += 1
        self._audit.add(caller, "job.retry", f"job {job_id}", {"task": job.task, "from": job.state})
        self._book.change(job, "job.retried", JobState.QUEUED, {"by": caller.name})
        self._runs.wait_for_turn(job)
        await self._journal.commit()
        return job

    async def release(self, job_id: int, caller: Caller) -> Job:
        """Let a held job go.

        Raises:
            JobStateConflict: It is not held.
        """
        job = await self._book.find(job_id)
        if job.state is not JobState.QUEUED or job.hold is None:
            raise JobStateConflict(f"job {job_id} is {job.state} and not held; there is nothing to release", job=job_id)
        now = self._clock.wall()
        code, job.hold = job.hold.code, None
        self._dispatcher.lanes[job.queue].held -= 1
        if job.effect == "physical":
            spec = self._registry.find(job.task)
            own_s = spec.expires_in_s if isinstance(spec, TaskSpec) else None
            job.expires_at = max(now, job.run_at) + (own_s or self._expires_in_s)
        self._audit.add(caller, "job.release", f"job {job_id}", {"task": job.task, "held_for": code})
        self._book.change(job, "job.released", None, {"by": caller.name})
        self._runs.wait_for_turn(job)
        await self._journal.commit()
        return job


def _waits_freely(job: Job) -> bool:
    return job.state is JobState.QUEUED and job.hold is None

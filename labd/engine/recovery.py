"""What a starting daemon makes of the jobs that the last one left: the rules of the promises, applied once.

physical and going        -> interrupted, waits for a person
repeatable and going      -> queued again, the attempt counted; after `CRASH_LIMIT` deaths it fails
cancelling and repeatable -> cancelled: its work has ended with the process
waiting                   -> waiting: no body was running, its steps are on disk
restored from a backup    -> queued physical jobs are held: they may have run since the backup was made
"""

from __future__ import annotations

from dataclasses import dataclass

from labd.clock import Clock
from labd.engine import rows
from labd.engine.dispatcher import rank
from labd.engine.job import Hold, Job, JobError, JobState
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.registry import Registry, TaskSpec
from labd.errors import UnknownTask

CRASH_LIMIT = 5


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found, for the log."""

    interrupted: int
    requeued: int
    failed: int
    held: int


async def recover(
    book: JobBook, journal: Journal, registry: Registry, clock: Clock, ageing_s: float, restored: str | None
) -> Recovered:
    """Settle every job that was going; returns when the result is on disk."""
    now = clock.wall()
    interrupted = requeued = failed = 0
    for row in await journal.read("going"):
        job = rows.from_row(row)
        if job.state is JobState.WAITING:
            continue  # nothing of it ran; its steps are taken up again
        if job.effect == "physical":
            interrupted += 1
            _interrupt(book, job, now)
        elif job.state is JobState.CANCELLING:
            _end(
                book,
                job,
                now,
                "job.cancelled",
                JobState.CANCELLED,
                JobError("job_cancelled", "labd ended while it was being cancelled"),
            )
        elif job.crashes >= CRASH_LIMIT:
            failed += 1
            message = (
                f"the daemon died {job.crashes + 1} times while job {job.id} ran; it is not tried again, see its log"
            )
            _end(book, job, now, "job.failed", JobState.FAILED, JobError("job_interrupted", message, "JobInterrupted"))
        else:
            requeued += 1
            job.crashes += 1
            job.max_attempts = max(job.max_attempts, job.attempt + 1)
            job.run_at = now
            job.rank = rank(job.priority, now, ageing_s)
            book.change(job, "job.requeued", JobState.QUEUED, {"reason": "the daemon died while it ran"})
    held = await _hold(book, journal, registry, now, restored)
    await journal.commit()
    return Recovered(interrupted, requeued, failed, held)


def _interrupt(book: JobBook, job: Job, now: float) -> None:
    message = (
        f"the daemon died while job {job.id} ({job.task}) ran; nobody knows how far it came. "
        f"Look at the device, then `labctl job retry {job.id}` or `labctl job cancel {job.id}`"
    )
    _end(
        book, job, now, "job.interrupted", JobState.INTERRUPTED, JobError("job_interrupted", message, "JobInterrupted")
    )


def _end(book: JobBook, job: Job, now: float, kind: str, state: JobState, error: JobError) -> None:
    job.finished_at = now
    job.error = error
    book.change(job, kind, state, {"code": error.code, "message": error.message})


async def _hold(book: JobBook, journal: Journal, registry: Registry, now: float, restored: str | None) -> int:
    """Hold what must not start by itself, and let go what was held only because its task was missing."""
    held = 0
    for row in await journal.read("queued_physical"):
        job = rows.from_row(row)
        if restored is not None and job.hold is None:
            job.hold = Hold("restored", f"it comes from a backup ({restored}) and may have run since", now)
        elif not knows(registry, job) and job.hold is None:
            job.hold = Hold("task_missing", f"no wing offers {job.task} now", now)
        elif job.hold is not None and job.hold.code == "task_missing" and knows(registry, job):
            job.hold = None
            book.change(job, "job.released", None, {"reason": f"{job.task} is offered again"})
            continue
        else:
            continue
        held += 1
        book.change(job, "job.held", None, {"code": job.hold.code, "reason": job.hold.reason})
    return held


def knows(registry: Registry, job: Job) -> bool:
    """True if a wing offers the job's task now."""
    try:
        return isinstance(registry.find(job.task), TaskSpec)
    except UnknownTask:
        return False

"""A job, its states and the moves between them: values and rules, no I/O.

submit -> queued -> running -> succeeded | failed | waiting | cancelling
queued -> cancelled                (withdrawn, or expired before it could start)
running -> queued                  (an attempt failed and others are left, or the daemon died: repeatable only)
running -> interrupted             (the daemon died or drained while a physical job ran)
cancelling -> cancelled            (only when the work has really ended; it may end as succeeded or failed instead)
failed, cancelled, interrupted -> queued   (a person says `retry`)
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, NewType

import msgspec

from labd.clock import iso

JobId = NewType("JobId", int)
Effect = Literal["repeatable", "physical"]


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for its turn, its run_at, a resource or a release
    RUNNING = "running"  # the start is on disk, the work is going on
    WAITING = "waiting"  # gave back slot and worker until a child or an answer is there
    CANCELLING = "cancelling"  # asked to end; the work has not ended yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # cut off while physical; waits for a person


S = JobState
FINAL = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED})
ENDED = FINAL | {S.INTERRUPTED}
GOING = frozenset({S.RUNNING, S.WAITING, S.CANCELLING})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    S.QUEUED: frozenset({S.RUNNING, S.CANCELLED}),
    S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.QUEUED, S.WAITING, S.CANCELLING, S.INTERRUPTED}),
    S.WAITING: frozenset({S.RUNNING, S.CANCELLING, S.FAILED, S.QUEUED, S.INTERRUPTED}),
    S.CANCELLING: frozenset({S.CANCELLED, S.SUCCEEDED, S.FAILED, S.INTERRUPTED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset({S.QUEUED}),
    S.CANCELLED: frozenset({S.QUEUED}),
    S.INTERRUPTED: frozenset({S.QUEUED, S.CANCELLED}),
}


class JobError(msgspec.Struct, omit_defaults=True):
    """Why an attempt failed; `code` as in `labd.errors`."""

    code: str
    message: str
    type: str = ""
    details: dict[str, Any] = {}
    traceback: str = ""
    retryable: bool = False


class Hold(msgspec.Struct):
    """A queued job that waits for a person."""

    code: str
    reason: str
    since: float


class Progress(msgspec.Struct):
    """How far a job is, in the task's own unit."""

    done: float
    total: float | None = None
    text: str = ""


class Submission(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller asks for; everything but `task` has the task's or the queue's default.

    `run_at` and `expires_at` are ISO 8601 instants; `delay_s` and `expires_in_s` the same counted from now. `override`
    is the reason for which the job is taken though its stock is short.
    """

    task: str
    args: dict[str, Any] = {}
    queue: str | None = None
    priority: int | None = None
    run_at: str | None = None
    delay_s: float | None = None
    expires_at: str | None = None
    expires_in_s: float | None = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    idempotency_key: str | None = None
    tags: list[str] = []
    resources: list[str] | None = None
    parent_id: int | None = None
    step: int | None = None
    schedule: str | None = None
    no_cache: bool = False
    override: str | None = None


class Job(msgspec.Struct):
    """One request to run a task; instants are seconds since 1970 (UTC).

    `needs` are the microlitres it takes from each reservoir, None where it takes nothing that is kept account of.
    """

    id: int
    task: str
    args: dict[str, Any]
    queue: str
    priority: int
    state: JobState
    attempt: int
    max_attempts: int
    rank: float
    run_at: float
    created_at: float
    submitted_by: str
    effect: Effect
    resources: tuple[str, ...] = ()
    timeout_s: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    idempotency_key: str | None = None
    result: Any = None
    error: JobError | None = None
    progress: Progress | None = None
    hold: Hold | None = None
    tags: tuple[str, ...] = ()
    parent_id: int | None = None
    step: int | None = None
    schedule: str | None = None
    simulated: bool = False
    crashes: int = 0
    seq: int = 0
    locks: tuple[str, ...] | None = None
    code: dict[str, Any] | None = None
    asks: dict[str, Any] | None = None
    cached_from: int | None = None
    needs: dict[str, float] | None = None
    override: str | None = None

    @property
    def lock_names(self) -> tuple[str, ...]:
        """What the job occupies: its resources, those that an ancestor holds as `resource@ancestor`.

        Why: a child works on what its waiting parent holds, so neither can lock the other out, and two children of
        one parent still take turns.
        """
        return self.resources if self.locks is None else self.locks


class JobView(msgspec.Struct):
    """A job as on the wire; instants are ISO 8601."""

    id: int
    task: str
    state: JobState
    args: dict[str, Any]
    attempt: int
    max_attempts: int
    queue: str
    priority: int
    effect: Effect
    result: Any
    error: JobError | None
    progress: Progress | None
    hold: dict[str, Any] | None
    submitted_by: str
    created_at: str
    run_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    timeout_s: float | None
    resources: tuple[str, ...]
    tags: tuple[str, ...]
    idempotency_key: str | None
    parent_id: int | None
    step: int | None
    schedule: str | None
    simulated: bool
    seq: int
    code: dict[str, Any] | None
    asks: dict[str, Any] | None
    cached_from: int | None
    needs: dict[str, float] | None
    override: str | None


def view(job: Job) -> JobView:
    """The job as the API and the command line show it."""
    hold = None
    if job.hold is not None:
        hold = {"code": job.hold.code, "reason": job.hold.reason, "since": iso(job.hold.since)}
    return JobView(
        job.id,
        job.task,
        job.state,
        job.args,
        job.attempt,
        job.max_attempts,
        job.queue,
        job.priority,
        job.effect,
        job.result,
        job.error,
        job.progress,
        hold,
        job.submitted_by,
        iso(job.created_at) or "",
        iso(job.run_at) or "",
        iso(job.started_at),
        iso(job.finished_at),
        iso(job.expires_at),
        job.timeout_s,
        job.resources,
        job.tags,
        job.idempotency_key,
        job.parent_id,
        job.step,
        job.schedule,
        job.simulated,
        job.seq,
        job.code,
        job.asks,
        job.cached_from,
        job.needs,
        job.override,
    )


def brief_view(job: Job) -> JobView:
    """The job as a list shows it: without its result and the traceback of its error, which may be long."""
    shown = view(job)
    shown.result = None
    if shown.error is not None and shown.error.traceback:
        shown.error = msgspec.structs.replace(shown.error, traceback="")
    return shown


class Cause(msgspec.Struct):
    """One thing that holds a job back, as `why` tells it."""

    code: str
    message: str
    details: dict[str, Any] = {}


class Caller(msgspec.Struct, frozen=True):
    """Who asks: `unix:alice`, `token:dashboard`, `schedule:nightly`, `labd`; scopes of read, operate, admin."""

    name: str
    scopes: frozenset[str] = frozenset({"read"})
    via: str = "internal"


INTERNAL = Caller("labd", frozenset({"read", "operate", "admin"}))

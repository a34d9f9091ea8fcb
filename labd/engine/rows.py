"""Jobs and events as rows of the journal, both ways."""

from __future__ import annotations

from typing import Any

import msgspec

from labd.engine.job import Effect, Hold, Job, JobError, JobState, Progress

_encode = msgspec.json.Encoder().encode
_error = msgspec.json.Decoder(JobError).decode
_hold = msgspec.json.Decoder(Hold).decode

COLUMNS = (
    "id", "task", "args", "queue", "priority", "state", "attempt", "max_attempts", "rank", "run_at", "created_at",
    "started_at", "finished_at", "expires_at", "submitted_by", "effect", "idempotency_key", "tags", "seq", "hold",
    "result", "error", "more",
)  # fmt: skip
CHANGING = (
    "priority", "state", "attempt", "max_attempts", "rank", "run_at", "started_at", "finished_at", "expires_at",
    "seq", "hold", "result", "error", "more",
)  # fmt: skip
UPSERT_HEAD = f"INSERT INTO jobs ({', '.join(COLUMNS)}) VALUES"
UPSERT_TAIL = "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in CHANGING)


class More(msgspec.Struct, omit_defaults=True):
    """What no statement asks for."""

    timeout_s: float | None = None
    resources: tuple[str, ...] = ()
    progress: Progress | None = None
    parent_id: int | None = None
    step: int | None = None
    schedule: str | None = None
    simulated: bool = False
    crashes: int = 0


_more = msgspec.json.Decoder(More).decode
decode = msgspec.json.decode
_PLAIN = "{}"


def _more_text(job: Job) -> str:
    more = More(
        job.timeout_s, job.resources, job.progress, job.parent_id, job.step, job.schedule, job.simulated, job.crashes
    )
    return _encode(more).decode()


def to_row(job: Job) -> tuple[Any, ...]:
    """The job as the journal stores it, in the order of `COLUMNS`."""
    return (
        job.id,
        job.task,
        _encode(job.args).decode() if job.args else _PLAIN,
        job.queue,
        job.priority,
        job.state.value,
        job.attempt,
        job.max_attempts,
        job.rank,
        job.run_at,
        job.created_at,
        job.started_at,
        job.finished_at,
        job.expires_at,
        job.submitted_by,
        job.effect,
        job.idempotency_key,
        f" {' '.join(job.tags)} " if job.tags else "",
        job.seq,
        None if job.hold is None else _encode(job.hold).decode(),
        None if job.result is None else _encode(job.result).decode(),
        None if job.error is None else _encode(job.error).decode(),
        _more_text(job),
    )


def from_row(row: tuple[Any, ...]) -> Job:
    """The job of a row."""
    more = _more(row[22])
    effect: Effect = row[15]
    return Job(
        id=row[0],
        task=row[1],
        args=decode(row[2]),
        queue=row[3],
        priority=row[4],
        state=JobState(row[5]),
        attempt=row[6],
        max_attempts=row[7],
        rank=row[8],
        run_at=row[9],
        created_at=row[10],
        started_at=row[11],
        finished_at=row[12],
        expires_at=row[13],
        submitted_by=row[14],
        effect=effect,
        idempotency_key=row[16],
        tags=tuple(row[17].split()),
        seq=row[18],
        hold=None if row[19] is None else _hold(row[19]),
        result=None if row[20] is None else decode(row[20]),
        error=None if row[21] is None else _error(row[21]),
        timeout_s=more.timeout_s,
        resources=more.resources,
        progress=more.progress,
        parent_id=more.parent_id,
        step=more.step,
        schedule=more.schedule,
        simulated=more.simulated,
        crashes=more.crashes,
    )

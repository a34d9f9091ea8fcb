"""Jobs and events as rows of the journal, both ways."""

from __future__ import annotations

from typing import Any

import msgspec

from labd.engine import storable
from labd.engine.job import Hold, Job, JobError, JobState, Progress

_encode = storable.encoded
_error = msgspec.json.Decoder(JobError).decode
_hold = msgspec.json.Decoder(Hold).decode

COLUMNS = (
    "id", "task", "args", "queue", "priority", "state", "attempt", "max_attempts", "rank", "run_at", "created_at",
    "started_at", "finished_at", "expires_at", "submitted_by", "effect", "idempotency_key", "tags", "schedule", "seq",
    "hold", "result", "error", "more",
)  # fmt: skip
CHANGING = (
    "state", "attempt", "max_attempts", "rank", "run_at", "started_at", "finished_at", "expires_at", "seq", "hold",
    "result", "error", "more",
)  # fmt: skip
UPDATE = f"UPDATE jobs SET {', '.join(f'{name} = v.column{n}' for n, name in enumerate(CHANGING, start=2))} FROM"  # noqa: S608
START = "UPDATE jobs SET state = 'running', attempt = v.column2, started_at = v.column3, seq = v.column4 FROM"
START_OF_CODE = START.replace(" FROM", ", more = v.column5 FROM")
SUCCEED = (
    "UPDATE jobs SET state = 'succeeded', finished_at = v.column2, seq = v.column3, result = v.column4, error = NULL, "
    "hold = NULL FROM"
)
OF_JOB = "AS v WHERE jobs.id = v.column1"


class More(msgspec.Struct, omit_defaults=True):
    """What no statement asks for."""

    timeout_s: float | None = None
    resources: tuple[str, ...] = ()
    progress: Progress | None = None
    parent_id: int | None = None
    step: int | None = None
    simulated: bool = False
    crashes: int = 0
    locks: tuple[str, ...] | None = None
    code: dict[str, Any] | None = None
    asks: dict[str, Any] | None = None
    cached_from: int | None = None
    needs: dict[str, float] | None = None
    override: str | None = None


_more = msgspec.json.Decoder(More).decode
decode = msgspec.json.decode
NO_MORE = More()
_PLAIN = "{}"
_NOTHING = (None, (), None, None, False, 0)
_CODES = 256
_code_texts: dict[int, tuple[dict[str, Any], str]] = {}


def encode(value: Any) -> str:
    """JSON as the journal stores it."""
    return _encode(value).decode()


def _text(value: Any) -> str | None:
    return None if value is None else _encode(value).decode()


def _more_text(job: Job) -> str:
    if job.effect == "repeatable" and job.asks is None and job.cached_from is None and job.needs is None and (
        job.timeout_s, job.resources, job.progress, job.parent_id, job.simulated, job.crashes
    ) == _NOTHING:  # fmt: skip
        return _PLAIN if job.code is None else _code_text(job.code)
    if job.code is not None:
        _code_text(job.code)
    more = More(
        job.timeout_s, job.resources, job.progress, job.parent_id, job.step, job.simulated, job.crashes, job.locks,
        job.code, job.asks, job.cached_from, job.needs, job.override,
    )  # fmt: skip
    return _encode(more).decode()


def _code_text(code: dict[str, Any]) -> str:
    """What is kept of a job with nothing special but its code; made once, as all jobs of a task share the object."""
    found = _code_texts.get(id(code))
    if found is None:
        if len(_code_texts) >= _CODES:
            _code_texts.clear()
        found = _code_texts[id(code)] = (code, _encode(More(code=code)).decode())  # with it, so its id stays its own
    return found[1]


def to_row(job: Job) -> tuple[Any, ...]:
    """A new job, in the order of `COLUMNS`."""
    return (
        job.id,
        job.task,
        _encode(job.args).decode() if job.args else _PLAIN,
        job.queue,
        job.priority,
        job.state._value_,
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
        job.schedule,
        job.seq,
        _text(job.hold),
        _text(job.result),
        _text(job.error),
        _more_text(job),
    )


def to_change(job: Job) -> tuple[Any, ...]:
    """What may have changed of a stored job: its id, then `CHANGING`."""
    return (
        job.id,
        job.state._value_,
        job.attempt,
        job.max_attempts,
        job.rank,
        job.run_at,
        job.started_at,
        job.finished_at,
        job.expires_at,
        job.seq,
        _text(job.hold),
        _text(job.result),
        _text(job.error),
        _more_text(job),
    )


def is_plain_start(job: Job) -> bool:
    """True for a first start that nothing else has followed yet."""
    return job.state is JobState.RUNNING and job.attempt == 1 and job.progress is None


def to_start(job: Job) -> tuple[Any, ...]:
    """What the start of a job adds to its row, for `START`."""
    return (job.id, job.attempt, job.started_at, job.seq)


def to_start_of_code(job: Job) -> tuple[Any, ...]:
    """The same of a job whose code is known by now, for `START_OF_CODE`."""
    return (job.id, job.attempt, job.started_at, job.seq, _more_text(job))


def is_plain_success(job: Job) -> bool:
    """True for the most frequent change: nothing but the end is new since the start was stored.

    Other code than the task's, as a worker finds it where a file has just been changed, is new: nobody encoded it yet.
    """
    return (
        job.state is JobState.SUCCEEDED and job.progress is None and (job.code is None or id(job.code) in _code_texts)
    )


def to_success(job: Job) -> tuple[Any, ...]:
    """What the end of a job adds to its row, for `SUCCEED`."""
    return (job.id, job.finished_at, job.seq, _text(job.result))


def from_row(row: tuple[Any, ...]) -> Job:
    """The job of a row."""
    more = NO_MORE if row[23] == _PLAIN else _more(row[23])
    return Job(
        row[0],
        row[1],
        decode(row[2]) if row[2] != _PLAIN else {},
        row[3],
        row[4],
        JobState(row[5]),
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[14],
        row[15],
        more.resources,
        more.timeout_s,
        row[11],
        row[12],
        row[13],
        row[16],
        None if row[21] is None else decode(row[21]),
        None if row[22] is None else _error(row[22]),
        more.progress,
        None if row[20] is None else _hold(row[20]),
        tuple(row[17].split()),
        more.parent_id,
        more.step,
        row[18],
        more.simulated,
        more.crashes,
        row[19],
        more.locks,
        more.code,
        more.asks,
        more.cached_from,
        more.needs,
        more.override,
    )

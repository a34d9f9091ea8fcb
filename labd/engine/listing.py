"""A page of the list of jobs as JSON: read in one step beside the event loop, put together over many of its turns.

Why not row by row: a page of a thousand jobs made of `Job` and `JobView` costs the loop 40 ms at once, and reading it
gives the interpreter's lock away a thousand times; a hundred clients that ask for such pages, and do not even read
them, made a submission wait for 1.4 s. Here the database hands over a page as one text, and its lines are put together
from what is stored: arguments, results and faults are JSON already. `tests/unit/test_job_listing.py` compares every
sort of job with `view`.

Why the lines are made on the loop after all, and not by a thread: a thread that computes has the lock whenever the loop
comes back from a system call, and each request has a dozen of those.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from labd.clock import iso
from labd.engine import rows
from labd.engine.job import Hold, JobError
from labd.engine.rows import More
from labd.engine.views import JobFilter

ROWS_A_TURN = 25  # 0.2 ms
MICROSECONDS = "CAST({0} AS INTEGER) * 1000000 + CAST(round(({0} - CAST({0} AS INTEGER)) * 1e6) AS INTEGER)"
_INSTANTS = ("created_at", "run_at", "started_at", "finished_at", "expires_at")
_COLUMNS = (
    "id", "task", "state", "args", "attempt", "max_attempts", "queue", "priority", "effect", "result", "error", "hold",
    "submitted_by", *(MICROSECONDS.format(each) for each in _INSTANTS), "tags", "idempotency_key", "schedule", "seq",
    "more",
)  # fmt: skip
_SELECT = f"SELECT json_group_array(json_array({', '.join(_COLUMNS)})) FROM"
_decode_page = msgspec.json.Decoder(list[list[Any]]).decode
_decode_more = msgspec.json.Decoder(More).decode
_decode_hold = msgspec.json.Decoder(Hold).decode
_decode_error = msgspec.json.Decoder(JobError).decode


class JobListing(NamedTuple):
    """A page: its jobs as a JSON array, how many, and the number of the last; None of an empty one."""

    text: bytes
    jobs: int
    lowest_id: int | None


def statement(which: JobFilter, by_state: bool = False, by_hold: bool = False) -> tuple[str, list[Any]]:
    """The SELECT of a page as one text, and its parameters; as `JobFilter.statement`."""
    chosen, values = which.statement(by_state, by_hold)
    return f"{_SELECT} ({chosen})", values


async def composed(text: str, brief: bool) -> JobListing:
    """The page of what `statement` found.

    Args:
        brief: Without results and tracebacks, as `brief_view`.
    """
    found = _decode_page(text)
    lines: list[str] = []
    for start in range(0, len(found), ROWS_A_TURN):
        if start:
            await asyncio.sleep(0)
        lines += [_line(brief, *row) for row in found[start : start + ROWS_A_TURN]]
    return JobListing(f"[{','.join(lines)}]".encode(), len(found), found[-1][0] if found else None)


def _line(
    brief: bool, job_id: int, task: str, state: str, args: str, attempt: int, max_attempts: int, queue: str,
    priority: int, effect: str, result: str | None, error: str | None, hold: str | None, submitted_by: str,
    created: int, run: int, started: int | None, finished: int | None, expires: int | None, tags: str,
    key: str | None, schedule: str | None, seq: int, more: str,
) -> str:  # fmt: skip
    """One job; its fields in the order of `JobView`."""
    if more == "{}":
        progress = timeout_s = parent_id = step = code = asks = cached_from = needs = override = "null"
        resources, simulated = "[]", "false"
    else:
        rest = _decode_more(more)
        progress, timeout_s, resources = _json(rest.progress), _json(rest.timeout_s), _json(rest.resources)
        parent_id, step, simulated = _json(rest.parent_id), _json(rest.step), _json(rest.simulated)
        code, asks, cached_from = _json(rest.code), _json(rest.asks), _json(rest.cached_from)
        needs, override = _json(rest.needs), _json(rest.override)
    if brief:
        result, error = None, None if error is None else _without_traceback(error)
    return (
        f'{{"id":{job_id},"task":{name(task)},"state":"{state}","args":{args},"attempt":{attempt},'
        f'"max_attempts":{max_attempts},"queue":{name(queue)},"priority":{priority},"effect":"{effect}",'
        f'"result":{result or "null"},"error":{error or "null"},"progress":{progress},'
        f'"hold":{"null" if hold is None else _hold(hold)},"submitted_by":{name(submitted_by)},'
        f'"created_at":{instant(created)},"run_at":{instant(run)},"started_at":{instant(started)},'
        f'"finished_at":{instant(finished)},"expires_at":{instant(expires)},"timeout_s":{timeout_s},'
        f'"resources":{resources},"tags":{_tags(tags) if tags else "[]"},"idempotency_key":{_json(key)},'
        f'"parent_id":{parent_id},"step":{step},"schedule":{_json(schedule)},"simulated":{simulated},"seq":{seq},'
        f'"code":{code},"asks":{asks},"cached_from":{cached_from},"needs":{needs},"override":{override}}}'
    )


def _json(value: Any) -> str:
    return "null" if value is None else rows.encode(value)


@lru_cache(maxsize=1024)  # tasks, queues, kinds and submitters are few
def name(text: str) -> str:
    """As JSON."""
    return rows.encode(text)


@lru_cache(maxsize=1024)
def _tags(tags: str) -> str:
    return rows.encode(tags.split())


@lru_cache(maxsize=4096)
def _second(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat()[:19]


def instant(microseconds: int | None) -> str:
    """As `iso`; neighbours in a list share their seconds more often than their instants."""
    if microseconds is None:
        return "null"
    second, part = divmod(microseconds, 1_000_000)
    return f'"{_second(second)}.{part:06d}Z"'


def _hold(text: str) -> str:
    hold = _decode_hold(text)
    return rows.encode({"code": hold.code, "reason": hold.reason, "since": iso(hold.since)})


def _without_traceback(text: str) -> str:
    return rows.encode(msgspec.structs.replace(_decode_error(text), traceback=""))

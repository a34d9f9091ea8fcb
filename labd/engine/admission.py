"""From what a caller asked to a job: defaults, limits and refusals, no I/O."""

from __future__ import annotations

import re
from typing import Any

from labd.clock import from_iso
from labd.engine.dispatcher import Lane, rank
from labd.engine.job import Caller, Job, JobState, Submission
from labd.engine.registry import TaskSpec
from labd.errors import BadRequest, IdempotencyConflict, UnknownQueue

TAG = re.compile(r"[A-Za-z0-9_.:/@+-]{1,64}")
RESOURCE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
KEY_LIMIT = 200
ATTEMPTS_LIMIT = 100
DAY_S = 86_400.0
YEAR_S = 366 * DAY_S


def build(
    item: Submission, spec: TaskSpec, args: dict[str, Any], caller: Caller, lanes: dict[str, Lane], job_id: int,
    now: float, ageing_s: float, expires_in_s: float,
) -> Job:  # fmt: skip
    """The job that a submission makes.

    Raises:
        BadRequest, UnknownQueue: Names the field, the value and the limit.
    """
    lane = lanes.get(item.queue or spec.queue)
    if lane is None:
        raise UnknownQueue(
            f"no queue is named {item.queue or spec.queue}; there are {', '.join(lanes)}",
            queue=item.queue or spec.queue,
        )
    priority = _first(item.priority, spec.priority, lane.priority)
    if not 0 <= priority <= 9:
        raise BadRequest(f"priority {priority} is not between 0 (first) and 9", field="priority", value=priority)
    attempts = _first(item.max_attempts, spec.max_attempts)
    if not 1 <= attempts <= ATTEMPTS_LIMIT:
        raise BadRequest(
            f"max_attempts {attempts} is not between 1 and {ATTEMPTS_LIMIT}", field="max_attempts", value=attempts
        )
    timeout_s = item.timeout_s if item.timeout_s is not None else spec.timeout_s
    if timeout_s is not None and not 0 < timeout_s <= YEAR_S:
        raise BadRequest(
            f"timeout_s {timeout_s} is not above 0 and at most {YEAR_S:.0f}", field="timeout_s", value=timeout_s
        )
    run_at = _instant("run_at", item.run_at, "delay_s", item.delay_s, now)
    run_at = now if run_at is None else max(run_at, now)
    expires_at = _instant("expires_at", item.expires_at, "expires_in_s", item.expires_in_s, now)
    if expires_at is None and spec.effect == "physical":
        expires_at = run_at + (spec.expires_in_s or expires_in_s)
    if expires_at is not None and expires_at <= run_at:
        raise BadRequest("expires_at is not after run_at; the job could never start", field="expires_at")
    if item.tags or item.resources or item.idempotency_key is not None:
        _check_names(item)
    resources = spec.resources if isinstance(spec.resources, tuple) else spec.resources(args)
    if item.resources:
        resources = tuple(sorted({*resources, *item.resources}))
    # by position: with 26 keywords the constructor took half of the time of a whole submission
    return Job(
        job_id,
        spec.name,
        args,
        lane.name,
        priority,
        JobState.QUEUED,
        0,  # attempt
        attempts,
        rank(priority, run_at, ageing_s),
        run_at,
        now,  # created_at
        caller.name,
        spec.effect,
        resources,
        timeout_s,
        None,  # started_at
        None,  # finished_at
        expires_at,
        item.idempotency_key,
        None,  # result
        None,  # error
        None,  # progress
        None,  # hold
        (*spec.tags, *item.tags) if item.tags or spec.tags else (),
        item.parent_id,
        item.step,
        item.schedule,
        spec.simulated(args) if spec.simulated is not None else False,
    )


def same_request(existing: Job, task: str, args: dict[str, Any]) -> Job:
    """The job that already has the key, if it is the same request.

    Raises:
        IdempotencyConflict: Another task or other arguments under the same key.
    """
    if existing.task == task and existing.args == args:
        return existing
    raise IdempotencyConflict(
        f"idempotency key {existing.idempotency_key} belongs to job {existing.id} ({existing.task}) with other "
        "arguments; use a new key for a new request",
        job=existing.id,
        key=existing.idempotency_key,
    )


def _first(*values: int | None) -> int:
    for value in values:
        if value is not None:
            return value
    raise ValueError("no default")


def _instant(name: str, text: str | None, delay_name: str, delay_s: float | None, now: float) -> float | None:
    if text is not None and delay_s is not None:
        raise BadRequest(f"{name} and {delay_name} exclude each other; give one", field=name)
    if delay_s is not None:
        if not 0 <= delay_s <= YEAR_S:
            raise BadRequest(
                f"{delay_name} {delay_s} is not between 0 and {YEAR_S:.0f}", field=delay_name, value=delay_s
            )
        return now + delay_s
    if text is None:
        return None
    try:
        return from_iso(text)
    except ValueError as fault:
        raise BadRequest(f"{name}: {fault}", field=name, value=text) from None


def _check_names(item: Submission) -> None:
    for tag in item.tags:
        if not TAG.fullmatch(tag):
            raise BadRequest(f"tag {tag!r}: up to 64 letters, digits or _.:/@+-", field="tags", value=tag)
    for name in item.resources or ():
        if not RESOURCE.fullmatch(name):
            raise BadRequest(f"resource {name!r}: up to 64 letters, digits or _.:-", field="resources", value=name)
    key = item.idempotency_key
    if key is not None and not (0 < len(key) <= KEY_LIMIT and key.isprintable()):
        raise BadRequest(
            f"idempotency_key has {len(key)} characters; 1 to {KEY_LIMIT} printable ones", field="idempotency_key"
        )

"""What a schedule asks for, and which values it may have."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import msgspec

from labd.clock import from_iso
from labd.engine.cron import CronFault, check_fields, zone
from labd.errors import InvalidArguments

Misfire = Literal["skip", "latest", "all"]
Overlap = Literal["skip", "queue_one", "parallel"]

MAX_RUNS_LIMIT = 1000
MAX_INTERVAL_S = 366 * 86_400.0
MAX_JITTER_S = 86_400.0
_TAG = re.compile(r"[A-Za-z0-9_.:/@+-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")  # with "schedule:" in front it must fit a resource's name


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a schedule asks for; `task` may be an alias, `anchor_at` an ISO 8601 instant from which intervals count."""

    name: str
    task: str
    args: dict[str, Any] = {}
    cron: str | None = None
    interval_s: float | None = None
    anchor_at: str | None = None
    timezone: str = "UTC"
    misfire: Misfire = "latest"
    misfire_limit: int = 10
    overlap: Overlap = "skip"
    overlap_limit: int = 2
    jitter_s: float = 0.0
    queue: str | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    paused: bool = False


def check(spec: ScheduleSpec) -> ScheduleSpec:
    """The schedule as it can be kept.

    Raises:
        InvalidArguments: Names the field, its value and the limit.
    """

    def refuse(field: str, value: object, limit: str) -> InvalidArguments:
        return InvalidArguments(
            f"schedule {spec.name}: {field} = {value!r}: {limit}", field=field, value=value, limit=limit
        )

    def within(field: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            raise refuse(field, value, f"must lie between {low:g} and {high:g}")

    if not _NAME.fullmatch(spec.name):
        raise refuse("name", spec.name, "takes 1 to 50 letters, digits, dots, dashes and underscores, no dash in front")
    if not spec.task or len(spec.task) > 200:
        raise refuse("task", spec.task, "takes the name or alias of a task, 1 to 200 characters")
    if (spec.cron is None) == (spec.interval_s is None):
        raise refuse("cron", spec.cron, f"give either cron or interval_s (now {spec.interval_s!r}), not both or none")
    try:
        zone(spec.timezone)
    except ValueError:
        raise refuse("timezone", spec.timezone, "must be an IANA name such as Europe/Berlin or UTC") from None
    if spec.cron is not None:
        try:
            check_fields(spec.cron)
        except CronFault as fault:
            raise refuse("cron", spec.cron, str(fault)) from None
    if spec.interval_s is not None:
        within("interval_s", spec.interval_s, 1, MAX_INTERVAL_S)
    if spec.anchor_at is not None:
        if spec.interval_s is None:
            raise refuse("anchor_at", spec.anchor_at, "only interval_s has an anchor")
        try:
            from_iso(spec.anchor_at)
        except ValueError:
            raise refuse("anchor_at", spec.anchor_at, "must be an instant such as 2026-01-31T08:00:00Z") from None
    for field, choices in (("misfire", get_args(Misfire)), ("overlap", get_args(Overlap))):
        if getattr(spec, field) not in choices:
            raise refuse(field, getattr(spec, field), f"must be one of {', '.join(choices)}")
    within("misfire_limit", spec.misfire_limit, 1, MAX_RUNS_LIMIT)
    within("overlap_limit", spec.overlap_limit, 1, MAX_RUNS_LIMIT)
    within("jitter_s", spec.jitter_s, 0, MAX_JITTER_S)
    if spec.priority is not None:
        within("priority", spec.priority, 0, 9)
    if len(spec.tags) > 32:
        raise refuse("tags", len(spec.tags), "at most 32 tags")
    for tag in spec.tags:
        if not _TAG.fullmatch(tag):
            raise refuse("tags", tag, "a tag has 1 to 64 letters, digits or _.:/@+-")
    return spec

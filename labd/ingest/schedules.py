"""The schedules of ingestions: each definition's own, among the engine's.

Why they are put again only where they differ: a schedule that is put anew forgets what it has missed. Which ones are
the wing's is told by their maker, who stays the same when a person edits one; those that people make, whatever they
ask for, are let alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import structlog

from labd.engine.engine import Engine
from labd.engine.job import INTERNAL
from labd.engine.schedules import ScheduleSpec
from labd.engine.views import ScheduleView
from labd.errors import LabdError
from labd.ingest.record import Record, State

RUN = "ingest.run"
PREFIX = "ingest."
NAME_LIMIT = 50  # of the engine's schedules; names of ingestions may be longer
log = structlog.get_logger("ingest")


def schedule_name(record: Record) -> str:
    """The name of an ingestion's schedule; long names end in a part of the id."""
    name = f"{PREFIX}{record.name}"
    return name if len(name) <= NAME_LIMIT else f"{name[: NAME_LIMIT - 9]}.{record.id[:8]}"


def wanted(record: Record, queue: str) -> ScheduleSpec | None:
    """The schedule that the definition asks for; None where it runs only when asked."""
    rule = record.definition.schedule
    if rule is None or record.state is State.DELETED or (rule.cron is None and rule.interval_s is None):
        return None
    return ScheduleSpec(
        name=schedule_name(record), task=RUN, args={"ingestion": record.id, "trigger": "schedule"}, cron=rule.cron,
        interval_s=rule.interval_s, timezone=rule.timezone, queue=queue, tags=("ingest",),
        paused=record.state is State.PAUSED,
    )  # fmt: skip


async def put(engine: Engine, specs: Iterable[ScheduleSpec]) -> dict[str, str]:
    """Bring the schedules of all ingestions in force; those of none are deleted.

    Returns:
        By name what could not be put, and why.
    """
    views = {view.spec.name: view for view in engine.schedules()}
    left = {name for name, view in views.items() if _is_own(view)}
    refused: dict[str, str] = {}
    for spec in specs:
        old = views.get(spec.name)
        left.discard(spec.name)
        if old is not None and not _is_own(old):
            text = f"a schedule of that name was made by {old.created_by}; delete it, or name the ingestion otherwise"
            refused[spec.name] = text
            log.error("schedule.refused", schedule=spec.name, problem=text)
            continue
        if old is not None and msgspec.to_builtins(old.spec) == msgspec.to_builtins(spec):
            continue
        try:
            await engine.put_schedule(spec, INTERNAL)
        except LabdError as fault:
            refused[spec.name] = fault.message
            log.error("schedule.refused", schedule=spec.name, problem=fault.message)
    for name in sorted(left):
        await engine.delete_schedule(name, INTERNAL)
    return refused


def _is_own(view: ScheduleView) -> bool:
    """Whether labd made it for an ingestion; those of the settings have an origin of their own."""
    by_labd = view.origin == "api" and view.created_by == INTERNAL.name
    return by_labd and view.spec.task == RUN and view.spec.name.startswith(PREFIX)

"""`/api/v1/schedules`: what makes jobs by itself.

Why the types are derived: a schedule on the wire has the fields of the engine's `ScheduleSpec`; a second list of them
would drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.clock import iso
from labd.engine.schedule_spec import ScheduleSpec
from labd.errors import BadRequest

if TYPE_CHECKING:
    from labd.engine.engine import Engine
    from labd.engine.views import ScheduleView

_FIELDS = [field for field in msgspec.structs.fields(ScheduleSpec) if field.name != "name"]


def _derived(name: str, extra: list[tuple[str, Any] | tuple[str, Any, Any]], *, strict: bool) -> type[msgspec.Struct]:
    fields: list[Any] = list(extra)
    for field in _FIELDS:
        if field.default is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, field.default))
        elif field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
        else:
            fields.append((field.name, field.type))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=strict, module=__name__)


# What a caller sends: the engine's fields; the name may be left out where the path says it.
ScheduleBody = _derived("ScheduleBody", [("name", str | None, None)], strict=True)
# What a caller sees: the same fields and where the schedule stands.
ScheduleAnswer = _derived(
    "ScheduleAnswer",
    [
        ("name", str),
        ("origin", str),
        ("created_by", str),
        ("created_at", str),
        ("next_run_at", str | None),
        ("last_run_at", str | None),
    ],
    strict=False,
)


class ScheduleList(msgspec.Struct):
    """All schedules."""

    schedules: list[ScheduleAnswer]  # type: ignore[valid-type]


class PreviewQuery(msgspec.Struct):
    """How many runs to foresee."""

    count: Annotated[int, Meta(ge=1, le=100)] = 5


class Preview(msgspec.Struct):
    """When the next runs would be, without jitter."""

    runs: list[str]


class Deleted(msgspec.Struct):
    """What is no longer there."""

    deleted: str


def schedule_answer(schedule: ScheduleView) -> dict[str, Any]:
    """The schedule as on the wire."""
    return {
        **msgspec.structs.asdict(schedule.spec),
        "origin": schedule.origin,
        "created_by": schedule.created_by,
        "created_at": iso(schedule.created_at),
        "next_run_at": iso(schedule.next_run_at),
        "last_run_at": iso(schedule.last_run_at),
    }


def _spec(body: Any, name: str | None) -> ScheduleSpec:
    fields = msgspec.structs.asdict(body)
    said = fields.pop("name")
    if name is not None and said not in (None, name):
        raise BadRequest(f"the path names the schedule {name}, the body {said}; leave one out", path=name, body=said)
    if not (name or said):
        raise BadRequest("body, field name: a schedule needs a name", field="name")
    return ScheduleSpec(name=name or said, **fields)


def endpoints(engine: Engine) -> list[Endpoint]:
    """Routes of the schedules."""

    async def list_schedules(call: Call) -> dict[str, Any]:
        return {"schedules": [schedule_answer(schedule) for schedule in engine.schedules()]}

    async def show(call: Call) -> dict[str, Any]:
        return schedule_answer(engine.schedule(call.path["name"]))

    async def create(call: Call) -> dict[str, Any]:
        return schedule_answer(await engine.put_schedule(_spec(call.body, None), call.caller, create=True))

    async def put(call: Call) -> dict[str, Any]:
        return schedule_answer(await engine.put_schedule(_spec(call.body, call.path["name"]), call.caller, create=None))

    async def delete(call: Call) -> Deleted:
        await engine.delete_schedule(call.path["name"], call.caller)
        return Deleted(call.path["name"])

    async def pause(call: Call) -> dict[str, Any]:
        await engine.pause_schedule(call.path["name"], call.caller)
        return await show(call)

    async def resume(call: Call) -> dict[str, Any]:
        await engine.resume_schedule(call.path["name"], call.caller)
        return await show(call)

    async def preview(call: Call) -> Preview:
        return Preview([iso(at) or "" for at in engine.preview(call.path["name"], call.query.count)])

    tags = ("schedules",)
    known = ("unknown_schedule",)
    changes = ("invalid_arguments", "unknown_task", "unknown_queue", "store_full")
    root, at = "/api/v1/schedules", "/api/v1/schedules/{name}"
    body, answer = ScheduleBody, ScheduleAnswer
    return [
        Endpoint("GET", root, list_schedules, "read", "All schedules", answer=ScheduleList, tags=tags),
        Endpoint(
            "POST",
            root,
            create,
            "operate",
            "Make a schedule",
            body=body,
            answer=answer,
            status=201,
            tags=tags,
            errors=(*changes, "conflict"),
        ),
        Endpoint("GET", at, show, "read", "One schedule", answer=answer, tags=tags, errors=known),
        Endpoint(
            "PUT", at, put, "operate", "Make or replace a schedule", body=body, answer=answer, tags=tags, errors=changes
        ),
        Endpoint(
            "DELETE", at, delete, "operate", "Remove a schedule; its jobs stay", answer=Deleted, tags=tags, errors=known
        ),
        Endpoint("POST", at + "/pause", pause, "operate", "Make no more jobs", answer=answer, tags=tags, errors=known),
        Endpoint("POST", at + "/resume", resume, "operate", "Make jobs again", answer=answer, tags=tags, errors=known),
        Endpoint(
            "GET",
            at + "/preview",
            preview,
            "read",
            "When the next runs would be",
            query=PreviewQuery,
            answer=Preview,
            tags=tags,
            errors=known,
        ),
    ]

"""`/api/v1/queues`: lanes with a limit, a priority and a pause switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.clock import iso

if TYPE_CHECKING:
    from labd.engine.engine import Engine
    from labd.engine.views import QueueView


class QueueBody(msgspec.Struct):
    """One queue."""

    name: str
    priority: int
    concurrency: int
    paused: bool
    paused_by: str | None
    paused_reason: str | None
    paused_at: str | None
    queued: int
    running: int
    held: int


class QueueList(msgspec.Struct):
    """All queues."""

    queues: list[QueueBody]


class QueueChange(msgspec.Struct, forbid_unknown_fields=True):
    """New limits; what is left out stays."""

    concurrency: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None


class PauseReason(msgspec.Struct, forbid_unknown_fields=True):
    """Why the queue is paused; shown by `why`."""

    reason: Annotated[str, Meta(max_length=1000)] = ""


def queue_body(queue: QueueView) -> QueueBody:
    """The queue as on the wire."""
    paused_at: Any = queue.paused_at
    return QueueBody(
        queue.name,
        queue.priority,
        queue.concurrency,
        queue.paused,
        queue.paused_by,
        queue.paused_reason,
        paused_at if isinstance(paused_at, str) else iso(paused_at),
        queue.queued,
        queue.running,
        queue.held,
    )


def endpoints(engine: Engine) -> list[Endpoint]:
    """Routes of the queues."""

    async def list_queues(call: Call) -> QueueList:
        return QueueList([queue_body(queue) for queue in engine.queues()])

    async def change(call: Call) -> QueueBody:
        body: QueueChange = call.body
        return queue_body(
            await engine.change_queue(
                call.path["name"], call.caller, concurrency=body.concurrency, priority=body.priority
            )
        )

    async def pause(call: Call) -> QueueBody:
        return queue_body(await engine.pause_queue(call.path["name"], call.caller, call.body.reason))

    async def resume(call: Call) -> QueueBody:
        return queue_body(await engine.resume_queue(call.path["name"], call.caller))

    tags = ("queues",)
    known = ("unknown_queue", "store_full")
    at = "/api/v1/queues/{name}"
    return [
        Endpoint("GET", "/api/v1/queues", list_queues, "read", "All queues", answer=QueueList, tags=tags),
        Endpoint(
            "PUT",
            at,
            change,
            "admin",
            "Change limit or priority of a queue",
            body=QueueChange,
            answer=QueueBody,
            tags=tags,
            errors=known,
        ),
        Endpoint(
            "POST",
            at + "/pause",
            pause,
            "operate",
            "Start no more jobs of a queue",
            body=PauseReason,
            answer=QueueBody,
            tags=tags,
            errors=known,
        ),
        Endpoint(
            "POST",
            at + "/resume",
            resume,
            "operate",
            "Start jobs of a queue again",
            answer=QueueBody,
            tags=tags,
            errors=known,
        ),
    ]

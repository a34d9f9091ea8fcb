"""`/api/v1/events`: what happens, as server-sent events with a resume cursor.

Why no queue per listener: the feed hands out events by position, from memory or disk. A slow reader only falls behind
by itself; when it takes nothing for too long its connection is cut, and `Last-Event-ID` brings it back to its place.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from labd.api.connection import connection_of
from labd.api.endpoint import Call, Endpoint
from labd.api.options import ApiOptions
from labd.clock import iso
from labd.errors import BadRequest, Draining

if TYPE_CHECKING:
    from labd.engine.engine import Engine
    from labd.engine.group import Event

RECONNECT_MS = 2000


class EventView(msgspec.Struct):
    """One thing that happened; `seq` rises by time over everything."""

    seq: int
    at: str
    kind: str
    job_id: int | None
    data: dict[str, Any]


class EventsQuery(msgspec.Struct):
    """`after`: everything behind this number; without it from now on. `kind`: prefixes, with commas between them.
    `keepalive_s`: pause after which a comment says that labd is there; for who shows how old its news are.
    """

    after: Annotated[int, Meta(ge=0)] | None = None
    kind: Annotated[str, Meta(max_length=500)] = ""
    keepalive_s: Annotated[float, Meta(ge=1, le=60)] | None = None


def event_view(event: Event) -> EventView:
    """The event as on the wire."""
    return EventView(event.seq, iso(event.at) or "", event.kind, event.job_id, event.data)


def frame(event: Event) -> bytes:
    """The event as server-sent text; JSON has no raw line breaks, so one `data:` line is enough."""
    body = msgspec.json.encode(event_view(event), enc_hook=str)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), body)


def endpoints(engine: Engine, options: ApiOptions) -> list[Endpoint]:
    """The route of the event stream."""

    async def stream(call: Call) -> web.StreamResponse:
        after = _cursor(call, engine)
        prefixes = tuple(prefix.strip() for prefix in call.query.kind.split(",") if prefix.strip())
        connection = connection_of(call.request)
        gone, closing = connection.gone(), connection.door.closing
        if closing.done():
            raise Draining("labd is ending and opens no event stream; ask again when it is back")
        answer = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "X-Content-Type-Options": "nosniff",
            }
        )
        await answer.prepare(call.request)
        sender = _Sender(answer, options.event_write_timeout_s)
        await sender.send(b"retry: %d\n: from %d\n\n" % (RECONNECT_MS, after))
        keepalive_s = min(call.query.keepalive_s or options.event_keepalive_s, options.event_keepalive_s)
        pump = asyncio.ensure_future(_pump(engine, after, prefixes, sender))
        ends: set[asyncio.Future[None]] = {pump, gone, closing}
        try:
            while True:
                sender.quiet = True
                done, _ = await asyncio.wait(ends, timeout=keepalive_s, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
                if sender.quiet:
                    await sender.send(b": keepalive\n\n")
        except (ConnectionError, TimeoutError):
            pass
        finally:
            await _end(pump)
        answer.force_close()
        if sender.is_stuck and call.request.transport is not None:
            call.request.transport.abort()
        return answer

    return [
        Endpoint(
            "GET",
            "/api/v1/events",
            stream,
            "read",
            "Live stream of events (text/event-stream), resumed by Last-Event-ID",
            query=EventsQuery,
            tags=("events",),
            errors=("draining",),
            streams=True,
        )
    ]


def _cursor(call: Call, engine: Engine) -> int:
    """Where the stream begins: `Last-Event-ID` wins, because a browser sends it with the first URL unchanged."""
    last: int = engine.events.last_seq
    text = call.request.headers.get("Last-Event-ID")
    after = call.query.after
    if text:
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise BadRequest(
                f"header Last-Event-ID={text[:80]}: expected the number of an event", header="Last-Event-ID"
            )
        after = int(text)
    # A number from the future comes from another store; whoever has it would otherwise wait for ever.
    return last if after is None else min(after, last)


class _Sender:
    """Writes to one stream with a limit in time, and knows whether it was used."""

    def __init__(self, answer: web.StreamResponse, timeout_s: float) -> None:
        self._answer = answer
        self._timeout_s = timeout_s
        self.quiet = True
        self.is_stuck = False

    async def send(self, text: bytes) -> None:
        self.quiet = False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._answer.write(text)
        except TimeoutError:
            self.is_stuck = True
            raise


async def _pump(engine: Engine, after: int, prefixes: tuple[str, ...], sender: _Sender) -> None:
    async for event in engine.events.subscribe(after):
        if not prefixes or event.kind.startswith(prefixes):
            await sender.send(frame(event))


async def _end(pump: asyncio.Future[None]) -> None:
    pump.cancel()
    await asyncio.wait({pump})
    if not pump.cancelled():
        fault = pump.exception()
        if fault is not None and not isinstance(fault, (ConnectionError, TimeoutError)):
            raise fault

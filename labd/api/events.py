"""`/api/v1/events`: what happens, as server-sent events with a resume cursor.

Why no queue per listener: the feed hands out events by position, from memory or disk. A slow reader only falls behind
by itself; when it takes nothing for too long its connection is cut, and `Last-Event-ID` brings it back to its place.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web
from aiohttp.http import HttpVersion11
from msgspec import Meta

from labd.api.connection import connection_of
from labd.api.endpoint import Call, Endpoint
from labd.api.fan import Fan, Stream, wrapped
from labd.api.options import ApiOptions
from labd.clock import iso
from labd.errors import BadRequest, Draining

if TYPE_CHECKING:
    from labd.engine.engine import Engine
    from labd.engine.group import Event

RECONNECT_MS = 2000
EVENTS_AT_ONCE = 250


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
    return _framed(event.seq, event.kind, body)


def _framed(seq: int, kind: str, text: bytes) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (seq, kind.encode(), text)


def endpoints(engine: Engine, options: ApiOptions) -> list[Endpoint]:
    """The route of the event stream."""
    fan = Fan(lambda: engine.events, frame)

    async def stream(call: Call) -> web.StreamResponse:
        after = _cursor(call, engine)
        prefixes = tuple(prefix.strip() for prefix in call.query.kind.split(",") if prefix.strip())
        connection = connection_of(call.request)
        if connection.door.closing.done():
            raise Draining("labd is ending and opens no event stream; ask again when it is back")
        connection.door.begin_stream(connection)
        chunked = call.request.version >= HttpVersion11
        answer = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "X-Content-Type-Options": "nosniff",
            }
        )
        if chunked:
            answer.enable_chunked_encoding()
        await answer.prepare(call.request)
        await answer.write(b"retry: %d\n: from %d\n\n" % (RECONNECT_MS, after))
        keepalive_s = min(call.query.keepalive_s or options.event_keepalive_s, options.event_keepalive_s)
        await _listen(engine, fan, Stream(connection, after, prefixes, chunked), keepalive_s)
        answer.force_close()
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
            errors=("draining", "overloaded"),
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


async def _listen(engine: Engine, fan: Fan, stream: Stream, keepalive_s: float) -> None:
    """Until the client leaves or labd ends: catch up from disk where that is needed, then take part in the fan."""
    connection = stream.connection
    gone, closing = connection.gone(), connection.door.closing
    try:
        while not gone.done() and not closing.done():
            await _catch_up(engine, stream)
            if connection.transport is None:
                return
            fan.join(stream)
            behind = stream.is_behind
            assert behind is not None
            while not (gone.done() or closing.done() or behind.done()):
                stream.is_quiet = True
                ends: set[asyncio.Future[None]] = {gone, closing, behind}
                done, _ = await asyncio.wait(ends, timeout=keepalive_s, return_when=asyncio.FIRST_COMPLETED)
                if not done and stream.is_quiet:
                    stream.say(b": keepalive\n\n")
    finally:
        fan.leave(stream)


async def _catch_up(engine: Engine, stream: Stream) -> None:
    """Send what lies too far back for the memory of the feed, page by page, as fast as the client takes it."""
    connection = stream.connection
    while connection.transport is not None and not connection.door.closing.done():
        if engine.events.recent(stream.cursor) is not None:
            return
        page = await engine.event_texts(stream.cursor)
        if not page:  # what lay between has passed its retention
            stream.cursor = max(stream.cursor, engine.events.memory_from)
        for start in range(0, len(page), EVENTS_AT_ONCE):
            part = page[start : start + EVENTS_AT_ONCE]
            frames = [
                _framed(*event) for event in part if not stream.prefixes or event.kind.startswith(stream.prefixes)
            ]
            stream.write(wrapped(b"".join(frames), stream.chunked))
            stream.cursor = part[-1].seq
            await (connection.drained() if connection.writing_paused else asyncio.sleep(0))
            if connection.gone().done():
                return

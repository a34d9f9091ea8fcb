"""The fan: hands every event to every stream that is up to date, a few streams a turn of the loop.

Why one task for all streams: a task each would wake a thousand for one event, in one turn, and each would write the
same bytes of JSON anew. Here an event is encoded once, streams at the same place get the same bytes, and between a few
of them the loop has its turn, so that a thousand listeners do not stand before a stop.

Why a rest after each round: events that come meanwhile go out together, so however fast they come, listeners take at
most half of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from labd.api.connection import Connection

if TYPE_CHECKING:
    from labd.engine.events import EventFeed
    from labd.engine.group import Event

log = structlog.get_logger()
STREAMS_A_TURN = 16
ROUND_BYTES = 128 * 1024  # what one stream gets at once at most, save for a single longer event
FRAMES_KEPT = 1024
REST_AT_MOST_S = 0.1
REST_FROM_S = 0.001


class Stream:
    """One listener.

    Args:
        cursor: The number of the last event it has.
        prefixes: Kinds of events it wants; none is all.
        chunked: Whether each write is a chunk of HTTP/1.1.
    """

    def __init__(self, connection: Connection, cursor: int, prefixes: tuple[str, ...], chunked: bool) -> None:
        self.connection = connection
        self.cursor = cursor
        self.prefixes = prefixes
        self.chunked = chunked
        self.is_quiet = True
        self.is_behind: asyncio.Future[None] | None = None

    def write(self, text: bytes) -> None:
        """Send complete frames; nothing where the client is gone."""
        transport = self.connection.transport
        if text and transport is not None and not transport.is_closing():
            self.is_quiet = False
            transport.write(text)

    def say(self, text: bytes) -> None:
        """Send a comment, unless the client takes nothing just now."""
        if not self.connection.writing_paused:
            self.write(wrapped(text, self.chunked))


class Fan:
    """All streams of a daemon.

    Args:
        feed: The feed; there is none before the engine is open.
        frame: One event as server-sent text.
    """

    def __init__(self, feed: Callable[[], EventFeed], frame: Callable[[Event], bytes]) -> None:
        self._feed_of = feed
        self._frame = frame
        self._streams: dict[Stream, None] = {}
        self._frames: dict[int, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def _feed(self) -> EventFeed:
        return self._feed_of()

    def join(self, stream: Stream) -> None:
        """Hand events to a stream until it leaves, or `is_behind` is done: then it must be caught up from disk."""
        stream.is_behind = asyncio.get_running_loop().create_future()
        stream.connection.when_writable = lambda: self._resume(stream)
        self._streams[stream] = None
        self._resume(stream)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="events")

    def leave(self, stream: Stream) -> None:
        """No more; a second call does nothing."""
        self._streams.pop(stream, None)
        stream.connection.when_writable = None
        if not self._streams and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            fresh = self._feed.fresh
            began = loop.time()
            has_more = await self._round()
            took_s = loop.time() - began
            if took_s > REST_FROM_S:
                await asyncio.sleep(min(took_s, REST_AT_MOST_S))
            if not has_more:
                await fresh.wait()
                if self._feed.closed:
                    return

    async def _round(self) -> bool:
        """Every stream once; true if somebody could take more at once."""
        same: dict[tuple[int, int, tuple[str, ...], bool], tuple[bytes, int]] = {}
        has_more = False
        for number, stream in enumerate(list(self._streams), 1):
            if stream in self._streams:
                has_more |= self._serve(stream, same)
            if number % STREAMS_A_TURN == 0:
                await asyncio.sleep(0)
        return has_more

    def _resume(self, stream: Stream) -> None:
        """Serve one stream by itself, until it has all or takes no more: the others may be done long since."""
        if stream in self._streams and self._serve(stream, {}):
            asyncio.get_running_loop().call_soon(self._resume, stream)

    def _serve(self, stream: Stream, same: dict[tuple[int, int, tuple[str, ...], bool], tuple[bytes, int]]) -> bool:
        """Write what a stream has not; true if there is more that it could take."""
        last = self._feed.last_seq
        if stream.cursor >= last or stream.connection.writing_paused:
            return False
        place = (stream.cursor, last, stream.prefixes, stream.chunked)
        found = same.get(place)
        if found is None:
            events = self._feed.recent(stream.cursor)
            if events is None:
                self._streams.pop(stream, None)
                if stream.is_behind is not None and not stream.is_behind.done():
                    stream.is_behind.set_result(None)
                return False
            found = same[place] = self.batch(events, stream.prefixes, stream.chunked, last)
        text, stream.cursor = found
        stream.write(text)
        return stream.cursor < last

    def batch(self, events: list[Event], prefixes: tuple[str, ...], chunked: bool, last: int) -> tuple[bytes, int]:
        """The first events as one piece of text of a bearable length, and the number up to which it goes."""
        parts: list[bytes] = []
        size = 0
        for event in events:
            if prefixes and not event.kind.startswith(prefixes):
                continue
            text = self._frames.get(event.seq)
            if text is None:
                text = self._keep(event)
            parts.append(text)
            size += len(text)
            if size >= ROUND_BYTES:
                return wrapped(b"".join(parts), chunked), event.seq
        return wrapped(b"".join(parts), chunked), last

    def _keep(self, event: Event) -> bytes:
        try:
            text = self._frame(event)
        except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as fault:
            # One event that cannot be told must not keep all others from all streams.
            log.error("api.event_untold", seq=event.seq, kind=event.kind, problem=str(fault))
            text = self._frame(msgspec.structs.replace(event, data={}))
        if len(self._frames) >= FRAMES_KEPT:
            del self._frames[next(iter(self._frames))]
        self._frames[event.seq] = text
        return text


def wrapped(text: bytes, chunked: bool) -> bytes:
    """The text as one chunk where the answer comes in chunks; nothing stays nothing, for an empty chunk is the end."""
    return b"%x\r\n%b\r\n" % (len(text), text) if chunked and text else text

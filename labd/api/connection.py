"""One connection: aiohttp's protocol with limits in time, a memory of who is there, and word of its end.

Why a subclass of aiohttp's protocol: aiohttp has no limit for headers that trickle in, answers malformed requests in
plain text, and cancels a handler whose client left only for all routes or for none. All three belong to a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from labd.api.errors import answer_error, answer_unexpected
from labd.engine.job import Caller
from labd.errors import BadRequest, Draining, HeaderTooLarge, LabdError, RequestTimeout

if TYPE_CHECKING:
    from labd.api.door import Door

T = TypeVar("T")
LATE_S = 1.0  # how long who came too late has for its one request
LEAST_TAKEN_BYTES = 16 * 1024  # of an answer, within the time for writing


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a connection came in."""

    kind: Literal["unix", "tcp"]
    tls: bool = False


def is_draining(request: Any) -> bool:
    """Whether streams and long polls are to end."""
    return connection_of(request).door.closing.done()


class ClientGone(ConnectionResetError):
    """The client hung up while its request was waiting; there is nobody to answer."""


class Connection(RequestHandler):
    """aiohttp's protocol, with what labd remembers of a connection.

    Args:
        is_late: It came when there was no room; it may say one thing, which is heard if it is a stop.
    """

    def __init__(
        self, door: Door, listener: Listener, loop: asyncio.AbstractEventLoop, is_late: bool, **arguments: Any
    ) -> None:
        super().__init__(door, loop=loop, **arguments)
        self.door = door
        self.listener = listener
        self.is_late = is_late
        self.is_counted = not is_late
        self.is_stream = False
        self.held_bytes = 0
        self.share_of: str | None = None
        self.caller: Caller | None = None
        self.caller_stamp: Any = None
        self.caller_until = 0.0
        self.good_host: str | None = None
        self.good_origin: tuple[str, str | None] | None = None
        self.coming: asyncio.Task[None] | None = None
        self.when_writable: Callable[[], None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._header_deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; its first request has its time."""
        super().connection_made(transport)
        limit_s = min(LATE_S, self.door.limits.header_timeout_s) if self.is_late else self.door.limits.header_timeout_s
        self._header_deadline = self._loop.call_later(limit_s, self._headers_late)

    def data_received(self, data: bytes) -> None:
        """Bytes came: either a request is complete, or its headers are under way and have a deadline."""
        super().data_received(data)
        deadline = self._header_deadline
        if self._messages or self._request_in_progress:
            self.door.spoke(self)
            if deadline is not None:
                deadline.cancel()
                self._header_deadline = None
        elif deadline is None and self._current_request is None:
            self._header_deadline = self._loop.call_later(self.door.limits.header_timeout_s, self._headers_late)

    def pause_writing(self) -> None:
        """The client takes nothing of what it was sent: it has its time as well."""
        super().pause_writing()
        if self.transport is not None:
            self._unsent_bytes = self.transport.get_write_buffer_size()
        self._write_deadline = self._loop.call_later(self.door.limits.write_timeout_s, self._writing_late)

    def resume_writing(self) -> None:
        """It took it."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
        if self.when_writable is not None:
            self.when_writable()

    @property
    def address(self) -> str:
        """Where it comes from, for who has no name; all of the socket are one."""
        peer = None if self.transport is None else self.transport.get_extra_info("peername")
        return f"address {peer[0]}" if isinstance(peer, tuple) else "the socket"

    async def drained(self) -> None:
        """Wait until the client has taken most of what it was sent, or is gone."""
        with contextlib.suppress(ConnectionError):
            await self._drain_helper()

    def _writing_late(self) -> None:
        """Cut off who took next to nothing; who takes a long answer slowly goes on."""
        self._write_deadline = None
        transport = self.transport
        if transport is None:
            return
        unsent_bytes = transport.get_write_buffer_size()
        if self._unsent_bytes - unsent_bytes >= LEAST_TAKEN_BYTES:
            self._unsent_bytes = unsent_bytes
            self._write_deadline = self._loop.call_later(self.door.limits.write_timeout_s, self._writing_late)
            return
        transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone; whoever waits for that learns it."""
        for deadline in (self._header_deadline, self._write_deadline):
            if deadline is not None:
                deadline.cancel()
        self._header_deadline = self._write_deadline = None
        self.door.left(self)
        super().connection_lost(exc)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    @property
    def has_unread(self) -> bool:
        """Whether the client has said something that waits in the system to be read, or may have."""
        if self.transport is None:
            return not self.listener.tls  # without a handshake it is looked at in the next turn
        looking = select.poll()
        looking.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(looking.poll(0))

    def ask_to_leave(self, error: LabdError) -> None:
        """Close a connection that has no request under way."""
        self.door.left(self)
        if self.transport is not None:
            self._refuse(error)
        elif self.coming is not None:
            self.coming.cancel()

    def gone(self) -> asyncio.Future[None]:
        """Done when the connection has ended."""
        if self._gone is None:
            self._gone = self._loop.create_future()
            if self.transport is None:
                self._gone.set_result(None)
        return self._gone

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp itself found wrong (malformed or too large requests), in labd's own form.

        Raises:
            ConnectionResetError: Another answer has begun; only the end of the connection can tell the client.
        """
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer had begun")
        if isinstance(exc, LineTooLong):
            answer = answer_error(HeaderTooLarge(f"a header or the request line is too long: {exc.message}"))
        elif status < 500:
            answer = answer_error(BadRequest(f"malformed HTTP request: {(message or str(exc)).splitlines()[0]}"))
        else:
            answer = answer_unexpected(exc or RuntimeError(message), request.method, request.raw_path)
        answer.force_close()
        return answer

    def linger_no_more(self) -> None:
        """Close after the answer without reading what is left of the body: it has had its time."""
        self._lingering_time = 0.0

    def _headers_late(self) -> None:
        self._header_deadline = None
        if self._messages or self._request_in_progress or self.transport is None:
            return
        if self.is_late and self.has_unread:
            self._header_deadline = self._loop.call_later(LATE_S, self._headers_late)
            return
        if self.is_late:
            self.ask_to_leave(self.door.full("connections_at_most"))
            return
        limit_s = self.door.limits.header_timeout_s
        self._refuse(RequestTimeout(f"no complete request headers within {limit_s:g} s"))

    def _refuse(self, error: LabdError) -> None:
        """Answer without a request, and close."""
        assert self.transport is not None
        self.transport.write(last_word(error))
        self.force_close()


def last_word(error: LabdError) -> bytes:
    """The whole answer to who is sent away, head and body."""
    answer = answer_error(error)
    lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head = f"HTTP/1.1 {answer.status} {answer.reason}\r\nConnection: close\r\n{lines}"
    body = cast("bytes", answer.body)
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def connection_of(request: Any) -> Connection:
    """The connection a request came in by."""
    return cast("Connection", request.protocol)


async def while_connected(request: Any, work: Awaitable[T], *, until_drain: bool = True) -> T:
    """The outcome of `work`, unless the client leaves or (with `until_drain`) the server drains before it.

    Raises:
        ClientGone: The client hung up; `work` has been cancelled.
        Draining: The daemon is ending; `work` has been cancelled.
    """
    connection = connection_of(request)
    gone, closing = connection.gone(), connection.door.closing
    task = asyncio.ensure_future(work)
    waiting: set[asyncio.Future[Any]] = {task, gone, closing} if until_drain else {task, gone}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if gone.done():
        raise ClientGone("the client hung up")
    raise Draining("labd is ending; ask again when it is back")

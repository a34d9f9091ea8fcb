"""One connection: aiohttp's protocol with limits in time, a memory of who is there, and word of its end.

Why a subclass of aiohttp's protocol: aiohttp has no limit for headers that trickle in, answers malformed requests in
plain text, and cancels a handler whose client left only for all routes or for none. All three belong to a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from labd.api.errors import answer_error, answer_unexpected
from labd.engine.job import Caller
from labd.errors import BadRequest, Draining, HeaderTooLarge, LabdError, Overloaded, RequestTimeout

T = TypeVar("T")
LINGER_S = 1.0  # how long the rest of a refused body is read, so that the client gets to see the answer


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
    """aiohttp's protocol, with what labd remembers of a connection."""

    def __init__(
        self, door: Door, listener: Listener, loop: asyncio.AbstractEventLoop, header_timeout_s: float, **limits: Any
    ) -> None:
        super().__init__(door, loop=loop, **limits)
        self.door = door
        self.listener = listener
        self.caller: Caller | None = None
        self.caller_stamp: Any = None
        self.caller_until = 0.0
        self.good_host: str | None = None
        self.good_origin: tuple[str, str | None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._header_timeout_s = header_timeout_s
        self._header_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; its first request has its time."""
        super().connection_made(transport)
        open_now = self.door.open_now
        open_now[self.listener.kind] = open_now.get(self.listener.kind, 0) + 1
        if open_now[self.listener.kind] > self.door.connections_at_most:
            self._refuse(Overloaded(f"labd serves {self.door.connections_at_most} connections at once; try again"))
            return
        self._header_deadline = self._loop.call_later(self._header_timeout_s, self._headers_late)

    def data_received(self, data: bytes) -> None:
        """Bytes came: either a request is complete, or its headers are under way and have a deadline."""
        super().data_received(data)
        deadline = self._header_deadline
        if self._messages or self._request_in_progress:
            if deadline is not None:
                deadline.cancel()
                self._header_deadline = None
        elif deadline is None and self._current_request is None:
            self._header_deadline = self._loop.call_later(self._header_timeout_s, self._headers_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone; whoever waits for that learns it."""
        if self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None
        if self._manager is not None:
            self.door.open_now[self.listener.kind] -= 1
        super().connection_lost(exc)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

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
        """What aiohttp itself found wrong (malformed or too large requests), in labd's own form."""
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
        self._refuse(RequestTimeout(f"no complete request headers within {self._header_timeout_s:g} s"))

    def _refuse(self, error: LabdError) -> None:
        """Answer without a request, and close."""
        assert self.transport is not None
        answer = answer_error(error)
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        head = f"HTTP/1.1 {answer.status} {answer.reason}\r\nConnection: close\r\n{lines}"
        body = cast("bytes", answer.body)
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.force_close()


class Door(web.Server):
    """All connections of all listeners, one handler behind them.

    `closing` is done when streams and long polls must end; ordinary requests are still answered then.

    Why a limit for each kind of listener: a host lets a process have some 1024 files open. Whoever floods TCP must not
    keep a stop from the socket, nor the journal from its files.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        header_timeout_s: float,
        keepalive_s: float,
        connections_at_most: int,
    ) -> None:
        super().__init__(handler)
        self.connections_at_most = connections_at_most
        self.open_now: dict[str, int] = {}
        self.closing: asyncio.Future[None] = self._loop.create_future()
        self._header_timeout_s = header_timeout_s
        self._limits = {
            "keepalive_timeout": keepalive_s,
            "access_log": None,
            "lingering_time": LINGER_S,
            "auto_decompress": False,  # a small body must not become a large one
        }

    def protocol_for(self, listener: Listener) -> Callable[[], Connection]:
        """What asyncio calls for each accepted connection of a listener."""
        return lambda: Connection(self, listener, self._loop, self._header_timeout_s, **self._limits)

    def end_streams(self) -> None:
        """Event streams and long polls end now; a second call does nothing."""
        if not self.closing.done():
            self.closing.set_result(None)


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

"""The door: who is inside, who is quiet, who came too late, and what all of them may hold together.

Why a limit for each kind of listener: a host lets a process have so many files open. Whoever floods TCP must not keep
people from the socket, nor the journal from its files.

Why somebody is still let in where it is full: a stop must get through a crowd. Who comes then may say one thing; if it
is a stop it is done, anything else is answered 503. And who has had a connection for long without a word makes room
for who has something to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import structlog
from aiohttp import web

from labd.api.connection import Connection, Listener
from labd.api.shares import Shares
from labd.api.turnstile import Turnstile
from labd.errors import Overloaded, ShareTaken

log = structlog.get_logger()
LINGER_S = 1.0  # how long the rest of a refused body is read, so that the client gets to see the answer
QUIET_S = 1.0  # who has said nothing for so long may be asked to leave
LATE_AT_MOST = 64
BLINK_S = 0.05
TELL_EVERY_S = 10.0
Limit = Literal["connections_at_most", "event_streams_at_most", "bodies_at_most_bytes"]
LIMITS: tuple[str, ...] = (*get_args(Limit), "share_per_caller")
FILES_BESIDE = 512  # databases, workers, devices


@dataclass(frozen=True, slots=True)
class Limits:
    """What all clients together may hold; see `ApiOptions`."""

    connections_at_most: int
    streams_at_most: int
    bodies_at_most_bytes: int
    header_timeout_s: float
    write_timeout_s: float
    keepalive_s: float
    share_per_caller: float = 1.0


class Door(web.Server):
    """All connections of all listeners, one handler behind them.

    `closing` is done when streams and long polls must end; ordinary requests are still answered then.

    Args:
        is_urgent: Whether a request of this method and path, and with these first bytes, is heard where all room is
            taken.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: Limits,
        is_urgent: Callable[[str, str, bytes], bool] = lambda method, path, said: False,
    ) -> None:
        super().__init__(handler)
        self.is_urgent = is_urgent
        self.limits = limits
        self.turnstile = Turnstile(self._loop)
        self.closing: asyncio.Future[None] = self._loop.create_future()
        self.inside: dict[str, int] = {"unix": 0, "tcp": 0}
        self.streams = 0
        self.bodies_bytes = 0
        self.requests_of = Shares("requests", limits.connections_at_most, limits.share_per_caller)
        self.streams_of = Shares("event_streams", limits.streams_at_most, limits.share_per_caller)
        self.refusals: dict[str, int] = dict.fromkeys(LIMITS, 0)
        self._quiet: dict[Connection, float] = {}
        self._late: dict[Connection, float] = {}
        self._told_at = float("-inf")
        self._arguments: dict[str, Any] = {
            "keepalive_timeout": limits.keepalive_s,
            "access_log": None,
            "lingering_time": LINGER_S,
            "auto_decompress": False,  # a small body must not become a large one
        }

    def takes_more(self) -> bool:
        """Whether anybody may come in now, if only to say one thing; if not, in a blink.

        Why a blink for each: who came to say something has said it by then; who has not leaves to the next. Who has
        said it to a loop that was too busy to read it stays: it may be a stop.
        """
        if len(self._late) < LATE_AT_MOST:
            return True
        oldest, since = next(iter(self._late.items()))
        if since > self._loop.time() - BLINK_S or oldest.has_unread:
            return False
        oldest.ask_to_leave(self.full("connections_at_most"))
        return True

    def admit(self, listener: Listener) -> Connection:
        """A connection for who has just come, counted until it `left`."""
        kind = listener.kind
        is_late = not self.has_room(kind)
        connection = Connection(self, listener, self._loop, is_late, **self._arguments)
        if is_late:
            self._late[connection] = self._loop.time()
        else:
            self.inside[kind] += 1
            self._quiet[connection] = self._loop.time()
        return connection

    def has_room(self, kind: str) -> bool:
        """Whether one more may come in and stay; who has been quiet for long makes room."""
        if self.inside[kind] >= self.limits.connections_at_most:
            self._make_room(kind)
        return self.inside[kind] < self.limits.connections_at_most

    def _make_room(self, kind: str) -> None:
        """Send away who has been without a request for longest, if that is long enough."""
        before = self._loop.time() - QUIET_S
        for connection, since in self._quiet.items():
            if since > before:
                return
            if connection.listener.kind == kind and not connection.has_unread:
                connection.ask_to_leave(self.full("connections_at_most"))
                return

    def spoke(self, connection: Connection) -> None:
        """A whole request has come."""
        self._quiet.pop(connection, None)
        self._late.pop(connection, None)

    def says_more(self, connection: Connection) -> None:
        """Who came late has still to send the body of its one request, and may be asked to leave meanwhile."""
        self._late[connection] = self._loop.time()

    def begin(self, connection: Connection, who: str) -> None:
        """Count a request of a caller as under way, until it is answered or becomes a stream.

        Raises:
            ShareTaken: The caller has its share under way. Where all room is taken, its connection goes as well.
        """
        try:
            self._take(self.requests_of, who)
        except ShareTaken:
            if self.inside[connection.listener.kind] >= self.limits.connections_at_most:
                connection.close()  # after the answer; it would ask again, and never be quiet enough to make room
            raise
        connection.share_of = who

    def _take(self, shares: Shares, who: str) -> None:
        try:
            shares.take(who)
        except ShareTaken:
            self._refused("share_per_caller", caller=who, of=shares.kind)
            raise

    def answered(self, connection: Connection) -> None:
        """Its request is over: it holds no body any more, and is quiet until the next."""
        if connection.share_of is not None and not connection.is_stream:
            self.requests_of.give_back(connection.share_of)
            connection.share_of = None
        if connection.held_bytes:
            self.bodies_bytes -= connection.held_bytes
            connection.held_bytes = 0
        if connection.is_late:
            connection.close()  # after the answer that is to be sent
        elif connection.is_counted and not connection.is_stream:
            self._quiet[connection] = self._loop.time()

    def left(self, connection: Connection) -> None:
        """It is gone, or was sent away; a second call does nothing."""
        self._quiet.pop(connection, None)
        self._late.pop(connection, None)
        if connection.is_stream:
            connection.is_stream = False
            self.streams -= 1
            if connection.share_of is not None:
                self.streams_of.give_back(connection.share_of)
                connection.share_of = None
        elif connection.is_counted:
            self.inside[connection.listener.kind] -= 1
        connection.is_counted = False

    def begin_stream(self, connection: Connection) -> None:
        """Count a connection with the event streams from now on, and no longer with the others.

        Raises:
            Overloaded: There are as many streams as there may be.
            ShareTaken: This caller has as many as one may have.
        """
        if self.streams >= self.limits.streams_at_most:
            raise self.full("event_streams_at_most")
        if connection.is_counted and not connection.is_stream:
            if connection.share_of is not None:
                self._take(self.streams_of, connection.share_of)
                self.requests_of.give_back(connection.share_of)
            self.inside[connection.listener.kind] -= 1
            connection.is_stream = True
            self.streams += 1

    def hold_body(self, connection: Connection, size_bytes: int) -> None:
        """Count bytes of a body that is being read, until its request is answered.

        Raises:
            Overloaded: All bodies together would be more than there may be; nothing was counted.
        """
        if self.bodies_bytes + size_bytes > self.limits.bodies_at_most_bytes:
            raise self.full("bodies_at_most_bytes")
        self.bodies_bytes += size_bytes
        connection.held_bytes += size_bytes

    def full(self, limit: Limit) -> Overloaded:
        """The refusal of one more, counted, and told in the log now and then."""
        most = {
            "connections_at_most": f"{self.limits.connections_at_most} connections",
            "event_streams_at_most": f"{self.limits.streams_at_most} event streams",
            "bodies_at_most_bytes": f"{self.limits.bodies_at_most_bytes} bytes of request bodies",
        }[limit]
        self._refused(limit)
        text = f"labd bears {most} at once; try again in a moment, or raise api.{limit}"
        return Overloaded(text, limit=f"api.{limit}")

    def _refused(self, limit: str, **facts: str) -> None:
        self.refusals[limit] += 1
        now = self._loop.time()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            log.warning("api.overloaded", limit=f"api.{limit}", refused=dict(self.refusals), **facts)

    def end_streams(self) -> None:
        """Event streams and long polls end now; a second call does nothing."""
        if not self.closing.done():
            self.closing.set_result(None)


def files_for(limits: Limits) -> int:
    """How many files the process may have to keep open at these limits."""
    return 2 * (limits.connections_at_most + LATE_AT_MOST) + limits.streams_at_most + FILES_BESIDE


def allow_files(count: int) -> int:
    """Raise the soft limit of open files to `count`, or as far as the hard one lets us; how many there may be then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

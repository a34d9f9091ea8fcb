"""The porch: takes connections from one listening socket, and does the TLS handshake before they come in.

Why not asyncio's own server: it takes hundreds of connections in one turn of the loop, tells nobody of those that are
still at their handshake, which then count for no limit, and looks at a socket again only after a second when the
process has no more files.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from asyncio import sslproto

import structlog

from labd.api.connection import Connection, Listener, last_word
from labd.api.door import Door

log = structlog.get_logger()
sslproto.SSLProtocol.max_size = 32 * 1024
# Why: asyncio gives each TLS connection a read buffer of 256 KiB and fills it with zeros, so that a thousand of them
# would hold 256 MiB and say nothing. A TLS record has 16 KiB at most (RFC 8446, section 5.1). Seen in Python 3.11.
AT_ONCE = 32
TURNING_AWAY_S = 0.005
HANDSHAKES_AT_ONCE = 8  # each costs a millisecond or two of the loop
NO_FILES_PAUSE_S = 0.1
FULL_PAUSE_S = 0.01
LOOK_BYTES = 16 * 1024
NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
DEAD_PEER_MS = 60_000  # how long TCP sends into the void before it gives up; Linux, tcp(7)


class Porch:
    """One listener.

    Args:
        sock: Bound and listening.
        tls: Where connections begin with a handshake; it may take as long as the headers of a request.
    """

    def __init__(self, door: Door, listener: Listener, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self._door = door
        self._listener = listener
        self._socket = sock
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_open = False

    def open(self) -> None:
        """Take connections from now on."""
        self._is_open = True
        self._loop.add_reader(self._socket.fileno(), self._take)

    async def close(self) -> None:
        """Take no more; who is at the handshake is sent away. A second call does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for task in self._coming:
            task.cancel()
        if self._coming:
            await asyncio.wait(set(self._coming))

    def _take(self) -> None:
        """Let in as many as one turn bears; those who are turned away cost little and count only by their time.

        Why: a stop that comes in a flood stands in the system's queue behind five hundred others. Thirty-two of them a
        turn, each with the work of all who are inside, would be 0.3 s.
        """
        let_in, until = 0, self._loop.time() + TURNING_AWAY_S
        while let_in < (AT_ONCE if self._tls is None else HANDSHAKES_AT_ONCE) and self._loop.time() < until:
            if not self._door.takes_more():
                self._rest(FULL_PAUSE_S)
                return
            try:
                taken, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as fault:
                if fault.errno not in NO_FILES:
                    log.error("api.accept_failed", listener=self._listener.kind, problem=str(fault))
                self._rest(NO_FILES_PAUSE_S)
                return
            taken.setblocking(False)
            if self._listener.kind == "tcp" and hasattr(socket, "TCP_USER_TIMEOUT"):
                taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
            if self._tls is None and not self._door.has_room(self._listener.kind) and self._turned_away(taken):
                continue
            let_in += 1
            self._greet(self._door.admit(self._listener), taken)

    def _turned_away(self, taken: socket.socket) -> bool:
        """Answer who comes to a full house and has said already what it wants, if that is nothing urgent.

        Why here: a refusal that goes the way of a request costs as much as a request, and in a flood most are refused.
        """
        try:
            said = taken.recv(LOOK_BYTES, socket.MSG_PEEK)
            line, end, _ = said.partition(b"\r\n")
            words = line.decode("latin-1").split(" ")
            if said and (
                not end or len(words) != 3 or self._door.is_urgent(words[0], words[1].partition("?")[0], said)
            ):
                return False
            taken.recv(LOOK_BYTES)  # what is left unread would make the end of the connection a reset
            taken.send(last_word(self._door.full("connections_at_most")))
        except BlockingIOError:
            return False
        except OSError:
            pass
        taken.close()
        return True

    def _greet(self, connection: Connection, taken: socket.socket) -> None:
        """Let somebody in, in a task that may be cancelled at any time, also before its first step."""
        task = connection.coming = self._loop.create_task(self._let_in(connection, taken))
        self._coming.add(task)

        def came(_: asyncio.Task[None]) -> None:
            self._coming.discard(task)
            connection.coming = None
            if task.cancelled():
                taken.close()
                self._door.left(connection)

        task.add_done_callback(came)

    def _rest(self, pause_s: float) -> None:
        """Who comes meanwhile waits in the system's own queue."""
        self._loop.remove_reader(self._socket.fileno())
        self._pause = self._loop.call_later(pause_s, self.open)

    async def _let_in(self, connection: Connection, taken: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                taken,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else self._door.limits.header_timeout_s,
            )
        except OSError:  # no handshake, or one that took too long
            self._door.left(connection)

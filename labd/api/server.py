"""The server: one table of routes behind a Unix socket and, where configured, TCP.

Why both listeners share one door: what is allowed, limited and answered can then not differ between them; a connection
only knows which of the two it came in by.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from labd.api.bearer import BrowserSessions, TokenBook
from labd.api.connection import Listener
from labd.api.dispatch import Dispatcher
from labd.api.door import Door, Limits, allow_files, files_for
from labd.api.endpoint import Endpoint
from labd.api.gate import Gate
from labd.api.listeners import BACKLOG, bind_tcp, bind_unix, inode_of, tls_context
from labd.api.options import ApiOptions, is_loopback
from labd.api.porch import Porch
from labd.api.routes import Parts, all_endpoints
from labd.api.status import StatusSource
from labd.clock import Clock, SystemClock

if TYPE_CHECKING:
    from labd.engine.engine import Engine

log = structlog.get_logger()
LEAST_CONNECTIONS = 16


class ApiServer:
    """The doors of one daemon; made by `build`.

    Args:
        inherited: An already bound Unix socket from systemd; its file is then systemd's, and stays.
    """

    def __init__(
        self,
        options: ApiOptions,
        dispatcher: Dispatcher,
        gate: Gate,
        tokens: TokenBook,
        inherited: socket.socket | None = None,
    ) -> None:
        self._options = options
        self._dispatcher = dispatcher
        self._gate = gate
        self._tokens = tokens
        self._inherited = inherited
        self._door: Door | None = None
        self._porches: list[Porch] = []
        self._inode: tuple[int, int] | None = None
        self.tcp_address: tuple[str, int] | None = None

    @property
    def endpoints(self) -> list[Endpoint]:
        """Every route that is served."""
        return self._dispatcher.endpoints

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return 0 if self._door is None else len(self._door.connections)

    async def start(self) -> None:
        """Open the listeners; when it returns, requests are answered.

        Raises:
            AlreadyServing: Somebody answers on the socket.
            SettingsFault: A listener that cannot or must not be opened.
        """
        self._options.check()
        self._tokens.load()
        self._door = Door(self._dispatcher.handle, self._limits(), self._dispatcher.is_urgent)
        unix = self._inherited or bind_unix(self._options.socket)
        try:
            self._inode = None if self._inherited else inode_of(self._options.socket)
            unix.setblocking(False)
            self._listen(unix, Listener("unix"))
            log.info("api.listening", socket=str(self._options.socket), inherited=self._inherited is not None)
            await self.open_tcp()
        except BaseException:
            await self.stop()
            raise

    async def open_tcp(self) -> None:
        """Open the TCP listener if it is configured and somebody could come in; a second call does nothing.

        Why not earlier: a listener beyond loopback that nobody has a token for serves only attackers. It opens by
        itself when the first token is made on the socket.
        """
        address = self._options.address()
        if address is None or self.tcp_address is not None or self._door is None:
            return
        if not is_loopback(address[0]) and not self._tokens.has_valid():
            log.warning("api.listener_deferred", listen=self._options.listen, next="labctl token create")
            return
        tls = None
        if self._options.tls_cert is not None and self._options.tls_key is not None:
            tls = tls_context(self._options.tls_cert, self._options.tls_key)
        door = bind_tcp(*address)
        self.tcp_address = (address[0], door.getsockname()[1])
        self._listen(door, Listener("tcp", tls is not None), tls)
        log.info("api.listening", address=self.tcp_address[0], port=self.tcp_address[1], tls=tls is not None)

    def _listen(self, sock: socket.socket, listener: Listener, tls: ssl.SSLContext | None = None) -> None:
        assert self._door is not None
        sock.listen(BACKLOG)
        porch = Porch(self._door, listener, sock, tls)
        porch.open()
        self._porches.append(porch)

    def _limits(self) -> Limits:
        """What the settings say, less where the system does not let the process have so many files open."""
        options = self._options
        limits = Limits(
            connections_at_most=options.connections_at_most,
            streams_at_most=options.event_streams_at_most,
            bodies_at_most_bytes=max(options.bodies_at_most_bytes, options.max_body_bytes),
            header_timeout_s=options.request_timeout_s,
            write_timeout_s=options.event_write_timeout_s,
            keepalive_s=options.keepalive_s,
            share_per_caller=options.share_per_caller,
        )
        needed = files_for(limits)
        allowed = allow_files(needed)
        if allowed >= needed:
            return limits
        share = max(0.0, (allowed - files_for(replace(limits, connections_at_most=0, streams_at_most=0)))) / (
            2 * limits.connections_at_most + limits.streams_at_most
        )
        fewer = replace(
            limits,
            connections_at_most=max(LEAST_CONNECTIONS, int(limits.connections_at_most * share)),
            streams_at_most=max(LEAST_CONNECTIONS, int(limits.streams_at_most * share)),
        )
        log.warning(
            "api.limits_lowered",
            files=allowed,
            needed=needed,
            connections_at_most=fewer.connections_at_most,
            event_streams_at_most=fewer.streams_at_most,
            next="LimitNOFILE= of the unit, or ulimit -n",
        )
        return fewer

    def change_access(self, options: ApiOptions) -> None:
        """Put the users and groups of changed settings in force, for open connections too."""
        self._gate.change_access(options)

    def drain(self) -> None:
        """End event streams and long polls; everything else is still answered, stops above all."""
        if self._door is not None:
            self._door.end_streams()

    async def stop(self) -> None:
        """Take no more connections, give running requests their grace, close; a second call does nothing."""
        self.drain()
        porches, self._porches = self._porches, []
        if not porches:
            return
        for porch in porches:
            await porch.close()
        if self._inode is not None and inode_of(self._options.socket) == self._inode:
            self._options.socket.unlink(missing_ok=True)
        self._inode = None
        if self._door is not None:
            self._door.pre_shutdown()
            await self._door.shutdown(self._options.stop_grace_s)
        log.info("api.closed")


def build(
    engine: Engine,
    options: ApiOptions,
    endpoints_of_wings: list[Endpoint],
    status_source: StatusSource,
    reload: Callable[[], Awaitable[list[str]]],
    *,
    clock: Clock | None = None,
    inherited: socket.socket | None = None,
) -> ApiServer:
    """The doors of a daemon, not yet open.

    Args:
        endpoints_of_wings: Complete routes of all wings.
        reload: Applies changed settings and returns the keys that changed, or raises `SettingsFault`.
        inherited: The listening Unix socket that systemd made, if any.

    Raises:
        ValueError: Two endpoints of the same method and path.
    """
    clock = clock or SystemClock()
    tokens = TokenBook(engine, clock)
    sessions = BrowserSessions(tokens, clock, options.session_s, engine, options.session_most_s)
    gate = Gate(options, tokens, sessions, clock)
    server: ApiServer | None = None

    async def token_made() -> None:
        if server is not None:
            await server.open_tcp()

    parts = Parts(engine, options, status_source, reload, clock, tokens, sessions, token_made)
    dispatcher = Dispatcher(
        all_endpoints(parts, endpoints_of_wings), gate, options.max_body_bytes, options.request_timeout_s
    )
    server = ApiServer(options, dispatcher, gate, tokens, inherited)
    return server

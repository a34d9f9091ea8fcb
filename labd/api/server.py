"""The server: one table of routes behind a Unix socket and, where configured, TCP.

Why both listeners share one door: what is allowed, limited and answered can then not differ between them; a connection
only knows which of the two it came in by.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from labd.api.bearer import BrowserSessions, TokenBook
from labd.api.connection import Door, Listener
from labd.api.dispatch import Dispatcher
from labd.api.endpoint import Endpoint
from labd.api.gate import Gate
from labd.api.listeners import BACKLOG, bind_tcp, bind_unix, inode_of, tls_context
from labd.api.options import ApiOptions, is_loopback
from labd.api.routes import Parts, all_endpoints
from labd.api.status import StatusSource
from labd.clock import Clock, SystemClock

if TYPE_CHECKING:
    from labd.engine.engine import Engine

log = structlog.get_logger()


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
        self._servers: list[asyncio.Server] = []
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
        self._door = Door(
            self._dispatcher.handle,
            header_timeout_s=self._options.request_timeout_s,
            keepalive_s=self._options.keepalive_s,
            connections_at_most=self._options.connections_at_most,
        )
        unix = self._inherited or bind_unix(self._options.socket)
        try:
            self._inode = None if self._inherited else inode_of(self._options.socket)
            unix.setblocking(False)
            await self._listen(unix, Listener("unix"))
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
        server = await asyncio.get_running_loop().create_server(
            self._door.protocol_for(Listener("tcp", tls is not None)),
            sock=door,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=None if tls is None else self._options.request_timeout_s,
        )
        self._servers.append(server)
        log.info("api.listening", address=self.tcp_address[0], port=self.tcp_address[1], tls=tls is not None)

    async def _listen(self, door: socket.socket, listener: Listener) -> None:
        assert self._door is not None
        loop = asyncio.get_running_loop()
        self._servers.append(
            await loop.create_unix_server(self._door.protocol_for(listener), sock=door, backlog=BACKLOG)
        )

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
        servers, self._servers = self._servers, []
        if not servers:
            return
        for server in servers:
            server.close()
        if self._inode is not None and inode_of(self._options.socket) == self._inode:
            self._options.socket.unlink(missing_ok=True)
        self._inode = None
        if self._door is not None:
            self._door.pre_shutdown()
            await self._door.shutdown(self._options.stop_grace_s)
        for server in servers:
            await server.wait_closed()
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

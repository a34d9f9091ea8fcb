"""The gate every request passes: Host and Origin first, then who it is.

Why Host and Origin on every request: a page from elsewhere may make a browser on this host send requests here (CSRF),
or have its own name resolve to this address (DNS rebinding). The first carries a foreign Origin, the second a foreign
Host; neither says anything about the user, so both are refused before any credential is looked at.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from aiohttp import web

from labd.api.access import AccessTable, peer_of
from labd.api.bearer import BrowserSessions, Login, TokenBook
from labd.api.connection import Connection
from labd.api.options import ApiOptions
from labd.clock import Clock
from labd.engine.job import Caller
from labd.errors import BadRequest, NotAuthenticated, OriginRefused, ScopeMissing

log = structlog.get_logger()

COOKIE = "labd_session"
OWN_SITES = ("same-origin", "none")  # none: typed, or a bookmark
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]/@?#]*))(?::[0-9]*)?")
SAFE_METHODS = frozenset({"GET", "HEAD"})
ANONYMOUS = Caller("anonymous", frozenset(), "anonymous")


class Gate:
    """Turns requests into callers; remembers the answer for as long as the connection and the tables stay the same."""

    def __init__(self, options: ApiOptions, tokens: TokenBook, sessions: BrowserSessions, clock: Clock) -> None:
        self._options = options
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self._table = AccessTable(options.users, options.groups)
        self._generation = 0
        self._origins = frozenset(origin.lower().rstrip("/") for origin in options.allowed_origins)
        self._hosts = frozenset(
            name.lower() for name in ("localhost", "127.0.0.1", "::1", options.host_name, *options.allowed_hosts)
        ) | {(address[0] if (address := options.address()) else "localhost").lower()}

    def change_access(self, options: ApiOptions) -> None:
        """Put another access table in force; connections that are open are asked again."""
        self._table = AccessTable(options.users, options.groups)
        self._generation += 1
        log.info("access.changed", users=len(options.users), groups=len(options.groups))

    def check_origin(self, connection: Connection, request: web.BaseRequest) -> None:
        """Refuse requests that a foreign page makes a browser send.

        Raises:
            OriginRefused: Names the header and its value.
        """
        headers = request.headers
        host = headers.get("Host", "")
        origin = headers.get("Origin")
        if connection.good_origin == (host, origin):
            return
        if connection.listener.kind == "tcp" and _name_of(host) not in self._hosts:
            raise OriginRefused(
                f"Host '{_shown(host)}' is no name of this daemon; if it should be, add it to api.allowed_hosts",
                host=_shown(host),
            )
        if origin is not None:
            _once(request, "Origin")
        if origin is not None and not self._is_own(connection, host, origin):
            raise OriginRefused(
                f"Origin '{_shown(origin)}' may not use this daemon; if it should, add it to api.allowed_origins",
                origin=_shown(origin),
            )
        connection.good_origin = (host, origin)

    def _is_own(self, connection: Connection, host: str, origin: str) -> bool:
        origin = origin.lower().rstrip("/")
        if origin in self._origins:
            return True
        # A page can not be loaded from a Unix socket, so there no Origin is labd's own.
        scheme = "https" if connection.listener.tls or self._options.behind_proxy else "http"
        return connection.listener.kind == "tcp" and origin == f"{scheme}://{host.lower()}"

    async def caller(self, connection: Connection, request: web.BaseRequest) -> Caller:
        """Who asks; cached on the connection while the credential and the tables stay the same.

        Raises:
            NotAuthenticated: No credential, or one that is unknown, expired or revoked.
            OriginRefused: A browser session changes something without naming its Origin.
        """
        bearer = request.headers.get("Authorization")
        cookie = None
        if bearer is not None:
            _once(request, "Authorization")
        elif connection.listener.kind == "tcp":
            cookie = request.cookies.get(COOKIE)
            if cookie is not None:
                _check_session_use(request)
        stamp: Any = (bearer or cookie, self._generation, self._tokens.version)
        known, until = connection.caller, connection.caller_until
        if known is not None and connection.caller_stamp == stamp and (until == 0.0 or self._clock.wall() < until):
            return known
        connection.caller = None
        login = await self._login(connection, bearer, cookie)
        connection.caller, connection.caller_until = login.caller, login.until
        connection.caller_stamp = (bearer or cookie, self._generation, self._tokens.version)
        return login.caller

    async def _login(self, connection: Connection, bearer: str | None, cookie: str | None) -> Login:
        login: Login | None
        if bearer is not None:
            # Also on the socket: a proxy in front of it passes its users' tokens on.
            kind, _, secret = bearer.partition(" ")
            login = await self._tokens.login(secret.strip()) if kind.lower() == "bearer" else None
            if login is None:
                raise NotAuthenticated(
                    "the bearer token is unknown, expired or revoked; `labctl token create` makes one"
                )
        elif cookie is not None:
            login = await self._sessions.login(cookie)
            if login is None:
                raise NotAuthenticated("the browser session is over; log in again with a token")
        elif connection.listener.kind == "unix" and connection.transport is not None:
            peer = peer_of(connection.transport.get_extra_info("socket"))
            login = Login(self._table.caller(peer), 0.0)
        else:
            raise NotAuthenticated("this listener needs `Authorization: Bearer TOKEN`; `labctl token create` makes one")
        return login


def _check_session_use(request: web.BaseRequest) -> None:
    """Refuse the use of a browser's session by a page that is not labd's own.

    Why also by `Sec-Fetch-Site`: to a browser, every port of this host is the same site, so it sends the cookie with
    what a page of another program here asks for, and without an Origin where that only reads.

    Raises:
        OriginRefused: Something is to change and no Origin is named, or another page has the browser ask.
    """
    if request.method not in SAFE_METHODS and "Origin" not in request.headers:
        raise OriginRefused("a browser session may change something only with an Origin header")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in OWN_SITES and "Origin" not in request.headers:
        raise OriginRefused(f"a page of another origin (Sec-Fetch-Site: {_shown(site)}) may not use a browser session")


def check_scope(caller: Caller, scope: str, method: str, path: str) -> None:
    """Refuse a caller that lacks the scope.

    Raises:
        ScopeMissing: Names caller, scope, and where it is granted.
    """
    if scope not in caller.scopes:
        log.warning("access.refused", caller=caller.name, via=caller.via, scope=scope, method=method, path=path)
        where = "the [access] table of labd.toml" if caller.via == "unix" else "the token's scopes"
        raise ScopeMissing(
            f"{caller.name} lacks the scope {scope} for {method} {path}; it is granted by {where}",
            scope=scope,
            caller=caller.name,
            scopes=sorted(caller.scopes),
        )


def _name_of(host: str) -> str:
    """`lab.example:8780` -> `lab.example`, `[::1]:8780` -> `::1`; empty for what is neither."""
    match = HOST.fullmatch(host.lower())
    return "" if match is None else match[1] or match[2]


def _once(request: web.BaseRequest, header: str) -> None:
    """Refuse a header that is there twice: a proxy before labd may have looked at the other one.

    Raises:
        BadRequest: Names the header.
    """
    if len(request.headers.getall(header)) > 1:
        raise BadRequest(f"header {header} is given twice; give it once", header=header)


def _shown(text: str) -> str:
    """What a header holds, for a message: it may be long, and bytes that are no text."""
    return text[:200].encode("ascii", "backslashreplace").decode()

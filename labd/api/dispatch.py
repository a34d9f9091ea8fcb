"""From a request to the endpoint that answers it: one table of routes, one wrapper per endpoint.

Why no web framework routes and no middleware: a submission costs one commit that hundreds of others share, so the door
is what limits the daemon. What each request needs (gate, scope, query, body, encoding) stands in one function in the
order in which it must happen; everything that does not depend on the request is prepared when the route is made.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from urllib.parse import unquote

import structlog
from aiohttp import web

from labd.api.answer import json_answer
from labd.api.body import SHORT_BYTES, BodyReader
from labd.api.connection import LATE_S, ClientGone, connection_of
from labd.api.endpoint import Call, Endpoint
from labd.api.errors import answer_error, answer_unexpected
from labd.api.gate import ANONYMOUS, SAFE_METHODS, Gate, check_scope
from labd.api.query import QueryReader
from labd.engine.job import Caller
from labd.errors import BadRequest, LabdError, MethodNotAllowed, NotAuthenticated, NotFound, OriginRefused, WingOff
from labd.settings import KNOWN_WINGS

log = structlog.get_logger()
V1 = "/api/v1/"
OPEN_BODY_BYTES = 4096  # where anybody may send one, or none belongs: a login needs some hundred
BODY_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?:\r|$)", re.IGNORECASE)
SEGMENT = re.compile(r"\{(\w+)(:\.\+)?\}")


class Route:
    """One endpoint, ready to be called."""

    def __init__(self, endpoint: Endpoint, gate: Gate, max_body_bytes: int, body_timeout_s: float) -> None:
        self.endpoint = endpoint
        self._gate = gate
        self._query = QueryReader(endpoint.query)
        is_small = endpoint.scope == "none" or endpoint.body is None
        self._body = BodyReader(
            endpoint, min(max_body_bytes, OPEN_BODY_BYTES) if is_small else max_body_bytes, body_timeout_s
        )
        self._reads_body = endpoint.method not in SAFE_METHODS

    async def answer(self, request: web.BaseRequest, path: dict[str, str], query: str) -> web.StreamResponse:
        """Say who asks, wait for a turn, check, decode, call, encode; errors of the tree are left to the dispatcher."""
        endpoint = self.endpoint
        caller = ANONYMOUS
        refusal: LabdError | None = None
        if endpoint.scope != "none":
            try:
                caller = await self._gate.caller(connection_of(request), request)
            except (NotAuthenticated, OriginRefused, BadRequest) as fault:
                refusal = fault
        raw = await self._take_turn(request, path, caller)
        if refusal is not None:  # told only now: who is refused stands in line like everybody else
            raise refusal
        if endpoint.scope != "none" and endpoint.scope not in caller.scopes:
            check_scope(caller, endpoint.scope, request.method, request.path)
        values = self._query.read(query)
        body = await self._body.read(request, raw) if self._reads_body else None
        answer = await endpoint.handler(Call(caller, path, values, body, request))
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None and endpoint.status == 204:
            return web.Response(status=204)
        return json_answer(request, answer, endpoint.status)

    def is_urgent(self, path: dict[str, str]) -> bool:
        """Whether a request of these parts of the route is, whatever its body says."""
        urgent = self.endpoint.urgent
        return urgent if isinstance(urgent, bool) else urgent(path)

    async def _take_turn(self, request: web.BaseRequest, path: dict[str, str], caller: Caller) -> bytes | None:
        """Let a request begin when it is its turn; one that is urgent begins at once.

        Why a short body is read before: it may say that the request is a stop, and while it is on its way it takes
        nothing of a turn.

        Returns:
            The body, if it was read already.

        Raises:
            Overloaded: It came on a connection that came when there was no room.
            ShareTaken: Its caller has enough under way.
            ClientGone: Its client left the line; nothing was begun.
        """
        if self.is_urgent(path):
            return None
        connection, says_stop = connection_of(request), self.endpoint.urgent_body
        door, raw = connection.door, None
        if says_stop is not None and self.endpoint.scope in caller.scopes:
            if connection.is_late:
                door.says_more(connection)
            raw = await self._body.short(request, LATE_S if connection.is_late else None)
            if raw is not None and says_stop(raw):
                return raw
        if connection.is_late:
            raise door.full("connections_at_most")
        who = connection.address if caller is ANONYMOUS else caller.name
        door.begin(connection, who)
        if not door.turnstile.lets_in():
            await door.turnstile.wait(who)
            if connection.transport is None:
                raise ClientGone("the client left the line")
        return raw


class Dispatcher:
    """All routes by path and method.

    Raises:
        ValueError: Two endpoints of the same method and path.
    """

    def __init__(self, endpoints: Iterable[Endpoint], gate: Gate, max_body_bytes: int, body_timeout_s: float) -> None:
        self._gate = gate
        self._fixed: dict[str, dict[str, Route]] = {}
        self._open: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        self.endpoints = list(endpoints)
        patterns: dict[str, dict[str, Route]] = {}
        for endpoint in self.endpoints:
            methods = patterns.setdefault(endpoint.path, {})
            if endpoint.method in methods:
                raise ValueError(f"two endpoints for {endpoint.method} {endpoint.path}")
            methods[endpoint.method] = Route(endpoint, gate, max_body_bytes, body_timeout_s)
        self._off = {name for name in KNOWN_WINGS if not any(path.startswith(f"{V1}{name}") for path in patterns)}
        for path, methods in patterns.items():
            if "{" in path:
                self._open.append((_pattern_of(path), methods))
            else:
                self._fixed[path] = methods

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; the last place where exceptions of any kind end."""
        connection = connection_of(request)
        try:
            path, _, query = request.raw_path.partition("?")
            self._gate.check_origin(connection, request)
            methods = self._fixed.get(path)
            arguments: dict[str, str] = {}
            if methods is None:
                methods, arguments = self._find(path)
            method = request.method
            route = methods.get("GET" if method == "HEAD" else method)
            if route is None or (method == "HEAD" and route.endpoint.streams):
                raise MethodNotAllowed(
                    f"{path} does not take {method}; it takes {', '.join(sorted(methods))}", allowed=sorted(methods)
                )
            return await route.answer(request, arguments, query)
        except LabdError as error:
            if isinstance(error, (NotAuthenticated, OriginRefused)):
                log.warning("access.refused", code=error.code, remote=request.remote, path=request.raw_path[:200])
            return _unless_begun(request, answer_error(error))
        except asyncio.CancelledError:
            raise
        except ClientGone:
            return _unless_begun(request, web.Response(status=499))
        except Exception as fault:  # noqa: BLE001 one of the three places: becomes a 500 with an id and a traceback in the log
            return _unless_begun(request, answer_unexpected(fault, request.method, request.path))
        finally:
            connection.door.answered(connection)

    def is_urgent(self, method: str, path: str, said: bytes) -> bool:
        """Whether a request passes the line, or may do so by what is still to come; one that there is not does not.

        Args:
            said: Its first bytes.
        """
        try:
            methods, arguments = (self._fixed[path], {}) if path in self._fixed else self._find(path)
        except LabdError:
            return False
        route = methods.get(method)
        if route is None or route.is_urgent(arguments):
            return route is not None
        says_stop = route.endpoint.urgent_body
        if says_stop is None:
            return False
        head, end, body = said.partition(b"\r\n\r\n")
        announced = BODY_LENGTH.search(head)
        length = int(announced[1]) if announced is not None else 0
        if not end:
            return True
        return 0 < length <= SHORT_BYTES and (len(body) < length or says_stop(body[:length]))

    def _find(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        for pattern, methods in self._open:
            match = pattern.fullmatch(path)
            if match is not None:
                return methods, {name: _plain(text) for name, text in match.groupdict().items()}
        wing = path.removeprefix(V1).partition("/")[0]
        if wing in self._off and path.startswith(V1):
            raise WingOff(f"wing {wing} is off: `labctl status` says why; [{wing}] in labd.toml turns it on", wing=wing)
        raise NotFound(f"no route {path[:200]}; GET /api/v1/openapi.json lists all", path=path[:200])


def _unless_begun(request: web.BaseRequest, answer: web.Response) -> web.Response:
    """The answer to a fault, where nothing else has been sent.

    Raises:
        ConnectionResetError: Another answer has begun. A second one would be read as its body, so the connection ends
            and the client sees that the first was cut short.
    """
    if request.writer.output_size > 0:
        raise ConnectionResetError("the answer had begun")
    return answer


def _plain(text: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest(f"path part {text[:80]} is not UTF-8") from None
    if "\0" in plain:
        raise BadRequest("a path part contains a NUL character")
    return plain


def _pattern_of(path: str) -> re.Pattern[str]:
    """`{name}` is one segment of the path, `{name:.+}` all that follows."""
    parts: list[str] = []
    end = 0
    for match in SEGMENT.finditer(path):
        parts.append(re.escape(path[end : match.start()]))
        parts.append(f"(?P<{match.group(1)}>{'.+' if match.group(2) else '[^/]+'})")
        end = match.end()
    parts.append(re.escape(path[end:]))
    return re.compile("".join(parts))

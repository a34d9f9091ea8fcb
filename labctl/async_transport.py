"""How the asynchronous client's requests reach the daemon: aiohttp, imported with the first request.

Not for the commands: `transport` is their way, and it needs no event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from labctl.refusals import value_of
from labctl.routes import Request
from labctl.transport import Address, Answer, unreachable
from labd.errors import DaemonUnreachable

if TYPE_CHECKING:
    import aiohttp

BLOCK_BYTES = 65536


class AsyncTransport:
    """Connections to one daemon; many requests may be under way at once. Arguments as for `Transport`."""

    def __init__(self, candidates: list[Address], *, connect_timeout_s: float, timeout_s: float) -> None:
        self._candidates = candidates
        self._address: Address | None = None
        self._session: aiohttp.ClientSession | None = None
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._opening = asyncio.Lock()

    @property
    def url(self) -> str:
        """Where the daemon is, or would be looked for first."""
        address = self._address or (self._candidates[0] if self._candidates else None)
        return address.url if address else "nowhere"

    async def close(self) -> None:
        """Close all connections; a second call does nothing."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def exchange(self, request: Request, timeout_s: float | None = None) -> Answer:
        """Send a request and read its whole answer.

        Raises:
            DaemonUnreachable: Nobody there, no answer in time, or the connection broke.
        """
        import aiohttp

        limit_s = self._timeout_s if timeout_s is None else timeout_s
        session, base = await self._open()
        try:
            async with session.request(
                request.method,
                base + request.path,
                params=dict(request.query),
                data=None if request.body is None else request.encoded(),
                headers=self._headers(request),
                timeout=aiohttp.ClientTimeout(total=limit_s, sock_connect=self._connect_timeout_s),
            ) as response:
                after = response.headers.get("Retry-After", "")
                return Answer(response.status, response.content_type, await response.read(), after)
        except (aiohttp.ClientError, OSError) as fault:
            raise self._unreachable(request, fault, limit_s) from fault

    async def stream(self, request: Request, silence_s: float) -> AsyncGenerator[bytes, None]:
        """The answer piece by piece: lines of an event stream, blocks of anything else; silence ends it.

        Raises:
            DaemonUnreachable: As for `exchange`.
            LabdError: The daemon refused.
        """
        import aiohttp

        session, base = await self._open()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s, sock_read=silence_s)
        try:
            async with session.request(
                request.method,
                base + request.path,
                params=dict(request.query),
                headers=self._headers(request),
                timeout=timeout,
            ) as response:
                if response.status >= 400:
                    after = response.headers.get("Retry-After", "")
                    value_of(response.status, response.content_type, await response.read(), after)
                by_line = response.content_type == "text/event-stream"
                blocks = response.content if by_line else response.content.iter_chunked(BLOCK_BYTES)
                try:
                    async for block in blocks:
                        yield block
                except TimeoutError:
                    return
        except (aiohttp.ClientError, OSError) as fault:
            raise self._unreachable(request, fault, silence_s) from fault

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Accept": request.accept, "User-Agent": "labctl", **request.headers}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if self._address is not None and self._address.token and self._address.kind != "unix":
            headers["Authorization"] = f"Bearer {self._address.token}"
        return headers

    async def _open(self) -> tuple[aiohttp.ClientSession, str]:
        """The session, on the first candidate that lets itself be opened."""
        import aiohttp

        async with self._opening:
            if self._session is None or self._address is None:
                self._address = await self._reachable()
                self._session = aiohttp.ClientSession(connector=_connector(self._address), trust_env=False)
        base = "http://localhost" if self._address.kind == "unix" else self._address.url
        return self._session, base

    async def _reachable(self) -> Address:
        if len(self._candidates) == 1:
            return self._candidates[0]
        tried: list[str] = []
        for address in self._candidates:
            try:
                async with asyncio.timeout(self._connect_timeout_s):
                    _, writer = await asyncio.open_unix_connection(address.target)
            except OSError as fault:
                tried.append(f"{address.url} ({(fault.strerror or str(fault)).lower()})")
                continue
            writer.close()
            await writer.wait_closed()
            return address
        raise unreachable(tried, self._candidates)

    def _unreachable(self, request: Request, fault: Exception, limit_s: float) -> DaemonUnreachable:
        import aiohttp

        if isinstance(fault, aiohttp.ClientConnectorError):
            return unreachable([f"{self.url} ({(fault.strerror or str(fault)).lower()})"], self._candidates)
        if isinstance(fault, TimeoutError):
            text = f"{self.url}: the daemon did not answer within {limit_s:g} s"
        else:
            text = f"{self.url}: the connection broke before the answer came ({str(fault) or type(fault).__name__})"
        if request.method != "GET":
            text += "; it may have been accepted: look with `labctl job list`"
        return DaemonUnreachable(text, tried=[self.url])


def _connector(address: Address) -> aiohttp.BaseConnector:
    import aiohttp

    if address.kind == "unix":
        return aiohttp.UnixConnector(path=address.target, limit=0)
    if address.kind == "https":
        import ssl

        return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=address.ca_file), limit=0)
    return aiohttp.TCPConnector(limit=0)

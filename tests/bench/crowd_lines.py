"""The lines of the crowd: HTTP/1.1 over the socket or TLS, so cheap that many fit into one process, and strict.

A line has one request under way. It knows every byte of the answer: what is no answer, and what comes without having
been asked for, is a fault of the daemon, not of the weather.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any, NamedTuple

OPEN_S = 120.0
ANSWER_S = 60.0


class Place(NamedTuple):
    """Where the daemon is: a socket, or a TLS listener with its authority and a token."""

    socket: str = ""
    port: int = 0
    ca_file: str = ""
    token: str = ""

    @property
    def kind(self) -> str:
        """As the figures call it."""
        return "unix" if self.socket else "tls"


class Answer(NamedTuple):
    """One whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Broken(ConnectionError):
    """The connection ended before the answer was whole."""


class Line(asyncio.Protocol):
    """One connection; `ask` sends a request and gives its answer."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._data = bytearray()
        self._asked: asyncio.Future[Answer] | None = None
        self._loop = asyncio.get_running_loop()
        self.is_open = False
        self.unasked_bytes = 0
        self.early: Answer | None = None
        self.transport: Any = None

    @classmethod
    async def open(cls, place: Place, context: ssl.SSLContext | None = None) -> Line:
        """Connect.

        Raises:
            OSError: Nobody takes the connection.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPEN_S):
            if place.socket:
                return (await loop.create_unix_connection(lambda: cls(place), place.socket))[1]
            context = context or context_of(place)
            made = await loop.create_connection(
                lambda: cls(place), "127.0.0.1", place.port, ssl=context, server_hostname="localhost"
            )
            return made[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self.transport = transport
        self.is_open = True

    def send(self, method: str, path: str, body: Any = None, headers: str = "") -> None:
        """Only the request."""
        raw = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}"
        if self._place.token:
            head += f"Authorization: Bearer {self._place.token}\r\n"
        if raw or method == "POST":
            head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
        self.transport.write(head.encode() + b"\r\n" + raw)

    async def ask(self, method: str, path: str, body: Any = None, timeout_s: float = ANSWER_S) -> Answer:
        """A request and its answer.

        Raises:
            Broken: The daemon hung up.
            TimeoutError: No answer in time.
        """
        if self.early is not None:
            return self.early
        if not self.is_open:
            raise Broken("the connection is closed")
        self._asked = self._loop.create_future()
        self.send(method, path, body)
        timer = self._loop.call_later(timeout_s, self._give_up)
        try:
            return await self._asked
        finally:
            timer.cancel()
            self._asked = None

    def _give_up(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(TimeoutError("no answer in time"))

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or the whole of it."""
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = bytes(self._data[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (each.partition(":") for each in lines)}
        whole = end + 4 + int(headers.get("content-length", 0))
        if len(self._data) < whole:
            return
        answer = Answer(int(first[9:12]), headers, bytes(self._data[end + 4 : whole]))
        del self._data[:whole]
        if self._asked is None and answer.headers.get("connection") == "close":
            self.early = answer  # refused before it was asked, so it is the answer to what would be asked
        elif self._asked is None or self._asked.done():
            self.unasked_bytes += whole
        else:
            self._asked.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """The daemon hung up, or we did."""
        self.is_open = False
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(Broken(f"the connection ended before the answer ({exc})"))

    def close(self) -> None:
        """Hang up."""
        if self.transport is not None:
            self.transport.close()


def context_of(place: Place) -> ssl.SSLContext:
    """TLS that trusts the bench's own authority alone."""
    return ssl.create_default_context(cafile=place.ca_file)


def write_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority and a certificate for this host: its file, the certificate, the key."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    ca_file, cert, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(ca_file)
    issued.private_key_pem.write_to_path(key)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(cert, append=number > 0)
    return ca_file, cert, key

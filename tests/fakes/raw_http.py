"""An HTTP client that sends exactly the bytes it is told, so that tests can be rude."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.reader, self.writer, self.host = reader, writer, host

    @classmethod
    async def unix(cls, path: Path, host: str = "labd") -> RawClient:
        reader, writer = await asyncio.open_unix_connection(str(path))
        return cls(reader, writer, host)

    @classmethod
    async def tcp(cls, address: tuple[str, int], tls: ssl.SSLContext | None = None) -> RawClient:
        reader, writer = await asyncio.open_connection(*address, ssl=tls)
        return cls(reader, writer, f"{address[0]}:{address[1]}")

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(self, *fault: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> None:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1"]
        given = {name.lower() for name in headers or {}}
        if "host" not in given:
            lines.append(f"Host: {self.host}")
        if (raw or method in ("POST", "PUT")) and not given & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(raw)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)

    async def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        self.send(method, path, body, headers)
        return await self.answer(method)

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(DEADLINE_S):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        return int(first.split(" ")[1]), headers

    async def answer(self, method: str = "GET") -> Answer:
        status, headers = await self.head()
        async with asyncio.timeout(DEADLINE_S):
            if method == "HEAD" or status in (100, 204, 304):
                return Answer(status, headers, b"")
            if "content-length" in headers:
                return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))
            return Answer(status, headers, await self.chunks())

    async def chunks(self) -> bytes:
        found = b""
        while chunk := await self.chunk():
            found += chunk
        return found

    async def chunk(self) -> bytes:
        """One chunk of a chunked answer; empty at its end or when the connection has ended."""
        async with asyncio.timeout(DEADLINE_S):
            line = await self.reader.readline()
            if not line:
                return b""
            size = int(line, 16)
            text = await self.reader.readexactly(size + 2)
            return text[:-2] if size else b""

    async def at_end(self) -> bool:
        """Wait until the server closes; what it still sent is thrown away."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True

"""HTTP/1.1 on one connected socket, as far as labctl needs it: one request, one answer, then the next.

Why not `http.client`: it imports the e-mail package and TLS, which is more than half of the time that `labctl status`
and `labctl resort stop` take to start (40 of 70 ms where this was written). What is needed here is a status line, a few
headers, and a body by length, by chunks or to the end (RFC 9112, sections 4 to 6).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping

HEAD_AT_MOST_BYTES = 65536
BLOCK_BYTES = 65536


class BadAnswer(ConnectionError):
    """Bytes that are no answer of an HTTP server, or an answer that ends in the middle."""


class Wire:
    """A connection.

    Args:
        sock: Connected; its time limit applies to every read and write.
        host: What goes into the `Host` header.
    """

    def __init__(self, sock: socket.socket, host: str) -> None:
        self.sock = sock
        self._host = host
        self._file = sock.makefile("rb")
        self.status = 0
        self.headers: dict[str, str] = {}
        self.closes = False

    @property
    def content_type(self) -> str:
        """Media type of the answer, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._file.close()
        self.sock.close()

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> None:
        """Send a request and read the head of its answer.

        Raises:
            OSError: Also `TimeoutError` and `BadAnswer`.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body or b'')}")
        if any("\r" in line or "\n" in line for line in lines):
            raise BadAnswer("a line break in a request's head")
        try:
            self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server that refuses a body may close before all of it is sent; its answer says why
        self._read_head()
        while 100 <= self.status < 200:
            self._read_head()

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.blocks())

    def blocks(self) -> Iterator[bytes]:
        """The body as it comes, in pieces of the server's choice."""
        if self.status in (204, 304):
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif "content-length" in self.headers:
            left = _number(self.headers["content-length"], 10)
            while left:
                block = self._exactly(min(left, BLOCK_BYTES))
                left -= len(block)
                yield block
        else:
            self.closes = True
            while block := self._file.read1(BLOCK_BYTES):
                yield block

    def lines(self) -> Iterator[bytes]:
        """The body line by line, each as soon as it is whole."""
        rest = b""
        for block in self.blocks():
            *whole, rest = (rest + block).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _read_head(self) -> None:
        first, *lines = self._whole_head() or self._head_by_lines()
        version, _, told = first.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not told[:3].isdigit():
            raise BadAnswer(f"no HTTP answer but {first[:40]!r}")
        self.status = int(told[:3])
        self.headers = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()
        connection = self.headers.get("connection", "").lower()
        self.closes = "close" in connection or (version == b"HTTP/1.0" and "keep-alive" not in connection)

    def _whole_head(self) -> list[bytes]:
        """The lines of a head that came in one piece, as nearly all do; nothing of any other, and nothing is taken."""
        there = self._file.peek()
        end = there.find(b"\r\n\r\n") + 4
        return [] if end < 4 else self._file.read(end)[:-4].split(b"\r\n")

    def _head_by_lines(self) -> list[bytes]:
        lines = [self._line()]
        size = 0
        while lines[0].startswith(b"HTTP/") and (line := self._line()):  # of anything else no more will come
            size += len(line)
            if size > HEAD_AT_MOST_BYTES:
                raise BadAnswer(f"an answer with a head of more than {HEAD_AT_MOST_BYTES} bytes")
            lines.append(line)
        return lines

    def _chunks(self) -> Iterator[bytes]:
        while left := _number(self._line().partition(b";")[0].decode("latin-1"), 16):
            while left:
                block = self._file.read1(min(left, BLOCK_BYTES))
                if not block:
                    raise BadAnswer("the connection ended in the middle of an answer")
                left -= len(block)
                yield block
            self._line()
        while self._line():
            continue  # trailers

    def _line(self) -> bytes:
        line = self._file.readline(HEAD_AT_MOST_BYTES)
        if not line.endswith(b"\n"):
            raise BadAnswer("the connection ended before an answer" if not line else "an answer that ends in its head")
        return line.rstrip(b"\r\n")

    def _exactly(self, size: int) -> bytes:
        block = self._file.read(size)
        if len(block) < size:
            raise BadAnswer("the connection ended in the middle of an answer")
        return block


def _number(text: str, base: int) -> int:
    try:
        return int(text.strip(), base)
    except ValueError:
        raise BadAnswer(f"no length but {text[:40]!r}") from None

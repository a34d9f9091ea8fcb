"""HTTP/1.1 over the Unix socket with prepared bytes: a client so cheap that it is not what is measured."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TIMEOUT_S = 60.0
STATUS_PATH = "/api/v1/resort/status"
JOBS_PATH = "/api/v1/jobs"
NOOP = '{"task":"test.noop"}'


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of one request on a connection that stays open."""
    head = f"{method} {path} HTTP/1.1\r\nHost: labd\r\n"
    if body or method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def split(data: bytes | bytearray) -> tuple[int, int, int] | None:
    """Status, begin and end of the body of the first answer in `data`; None while it is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    at = head.find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    whole = end + 4 + length
    return (int(data[9:12]), end + 4, whole) if len(data) >= whole else None


class Caller:
    """One blocking connection, one request at a time."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        # A blocking connect waits where the queue is full; with a timeout it would be refused with EAGAIN.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(timeout_s) or 1, 0))
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(timeout_s)
        self._data = bytearray()

    def send(self, raw: bytes) -> None:
        """Begin a request."""
        self._socket.sendall(raw)

    def receive(self) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            ConnectionError: The daemon hung up.
        """
        while True:
            found = split(self._data)
            if found is not None:
                status, begin, end = found
                body = bytes(self._data[begin:end])
                del self._data[:end]
                return status, body
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the daemon hung up")
            self._data += data

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request with a JSON body; status and answer, parsed where it is JSON."""
        self.send(request(method, path, b"" if body is None else json.dumps(body).encode()))
        status, answer = self.receive()
        return status, json.loads(answer) if answer[:1] in b"{[" else answer.decode()

    def get(self, path: str) -> Any:
        """The answer to a GET that must succeed."""
        return self._must(*self.ask("GET", path), "GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """The answer to a POST that must succeed."""
        return self._must(*self.ask("POST", path, {} if body is None else body), "POST", path)

    @staticmethod
    def _must(status: int, answer: Any, method: str, path: str) -> Any:
        if status >= 300:
            raise RuntimeError(f"{method} {path} was answered {status}: {answer}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

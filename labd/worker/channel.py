"""JSON lines between worker and daemon, over two file descriptors (one, if it is a socket).

Why descriptors and not a socket object: over ssh the same worker speaks through pipes.
Why the worker ends when a line is broken: both sides come from one release, so a broken line is a fault of labd, and a
run that got lost in it would never be answered. A dead worker is noticed at once, with these last words.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Dict, Iterator, List

from labd.worker.encoding import encode

LINE_LIMIT_BYTES = 16 * 1024 * 1024
READ_LIMIT_BYTES = 16 * LINE_LIMIT_BYTES  # a run brings the results of all its steps, each up to a line
READ_BYTES = 256 * 1024


class LineTooLong(ValueError):
    """A message above the limit of one line; nothing of it was sent."""


class ChannelFault(Exception):
    """What came in is not a message."""


class Channel:
    """Both directions. Any thread may send; one thread reads."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def messages(self) -> Iterator[Dict[str, Any]]:
        """What the daemon sends, until it closes its end.

        Raises:
            ChannelFault: A line that is not a JSON object, or too long.
        """
        parts: List[bytes] = []
        size = 0
        while True:
            try:
                piece = os.read(self._read_fd, READ_BYTES)
            except ConnectionError:
                return
            if not piece:
                return
            *lines, rest = piece.split(b"\n")
            for line in lines:
                parts.append(line)
                yield _message(b"".join(parts))
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > READ_LIMIT_BYTES:
                raise ChannelFault(f"a line of more than {READ_LIMIT_BYTES // 2**20} MiB")

    def send(self, message: Dict[str, Any]) -> None:
        """One message, as a whole or not at all.

        Raises:
            NotJson: It cannot be written as JSON.
            LineTooLong: Names both sizes.
        """
        if os.getpid() != self._pid:
            return  # a body forked, and its copy of this worker has no say
        line = encode(message) + b"\n"
        if len(line) > LINE_LIMIT_BYTES:
            raise LineTooLong(
                f"{len(line) / 2**20:.1f} MiB of JSON, and at most {LINE_LIMIT_BYTES / 2**20:.0f} MiB go through"
            )
        with self._lock:
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._write_fd, rest) :]
            except OSError:
                os._exit(1)  # the daemon is gone, and with it everybody who could want the result


def _message(line: bytes) -> Dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as fault:
        raise ChannelFault(f"a line that is not JSON ({fault}): {line[:200]!r}") from None
    if not isinstance(message, dict):
        raise ChannelFault(f"a line that is no JSON object: {line[:200]!r}")
    return message

"""JSON lines between worker and daemon, over two file descriptors (one, if it is a socket).

Why descriptors and not a socket object: over ssh the same worker speaks through pipes.
Why the worker ends when a line is broken: both sides come from one release, so a broken line is a fault of labd, and a
run that got lost in it would never be answered. A dead worker is noticed at once, with these last words.
"""

from __future__ import annotations

import collections
import json
import os
import select
import threading
from typing import Any, Deque, Dict, Iterator, List, Optional

from labd.worker.encoding import encode

LINE_LIMIT_BYTES = 16 * 1024 * 1024
READ_LIMIT_BYTES = 16 * LINE_LIMIT_BYTES  # a run brings the results of all its steps, each up to a line
READ_BYTES = 64 * 1024
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what `json.loads` does in the end, and less
URGENT = ("cancel", "consumed")  # for the run that goes on


class LineTooLong(ValueError):
    """A message above the limit of one line; nothing of it was sent."""


class ChannelFault(Exception):
    """What came in is not a message."""


class Lines:
    """Pieces of a stream as whole messages."""

    def __init__(self) -> None:
        self._parts: List[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[Dict[str, Any]]:
        """The messages that end in this piece; to be taken before the next one is fed.

        Raises:
            ChannelFault: A line that is not a JSON object, or too long.
        """
        if not self._size and piece.find(b"\n") == len(piece) - 1:  # one message as a whole, as most come
            yield _message(piece)
            return
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._parts.append(line)
            whole = b"".join(self._parts)
            self._parts, self._size = [], 0
            yield _message(whole)
        self._parts.append(rest)
        self._size += len(rest)
        if self._size > READ_LIMIT_BYTES:
            raise ChannelFault(f"a line of more than {READ_LIMIT_BYTES // 2**20} MiB")


class Inbox:
    """What the daemon sends, read by the one thread that also runs the bodies.

    Why not by a thread of its own: handing a run from one thread to the other takes a quarter of a millisecond on an
    idle host, and as much processor time as the rest of a short run. See `labd.worker.main` for what a cancel needs.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines = Lines()
        self._messages: Deque[Dict[str, Any]] = collections.deque()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._reading = threading.Lock()

    def wait(self) -> Optional[Dict[str, Any]]:
        """The next message, whenever it comes; None when the daemon has closed its end.

        Raises:
            ChannelFault: As `Lines.feed`.
        """
        with self._reading:
            while not self._messages:
                if not self._read():
                    return None
            return self._messages.popleft()

    def look(self, until: Optional[threading.Event] = None, limit_s: float = 0.0) -> Optional[List[Dict[str, Any]]]:
        """What is there for the run that goes on, taken out; the rest waits for its turn.

        None where another thread reads, or what a signal has interrupted.

        Args:
            until: With it, what comes first within `limit_s` is waited for, unless it is set already.

        Raises:
            ChannelFault: As `Lines.feed`.
            EOFError: The daemon has closed its end, seen while waiting.
        """
        if not self._reading.acquire(timeout=limit_s):
            return None
        try:
            if until is not None and not until.is_set() and self._poll.poll(limit_s * 1000) and not self._read():
                raise EOFError
            while self._poll.poll(0) and self._read():
                pass
            found = [message for message in self._messages if message.get("type") in URGENT]
            if found:
                rest = [message for message in self._messages if message.get("type") not in URGENT]
                self._messages = collections.deque(rest)
            return found
        finally:
            self._reading.release()

    def _read(self) -> bool:
        try:
            piece = os.read(self._fd, READ_BYTES)
        except ConnectionError:
            return False
        self._messages.extend(self._lines.feed(piece))
        return bool(piece)


class Channel:
    """Both directions. Any thread may send; one thread reads."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._pid = os.getpid()
        self._lock = threading.Lock()

    @property
    def is_copy(self) -> bool:
        """Whether this is a process that a body forked."""
        return os.getpid() != self._pid

    def inbox(self) -> Inbox:
        """For a thread that has other things to do than to read; in place of `messages`."""
        return Inbox(self._read_fd)

    def messages(self) -> Iterator[Dict[str, Any]]:
        """What the daemon sends, until it closes its end.

        Raises:
            ChannelFault: A line that is not a JSON object, or too long.
        """
        lines = Lines()
        while True:
            try:
                piece = os.read(self._read_fd, READ_BYTES)
            except ConnectionError:
                return
            if not piece:
                return
            yield from lines.feed(piece)

    def send(self, message: Dict[str, Any]) -> None:
        """One message, as a whole or not at all.

        Raises:
            NotJson: It cannot be written as JSON.
            LineTooLong: Names both sizes.
        """
        if self.is_copy:
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
        text = line.decode()
        message, end = _scan(text, 0)
        if text[end:].strip():
            raise ValueError
    except (ValueError, StopIteration, RecursionError):
        try:
            message = json.loads(line)  # another spelling, or what is wrong with it
        except (ValueError, RecursionError) as fault:
            raise ChannelFault(f"a line that is not JSON ({fault}): {line[:200]!r}") from None
    if not isinstance(message, dict):
        raise ChannelFault(f"a line that is no JSON object: {line[:200]!r}")
    return message

"""What a job prints, line by line into its log, bounded: the first part, the last part, and the count of the rest.

Why not every line: a task that prints 100 MB must neither block (somebody has to read its pipe) nor fill memory or
disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

HEAD_SIZE_BYTES = 256 * 1024
TAIL_SIZE_BYTES = 32 * 1024
LINE_LIMIT_BYTES = 8192
LAST_LINES = 5
DUMP_LINES = 40  # the stack of a crash is told from its inmost call, and below that are only the worker's own
DUMP_HEAD = "(most recent call first):"
LEVELS = {"stdout": "info", "stderr": "warning"}
Emit = Callable[[str, str], None]


class JobOutput:
    """The output of one run.

    Args:
        emit: Takes level and text of a line of the job's log.
    """

    __slots__ = ("_emit", "_last", "_left", "_open", "_skipped_bytes", "_skipped_lines", "_tail")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._left = HEAD_SIZE_BYTES
        self._open: dict[str, bytes] = {}
        self._last: deque[str] = deque(maxlen=DUMP_LINES)
        self._tail = b""
        self._skipped_bytes = 0
        self._skipped_lines = 0

    def feed(self, stream: str, data: bytes) -> None:
        """Bytes from `stdout` or `stderr`."""
        if self._left <= 0:
            self._skip(data)
            return
        self._left -= len(data)
        lines = (self._open.pop(stream, b"") + data).split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._line(LEVELS[stream], line)
        while len(rest) > LINE_LIMIT_BYTES:
            self._line(LEVELS[stream], rest[:LINE_LIMIT_BYTES])
            rest = rest[LINE_LIMIT_BYTES:]
        if rest:
            self._open[stream] = rest

    def log(self, level: str, text: str) -> None:
        """A line that the task logged; it counts like printed ones."""
        if self._left <= 0:
            self._skip(text.encode(errors="replace") + b"\n")
            return
        self._left -= len(text) + 64
        self._last.append(text)
        self._emit(level, text)

    def finish(self) -> None:
        """The run is over: lines without an end, what was left out, and the last part."""
        for stream, rest in self._open.items():
            self._line(LEVELS[stream], rest)
        self._open.clear()
        if not self._skipped_bytes:
            return
        out = self._skipped_bytes - len(self._tail)
        if out > 0:
            lines = self._skipped_lines - self._tail.count(b"\n")
            self._emit("warning", f"... {out} bytes in about {lines} lines are left out here; the last part follows")
        for line in self._tail.splitlines():
            self._line("info", line[:LINE_LIMIT_BYTES])
        self._tail = b""

    def last_lines(self) -> list[str]:
        """The last lines that were seen, for the message about a worker that died; of a crash its inmost calls."""
        lines = list(self._last)
        dumps = [at for at, line in enumerate(lines) if line.endswith(DUMP_HEAD)]
        return lines[dumps[-1] :][:LAST_LINES] if dumps else lines[-LAST_LINES:]

    def _line(self, level: str, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self._last.append(text)
        self._emit(level, text)

    def _skip(self, data: bytes) -> None:
        self._skipped_bytes += len(data)
        self._skipped_lines += data.count(b"\n")
        self._tail = (self._tail + data)[-TAIL_SIZE_BYTES:]

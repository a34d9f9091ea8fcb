"""The child's side of the wire: lines in, lines out, and how far a load is.

Runs in the store's child process: the standard library only.

Why it listens all the time: when the daemon is killed, a load must not go on and write into a folder that the next
daemon has begun anew.
"""

from __future__ import annotations

import json
import os
import queue
import re
import sys
import threading
from typing import Any

TELL_S = 0.25
_BAR = re.compile(rb"Pipelines Finished: (\d+)/(\d+)|Current Pipeline Progress: (\d+)%")


class Wire:
    """Lines in and lines out; what ladybug prints goes elsewhere."""

    def __init__(self) -> None:
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.bar = Bar()
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        self._lock = threading.Lock()
        read, write = os.pipe()
        os.dup2(write, 1)
        os.close(write)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self.bar.watch, args=(read,), daemon=True).start()

    def say(self, message: dict[str, Any]) -> None:
        """One line."""
        data = memoryview(json.dumps(message, ensure_ascii=True, allow_nan=False).encode() + b"\n")
        with self._lock:
            while data:
                data = data[self._out.write(data) or 0 :]

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            self.requests.put(json.loads(line))
        os._exit(0)  # the daemon is gone, or wants no more


class Bar:
    """How much of the running statement is done, from the bar that ladybug prints."""

    def __init__(self) -> None:
        self.fraction = 0.0
        self._finished = 0
        self._pipelines = 1

    def reset(self) -> None:
        """A new statement begins."""
        self.fraction, self._finished, self._pipelines = 0.0, 0, 1

    def watch(self, number: int) -> None:
        """Read what is printed, until the end."""
        rest = b""
        while data := os.read(number, 65536):
            *lines, rest = (rest[-200:] + data).split(b"\n")
            for line in lines:
                if match := _BAR.search(line):
                    self._take(match)

    def _take(self, match: re.Match[bytes]) -> None:
        if match[3] is None:
            self._finished, self._pipelines = int(match[1]), max(1, int(match[2]))
            part = 0.0
        else:
            part = int(match[3]) / 100
        self.fraction = max(self.fraction, min(1.0, (self._finished + part) / self._pipelines))


class Meter:
    """Tells the daemon how many rows are in, a few times a second."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._done = self._rows = 0
        self._table = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self, table: str, rows: int) -> None:
        """A table's rows go into the store from now on."""
        self._wire.bar.reset()
        self._table, self._rows = table, rows

    def end(self) -> None:
        """They are in."""
        self._done, self._rows = self._done + self._rows, 0
        self._say()

    def tell(self, table: str) -> None:
        """Something else is being done."""
        self._table = table

    def stop(self) -> None:
        """Say no more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(TELL_S):
            self._say()

    def _say(self) -> None:
        rows = self._done + int(self._rows * self._wire.bar.fraction)
        self._wire.say({"rows": rows, "table": self._table})

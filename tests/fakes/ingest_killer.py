"""Loads in processes that are killed (SIGKILL) at a step of the test's choice; `python -m tests.fakes.ingest_killer`.

A request is a line of JSON, `{"batch": ..., "kill_at": 7}`; the answer is `{"killed": true}`, or `{"told": ...}` and
how many steps there were.

A step is the moment before each call that leaves something behind: a file made, closed, synced, renamed or deleted, a
transaction of the catalogue's database; and the moment before the answer.

Why forks: the heavy packages are imported once, and each load starts in a process that has done nothing yet.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Json = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class Steps:
    """Counts, and ends the process at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.count = 0
        self._kill_at = kill_at

    def step(self) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, owner: Any, name: str) -> None:
        """Count every call of a function."""
        inner = getattr(owner, name)

        def counted(*args: Any, **options: Any) -> Any:
            self.step()
            return inner(*args, **options)

        setattr(owner, name, counted)

    def watch(self) -> None:
        """All that leaves something behind."""
        import pyarrow.parquet as pq
        from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
        from sqlalchemy.orm import Session

        for owner, name in (
            (PyArrowFile, "create"), (PyArrowFileIO, "delete"), (pq.ParquetWriter, "close"), (Session, "commit"),
            (os, "fsync"), (Path, "replace"), (Path, "unlink"),
        ):  # fmt: skip
            self.before(owner, name)


def serve() -> None:
    """One request after the other."""
    from labd.ingest import remote
    from labd.ingest.remote_arrow import ArrowEngine

    assert ArrowEngine
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            steps = Steps(request["kill_at"])
            steps.watch()
            told = remote.ask("load", {"engine": "arrow", "batch": request["batch"]})
            steps.step()
            os.write(writing, json.dumps({"told": told, "steps": steps.count}).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"killed": True}) if was_killed else answer, flush=True)


class Killer:
    """The process that forks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def load(self, batch: Json, kill_at: int = 0) -> Json | None:
        """The answer of the child's entry; None if it was killed on the way."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"batch": batch, "kill_at": kill_at}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return None if answer.get("killed") else dict(answer["told"])


@contextmanager
def killer() -> Iterator[Killer]:
    """A process for some loads."""
    command = [sys.executable, "-m", "tests.fakes.ingest_killer"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Killer(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


if __name__ == "__main__":
    serve()

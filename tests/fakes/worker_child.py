"""A worker child and the daemon's end of its channel, spoken byte for byte."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import labd

PATIENCE_S = 20.0
BOOT = "import sys; sys.path.insert(0, {lend!r}); from labd.worker.main import main; main({number})"


def lend(folder: Path) -> Path:
    """What a worker gets of labd, and nothing else of it."""
    source = Path(labd.__file__).parent
    (folder / "labd" / "worker").mkdir(parents=True)
    shutil.copy(source / "__init__.py", folder / "labd")
    for path in (source / "worker").glob("*.py"):
        shutil.copy(path, folder / "labd" / "worker")
    return folder


class WorkerChild:
    """Started without site packages; `output` is the file that gets stdout and stderr."""

    def __init__(self, python: str, lent: Path, output: Path) -> None:
        ours, theirs = socket.socketpair()
        self.output = output
        command = [python, "-S", "-X", "utf8", "-c", BOOT.format(lend=str(lent), number=theirs.fileno())]
        with theirs, output.open("wb") as file:
            self.process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=lent
            )
        ours.settimeout(PATIENCE_S)
        self.socket = ours
        self._lines = ours.makefile("rb")
        self._runs = 0

    def send(self, **message: Any) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def line(self) -> bytes:
        return self._lines.readline()

    def receive(self) -> dict[str, Any]:
        line = self.line()
        assert line, f"the worker ended: {self.output.read_text()}"
        message: dict[str, Any] = json.loads(line)
        return message

    def start(self, task: str, args: dict[str, Any] | None = None, steps: list[Any] | None = None) -> int:
        self._runs += 1
        number = self._runs
        self.send(
            type="run",
            run=number,
            job=100 + number,
            attempt=1,
            task=task,
            args=args or {},
            steps=steps or [],
            grace_s=1,
        )
        return number

    def end(self, number: int) -> dict[str, Any]:
        """The message that ends the run; the lines before it are in `said`."""
        self.said: list[dict[str, Any]] = []
        while True:
            message = self.receive()
            assert message.pop("run") == number
            if message["type"] not in ("log", "progress"):
                return message
            self.said.append(message)

    def run(self, task: str, args: dict[str, Any] | None = None, steps: list[Any] | None = None) -> dict[str, Any]:
        return self.end(self.start(task, args, steps))

    def close(self) -> int:
        """Its exit status; killed where it does not end by itself."""
        self._lines.close()
        self.socket.close()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()

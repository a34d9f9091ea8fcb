"""A real daemon as a process of its own in a temporary folder, with the bench wing, ended by its pid alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil

from tests.bench.raw_http import Caller

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
END_S = 60.0


class Daemon:
    """Start, measure, end.

    Args:
        folder: State, socket, settings and log go here.
        settings: Text of the TOML file beside `log_level`.
        module: What is run: the daemon with the bench wing, or `labd` itself.
    """

    def __init__(self, folder: Path, settings: str = "", module: str = "tests.fakes.bench_daemon") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.socket = folder / "labd.sock"
        self.trace = folder / "trace.jsonl"
        self.log = folder / "labd.log"
        self.config = folder / "labd.toml"
        bench = f'log_level = "warning"\n{settings}\n[test]\ntrace = "{self.trace}"\n'
        self.config.write_text(settings if module == "labd" else bench)
        self._command = [sys.executable, "-m", module, *(["run"] if module == "labd" else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.ready_s = 0.0

    @property
    def pid(self) -> int:
        """Of the running daemon."""
        assert self._process is not None
        return self._process.pid

    @property
    def database(self) -> Path:
        """The journal's file."""
        return self.state / "labd.db"

    def spawn(self) -> None:
        """Begin; `wait_ready` waits until it serves."""
        paths = {"--config": self.config, "--state": self.state, "--socket": self.socket}
        self.started_at = time.time()
        self._spawned = time.monotonic()
        self._process = _spawn([*self._command, *(str(word) for pair in paths.items() for word in pair)], self.log)

    def wait_ready(self) -> float:
        """Wait until the socket answers; seconds from the start of the process.

        Raises:
            RuntimeError: It ended, or did not come up in time; has the end of its log.
        """
        deadline = self._spawned + READY_S
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                break
            try:
                with Caller(self.socket) as caller:
                    if caller.ask("GET", "/healthz")[0] == 200:
                        self.ready_s = time.monotonic() - self._spawned
                        return self.ready_s
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"the daemon did not come up; its log ends with\n{self.log.read_text()[-3000:]}")

    def start(self) -> Self:
        """`spawn` and `wait_ready`."""
        self.spawn()
        self.wait_ready()
        return self

    def usage(self) -> psutil.Process:
        """The process, to be measured."""
        return psutil.Process(self.pid)

    def kill(self) -> None:
        """kill -9, and nothing of it is left when this returns; nothing happens if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> int:
        """SIGTERM, and the exit code; killed where it takes too long."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9
        finally:
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        else:
            self.kill()


class Simulator:
    """The virtual bus as a process of its own, which outlives a killed daemon and keeps its own record."""

    def __init__(self, folder: Path) -> None:
        self.link = folder / "motor"
        self.record = folder / "bus.jsonl"
        self._log = folder / "simulator.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "labd", "simulate", "resort"]
        self._process = _spawn([*command, "--link", str(self.link), "--record", str(self.record)], self._log)
        deadline = time.monotonic() + READY_S
        while not self.link.exists():
            if time.monotonic() > deadline or self._process.poll() is not None:
                log = self._log.read_text()[-3000:]
                raise RuntimeError(f"the virtual bus did not come up; its log ends with\n{log}")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def settings(self, **more: Any) -> str:
        """The `[resort]` table that drives it."""
        keys = {"driver": "dynamixel", "device": str(self.link), **more}
        lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in keys.items()]
        return "\n".join(["[resort]", *lines, ""])


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own, which writes into `log` and has nothing of ours that changes its settings."""
    ours = ("LABD_", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    nothing = subprocess.DEVNULL
    with log.open("ab") as out:
        return subprocess.Popen(
            command, cwd=ROOT, stdin=nothing, stdout=out, stderr=out, start_new_session=True, env=environ
        )

"""The daemon of the demo: a process of its own that the tour can kill in mid-work and start again."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from labd import carried

READY_S = 30.0
END_S = 45.0
LOOK_S = 0.05
PORT = 8780  # of the dashboard, where it is free


class DemoDaemon:
    """One daemon over one folder.

    Args:
        folder: State, socket and log.
        config: The settings file.
        tasks: The folder of the lab's own tasks.
    """

    def __init__(self, folder: Path, config: Path, tasks: Path) -> None:
        self.folder = folder
        self.socket = folder / "labd.sock"
        self.host = f"unix:{self.socket}"
        self._config = config
        self._tasks = tasks
        self.port = _free_port(PORT)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the dashboard, on this host only."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> bool:
        """Start it; whether it serves within `READY_S`."""
        command = [
            *module_command("labd"), "run", "--config", str(self._config), "--state", str(self.folder / "state"),
            "--socket", str(self.socket),
        ]  # fmt: skip
        with (self.folder / "labd.log").open("ab") as log:
            # a session of its own: Ctrl-C reaches the demo, which then ends the daemon in good order
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={
                    **os.environ, "LABD_TASKS__FOLDERS": str(self._tasks),
                    "LABD_API__LISTEN": f"127.0.0.1:{self.port}",
                },
            )  # fmt: skip
        return self._wait_ready(self._process)

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        from labctl import Client
        from labd.errors import LabdError

        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                Client(self.host).status()
                return True
            except LabdError:
                time.sleep(LOOK_S)
        return False

    def kill(self) -> int:
        """`kill -9`; returns its pid."""
        process = self._process
        assert process is not None
        process.kill()
        process.wait()
        return process.pid

    def wait(self) -> int:
        """Its exit code, when it has ended by itself."""
        assert self._process is not None
        return self._process.wait()

    def end(self) -> None:
        """End it in good order, killed where that takes too long; nothing if it has ended."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self) -> str:
        """What it has said."""
        return (self.folder / "labd.log").read_text(errors="replace")


def _free_port(wanted: int) -> int:
    """`wanted`, or any other where somebody has it."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted


def module_command(module: str) -> list[str]:
    """How labd or labctl is started as a child; out of `labd.pyz`, where the demo is in that (`labd.carried`)."""
    pyz = os.environ.get(carried.VARIABLE)
    return [sys.executable, *([pyz] if pyz else []), "-m", module]


def typed(module: str) -> str:
    """The same as a person would type it."""
    return shlex.join(module_command(module))

"""A robot behind a real sshd: its Python has a stand-in for opentrons, and a `systemctl` that says what a file says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import labd
from labd.clock import SystemClock
from labd.engine import lending
from labd.engine.worker_start import Outfit, Worker, start_worker
from labd.ot2.robot_ssh import SshRobot
from tests.fakes.ssh_host import SshHost

OPENTRONS = Path(__file__).resolve().parent / "remote_opentrons"
HARDWARE = OPENTRONS.with_name("simulated_hardware")


class RobotThere:
    """The other end: what it recorded, and whether its own server runs.

    Args:
        python: One that has the real opentrons; its hardware is simulated, and nothing is recorded.
    """

    def __init__(self, host: SshHost, folder: Path, python: Path | None = None) -> None:
        self.host = host
        self.folder = folder
        self.record = folder / "called.jsonl"
        self._server = folder / "server"
        programs = folder / "bin"
        programs.mkdir()
        self.server("inactive")
        (programs / "systemctl").write_text(f"#!/bin/sh\ncat {self._server}\n")
        (programs / "systemctl").chmod(0o755)
        self.settings = host.environment(
            ssh_silence_s=5.0, grace_s=1.0, python=str(python or sys.executable),
            variables={
                "PYTHONPATH": str(OPENTRONS if python is None else HARDWARE),
                "OT_API_CONFIG_DIR": str(folder), "RECORD": str(self.record), "TMPDIR": str(folder),
                "PATH": f"{programs}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1",
            },
        )  # fmt: skip
        self.workers: list[Worker] = []

    def server(self, state: str) -> None:
        """What `systemctl is-active` says."""
        self._server.write_text(f"{state}\n")

    async def start(self, module: str) -> Worker:
        lend = lending.lend(self.folder / "lend", Path(labd.__file__).parent)
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        outfit = Outfit((self.settings.python or "",), lend, self.folder, variables, (), (module,), self.settings)
        worker = await start_worker(outfit, lambda process: None)
        self.workers.append(worker)
        return worker

    def driver(self, **limits: float) -> SshRobot:
        return SshRobot("test", self.start, SystemClock(), **limits)

    def calls(self, what: str = "") -> list[dict[str, Any]]:
        """What was asked of opentrons there, oldest first; of one kind or of all."""
        if not self.record.exists():
            return []
        lines = [json.loads(line) for line in self.record.read_text().splitlines()]
        return [line for line in lines if what in ("", line["what"])]

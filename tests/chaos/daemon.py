"""The daemon under test: `labd run` as a process of its own, with what it leaves behind when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.acceptance.processes import ROOT, environment, script
from tests.acceptance.waiting import eventually
from tests.bench.raw_http import Caller
from tests.chaos.pause import pause

READY_S = 90.0
END_S = 60.0
ORPHANS_S = 20.0
ANSWER_S = 5.0


class ChaosDaemon:
    """Satisfies `DaemonUnderTest`; may be killed and started as often as one likes.

    Args:
        folder: State, socket, settings and log.

    Attributes:
        breaches: Processes that outlived a daemon, and daemons that did not end or begin; read by the rounds.
        died: Ends of daemons that served and that nobody ended from here.
        ready_s: How long each start took, seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.socket = folder / "labd.sock"
        self.config = folder / "labd.toml"
        self.log = folder / "labd.log"
        self.environment: dict[str, str] = {}
        self.breaches: list[str] = []
        self.died: list[str] = []
        self.ready_s: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._known: dict[int, float] = {}
        self._code: int | None = None
        self._serves = False

    @property
    def pid(self) -> int | None:
        """Of the daemon that runs; None after it died, whoever ended it."""
        process = self._process
        if process is not None and process.poll() is not None:
            if self._serves:
                self.died.append(f"it ended by itself with {process.returncode}: {self.end_of_log(600)}")
            self._gone()
            return None
        return None if process is None else process.pid

    def configure(self, settings: str) -> None:
        """Write the settings file; its first lines say where things are."""
        self.config.write_text(f'runtime_dir = "{self.folder}/run"\n{settings}')

    def start(self) -> None:
        """Begin and wait until it says that it is ready; nothing happens if it runs.

        Raises:
            RuntimeError: It ended, or did not come up; has the end of its log.
        """
        if self.pid is not None:
            return
        began = time.monotonic()
        self._spawn()
        eventually(self.answers, READY_S, "the daemon's readiness")
        self._serves = True
        self.ready_s.append(time.monotonic() - began)

    def begin(self, after_s: float) -> None:
        """Begin, and be killed after so long, ready or not."""
        if self.pid is None:
            self._spawn()
        pause(after_s)
        self.kill()

    def _spawn(self) -> None:
        words = ["run", "--config", str(self.config), "--state", str(self.state), "--socket", str(self.socket)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*script("labd"), *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**environment(self.folder), **self.environment}, start_new_session=True,
            )  # fmt: skip

    def answers(self) -> bool:
        """Whether it serves.

        Raises:
            RuntimeError: It has ended, whoever noticed first.
        """
        if self.pid is None:
            raise RuntimeError(f"the daemon ended with {self._code}; its log ends with\n{self.end_of_log()}")
        with Caller(self.socket, ANSWER_S) as caller:
            return caller.ask("GET", "/healthz")[0] == 200

    def kill(self) -> None:
        """SIGKILL to the daemon alone, and wait until it is gone; its workers are left to find out."""
        self._note_children()
        process = self._process  # a client that asks for the pid meanwhile may see its end first
        if process is not None:
            process.kill()
            process.wait()
            self._gone()

    def stop(self) -> None:
        """SIGTERM, and wait until it has ended; one that does not is killed, and that is a breach."""
        process = self._process
        if self.pid is None or process is None:
            return
        self._note_children()
        self._serves = False
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            code = process.wait(END_S)
            if code:
                self.breaches.append(f"SIGTERM ended the daemon with {code}")
        except subprocess.TimeoutExpired:
            self.breaches.append(f"the daemon did not end within {END_S:g} s of SIGTERM")
            process.kill()
            process.wait()
        self._gone()

    def signal(self, number: int) -> None:
        """Any other signal, without waiting."""
        if self.pid is not None and self._process is not None:
            self._process.send_signal(number)

    def children(self) -> list[int]:
        """Process ids below it, at any depth."""
        try:
            return [] if self.pid is None else [one.pid for one in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def orphans(self, within_s: float = ORPHANS_S) -> list[str]:
        """Children of dead daemons that are still there after so long; each is told once and then killed."""
        left = []
        for pid, created in self._known.items():
            try:
                process = psutil.Process(pid)
                if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(process)
            except psutil.NoSuchProcess:
                continue
        self._known.clear()
        _, alive = psutil.wait_procs(left, within_s)
        told = []
        for process in alive:
            try:
                told.append(f"{process.pid} {' '.join(process.cmdline()[:6])} outlives its daemon by {within_s:g} s")
                process.kill()
            except psutil.NoSuchProcess:
                continue
        return told

    def usage(self) -> psutil.Process:
        """The process, to be measured."""
        return psutil.Process(self.pid)

    def end_of_log(self, size: int = 3000) -> str:
        """What it said last."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - size))
            return log.read().decode(errors="replace")

    def _note_children(self) -> None:
        for pid in self.children():
            try:
                self._known[pid] = psutil.Process(pid).create_time()
            except psutil.NoSuchProcess:
                continue

    def _gone(self) -> None:
        self._serves = False
        process, self._process = self._process, None
        if process is not None:
            self._code = process.returncode

"""The daemon of the crowd with its carousel, what is pressed and told there, and helpers that are processes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil

from tests.bench import crowd_journal
from tests.bench.crowd_lines import Place, write_certificates
from tests.bench.daemon import Daemon, Simulator
from tests.bench.raw_http import TIMEOUT_S, Caller
from tests.bench.stop import SPEED_RPM, begin_move, make_ready, torque_off_moments

PATIENCE_S = 30.0
_never = threading.Event()
ENGINE = "[engine]\nretention_jobs = 100000000\n"


class Press(NamedTuple):
    """One stop: when, in which phase, how long its answer took, whether it was confirmed."""

    at: float
    phase: str
    answer_s: float
    confirmed: bool


class Patient(Caller):
    """A caller that comes again where labd says that it is full, as clients of good manners do."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """As `Caller.ask`, tried again for a while."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, answer = super().ask(method, path, body)
                if status not in (429, 503) or time.monotonic() > deadline:
                    return status, answer
            except OSError:
                if time.monotonic() > deadline:
                    raise
            _never.wait(0.1)
            self.close()
            super().__init__(self._path)


class Helper:
    """A module as a process of its own, which goes on until it is told to end and then prints one JSON object."""

    def __init__(self, module: str, *words: object) -> None:
        command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, words)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> dict[str, Any]:
        """The next line it prints."""
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def end(self, word: str = "") -> dict[str, Any]:
        """Tell it to end; what it found."""
        try:
            out, _ = self._process.communicate(word, timeout=TIMEOUT_S * 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        if self._process.returncode:
            raise RuntimeError(f"a helper ended with {self._process.returncode}")
        return dict(json.loads(out.splitlines()[-1]))

    def kill(self) -> None:
        """End it where it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class House:
    """A daemon with the bench wing, a virtual bus in a process of its own, a TLS listener and a token.

    Args:
        folder: Everything goes here.
        dice: Where something is random.
        api: More keys of that table.
        journal: What the daemon finds as its journal, copied; None for an empty house.
    """

    def __init__(self, folder: Path, dice: random.Random, api: str = "", journal: Path | None = None) -> None:
        self.folder, self.dice = folder, dice
        self._simulator = Simulator(folder)
        self._api = api
        self._journal = journal
        self._helpers: list[Helper] = []
        self.presses: list[Press] = []
        self.told: list[Path] = []
        self.places: dict[str, Place] = {}

    def __enter__(self) -> Self:
        ca_file, cert, key = write_certificates(self.folder)
        bus = self._simulator.__enter__()
        port = _free_port()
        api = f'[api]\nlisten = "127.0.0.1:{port}"\ntls_cert = "{cert}"\ntls_key = "{key}"\n{self._api}'
        self.daemon = Daemon(self.folder, f"{bus.settings(speed=SPEED_RPM)}{api}{ENGINE}")
        if self._journal is not None:
            crowd_journal.put(self._journal, self.daemon.state)
        self.daemon.start()
        self.caller = Patient(self.daemon.socket)
        self._patient = Patient(self.daemon.socket)
        token = self.caller.post("/api/v1/tokens", {"name": "crowd", "scopes": ["operate"]})["token"]
        self.places = {
            "unix": Place(socket=str(self.daemon.socket)),
            "tls": Place(port=port, ca_file=str(ca_file), token=token),
        }
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        for helper in self._helpers:
            helper.kill()
        self.caller.close()
        self._patient.close()
        self.daemon.__exit__(kind)
        self._simulator.__exit__()

    def helper(self, module: str, place: str, *words: object) -> Helper:
        """Start one, for the door of this name."""
        helper = Helper(module, json.dumps(self.places[place]._asdict()), *words)
        self._helpers.append(helper)
        return helper

    def clients(self, phase: str, count: int) -> dict[str, Helper]:
        """The same number of clients at each door."""
        found = {}
        for name in self.places:
            told = self.folder / f"told-{phase}-{name}"
            self.told.append(told)
            words = ("--name", f"{phase}-{name}", "--clients", count, "--told", told)
            found[name] = self.helper("crowd_clients", name, *words, "--seed", self.dice.randrange(2**31))
        return found

    def press(self, phase: str) -> None:
        """One stop of a move under way, on a connection that is new and that nobody repeats, and the reset."""
        position_deg, _ = make_ready(self._patient)
        while not begin_move(self._patient, position_deg, queue="high-priority"):  # thousands wait in the usual one
            position_deg, _ = make_ready(self._patient)
        _never.wait(self.dice.uniform(0.0, 0.1))
        at = time.monotonic()
        with Caller(self.daemon.socket) as caller:
            status, answer = caller.ask("POST", "/api/v1/resort/stop", {"reason": "crowd"})
        answer_s = time.monotonic() - at
        confirmed = status == 200 and bool(answer["confirmed"])
        self.presses.append(Press(at, phase, answer_s, confirmed))
        if not confirmed:
            raise RuntimeError(f"a stop was answered {status}: {answer}")
        self._patient.post("/api/v1/resort/reset", {"by": "crowd", "reason": "next round"})

    def wire_moments(self) -> list[float]:
        """When the motor was told to let go, by the virtual bus' own record."""
        return torque_off_moments(self._simulator.record)

    def usage(self) -> dict[str, float]:
        """Memory, processor time, files and threads of the daemon."""
        process: psutil.Process = self.daemon.usage()
        cpu, memory = process.cpu_times(), process.memory_full_info()
        return {
            "cpu_s": cpu.user + cpu.system, "uss_bytes": memory.uss, "rss_bytes": memory.rss,
            "files": process.num_fds(), "threads": process.num_threads(),
        }  # fmt: skip

    def errors(self) -> list[str]:
        """Lines of the daemon's log that are errors, or no lines of a log."""
        found = []
        for line in self.daemon.log.read_text().splitlines():
            try:
                level = json.loads(line)["level"]
            except (ValueError, KeyError):
                level = "error"
            if level in ("error", "critical"):
                found.append(line[:500])
        return found[:20]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""What a user runs, as processes: `labd run`, `labd simulate resort`, `labctl`; each ended by its own pid.

Why the scripts beside the interpreter: a user types `labd`, not `python -m labd`. Where the environment has none, the
modules are run instead, and the summary of the tests says so.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from labctl import Client
from tests.acceptance.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
READY_S = 20.0
END_S = 20.0
COMMAND_S = 40.0
OURS = ("LABD_", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "XDG_")
FAST = {"speed": 50, "acceleration": 400}
SLOW = {"speed": 4, "acceleration": 100}


def script(name: str) -> list[str]:
    """How `labd` or `labctl` is called here: the installed script, else the module."""
    path = Path(sys.executable).parent / name
    return [str(path)] if path.exists() else [sys.executable, "-m", name]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Ours without what would change labd's settings, and a home of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {**kept, "HOME": str(home), "PYTHONUNBUFFERED": "1", **more}


def toml(table: str, **keys: Any) -> str:
    """One table of settings; JSON values are TOML values for what is used here."""
    return "\n".join([f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]) + "\n"


class Labctl:
    """`labctl` as a process: `labctl("job", "list")` gives (code, out, err)."""

    def __init__(self, folder: Path, host: str) -> None:
        self.env = environment(folder, LABD_HOST=host)
        self.took_s = 0.0

    def __call__(
        self, *words: object, stdin: str = "", timeout_s: float = COMMAND_S, **env: str
    ) -> tuple[int, str, str]:
        started = time.monotonic()
        done = subprocess.run(
            [*script("labctl"), *map(str, words)], input=stdin, capture_output=True, text=True, timeout=timeout_s,
            check=False, env={**self.env, **env}, cwd=ROOT,
        )  # fmt: skip
        self.took_s = time.monotonic() - started
        return done.returncode, done.stdout, done.stderr

    def ok(self, *words: object) -> str:
        """The output of a command that must end with 0."""
        code, out, err = self(*words)
        assert code == 0, f"labctl {' '.join(map(str, words))} ended with {code}: {out} {err}"
        return out

    def json(self, *words: object) -> Any:
        """The object that a command which must end with 0 prints."""
        return json.loads(self.ok("--json", *words))

    @contextmanager
    def running(self, *words: object) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on; killed at the end of the block if it still does."""
        with subprocess.Popen(
            [*script("labctl"), *map(str, words)], env=self.env, cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()


class Daemon:
    """One daemon over one folder; may be killed and started again.

    Args:
        folder: State, socket, settings and log.
        settings: The whole settings file.
        test_wing: Run it with the tasks of `tests.fakes.bench_wing` beside the real ones.
    """

    def __init__(self, folder: Path, settings: str, test_wing: bool = False) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.runtime = folder / "run"
        self.socket = folder / "labd.sock"
        self.config = folder / "labd.toml"
        self.log = folder / "labd.log"
        self.host = f"unix:{self.socket}"
        self.labctl = Labctl(folder, self.host)
        self.env = environment(folder)
        self.test_wing = test_wing
        self.run_instead: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        self.configure(settings)

    def configure(self, settings: str) -> None:
        """Write the settings file."""
        head = f'log_level = "info"\nruntime_dir = "{self.runtime}"\n'
        tail = f'[test]\ntrace = "{self.folder}/trace.jsonl"\n' if self.test_wing else ""
        self.config.write_text(head + settings + tail)

    @property
    def command(self) -> list[str]:
        """What starts it."""
        if self.run_instead:
            return self.run_instead
        words = [sys.executable, "-m", "tests.fakes.bench_daemon"] if self.test_wing else [*script("labd"), "run"]
        return [*words, "--config", str(self.config), "--state", str(self.state), "--socket", str(self.socket)]

    @property
    def pid(self) -> int:
        """Of the running daemon."""
        assert self.process is not None
        return self.process.pid

    @property
    def client(self) -> Client:
        """A client in this process, for looking often."""
        if self._client is None:
            self._client = Client(self.host)
        return self._client

    def spawn(self, **options: Any) -> None:
        """Begin; `start` also waits until it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **options,
            )  # fmt: skip

    def start(self) -> Daemon:
        """Serve, and the carousel (if there is one) is ready or known to be lost."""
        self.spawn()
        eventually(self._serves, READY_S, f"the daemon's readiness (log: {self.text()[-2000:]})")
        return self

    def _serves(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the daemon ended with {self.process.returncode}: {self.text()[-3000:]}")
        return self.client.health().strip() == "ok"

    def ready(self) -> Daemon:
        """Wait until the carousel may move."""
        eventually(lambda: "go_home" in self.resort()["allowed_actions"], 10.0, "a carousel that is ready")
        return self

    def resort(self) -> dict[str, Any]:
        """Status of the carousel."""
        return self.client.resort_status()

    def moving(self) -> None:
        """Wait until the carousel moves."""
        eventually(lambda: self.resort()["moving"], 10.0, "a move")

    def job(self, job_id: int) -> dict[str, Any]:
        """A job as it stands."""
        return self.client.job(job_id)

    def ended(self, job_id: int, within_s: float = 20.0) -> dict[str, Any]:
        """A job when it has ended."""
        done = ("succeeded", "failed", "cancelled", "interrupted")
        return eventually(
            lambda: (job := self.job(job_id))["state"] in done and job, within_s, f"the end of job {job_id}"
        )

    def text(self) -> str:
        """Its log."""
        return self.log.read_text() if self.log.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of the log with this event name."""
        found = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == name]

    def send(self, number: signal.Signals) -> None:
        """A signal to the daemon."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, within_s: float = END_S) -> int:
        """Its exit code."""
        assert self.process is not None
        code = self.process.wait(within_s)
        self._forget()
        return code

    def kill(self) -> None:
        """kill -9; nothing of it is left when this returns."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._forget()

    def end(self) -> None:
        """End it in good order if it runs; killed where that takes too long, which is told."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the daemon did not end within {END_S} s: {self.text()[-2000:]}") from None
        self._forget()

    def _forget(self) -> None:
        self.process = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def children(self) -> list[psutil.Process]:
        """Processes that it started."""
        return psutil.Process(self.pid).children(recursive=True)


class Bus:
    """The virtual bus as a process of its own: outlives the daemon, and its record is the witness."""

    def __init__(self, folder: Path) -> None:
        self.link = folder / "motor"
        self.record = folder / "bus.jsonl"
        self.control = folder / "bus.sock"
        self._log = folder / "bus.log"
        self._env = environment(folder)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Bus:
        """Serve."""
        words = ["simulate", "resort", "--link", self.link, "--record", self.record, "--control", self.control]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*script("labd"), *map(str, words)], cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        eventually(lambda: "ready" in self._log.read_text(), READY_S, "the virtual bus")
        return self

    def settings(self, **more: Any) -> str:
        """The `[resort]` table that drives it."""
        return toml("resort", device=str(self.link), **{**FAST, **more})

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Ask the bus itself."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5.0)
            line.connect(str(self.control))
            line.sendall(json.dumps({"do": command, **arguments}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                answer += line.recv(65536)
        found: dict[str, Any] = json.loads(answer)
        assert found.pop("ok"), found
        return found

    def servo(self) -> dict[str, Any]:
        """State of the one motor, from the bus itself."""
        servo: dict[str, Any] = self.do("state")["servos"][0]
        return servo

    def moving(self) -> None:
        """Wait until the motor turns and has left its place, so that the beginning of the move is over."""
        start = self.servo()["position"]
        eventually(lambda: abs(self.servo()["position"] - start) > 40, 10.0, "a motor that turns")

    def lines(self, *kinds: str, after: float = 0.0) -> list[dict[str, Any]]:
        """Lines of the record of these kinds, later than a moment of CLOCK_MONOTONIC."""
        found = [json.loads(line) for line in self.record.read_text().splitlines()]
        return [line for line in found if (not kinds or line["kind"] in kinds) and line["mono"] > after]

    def writes(self, after: float = 0.0) -> list[tuple[str, int, float]]:
        """Registers written by the host: name, value, moment."""
        return [
            (write["register"], write["value"], line["mono"])
            for line in self.lines("frame", after=after)
            for write in line.get("writes", [])
        ]

    def end(self) -> None:
        """SIGTERM by its pid."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(END_S)
            self.process = None

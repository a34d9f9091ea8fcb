"""`labd demo`: a daemon on virtual devices, a short tour through it as a user would type it, then it serves.

Why through `labctl` as a process: what the tour shows is then exactly what the user gets, exit codes included.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labd import carried
from labd.demo_reader import CUSTOMER, DemoReader
from labd.engine import interpreters
from labd.tour import TOUR, Step

READY_S = 30.0
STEP_S = 60.0
MAKE_S = 900.0
END_S = 45.0


def config_path() -> Path:
    """The demo's settings."""
    return _shipped("labd.demo.toml")


def _shipped(name: str) -> Path:
    """A file or folder of `etc`: in the package where labd is installed, else in the source tree."""
    here = Path(__file__).resolve().parent
    installed = here / name
    return installed if installed.exists() else here.parent / "etc" / name


def run(ends: bool) -> int:
    """Start, tour, and serve until Ctrl-C (or not, with `ends`); the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="labd-demo-"))
    socket_path = folder / "labd.sock"
    try:
        with _daemon(folder, socket_path) as daemon:
            if not _wait_ready(daemon, socket_path):
                _say(f"the daemon did not come up within {READY_S:.0f} s; its log:")
                print((folder / "labd.log").read_text())
                return 1
            tour = Tour(f"unix:{socket_path}")
            tour.take()
            if tour.failed:
                _say(f"{len(tour.failed)} of {len(TOUR)} steps failed: {'; '.join(tour.failed)}")
                _say("the daemon's log:")
                print((folder / "labd.log").read_text()[-4000:])
            elif tour.left_out:
                _say(f"every step succeeded, but {len(tour.left_out)} were left out: {'; '.join(tour.left_out)}")
                for why in tour.without.values():
                    _say(why)
            else:
                _say("every step succeeded.")
            if not ends:
                _serve(daemon, socket_path, folder)
            return 1 if tour.failed else 0
    except KeyboardInterrupt:
        _say("ended.")
        return 0 if not ends else 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _daemon(folder: Path, socket_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        *_module_command("labd"), "run", "--config", str(config_path()),
        "--state", str(folder / "state"), "--socket", str(socket_path),
    ]  # fmt: skip
    with (folder / "labd.log").open("wb") as log:
        # a session of its own: Ctrl-C reaches the demo, which then ends the daemon in good order
        daemon = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "LABD_TASKS__FOLDERS": str(_shipped("tasks.d"))},
        )  # fmt: skip
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(END_S)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()


def _wait_ready(daemon: subprocess.Popen[bytes], socket_path: Path) -> bool:
    from labctl import Client
    from labd.errors import LabdError

    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            Client(f"unix:{socket_path}").status()
            return True
        except LabdError:
            time.sleep(0.05)
    return False


class Tour:
    """The tour at a daemon.

    Attributes:
        failed: What went otherwise than it should.
        left_out: Commands that were not tried.
        without: Environments that could not be made, with the reason.
    """

    def __init__(self, host: str) -> None:
        self.failed: list[str] = []
        self.left_out: list[str] = []
        self.without: dict[str, str] = {}
        self._host = host
        self._job = ""
        self._version = ""
        self._reader: DemoReader | None = None

    def take(self) -> None:
        """All steps; one that fails does not end it."""
        for step in TOUR:
            if step.command.startswith("@"):
                if not self._until(step.command):
                    self.failed.append(f"{step.command} did not come true within {STEP_S:.0f} s")
                continue
            if step.title:
                _say(step.title)
            command = step.command.format(protocols=_shipped("protocols"), job=self._job, version=self._version)
            print(f"  $ labctl {command}", flush=True)
            if step.makes and not _has_installer():
                self.without[step.makes] = f"environment {step.makes} needs uv, or venv with pip"
            if step.makes in self.without or step.needs in self.without:
                print(f"    left out: there is no environment {step.makes or step.needs}", flush=True)
                self.left_out.append(f"labctl {command}")
            else:
                self._type(step, command)

    def _type(self, step: Step, command: str) -> None:
        code, told = _labctl(command, self._host, MAKE_S if step.makes else STEP_S)
        dropped = re.search(rf"^{CUSTOMER}/(\d+): ", told, re.MULTILINE)
        if dropped:
            self._version = dropped[1]
        made = re.match(r"job (\d+) ", told)
        if made and "--no-wait" in command:
            self._job = made[1]
        if code != 0 and step.makes and f"environment {step.makes} " in told:
            line = next(line for line in told.splitlines() if f"environment {step.makes} " in line)
            self.without[step.makes] = line.removeprefix("labctl: ")
            self.left_out.append(f"labctl {command}")
        elif code != step.code:
            self.failed.append(f"labctl {command} ended with {code} instead of {step.code}")

    def _until(self, word: str) -> bool:
        from labctl import Client

        if word == "@reads":
            self._reader = DemoReader(self._host)
            self._reader.start()
            return True
        if word == "@read" and self._reader is not None:
            print(f"    {self._reader.stop()}", flush=True)
            return not self._reader.fault and len(self._reader.seen) > 1
        client = Client(self._host)
        deadline = time.monotonic() + STEP_S
        while time.monotonic() < deadline:
            if word == "@moving" and client.resort_status().get("moving"):
                return True
            if word == "@served" and client.snapshots(customer=CUSTOMER, state="active").get("snapshots"):
                return True
            if word == "@asked" and client.job(int(self._job)).get("asks"):
                return True
            time.sleep(0.02)
        return False


def _has_installer() -> bool:
    return interpreters.find_uv(os.environ) is not None or importlib.util.find_spec("ensurepip") is not None


def _labctl(command: str, host: str, limit_s: float) -> tuple[int, str]:
    done = subprocess.run(
        [*_module_command("labctl"), *shlex.split(command)],
        env={**os.environ, "LABD_HOST": host}, timeout=limit_s, check=False, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for line in done.stdout.rstrip().splitlines():
        print(f"    {line}", flush=True)
    return done.returncode, done.stdout


def _module_command(module: str) -> list[str]:
    """How labd or labctl is started as a child; out of `labd.pyz`, where the demo is in that (`labd.carried`)."""
    pyz = os.environ.get(carried.VARIABLE)
    return [sys.executable, *([pyz] if pyz else []), "-m", module]


def _serve(daemon: subprocess.Popen[bytes], socket_path: Path, folder: Path) -> None:
    _say("labd serves until Ctrl-C. In another terminal, try:")
    labctl = "labctl" if shutil.which("labctl") else shlex.join(_module_command("labctl"))
    print(f"  export LABD_HOST=unix:{socket_path}")
    for line in (
        "resort activate C",
        "resort status",
        "task run mix_color R=60 Y=60 B=60 mix_well=B3",
        "task run wells",
        "events --follow",
        "job list --state failed",
        "shell",
        "resort stop",
    ):
        print(f"  {labctl} {line}")
    print(f"  tail -f {folder}/labd.log", flush=True)
    daemon.wait()
    _say(f"the daemon ended by itself with code {daemon.returncode}")


def _say(text: str) -> None:
    print(f"labd demo: {text}", flush=True)

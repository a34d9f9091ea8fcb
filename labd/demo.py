"""`labd demo`: a daemon on virtual devices, a short tour through it as a user would type it, then it serves.

Why through `labctl` as a process: what the tour shows is then exactly what the user gets, exit codes included.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_S = 30.0
STEP_S = 60.0
END_S = 45.0


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the tour: what it shows, what is typed, and the exit code that means success."""

    title: str
    command: str
    code: int = 0


TOUR = (
    Step("What is here", "status"),
    Step("Connect: torque comes on where the carousel stands, nothing moves", "resort connect"),
    Step("Turn to hotel A", "resort activate A"),
    Step("Turn to hotel B", "resort activate B"),
    Step("Turn to hotel D, the short way round", "resort activate D"),
    Step("How the motor is", "resort health"),
    Step("A slow move, and an emergency stop in the middle of it", "resort speed 4"),
    Step("", "resort activate B --no-wait"),
    Step("@moving", ""),
    Step("", "resort stop"),
    Step("The stop is latched: motion is refused (exit code 4)", "resort activate A", 4),
    Step("Somebody takes responsibility by name", 'resort reset --by demo --reason "end of the tour"'),
    Step("And it turns again", "resort speed 30"),
    Step("", "resort activate A"),
    Step("Every job is on record", "job list"),
)


def config_path() -> Path:
    """The demo's settings: beside the package where labd is installed, in `etc` where it runs from its source tree."""
    here = Path(__file__).resolve().parent
    installed = here / "labd.demo.toml"
    return installed if installed.exists() else here.parent / "etc" / "labd.demo.toml"


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
            environ = {**os.environ, "LABD_HOST": f"unix:{socket_path}"}
            failed = _tour(environ)
            if failed:
                _say(f"{len(failed)} of {len(TOUR)} steps failed: {'; '.join(failed)}")
                _say("the daemon's log:")
                print((folder / "labd.log").read_text()[-4000:])
            else:
                _say("every step succeeded.")
            if not ends:
                _serve(daemon, socket_path, folder)
            return 1 if failed else 0
    except KeyboardInterrupt:
        _say("ended.")
        return 0 if not ends else 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _daemon(folder: Path, socket_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable, "-m", "labd", "run", "--config", str(config_path()),
        "--state", str(folder / "state"), "--socket", str(socket_path),
    ]  # fmt: skip
    with (folder / "labd.log").open("wb") as log:
        # a session of its own: Ctrl-C reaches the demo, which then ends the daemon in good order
        daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
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


def _tour(environ: dict[str, str]) -> list[str]:
    failed: list[str] = []
    for step in TOUR:
        if step.title == "@moving":
            if not _until_moving(environ["LABD_HOST"]):
                failed.append("the slow move did not begin")
            continue
        if step.title:
            _say(step.title)
        print(f"  $ labctl {step.command}", flush=True)
        code = _labctl(step.command, environ)
        if code != step.code:
            failed.append(f"labctl {step.command} ended with {code} instead of {step.code}")
    return failed


def _labctl(command: str, environ: dict[str, str]) -> int:
    import shlex

    done = subprocess.run(
        [sys.executable, "-m", "labctl", *shlex.split(command)],
        env=environ, timeout=STEP_S, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for line in done.stdout.rstrip().splitlines():
        print(f"    {line}", flush=True)
    return done.returncode


def _until_moving(host: str) -> bool:
    from labctl import Client

    client = Client(host)
    deadline = time.monotonic() + STEP_S
    while time.monotonic() < deadline:
        if json.loads(json.dumps(client.resort_status())).get("moving"):
            return True
        time.sleep(0.02)
    return False


def _serve(daemon: subprocess.Popen[bytes], socket_path: Path, folder: Path) -> None:
    _say("labd serves until Ctrl-C. In another terminal, try:")
    labctl = "labctl" if shutil.which("labctl") else f"{sys.executable} -m labctl"
    print(f"  export LABD_HOST=unix:{socket_path}")
    for line in (
        "resort activate C",
        "resort status",
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

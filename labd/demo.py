"""`labd demo`: a daemon on virtual devices, a short tour through it as a user would type it, then it serves.

Why through `labctl` as a process: what the tour shows is then exactly what the user gets, exit codes included.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from labd.demo_daemon import READY_S, DemoDaemon, module_command, typed
from labd.demo_files import INGESTION, MANY, DemoFiles
from labd.demo_reader import CUSTOMER, DemoReader
from labd.engine import interpreters
from labd.tour import TOUR, Step

STEP_S = 60.0
MAKE_S = 900.0


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
    daemon = DemoDaemon(folder, config_path(), _shipped("tasks.d"))
    try:
        if not daemon.start():
            _say(f"the daemon did not come up within {READY_S:.0f} s; its log:")
            print(daemon.log())
            return 1
        _tell_dashboard(daemon)
        tour = Tour(daemon)
        tour.take()
        if tour.failed:
            _say(f"{len(tour.failed)} of {len(TOUR)} steps failed: {'; '.join(tour.failed)}")
            _say("the daemon's log:")
            print(daemon.log()[-4000:])
        elif tour.left_out:
            _say(f"every step succeeded, but {len(tour.left_out)} were left out: {'; '.join(tour.left_out)}")
            for why in tour.without.values():
                _say(why)
        else:
            _say("every step succeeded.")
        if not ends:
            _tell_dashboard(daemon)
            _serve(daemon)
        return 1 if tour.failed else 0
    except KeyboardInterrupt:
        _say("ended.")
        return 0 if not ends else 130
    finally:
        daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


class Tour:
    """The tour at a daemon.

    Attributes:
        failed: What went otherwise than it should.
        left_out: Commands that were not tried.
        without: Environments that could not be made and wings that are off, with the reason.
    """

    def __init__(self, daemon: DemoDaemon) -> None:
        self.failed: list[str] = []
        self.left_out: list[str] = []
        self.without: dict[str, str] = {}
        self._daemon = daemon
        self._host = daemon.host
        self._job = ""
        self._version = ""
        self._reader: DemoReader | None = None
        self._files = DemoFiles(daemon.folder / "arrivals")

    def take(self) -> None:
        """All steps; one that fails does not end it."""
        self.without = self._wings_off()
        for step in TOUR:
            if step.wing in self.without:
                if not step.command.startswith("@"):
                    self.left_out.append(f"labctl {step.command}")
                continue
            if step.title:
                _say(step.title)
            if step.command.startswith("@"):
                if not self._act(step.command):
                    self.failed.append(f"{step.command} did not come true within {STEP_S:.0f} s")
                continue
            command = step.command.format(
                protocols=_shipped("protocols"), arrivals=self._files.folder, job=self._job, version=self._version
            )
            print(f"  $ labctl {command}", flush=True)
            if step.makes and not _has_installer():
                self.without[step.makes] = f"environment {step.makes} needs uv, or venv with pip"
            if step.makes in self.without or step.needs in self.without:
                print(f"    left out: there is no environment {step.makes or step.needs}", flush=True)
                self.left_out.append(f"labctl {command}")
            else:
                self._type(step, command)

    def _wings_off(self) -> dict[str, str]:
        """Wings whose packages are not here, each with what to install."""
        from labctl import Client

        wings = Client(self._host).status()["wings"]
        off = {wing["name"]: wing for wing in wings if wing["install"]}
        told = {name: f"wing {name}: {wing['reason']}" for name, wing in off.items()}
        if importlib.util.find_spec("pyiceberg") is None:  # it is wanted in an environment, here the demo's own
            told["ingest"] = "wing ingest: pyiceberg is not installed; pip install 'labd[ingest]'"
        return told

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

    def _act(self, word: str) -> bool:
        """Something that is not typed; whether it came true."""
        if word.startswith("@arrive "):
            print(f"    {self._files.arrive(word.removeprefix('@arrive '))}", flush=True)
            return True
        if word == "@kill":
            return self._kill()
        if word == "@compare":
            return self._compare()
        return self._until(word)

    def _kill(self) -> bool:
        """Kill the daemon when some of the files are in, and start it again."""
        from labctl import Client

        client, done = Client(self._host), 0
        deadline = time.monotonic() + STEP_S
        while not done and time.monotonic() < deadline:
            time.sleep(0.02)
            run = client.ingestion_runs(INGESTION, limit=1)["runs"][0]
            done = run["files_processed"] if run["status"] == "running" else 0
        pid = self._daemon.kill()
        print(f"    kill -9 {pid}: {done} of {MANY} files were in", flush=True)
        return 0 < done < MANY and self._daemon.start()

    def _compare(self) -> bool:
        from labctl import Client

        most = 10_000
        rows = Client(self._host).query_table(INGESTION, ["number"], limit=most)["rows"]
        same, told = self._files.compare(Counter(int(row[0]) for row in rows))
        print(f"    {told}", flush=True)
        return same

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
        [*module_command("labctl"), *shlex.split(command)],
        env={**os.environ, "LABD_HOST": host}, timeout=limit_s, check=False, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for line in done.stdout.rstrip().splitlines():
        print(f"    {line}", flush=True)
    return done.returncode, done.stdout


def _tell_dashboard(daemon: DemoDaemon) -> None:
    """Where it is, and a token for it: one at the beginning, and one where the first has scrolled away."""
    from labctl import Client

    made = Client(daemon.host).create_token("demo", ["read", "operate", "admin"])
    _say("the dashboard, and the token to log in with:")
    print(f"  {daemon.url}\n  {made['token']}", flush=True)


def _serve(daemon: DemoDaemon) -> None:
    _say("labd serves until Ctrl-C. In another terminal, try:")
    labctl = "labctl" if shutil.which("labctl") else typed("labctl")
    print(f"  export LABD_HOST={daemon.host}")
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
    print(f"  tail -f {daemon.folder}/labd.log", flush=True)
    _say(f"the daemon ended by itself with code {daemon.wait()}")


def _say(text: str) -> None:
    print(f"labd demo: {text}", flush=True)

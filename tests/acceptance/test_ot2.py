"""`labctl ot2` as a person types it, against a daemon on `labd simulate ot2`: a robot of its own that outlives labd."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl import AsyncClient, Client
from labd.errors import BadRequest, DeviceBusy, Refused
from tests.acceptance.processes import END_S, READY_S, ROOT, Daemon, environment, script, toml
from tests.acceptance.waiting import eventually
from tests.fakes import opentrons_env

pytestmark = [pytest.mark.timeout(1000)]  # the environment is made once
TAKING = """requirements = {"robotType": "OT-2", "apiLevel": "2.20"}


def add_parameters(p):
    p.add_int(variable_name="cycles", display_name="cycles", default=1, minimum=1, maximum=9)
    p.add_str(variable_name="well", display_name="well", default="A1",
              choices=[{"display_name": "A1", "value": "A1"}, {"display_name": "A2", "value": "A2"}])


def run(ctx):
    tips = ctx.load_labware("opentrons_96_tiprack_300ul", "1")
    trough = ctx.load_labware("nest_12_reservoir_15ml", "3")
    pipette = ctx.load_instrument("p300_single_gen2", "left", tip_racks=[tips])
    for _ in range(ctx.params.cycles):
        pipette.pick_up_tip()
        pipette.aspirate(50, trough[ctx.params.well])
        pipette.dispense(50, trough["A12"])
        pipette.drop_tip()
"""
SHORT = 'metadata = {"apiLevel": "2.15"}\n\n\ndef run(ctx):\n    ctx.home()\n'
PAUSED = f"{SHORT}    ctx.pause('look')\n    ctx.home()\n"
LONG = f"{SHORT}    ctx.delay(minutes=600)\n    ctx.home()\n"
FLEX = """requirements = {"robotType": "Flex", "apiLevel": "2.20"}


def run(ctx):
    tips = ctx.load_labware("opentrons_flex_96_tiprack_200ul", "A1")
    plate = ctx.load_labware("corning_96_wellplate_360ul_flat", "B2")
    ctx.load_trash_bin("A3")
    pipette = ctx.load_instrument("flex_1channel_1000", "left", tip_racks=[tips])
    pipette.transfer(40, plate["A1"], plate["B1"])
"""


class RobotProcess:
    """`labd simulate ot2` on a free port; its record is the witness."""

    def __init__(self, folder: Path, python: Path | None = None) -> None:
        self.record = folder / "moved.jsonl"
        self._log = folder / "robot.log"
        words = ["simulate", "ot2", "--port", "0", "--record", str(self.record), "--time-scale", "200"]
        words += [] if python is None else ["--python", str(python)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*script("labd"), *words], cwd=ROOT, env=environment(folder), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.url = eventually(self._ready, READY_S, "the virtual robot")

    def _ready(self) -> str:
        found = re.search(r"ready at (http://\S+)", self._log.read_text())
        return found.group(1) if found else ""

    def moved(self, what: str) -> list[dict[str, Any]]:
        """Lines of the record of one kind."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [line for line in map(json.loads, lines) if line["what"] == what]

    def ask(self, path: str, body: Any = None) -> Any:
        """Somebody else at the robot."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Opentrons-Version": "*"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def end(self) -> None:
        """SIGTERM by its pid."""
        self._process.terminate()
        self._process.wait(END_S)


@pytest.fixture(scope="module")
def python() -> Path:
    return opentrons_env.interpreter()


@pytest.fixture
def robot(state_dir: Path) -> Iterator[RobotProcess]:
    one = RobotProcess(state_dir)
    yield one
    one.end()


@pytest.fixture
def bench(daemons: Callable[..., Daemon], robot: RobotProcess, state_dir: Path) -> Bench:
    """A daemon on that robot, without opentrons: the robot's own analysis has to do."""
    return Bench(daemons(settings(robot)), state_dir).start()


def settings(robot: RobotProcess, **more: Any) -> str:
    table = {"url": robot.url, "preflight": "robot", "poll_s": 0.05, "look_s": 0.1, **more}
    return toml("ot2", **table)


class Bench:
    """A daemon, its labctl, and files to run."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.labctl = daemon.labctl
        self._folder = folder

    def start(self) -> Bench:
        self.daemon.start()
        eventually(lambda: self.status()["state"] == "ready", READY_S, "the robot")
        return self

    def status(self) -> dict[str, Any]:
        return self.daemon.client.ot2_status()

    def file(self, text: str, name: str = "p.py") -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def run(self, text: str, run_status: str) -> tuple[int, str]:
        """A run that was typed and has come so far: its job and its own id."""
        code, out, err = self.labctl("--json", "ot2", "run", self.file(text), "--no-wait")
        assert code == 0, err
        eventually(
            lambda: (self.status()["run"] or {}).get("status") == run_status, 20.0, f"a run that is {run_status}"
        )
        return int(json.loads(out)["id"]), str(self.status()["run"]["id"])


# -- opentrons' own simulator


def test_parameters_are_typed_by_name_and_only_simulated_where_asked(
    daemons: Callable[..., Daemon], robot: RobotProcess, state_dir: Path, python: Path
) -> None:
    bench = Bench(daemons(settings(robot, preflight="required", python=str(python))), state_dir).start()
    file = bench.file(TAKING)
    code, out, err = bench.labctl("ot2", "run", file, "-p", "cycles=3", "-p", "well=A2", "--simulate")
    assert (code, err) == (0, "")
    assert out.startswith("p.py: ok, OT-2 Standard, API 2.20\n")
    assert "3 tips" in out
    assert re.search(r"aspirated +3 +A2 +150", out)
    assert robot.moved("action") == []
    found = bench.labctl.json("ot2", "run", file, "-p", "cycles=2", "--simulate")
    assert (found["tips"]["used"], found["drawn"]) == (2, {"3/A1": 100.0})
    job = bench.labctl.json("ot2", "run", file, "-p", "cycles=2")
    assert (job["state"], job["args"]["parameters"], job["result"]["tips"]["used"]) == ("succeeded", {"cycles": 2}, 2)
    assert [line["action"] for line in robot.moved("action")] == ["play"]
    code, out, _ = bench.labctl("ot2", "run", file, "-p", "cycles=99", "--simulate")
    assert (code, out) == (1, "p.py: FAULTY\n  Parameter must be between 1 and 9 inclusive.\n")
    code, out, err = bench.labctl("ot2", "run", file, "-p", "speed=9")
    assert code == 4
    assert "Parameter speed is not defined as a parameter for this protocol" in out + err
    code, _, err = bench.labctl("ot2", "run", file, "-p", "cycles")
    assert (code, "a parameter is written NAME=VALUE" in err) == (2, True)
    code, _, err = bench.labctl("ot2", "run", state_dir / "nowhere.py")
    assert (code, "nowhere.py" in err) == (2, True)
    assert len(robot.moved("action")) == 1


def test_a_flex_file_is_simulated_in_its_own_environment_and_never_run_on_an_ot2(
    daemons: Callable[..., Daemon], robot: RobotProcess, state_dir: Path, python: Path
) -> None:
    tables = settings(robot, preflight="required", env="ot2", flex_env="flex")
    tables += toml("env.ot2", python=sys.executable) + toml("env.flex", python=str(python))
    bench = Bench(daemons(tables), state_dir).start()
    found = bench.labctl.json("ot2", "analyze", bench.file(FLEX, "flex.py"))
    assert (found["ok"], found["robot_type"], found["errors"]) == (True, "OT-3 Standard", [])
    assert found["software"].startswith("9.0")
    assert [(one["slot"], one["total_ul"]) for one in found["aspirated"]] == [("B2", 40.0)]
    code, out, err = bench.labctl("ot2", "run", bench.file(FLEX, "flex.py"))
    assert code == 4
    assert "flex.py is for a Flex; main is an OT-2" in out + err
    code, out, err = bench.labctl("ot2", "analyze", bench.file(SHORT, "ot2.py"))  # goes to the other environment
    assert code != 0
    assert "has no opentrons" in out + err
    assert robot.moved("action") == []


# -- the verbs


def test_what_a_person_reads_of_a_run_from_status_to_its_end(bench: Bench, robot: RobotProcess) -> None:
    code, out, _ = bench.labctl("ot2", "status")
    assert code == 0
    assert out.splitlines()[0].startswith("main: ready, OT-2 Standard virtual-ot2, software 8.1.0-simulated")
    assert out.splitlines()[-1] == "allowed now: run, home, lights, stop"
    assert bench.labctl.json("ot2", "status")["simulated"] is True, "it says so itself, on the network too"
    code, _, err = bench.labctl("ot2", "pause")
    assert code == 4
    assert "no run of labd is going on" in err
    job, run = bench.run(PAUSED, "paused")
    lines = bench.labctl.ok("ot2", "status").splitlines()
    assert f"run {run} of job {job}: paused (p.py)" in lines
    assert lines[-1] == "allowed now: resume, lights, stop"
    code, _, err = bench.labctl("ot2", "pause")
    assert (code, f"run {run} is paused, so there is nothing to pause" in err) == (4, True)
    code, _, err = bench.labctl("ot2", "home")
    assert (code, f"run {run} of job {job} is paused on the robot" in err) == (4, True)
    assert re.match(rf"main: run {run} is \w+\n", bench.labctl.ok("ot2", "resume"))
    done = bench.daemon.ended(job)
    assert (done["state"], done["simulated"], done["result"]["simulated"]) == ("succeeded", True, True)
    assert bench.labctl("ot2", "home")[0] == 0
    assert len(robot.moved("home")) == 1
    job, run = bench.run(LONG, "running")
    assert bench.labctl.ok("ot2", "pause") == f"main: run {run} is paused\n"
    code, out, _ = bench.labctl("job", "cancel", job)
    assert code == 0
    assert bench.daemon.ended(job)["state"] == "cancelled"
    assert robot.ask(f"/runs/{run}")["data"]["status"] == "stopped"


def test_the_lights_are_switched_and_asked_for(bench: Bench, robot: RobotProcess) -> None:
    assert bench.labctl.ok("ot2", "lights") == "main: lights off\n"
    assert bench.labctl.ok("ot2", "lights", "on") == "main: lights on\n"
    assert robot.ask("/robot/lights") == {"on": True}
    assert bench.labctl.json("ot2", "lights") == {"device": "main", "lights_on": True}
    assert bench.labctl("ot2", "lights", "dim")[0] == 2


def test_a_stop_is_read_back_latched_and_lifted_by_name(bench: Bench, robot: RobotProcess) -> None:
    assert "nothing of labd's was running" in bench.labctl.ok("ot2", "stop")
    bench.labctl.ok("ot2", "reset", "--by", "ann", "--reason", "a drill")
    job, run = bench.run(LONG, "running")
    code, out, _ = bench.labctl("ot2", "stop", "--reason", "a tip fell")
    assert code == 0
    assert f"main: STOPPED, run {run} has ended (read back)" in out
    assert f"cancelled: job {job}" in out
    assert robot.ask(f"/runs/{run}")["data"]["status"] == "stopped"
    assert bench.daemon.ended(job)["state"] == "cancelled"
    code, _, err = bench.labctl("ot2", "run", bench.file(SHORT))
    assert (code, "(a tip fell); `labctl ot2 reset --by NAME --reason TEXT` lifts it" in err) == (4, True)
    assert "STOP IS LATCHED by" in bench.labctl.ok("ot2", "status")
    assert bench.labctl("ot2", "reset", "--by", "ann")[0] == 2
    bench.labctl.ok("ot2", "reset", "--by", "ann", "--reason", "tip removed")
    assert bench.labctl("ot2", "run", bench.file(SHORT))[0] == 0
    assert bench.labctl("ot2", "status", "--device", "right")[0] == 4


def test_a_stop_that_the_robot_does_not_obey_ends_with_6_and_says_what_to_do(bench: Bench, robot: RobotProcess) -> None:
    job, _ = bench.run(LONG, "running")
    robot.ask("/simulator/faults", {"stuck": True})
    code, out, _ = bench.labctl("ot2", "stop")
    robot.ask("/simulator/faults", {})
    assert code == 6
    assert "STOP SENT BUT NOT CONFIRMED; if it still moves, use the robot's power switch" in out
    assert bench.daemon.ended(job)["state"] == "cancelled"
    eventually(lambda: bench.status()["stop_confirmed"], 10.0, "the stop")


# -- labd dies, the robot goes on


def test_a_kill_in_the_middle_of_a_run_is_followed_up_and_never_answered_with_a_second_run(
    bench: Bench, robot: RobotProcess
) -> None:
    job, run = bench.run(PAUSED, "paused")
    bench.daemon.kill()
    assert robot.ask(f"/runs/{run}")["data"]["status"] == "paused"
    bench.start()
    assert bench.daemon.job(job)["state"] == "interrupted"
    code, out, _ = bench.labctl("ot2", "status")
    assert (code, f"run {run} of job {job}: paused (p.py)" in out) == (0, True)
    told = eventually(lambda: _attention(bench, "run_left"), 10.0, "what to do")
    assert f"run {run} of job {job} is paused on the robot; no job follows it" in told
    assert "`labctl ot2 resume`, `labctl ot2 stop`" in told
    assert "no job follows it" in " ".join(bench.labctl("status")[1].split())
    assert f"ATTENTION: {told}" in bench.labctl.ok("ot2", "status").splitlines()
    code, _, err = bench.labctl("ot2", "run", bench.file(SHORT))
    assert (code, f"run {run} of job {job} is paused" in err) == (4, True)
    bench.labctl.ok("ot2", "resume")  # a person looked, and lets it end
    told = eventually(lambda: _attention(bench, "run_left_ended"), 10.0, "its end")
    assert f"run {run} of job {job}, which no job followed, is succeeded" in told
    assert f"`labctl job retry {job}`" in told
    assert f"ATTENTION: {told}" in bench.labctl.ok("ot2", "status").splitlines()
    assert bench.daemon.job(job)["state"] == "interrupted"
    ended = [event for event in bench.daemon.client.job_events(job) if event["kind"] == "run.ended"]
    assert ended[0]["data"]["status"] == "succeeded"
    assert [line["action"] for line in robot.moved("action")] == ["play", "play"]  # its start, and the resume
    assert {line["run"] for line in robot.moved("action")} == {run}
    assert len(robot.ask("/runs")["data"]) == 1
    assert bench.labctl("ot2", "run", bench.file(SHORT))[0] == 0
    assert _attention(bench, "run_left_ended") == ""


def test_a_run_that_ended_while_labd_was_dead_is_told_at_its_return(bench: Bench, robot: RobotProcess) -> None:
    job, run = bench.run(PAUSED, "paused")
    bench.daemon.kill()
    robot.ask(f"/runs/{run}/actions", {"data": {"actionType": "stop"}})  # somebody at the robot
    eventually(lambda: robot.ask(f"/runs/{run}")["data"]["status"] == "stopped", 10.0, "the end of the run")
    bench.start()
    told = eventually(lambda: _attention(bench, "run_left_ended"), 10.0, "what became of it")
    assert f"run {run} of job {job}, which no job followed, is stopped" in told
    assert bench.daemon.job(job)["state"] == "interrupted"
    assert len(robot.ask("/runs")["data"]) == 1


def _attention(bench: Bench, code: str) -> str:
    lines = bench.daemon.client.status()["attention"]
    return next((str(line["message"]) for line in lines if line["code"] == code), "")


# -- the Python clients


def test_the_client_has_the_verbs(bench: Bench, robot: RobotProcess) -> None:
    lab: Client = bench.daemon.client
    job = lab.ot2_run(bench.file(PAUSED), tags=["mine"])
    assert (job["task"], job["tags"]) == ("ot2.run_protocol", ["mine"])
    eventually(lambda: (lab.ot2_status()["run"] or {}).get("status") == "paused", 20.0, "the pause")
    with pytest.raises(Refused, match="nothing to pause"):
        lab.ot2_pause()
    with pytest.raises(DeviceBusy):
        lab.ot2_home()
    assert lab.ot2_resume()["asked"] == "play"
    assert lab.wait(job["id"], 20)["state"] == "succeeded"
    assert lab.wait(lab.ot2_home()["id"], 20)["result"]["homed"] is True
    assert (lab.ot2_lights(True)["lights_on"], lab.ot2_lights()["lights_on"]) == (True, True)
    answer = lab.ot2_stop(reason="a drill")
    assert (answer["latched"], answer["confirmed"], answer["stopped"]) == (True, True, False)
    assert lab.ot2_reset("ann", "a drill")["stop_latched"] is False
    with pytest.raises(BadRequest, match=r"nowhere\.py: No such file"):
        lab.ot2_run("nowhere.py")


async def test_the_asynchronous_client_has_them_too(
    daemons: Callable[..., Daemon], robot: RobotProcess, state_dir: Path, python: Path
) -> None:
    bench = Bench(daemons(settings(robot, preflight="required", python=str(python))), state_dir).start()
    async with AsyncClient(bench.daemon.host) as lab:
        file = bench.file(TAKING)
        assert (await lab.ot2_analyze(file, {"cycles": 2}))["drawn"] == {"3/A1": 100.0}
        assert (await lab.ot2_analyze(bench.file("def run(ctx):\n", "bad.py")))["ok"] is False
        with pytest.raises(TimeoutError, match="is still"):
            await lab.ot2_analyze(bench.file(TAKING + "# other\n", "other.py"), timeout_s=0.0)
        job = await lab.ot2_run(bench.file(PAUSED))
        while ((await lab.ot2_status())["run"] or {}).get("status") != "paused":
            pass
        assert (await lab.ot2_stop(reason="spill"))["cancelled_jobs"] == [job["id"]]
        assert (await lab.wait(job["id"], 20))["state"] == "cancelled"
        await lab.ot2_reset("ann", "wiped")
        home = await lab.wait((await lab.ot2_home())["id"], 20)
        assert home["state"] == "succeeded"
        assert (await lab.ot2_lights(on=True))["lights_on"] is True

"""The robot driver over a real ssh: who may have the hardware, the halt, and what a lost connection leaves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from labd.clock import SystemClock
from labd.engine.job import JobState
from labd.engine.worker_start import Worker
from labd.errors import DeviceBusy, DeviceLost, NotConnected, ProtocolRefused, StopLatched
from labd.ot2.reading import RunReading
from labd.ot2.rest import bring_to_rest
from labd.ot2.robot import Document, RunStatus
from labd.ot2.robot_ssh import SshRobot
from labd.ot2.service import OT2Service
from tests.fakes import opentrons_env
from tests.fakes.ot2_rig import ALICE, OT2Rig, until
from tests.fakes.ssh_host import SshHost, ssh_host
from tests.fakes.ssh_robot import RobotThere
from tests.integration.test_ot2_stock import Books

TAKING = """metadata = {"apiLevel": "LEVEL"}


def add_parameters(p):
    p.add_int(variable_name="volume", display_name="v", default=20, minimum=20, maximum=200)


def run(ctx):
    volume = VOLUME
    tips = ctx.load_labware("opentrons_96_tiprack_300ul", "1")
    plate = ctx.load_labware("corning_96_wellplate_360ul_flat", "2")
    trough = ctx.load_labware("nest_12_reservoir_15ml", "3")
    single = ctx.load_instrument("p300_single_gen2", "left", tip_racks=[tips])
    multi = ctx.load_instrument("p300_multi_gen2", "right", tip_racks=[tips])
    single.pick_up_tip()
    single.aspirate(volume, trough["A1"])
    single.air_gap(5)
    single.dispense(volume + 5, plate["B1"])
    single.mix(2, 20, trough["A2"])
    single.drop_tip()
    multi.pick_up_tip(tips["A2"])
    multi.aspirate(30, trough["A3"])
    multi.dispense(20, plate["A3"])
    multi.dispense(10, trough["A3"])
    multi.drop_tip()
    ctx.pause("look")
    ctx.home()
"""
HEAD = 'metadata = {"apiLevel": "2.15"}\n\n\ndef run(ctx):\n'
SHORT = Document("short.py", HEAD + "    ctx.comment('one')\n    ctx.home()\n")
LONG = Document("long.py", HEAD + "    ctx.comment('one')\n    ctx.delay(minutes=600)\n    ctx.comment('late')\n")
BROKEN = Document("broken.py", HEAD + "    raise ValueError('no plate')\n")
LABWARE = Document("my_plate.json", "{}")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with ssh_host(tmp_path_factory.mktemp("ssh") / "host") as one:
        yield one


@pytest.fixture
def there(state_dir: Path, host: SshHost) -> RobotThere:
    return RobotThere(host, state_dir)


@pytest.fixture
async def robot(there: RobotThere) -> AsyncIterator[SshRobot]:
    one = there.driver()
    yield one
    await one.close()


async def played(robot: SshRobot, *documents: Document) -> str:
    await robot.health()
    upload = await robot.upload(documents, {})
    run_id = (await robot.create_run(upload.protocol_id, {})).run_id
    await robot.act(run_id, "play")
    return run_id


async def reached(robot: SshRobot, run_id: str, status: RunStatus) -> None:
    async with asyncio.timeout(10):
        while True:
            view = await robot.run(run_id)
            assert view is not None
            if view.status is status:
                return
            assert not view.ended, view.errors


async def ended(pid: int) -> None:
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    assert not (await asyncio.to_thread(psutil.wait_procs, [process], 5))[1], f"{pid} still runs"


@pytest.mark.parametrize("state", ["active", "activating", "deactivating"])
async def test_nothing_is_opened_while_the_robots_own_server_runs(
    robot: SshRobot, there: RobotThere, state: str
) -> None:
    there.server(state)
    with pytest.raises(NotConnected, match=f"opentrons-robot-server.* is {state}; stop it there first: `systemctl"):
        await robot.health()
    assert there.calls() == []
    there.server("inactive")
    assert (await robot.health()).software == "8.1.0"


async def test_a_server_that_is_started_later_is_seen_before_a_run_is_played(
    robot: SshRobot, there: RobotThere
) -> None:
    await robot.health()
    upload = await robot.upload([SHORT], {})
    run = await robot.create_run(upload.protocol_id, {})
    there.server("active")
    with pytest.raises(NotConnected, match="opentrons-robot-server"):
        await robot.act(run.run_id, "play")
    assert there.calls("execute") == []


async def test_one_context_and_one_hardware_serve_all_runs(robot: SshRobot, there: RobotThere) -> None:
    for _ in range(2):
        await reached(robot, await played(robot, SHORT, LABWARE), RunStatus.SUCCEEDED)
    await robot.lights(True)
    assert [len(there.calls(what)) for what in ("opened", "context", "execute")] == [1, 1, 2]
    assert {call["pid"] for call in there.calls()} == {there.calls("opened")[0]["pid"]}
    assert there.calls("execute")[0]["labware"] == ["my_plate.json"]


async def test_a_stop_halts_from_another_thread_and_then_ends_the_worker(robot: SshRobot, there: RobotThere) -> None:
    run_id = await played(robot, LONG)
    await until(lambda: [call for call in there.calls("command") if call["name"] == "DELAY"])
    stopped = await bring_to_rest(robot, run_id, "stop", SystemClock())
    assert stopped is not None
    assert (stopped.status, stopped.actions) == (RunStatus.STOPPED, ("play", "stop"))
    halt, delay = there.calls("halt")[0], there.calls("command")[-1]
    assert (halt["thread"], delay["thread"], delay["name"]) == ("MainThread", "labd-ot2", "DELAY")
    await ended(halt["pid"])
    await robot.act(run_id, "stop")  # once more is no fault, and does nothing
    assert len(there.calls("halt")) == 1
    await reached(robot, await played(robot, SHORT), RunStatus.SUCCEEDED)  # in a new worker
    assert there.calls("execute")[-1]["pid"] != halt["pid"]


async def test_two_stops_at_once_halt_once(robot: SshRobot, there: RobotThere) -> None:
    run_id = await played(robot, LONG)
    asks = [robot.act(run_id, "stop"), robot.act(run_id, "stop"), robot.run(run_id)]
    assert (await asyncio.gather(*asks))[-1].status in (RunStatus.RUNNING, RunStatus.STOPPED)
    await reached(robot, run_id, RunStatus.STOPPED)
    assert len(there.calls("halt")) == 1
    assert len(there.workers) == 1


async def test_a_worker_that_does_not_answer_is_halted_by_a_signal_and_ended(
    robot: SshRobot, there: RobotThere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.ot2.robot_ssh.HALT_S", 0.3)
    run_id = await played(robot, LONG)
    pid = there.calls("opened")[0]["pid"]
    async with robot._asking:  # another question has the line and is not answered
        await robot.act(run_id, "stop")
    assert len(there.calls("halt")) == 1
    await ended(pid)


async def test_home_is_refused_while_a_run_is_active(robot: SshRobot, there: RobotThere) -> None:
    run_id = await played(robot, LONG)
    with pytest.raises(DeviceBusy, match=f"run {run_id} is running"):
        await robot.home()
    await robot.act(run_id, "pause")
    with pytest.raises(DeviceBusy, match=f"run {run_id} is paused"):
        await robot.home()
    await robot.act(run_id, "stop")
    await robot.home()
    assert there.calls("command")[-1]["name"] == "HOME"


async def test_a_protocol_that_raises_fails_its_run_with_its_words(robot: SshRobot) -> None:
    run_id = await played(robot, BROKEN)
    await reached(robot, run_id, RunStatus.FAILED)
    view = await robot.run(run_id)
    assert view is not None
    assert view.errors[0]["detail"] == "ValueError: no plate"
    assert 'broken.py", line 5' in view.errors[0]["traceback"]


async def test_a_lost_connection_halts_the_robot_and_fails_the_run_which_is_never_played_again(
    robot: SshRobot, there: RobotThere, host: SshHost
) -> None:
    run_id = await played(robot, LONG)
    await until(lambda: [call for call in there.calls("command") if call["name"] == "DELAY"])
    pid = there.calls("opened")[0]["pid"]
    host.signal_connections(signal.SIGKILL)
    with pytest.raises(DeviceLost, match="out of reach"):
        await reached(robot, run_id, RunStatus.FAILED)
    await ended(pid)
    assert [call["thread"] for call in there.calls("halt")] == ["MainThread"]
    assert (await robot.health()).name  # another worker
    view = await robot.run(run_id)
    assert view is not None
    assert (view.status, view.ended) == (RunStatus.FAILED, True)
    assert "is out of reach" in view.errors[0]["detail"]
    assert len(there.calls("execute")) == 1


async def test_a_second_worker_does_not_get_the_robot_while_the_first_has_it(
    robot: SshRobot, there: RobotThere
) -> None:
    await robot.health()
    second = there.driver()
    with pytest.raises(DeviceBusy, match="a worker from before has not let go of the robot yet"):
        await second.health()
    await second.close()


async def test_the_end_of_labd_halts_what_moves(there: RobotThere) -> None:
    robot = there.driver()
    await played(robot, LONG)
    await robot.close()
    await robot.close()
    assert len(there.calls("halt")) == 1
    await ended(there.calls("opened")[0]["pid"])


async def test_software_that_takes_no_run_time_parameters_never_drops_them_in_silence(
    robot: SshRobot, there: RobotThere
) -> None:
    with pytest.raises(ProtocolRefused, match=r'its software takes no run-time parameters here.* driver = "http"'):
        await robot.upload([SHORT], {"volume": 3})
    assert there.calls("execute") == []


async def test_jobs_of_the_wing_run_over_ssh_and_a_stop_latches(
    there: RobotThere, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def analyze(*_: object) -> dict[str, object]:
        return {
            "ok": True, "errors": [], "robot_type": "OT-2 Standard", "api_level": "2.15", "labware": [],
            "duration_s": 1.0, "command_count": 2, "tips": {"used": 0}, "aspirated": [], "dispensed": [],
        }  # fmt: skip

    monkeypatch.setattr(OT2Service, "analyze", analyze)
    folder = there.folder / "state"
    folder.mkdir()

    async def worker_of(environment: str, module: str) -> Worker:
        assert environment == "robot"
        return await there.start(module)

    table = {"driver": "ssh", "ssh_env": "robot", "poll_s": 0.02, "look_s": 0.05}
    rig = OT2Rig(folder, {"main": table}, worker_of)
    there.server("active")
    await rig.start(ready=False)
    try:
        await until(lambda: rig.device.watch.state == "faulty")
        with pytest.raises(NotConnected, match="opentrons-robot-server"):
            rig.device.require("run")
        there.server("inactive")
        await until(lambda: rig.device.watch.state == "ready")
        done = await rig.done(SHORT.text)
        assert (done.state, done.error) == (JobState.SUCCEEDED, None)
        assert (done.result["command_count"], done.simulated) == (2, False)
        job = await rig.submit(LONG.text)
        await rig.running()
        answer = await rig.service.emergency_stop(None, ALICE, "smoke")
        assert (answer["confirmed"], answer["latched"], answer["cancelled_jobs"]) == (True, True, [job.id])
        assert len(there.calls("halt")) == 1
        assert (await rig.engine.wait(job.id, 10)).state is JobState.CANCELLED
        await until(lambda: rig.device.own.run_id is None)
        with pytest.raises(StopLatched):
            rig.device.require("run")
    finally:
        await rig.stop()


async def test_the_real_opentrons_runs_pauses_goes_on_and_is_halted(state_dir: Path, host: SshHost) -> None:
    robot = RobotThere(host, state_dir, await asyncio.to_thread(opentrons_env.interpreter)).driver()
    health = await robot.health()
    assert (health.software.split(".")[0], health.api_level_low, health.api_level_high) == ("9", "2.0", "2.28")
    assert await robot.lights(True) is True
    await robot.home()
    pauses = Document("pauses.py", HEAD + "    ctx.pause('look')\n    ctx.home()\n    ctx.delay(minutes=60)\n")
    run_id = await played(robot, pauses)
    await reached(robot, run_id, RunStatus.PAUSED)
    await robot.act(run_id, "play")
    await reached(robot, run_id, RunStatus.RUNNING)
    paused = await bring_to_rest(robot, run_id, "pause", SystemClock())
    assert paused is not None
    assert paused.status is RunStatus.PAUSED
    await robot.act(run_id, "play")
    stopped = await bring_to_rest(robot, run_id, "stop", SystemClock())
    assert stopped is not None
    assert stopped.status is RunStatus.STOPPED
    await robot.close()


async def taken(robot: SshRobot, run_id: str) -> dict[str, float]:
    """What the run drew by well, each command once."""
    reading, found, ids = RunReading(robot, "test", run_id, keeps_account=True), {}, []

    async def consume(volumes_ul: dict[str, float], step: str) -> None:
        ids.append(step)
        for well, volume in volumes_ul.items():
            found[well] = found.get(well, 0.0) + volume

    await reading.look_at_all()
    assert reading.problem == ""
    assert await reading.settle(consume) is None
    assert len(ids) == len(set(ids))
    return {well: volume for well, volume in found.items() if volume}


@pytest.mark.parametrize(("level", "parameters", "first"), [("2.20", {"volume": 70}, 70.0), ("2.13", {}, 30.0)])
async def test_the_real_opentrons_takes_run_time_parameters_and_tells_what_it_drew(
    state_dir: Path, host: SshHost, level: str, parameters: dict[str, int], first: float
) -> None:
    robot = RobotThere(host, state_dir, await asyncio.to_thread(opentrons_env.interpreter)).driver()
    await robot.health()
    text = TAKING.replace("LEVEL", level).replace("VOLUME", "ctx.params.volume" if parameters else "30")
    upload = await robot.upload([Document("taking.py", text)], parameters)
    run_id = (await robot.create_run(upload.protocol_id, parameters)).run_id
    await robot.act(run_id, "play")
    pausing = level == "2.20"  # before level 2.14 simulated hardware waits for nobody
    await reached(robot, run_id, RunStatus.PAUSED if pausing else RunStatus.SUCCEEDED)
    drawn = {"test/3/A1": first, "test/3/A3": 8 * 20.0}
    assert await taken(robot, run_id) == drawn
    if pausing:
        await bring_to_rest(robot, run_id, "stop", SystemClock())
    assert await taken(robot, run_id) == drawn  # of a worker that has ended, from memory
    await robot.close()


async def test_a_protocol_without_run_time_parameters_is_given_none(state_dir: Path, host: SshHost) -> None:
    robot = RobotThere(host, state_dir, await asyncio.to_thread(opentrons_env.interpreter)).driver()
    await robot.health()
    with pytest.raises(ProtocolRefused, match=r"short\.py has no run-time parameters; .* from apiLevel 2\.18 on"):
        await robot.upload([SHORT], {"volume": 3})
    await robot.close()


async def test_a_job_over_ssh_that_is_stopped_has_debited_what_it_drew(state_dir: Path, host: SshHost) -> None:
    python = await asyncio.to_thread(opentrons_env.interpreter)
    there = RobotThere(host, state_dir, python)
    folder = there.folder / "state"
    folder.mkdir()

    async def worker_of(environment: str, module: str) -> Worker:
        return await there.start(module)

    table = {"driver": "ssh", "ssh_env": "robot", "python": str(python), "poll_s": 0.05, "look_s": 0.2}
    rig, books = OT2Rig(folder, {"main": table}, worker_of), Books()
    rig.engine.attend(books)
    await rig.start(ready=False)
    try:
        await until(lambda: rig.device.watch.state == "ready")
        text = TAKING.replace("LEVEL", "2.20").replace("VOLUME", "ctx.params.volume").replace(
            '    multi.pick_up_tip(tips["A2"])', '    ctx.delay(minutes=600)\n    multi.pick_up_tip(tips["A2"])'
        )  # fmt: skip
        job = await rig.submit(text, parameters={"volume": 70})
        assert books.admitted == {job.id: {"main/3/A1": 70.0, "main/3/A3": 160.0}}
        await until(lambda: books.of(job.id) == {"main/3/A1": 70.0})
        answer = await rig.service.emergency_stop(None, ALICE, "smoke")
        assert answer["confirmed"] is True
        job = await rig.engine.wait(job.id, 10)
        assert (job.state, books.of(job.id)) == (JobState.CANCELLED, {"main/3/A1": 70.0})
    finally:
        await rig.stop()

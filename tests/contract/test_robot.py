"""The port to a robot: the virtual robot server, a worker over a real ssh, a real robot where LABD_TEST_OT2_URL is one.

A real robot moves: it homes once. What breaks things runs on the virtual one only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from labd.clock import SystemClock
from labd.errors import DeviceBusy, DeviceFault, DeviceLost, DeviceTimeout, ProtocolRefused
from labd.ot2.rest import bring_to_rest
from labd.ot2.robot import Document, RobotStarting, RunStatus
from labd.ot2.robot_http import HttpRobot
from labd.ot2.robot_ssh import SshRobot
from labd.ot2.simulator_process import RobotServer
from labd.ot2.virtual_robot import Faults, VirtualRobot
from tests.conftest import ROBOT_URL, requires
from tests.fakes.ot2_rig import record_of, until
from tests.fakes.ssh_host import SSHD, SshHost, ssh_host
from tests.fakes.ssh_robot import RobotThere

HEAD = 'metadata = {"apiLevel": "2.15"}\n\n\ndef run(ctx):\n'
COMMENTS = Document("comments.py", HEAD + "    ctx.comment('one')\n    ctx.comment('two')\n")
PAUSES = Document("pauses.py", HEAD + "    ctx.comment('one')\n    ctx.pause('look')\n    ctx.comment('two')\n")
WAITS = Document("waits.py", HEAD + "    ctx.delay(minutes=600)\n    ctx.comment('late')\n")
NONE: dict[str, Any] = {}


class Rig:
    """A robot and, where it is virtual, the inside of it."""

    def __init__(self, robot: HttpRobot | SshRobot, virtual: VirtualRobot | None, url: str, record: Path) -> None:
        self.robot, self.virtual, self.url, self.record = robot, virtual, url, record

    async def run_of(self, document: Document) -> str:
        upload = await self.robot.upload([document], NONE)
        assert upload.ok
        return (await self.robot.create_run(upload.protocol_id, NONE)).run_id

    async def is_at(self, run_id: str, status: RunStatus) -> None:
        seen: list[RunStatus] = []
        while not seen or seen[-1] is not status:
            view = await self.robot.run(run_id)
            assert view is not None
            assert len(seen) < 2000, f"never {status}, last {seen[-1]}"
            seen.append(view.status)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost | None]:
    if SSHD is None:
        yield None
        return
    with ssh_host(tmp_path_factory.mktemp("ssh") / "host") as one:
        yield one


@pytest.fixture(params=["virtual", "ssh", "real"])
async def rig(request: Any, host: SshHost | None, state_dir: Path, tmp_path: Path) -> AsyncIterator[Rig]:
    """Every driver."""
    if request.param == "ssh":
        requires("sshd", host is not None, "apt-get install openssh-server")
        assert host is not None
        there = RobotThere(host, state_dir)
        over_ssh = there.driver()
        yield Rig(over_ssh, None, "", there.record)
        await over_ssh.close()
        return
    async for one in _with_server(request.param, tmp_path):
        yield one


@pytest.fixture(params=["virtual", "real"])
async def served(request: Any, tmp_path: Path) -> AsyncIterator[Rig]:
    """Robots with a server of their own."""
    async for one in _with_server(request.param, tmp_path):
        yield one


async def _with_server(kind: str, tmp_path: Path) -> AsyncIterator[Rig]:
    if kind == "real":
        if ROBOT_URL is None:
            pytest.skip("requires a robot server: LABD_TEST_OT2_URL=http://HOST:31950")
        robot = HttpRobot("test", ROBOT_URL, SystemClock())
        yield Rig(robot, None, ROBOT_URL, tmp_path)
        current = await robot.current_run()
        if current is not None and not current.ended:
            await bring_to_rest(robot, current.run_id, "stop", SystemClock())
        await robot.close()
        return
    async for one in _virtual(tmp_path):
        yield one


@pytest.fixture
async def virtual(tmp_path: Path) -> AsyncIterator[Rig]:
    async for one in _virtual(tmp_path):
        yield one


async def _virtual(folder: Path) -> AsyncIterator[Rig]:
    record = folder / "moved.jsonl"
    inside = VirtualRobot(SystemClock(), time_scale=1000.0, record=record)
    server = RobotServer(inside)
    url = await server.start()
    robot = HttpRobot("test", url, SystemClock(), answer_timeout_s=3.0)
    yield Rig(robot, inside, url, record)
    await robot.close()
    await server.stop()


async def test_it_says_who_it_is(rig: Rig) -> None:
    health = await rig.robot.health()
    assert health.model.startswith("OT-2")
    assert health.name
    low, high = (tuple(map(int, level.split("."))) for level in (health.api_level_low, health.api_level_high))
    assert low <= (2, 15) <= high


async def test_lights_are_set_and_read(rig: Rig) -> None:
    assert await rig.robot.lights(True) is True
    assert await rig.robot.lights() is True
    assert await rig.robot.lights(False) is False


async def test_the_door_and_a_maintenance_run_can_be_asked_for(rig: Rig) -> None:
    assert await rig.robot.door_open() in (True, False)
    assert await rig.robot.maintenance_run() is None


async def test_it_homes(rig: Rig) -> None:
    await rig.robot.home()


async def test_the_same_protocol_is_the_same(rig: Rig) -> None:
    first = await rig.robot.upload([COMMENTS], NONE)
    again = await rig.robot.upload([COMMENTS], NONE)
    assert first.ok
    assert again.protocol_id == first.protocol_id


async def test_a_server_analyses_a_protocol(served: Rig) -> None:
    assert (await served.robot.upload([COMMENTS], NONE)).command_count >= 2


async def test_a_file_that_is_no_protocol_is_refused(rig: Rig) -> None:
    with pytest.raises(ProtocolRefused, match=r"the robot cannot read broken\.py"):
        await rig.robot.upload([Document("broken.py", HEAD + "    x = (1,\n")], NONE)


async def test_one_command_is_told_as_the_page_told_it(rig: Rig) -> None:
    run_id = await rig.run_of(COMMENTS)
    await rig.robot.act(run_id, "play")
    while (view := await rig.robot.run(run_id)) is not None and not view.ended:
        pass
    page = await rig.robot.steps(run_id, 0, 50)
    for told in page.entries:
        one = await rig.robot.step(run_id, told.command_id)
        assert (one.command_id, one.kind, one.status) == (told.command_id, told.kind, told.status)
    with pytest.raises(DeviceFault):
        await rig.robot.step(run_id, "no-such-command")


async def test_a_run_is_made_played_and_followed_to_its_end(rig: Rig) -> None:
    run_id = await rig.run_of(COMMENTS)
    made = await rig.robot.run(run_id)
    assert made is not None
    assert (made.status, made.current, made.actions, made.ended) == (RunStatus.IDLE, True, (), False)
    current = await rig.robot.current_run()
    assert current is not None
    assert current.run_id == run_id
    await rig.robot.act(run_id, "play")
    await rig.is_at(run_id, RunStatus.SUCCEEDED)
    ended = await rig.robot.run(run_id)
    assert ended is not None
    assert ended.ended
    assert ended.actions == ("play",)
    assert ended.completed_at is not None
    steps = await rig.robot.steps(run_id, 0, 100)
    assert steps.total == len(steps.entries) >= 2
    assert {step.status for step in steps.entries} == {"succeeded"}
    tail = await rig.robot.steps(run_id, steps.total - 1, 100)
    assert [step.command_id for step in tail.entries] == [steps.entries[-1].command_id]


async def test_a_pause_of_the_protocol_waits_for_play(rig: Rig) -> None:
    run_id = await rig.run_of(PAUSES)
    await rig.robot.act(run_id, "play")
    await rig.is_at(run_id, RunStatus.PAUSED)
    await rig.robot.act(run_id, "play")
    await rig.is_at(run_id, RunStatus.SUCCEEDED)


async def test_pause_and_stop_are_confirmed_by_reading_back(rig: Rig) -> None:
    run_id = await rig.run_of(WAITS)
    await rig.robot.act(run_id, "play")
    await rig.is_at(run_id, RunStatus.RUNNING)
    paused = await bring_to_rest(rig.robot, run_id, "pause", SystemClock())
    assert paused is not None
    assert paused.status is RunStatus.PAUSED
    stopped = await bring_to_rest(rig.robot, run_id, "stop", SystemClock())
    assert stopped is not None
    assert stopped.status is RunStatus.STOPPED


async def test_what_the_state_forbids_is_refused_with_the_robots_reason(rig: Rig) -> None:
    run_id = await rig.run_of(COMMENTS)
    with pytest.raises(DeviceBusy, match=r"not allowed|409"):
        await rig.robot.act(run_id, "pause")


async def test_an_unknown_run_is_none(rig: Rig) -> None:
    assert await rig.robot.run("00000000-0000-4000-8000-000000000000") is None


async def test_a_second_run_beside_an_active_one_is_refused(rig: Rig) -> None:
    run_id = await rig.run_of(WAITS)
    await rig.robot.act(run_id, "play")
    upload = await rig.robot.upload([COMMENTS], NONE)
    with pytest.raises(DeviceBusy):
        await rig.robot.create_run(upload.protocol_id, NONE)
    await bring_to_rest(rig.robot, run_id, "stop", SystemClock())


@pytest.mark.parametrize(("version", "status"), [(None, 422), ("1", 400), ("*", 200), ("4", 200), ("99", 200)])
async def test_the_version_header_is_asked_for(served: Rig, version: str | None, status: int) -> None:
    headers = {} if version is None else {"Opentrons-Version": version}
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/health", headers=headers) as answer:
        assert answer.status == status


async def test_a_robot_that_starts_is_no_lost_one(virtual: Rig) -> None:
    assert virtual.virtual is not None
    await virtual.virtual.change_faults(Faults(starting=True))
    with pytest.raises(RobotStarting, match="503"):
        await virtual.robot.health()


@pytest.mark.parametrize(("fault", "played"), [("drop_before", []), ("drop_after", ["play"])])
async def test_a_lost_answer_is_lost_and_the_request_is_not_sent_again(virtual: Rig, fault: str, played: Any) -> None:
    run_id = await virtual.run_of(WAITS)
    assert virtual.virtual is not None
    await virtual.virtual.change_faults(Faults(**{fault: 1}))
    with pytest.raises(DeviceLost):
        await virtual.robot.act(run_id, "play")
    view = await virtual.robot.run(run_id)
    assert view is not None
    assert list(view.actions) == played


async def test_a_closed_port_is_a_lost_robot() -> None:
    robot = HttpRobot("test", "http://127.0.0.1:9", SystemClock())
    with pytest.raises(DeviceLost, match="check that the robot is on"):
        await robot.health()
    await robot.close()


async def test_no_answer_in_time_is_a_timeout(virtual: Rig) -> None:
    robot = HttpRobot("test", virtual.url, SystemClock(), home_timeout_s=0.001)
    with pytest.raises(DeviceTimeout, match=r"no answer within 0\.001 s"):
        await robot.home()
    await robot.close()


async def test_a_stop_that_is_lost_and_obeyed_late_is_confirmed_in_the_end(virtual: Rig) -> None:
    inside = virtual.virtual
    assert inside is not None
    run_id = await virtual.run_of(WAITS)
    await virtual.robot.act(run_id, "play")
    await virtual.is_at(run_id, RunStatus.RUNNING)
    await inside.change_faults(Faults(drop_before=2))
    stopped = await bring_to_rest(virtual.robot, run_id, "stop", SystemClock())
    assert stopped is not None
    assert stopped.status is RunStatus.STOPPED
    assert [line["action"] for line in record_of(virtual.record, "action")] == ["play", "stop"]


async def test_an_open_door_blocks_and_a_closed_one_lets_go_on_after_play(virtual: Rig) -> None:
    inside = virtual.virtual
    assert inside is not None
    run_id = await virtual.run_of(COMMENTS)
    await inside.change_faults(Faults(door_open=True))
    assert await virtual.robot.door_open()
    await virtual.robot.act(run_id, "play")
    await virtual.is_at(run_id, RunStatus.BLOCKED_BY_OPEN_DOOR)
    await inside.change_faults(Faults())
    await virtual.is_at(run_id, RunStatus.PAUSED)
    await virtual.robot.act(run_id, "play")
    await virtual.is_at(run_id, RunStatus.SUCCEEDED)


async def test_a_failed_command_fails_the_run_with_its_error(virtual: Rig) -> None:
    inside = virtual.virtual
    assert inside is not None
    run_id = await virtual.run_of(COMMENTS)
    await inside.change_faults(Faults(fail_at=1))
    await virtual.robot.act(run_id, "play")
    await virtual.is_at(run_id, RunStatus.FAILED)
    view = await virtual.robot.run(run_id)
    assert view is not None
    assert "no tip is attached" in view.errors[0]["detail"]


async def test_faults_are_set_over_http_too(virtual: Rig) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{virtual.url}/simulator/faults", json={"door_open": True}) as answer:
            assert (await answer.json())["data"]["faults"]["door_open"] is True
        async with session.post(f"{virtual.url}/simulator/faults", json={"maintenance_run": True}) as answer:
            assert answer.status == 200
    assert await virtual.robot.maintenance_run() == "maintenance"
    assert not await virtual.robot.door_open()


async def test_an_unknown_route_is_a_fault_with_the_status(virtual: Rig) -> None:
    with pytest.raises(DeviceFault) as caught:
        await virtual.robot.steps("nothing", 0, 1)
    assert caught.value.details["status"] == 404


async def test_the_record_says_what_moved(virtual: Rig) -> None:
    run_id = await virtual.run_of(COMMENTS)
    await virtual.robot.act(run_id, "play")
    await until(lambda: virtual.record.exists() and record_of(virtual.record, "ended"))
    assert [line["type"] for line in record_of(virtual.record, "command")] == ["home", "comment", "comment"]

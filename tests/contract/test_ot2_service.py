"""The OT-2 wing as jobs, stop and status, on the virtual robot through the real engine and the real HTTP driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from labd.engine.job import Job, JobState
from labd.errors import DeviceBusy, InvalidArguments, NotConnected, NotFound, Refused, StopLatched, UnknownDevice
from labd.ot2.robot import RunStatus
from tests.fakes.ot2_rig import ALICE, DEADLINE_S, FAST, LONG, PAUSED, SHORT, OT2Rig, record_of, until


def table(folder: Path, **changes: Any) -> dict[str, Any]:
    return {**FAST, "simulated": {"time_scale": 1000.0, "record": str(folder / "moved.jsonl")}, **changes}


@pytest.fixture
async def rigs(state_dir: Path) -> AsyncIterator[Callable[..., OT2Rig]]:
    """Makes daemons over one state folder; all are stopped in the end."""
    made: list[OT2Rig] = []

    def make(**robots: dict[str, Any]) -> OT2Rig:
        made.append(OT2Rig(state_dir, robots or {"main": table(state_dir)}))
        return made[-1]

    yield make
    for rig in made:
        if rig.engine.journal.is_open:
            await rig.stop()


def plays(rig: OT2Rig) -> list[str]:
    return [line["action"] for line in record_of(rig.root / "moved.jsonl", "action")]


def code_of(job: Job) -> str | None:
    return None if job.error is None else job.error.code


async def test_a_protocol_runs_to_its_end_and_says_what_it_was(rigs: Any) -> None:
    rig = await rigs().start()
    job = await rig.done(SHORT)
    assert (job.state, job.error, job.simulated, job.effect) == (JobState.SUCCEEDED, None, True, "physical")
    assert job.result["status"] == "succeeded"
    assert job.result["file"] == "p.py"
    assert job.result["command_count"] == 3
    assert job.progress is not None
    assert job.progress.done == job.progress.total == 3
    assert plays(rig) == ["play"]
    status = await rig.service.device_status(None)
    assert (status["run"], status["foreign_run"], status["simulated"]) == (None, None, True)
    assert set(status["allowed_actions"]) == {"run", "home", "lights", "stop"}


async def test_a_failed_run_tells_the_robots_error(rigs: Any) -> None:
    rig = await rigs().start()
    await rig.faults(fail_at=1)
    job = await rig.done(SHORT)
    assert (job.state, code_of(job)) == (JobState.FAILED, "run_failed")
    assert "no tip is attached" in job.error.message


async def test_a_cancelled_job_ends_when_its_run_is_confirmed_stopped(rigs: Any) -> None:
    rig = await rigs().start()
    job = await rig.submit(LONG)
    run_id = await rig.running()
    await rig.engine.cancel(job.id, ALICE, "wrong plate")
    job = await rig.engine.wait(job.id, DEADLINE_S)
    assert job.state is JobState.CANCELLED
    assert rig.robot.run(run_id).status is RunStatus.STOPPED
    assert rig.device.own.record is None


async def test_a_stop_latches_cancels_and_needs_a_reset_by_name(rigs: Any) -> None:
    rig = await rigs().start()
    going = await rig.submit(LONG)
    run_id = await rig.running()
    waiting = await rig.submit(SHORT + "# another\n") if rig.device.gate() is None else None
    answer = await rig.service.emergency_stop(None, ALICE, "tip fell")
    assert (answer["run"], answer["confirmed"], answer["latched_durably"]) == (run_id, True, True)
    assert answer["cancelled_jobs"] == [job.id for job in (going, waiting) if job is not None]
    assert rig.robot.run(run_id).status is RunStatus.STOPPED
    ended = await rig.engine.wait(going.id, DEADLINE_S)
    assert (ended.state, code_of(ended)) == (JobState.CANCELLED, "stop_latched")
    with pytest.raises(StopLatched, match=r"stopped by unix:alice \(tip fell\)"):
        await rig.submit(SHORT)
    with pytest.raises(InvalidArguments, match="needs the name of a person and a reason"):
        await rig.device.reset("", "free", ALICE)
    await until(lambda: not rig.device.stop_pending)
    await rig.device.reset("alice", "tip is back", ALICE)
    assert (await rig.done(SHORT)).state is JobState.SUCCEEDED


async def test_a_stop_survives_the_daemon(rigs: Any) -> None:
    first = await rigs().start()
    await first.service.emergency_stop(None, ALICE, "night")
    await first.stop()
    second = await rigs().start()
    assert second.device.latch.latched
    with pytest.raises(StopLatched):
        await second.submit(SHORT)


async def test_a_stop_that_the_robot_does_not_obey_is_said_and_followed_up(rigs: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("labd.ot2.device.STOP_ANSWER_S", 0.05)
    rig = await rigs().start()
    await rig.submit(LONG)
    run_id = await rig.running()
    await rig.faults(stuck=True)
    answer = await rig.service.emergency_stop(None, ALICE)
    assert not answer["confirmed"]
    assert "has not confirmed yet" in answer["note"]
    with pytest.raises(Refused, match="the stop is not confirmed yet"):
        await rig.device.reset("alice", "free", ALICE)
    assert "stop_unconfirmed" in {line["code"] for line in rig.service.status()["attention"]}
    await rig.faults()
    await until(lambda: not rig.device.stop_pending)
    assert rig.robot.run(run_id).status is RunStatus.STOPPED


async def test_a_lost_answer_to_play_is_asked_for_and_never_a_second_run(rigs: Any) -> None:
    rig = await rigs().start()
    play = rig.device.robot.act

    async def act(run_id: str, action: Any) -> None:
        if action == "play":
            await rig.faults(drop_after=1)
        await play(run_id, action)

    rig.device.robot.act = act
    rig.device.watch.look_s = 3600.0
    job = await rig.done(SHORT)
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)
    assert plays(rig) == ["play"]
    assert len(rig.robot.runs) == 1


async def test_a_play_that_never_arrived_ends_the_job_and_nothing_moved(rigs: Any) -> None:
    rig = await rigs().start()
    play = rig.device.robot.act

    async def act(run_id: str, action: Any) -> None:
        if action == "play":
            await rig.faults(drop_before=1)
        await play(run_id, action)

    rig.device.robot.act = act
    await rig.device.watch.close()  # no other request may take the fault
    rig.device.watch.start()
    rig.device.watch.look_s = 3600.0
    await until(lambda: rig.device.watch.state == "ready")
    job = await rig.done(SHORT)
    assert (job.state, code_of(job)) == (JobState.FAILED, "device_lost")
    assert "before the run started; nothing moved" in job.error.message
    assert record_of(rig.root / "moved.jsonl", "command") == [] if (rig.root / "moved.jsonl").exists() else True


async def test_a_robot_lost_in_mid_run_is_followed_up_when_it_is_back(rigs: Any) -> None:
    rig = await rigs().start()
    job = await rig.submit(LONG)
    run_id = await rig.running()
    await rig.faults(starting=True)
    await until(lambda: rig.device.watch.state == "starting")
    assert (await rig.engine.job(job.id)).state is JobState.RUNNING
    await rig.faults()
    await until(lambda: rig.device.watch.state == "ready")
    await rig.robot.act(run_id, "stop")
    job = await rig.engine.wait(job.id, DEADLINE_S)
    assert (code_of(job), job.error.details["status"]) == ("run_failed", "stopped")
    assert "not by this labd" in job.error.message
    assert len(rig.robot.runs) == 1


async def test_a_foreign_current_run_is_loss_of_control_shown_and_alarmed(rigs: Any) -> None:
    rig = await rigs().start()
    job = await rig.submit(LONG)
    await rig.running()
    foreign = rig.robot.take_over().run_id
    job = await rig.engine.wait(job.id, DEADLINE_S)
    assert (job.state, code_of(job)) == (JobState.FAILED, "control_lost")
    codes = {line["code"] for line in rig.service.status()["attention"]}
    assert {"control_lost", "foreign_run"} <= codes
    status = await rig.service.device_status(None)
    assert status["foreign_run"]["id"] == foreign
    with pytest.raises(DeviceBusy):
        await rig.submit(SHORT)
    answer = await rig.service.emergency_stop(None, ALICE)
    assert foreign in answer["note"]
    assert rig.robot.run(foreign).status is RunStatus.RUNNING
    assert rig.robot.run(foreign).actions == []


async def test_a_foreign_run_is_not_unseated(rigs: Any) -> None:
    rig = await rigs().start()
    rig.robot.create_run(None)
    await until(lambda: rig.device.foreign is not None)
    with pytest.raises(DeviceBusy, match="which labd did not make, is idle"):
        await rig.submit(SHORT)


async def test_pause_and_resume_and_home_in_between(rigs: Any) -> None:
    rig = await rigs().start()
    job = await rig.submit(PAUSED)
    await until(lambda: rig.device.own_view is not None and rig.device.own_view.status == "paused")
    with pytest.raises(DeviceBusy, match="is paused on the robot"):
        await rig.ask("home")
    with pytest.raises(Refused, match="nothing to pause"):
        await rig.device.pause(ALICE)
    assert (await rig.device.resume(ALICE))["asked"] == "play"
    assert (await rig.engine.wait(job.id, DEADLINE_S)).state is JobState.SUCCEEDED
    with pytest.raises(Refused, match="no run of labd is going on"):
        await rig.device.resume(ALICE)
    home = await rig.ask("home")
    assert (await rig.engine.wait(home.id, DEADLINE_S)).result["homed"]
    assert rig.robot.homes == 1


async def test_an_error_to_recover_from_waits_for_a_decision(rigs: Any) -> None:
    rig = await rigs().start()
    await rig.faults(recover_at=1)
    job = await rig.submit(SHORT)
    await until(lambda: rig.device.own_view is not None and rig.device.own_view.status == "awaiting-recovery")
    await until(lambda: "recovery" in {line["code"] for line in rig.service.status()["attention"]})
    assert (await rig.device.resume(ALICE))["asked"] == "resume-from-recovery"
    assert (await rig.engine.wait(job.id, DEADLINE_S)).state is JobState.SUCCEEDED


async def test_a_drained_run_is_paused_and_its_job_interrupted(rigs: Any) -> None:
    rig = await rigs().start()
    job = await rig.submit(LONG)
    run_id = await rig.running()
    await rig.engine.drain(0.0)
    assert (await rig.engine.job(job.id)).state is JobState.INTERRUPTED
    assert rig.robot.run(run_id).status is RunStatus.PAUSED
    assert rig.device.own.run_id == run_id


async def test_a_run_that_nobody_follows_is_shown_and_can_be_stopped(rigs: Any) -> None:
    rig = await rigs().start()
    rig.robot._changed  # noqa: B018 the virtual robot lives as long as its daemon; the record is put by hand
    document = rig.service.shelf.get(rig.keep(LONG)).documents
    protocol, _ = await rig.robot.upload(document, {})
    await until(lambda: protocol.analysis is not None)
    run = rig.robot.create_run(protocol.protocol_id)
    await rig.engine.store_value(
        "ot2:main:run", {"job_id": 7, "protocol_id": protocol.protocol_id, "run_id": run.run_id}
    )
    await rig.device.own.load()
    await rig.robot.act(run.run_id, "play")
    await until(lambda: "run_left" in {line["code"] for line in rig.service.status()["attention"]})
    assert rig.device.foreign is None
    with pytest.raises(DeviceBusy, match="of job 7 is running on the robot"):
        await rig.submit(SHORT)
    assert (await rig.device.pause(ALICE))["status"] == "paused"
    answer = await rig.service.emergency_stop(None, ALICE)
    assert (answer["run"], answer["confirmed"]) == (run.run_id, True)
    assert rig.device.own.record is None


async def test_a_run_whose_id_was_lost_is_known_by_its_protocol(rigs: Any) -> None:
    rig = await rigs().start()
    create = rig.device.robot.create_run

    async def lost(*arguments: Any) -> Any:
        await create(*arguments)
        raise NotConnected("gone")

    rig.device.robot.create_run = lost
    job = await rig.done(SHORT)
    assert (code_of(job), "nothing moved" in job.error.message) == ("device_lost", True)
    rig.device.robot.create_run = create
    await until(lambda: rig.device.own.run_id is not None)
    assert (await rig.done(SHORT)).error is None


async def test_a_run_that_is_made_long_after_it_was_asked_for_is_still_labds(rigs: Any) -> None:
    """Found by rounds of chaos: a request that lay in a silent network was taken for somebody else's run."""
    rig = await rigs().start()
    create = rig.device.robot.create_run
    late: list[Any] = []

    async def lies_on_its_way(*arguments: Any) -> Any:
        late.append(arguments)
        raise NotConnected("no answer")

    rig.device.robot.create_run = lies_on_its_way
    assert code_of(await rig.done(SHORT)) == "device_lost"
    rig.device.robot.create_run = create
    assert (await rig.done(SHORT + "# another\n")).error is None
    await create(*late[0])
    await rig.device.watch.look()
    assert rig.robot.current not in (None, rig.device.own.run_id)
    assert rig.device.foreign is None
    await rig.device.own.load()  # as the next daemon would
    assert rig.device.foreign is None
    assert (await rig.done(SHORT + "# another\n")).error is None
    rig.robot.create_run(None)
    await until(lambda: rig.device.foreign is not None)


async def test_a_robot_that_is_not_there_is_no_error_and_refuses(rigs: Any) -> None:
    rig = await rigs(main={"driver": "http", "url": "http://127.0.0.1:9", "look_s": 0.05}).start(ready=False)
    await until(lambda: rig.device.watch.state == "lost")
    with pytest.raises(NotConnected, match="check that the robot is on"):
        await rig.submit(SHORT)
    [line] = [line for line in rig.service.status()["attention"] if line["code"] == "device_lost"]
    assert line["subject"] == "ot2:main"


async def test_two_robots_are_named_apart(rigs: Any) -> None:
    rig = await rigs(left=FAST, right=FAST).start(ready=False)
    await until(lambda: {device.watch.state for device in rig.service.devices.values()} == {"ready"})
    with pytest.raises(UnknownDevice, match="--device left or right"):
        await rig.submit(SHORT)
    job = await rig.done(SHORT, device="right")
    assert job.resources == ("ot2:right",)
    assert (job.state, job.result["device"]) == (JobState.SUCCEEDED, "right")
    answer = await rig.service.emergency_stop(None, ALICE)
    assert {one["device"] for one in answer["devices"]} == {"left", "right"}


async def test_a_protocol_that_was_never_given_is_refused_at_submission(rigs: Any) -> None:
    rig = await rigs().start()
    with pytest.raises(NotFound, match="give its file again"):
        await rig.ask("run_protocol", protocol="0" * 64)
    with pytest.raises(InvalidArguments, match="protocol"):
        await rig.ask("run_protocol", protocol="../../etc/passwd")


async def test_without_an_interpreter_a_required_preflight_says_what_to_do(rigs: Any, state_dir: Path) -> None:
    rig = await rigs(main=table(state_dir, preflight="required")).start()
    job = await rig.done(SHORT)
    assert (job.state, code_of(job)) == (JobState.FAILED, "wing_off")
    assert "set ot2.python" in job.error.message
    assert rig.robot.runs == {}

"""The resort wing as jobs, stop and status, on the virtual bus through the real engine and the real dynamixel_sdk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labd.engine.job import JobState, Submission
from labd.errors import InvalidArguments, ModeMismatch, NotConnected, Refused, StopLatched, StoreFull, UnknownDevice
from tests.fakes.resort_daemon import ALICE, DEADLINE_S, FAST, SLOW, Daemon, until


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[Callable[..., Daemon]]:
    """Makes daemons over one state folder; all are stopped in the end."""
    made: list[Daemon] = []

    def make(**carousels: dict[str, Any]) -> Daemon:
        made.append(Daemon(tmp_path, carousels or {"main": FAST}))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.engine.journal.is_open:
            await daemon.stop()


async def test_activating_a_b_and_d_goes_the_short_way(daemons: Any) -> None:
    daemon = await daemons().start()
    travelled = []
    for hotel in ("A", "B", "D", "a"):
        job = await daemon.done("activate_hotel", hotel=hotel)
        assert (job.state, job.error, job.simulated) == (JobState.SUCCEEDED, None, True)
        assert job.result["hotel"] == hotel.upper()
        travelled.append(round(job.result["travelled_deg"]))
        status = await daemon.service.device_status(None)
        assert status["active_hotel"] == hotel.upper()
        assert not status["moving"]
    assert travelled[:2] == [0, 90]
    assert abs(travelled[2]) == 180
    assert abs(travelled[3]) == 90
    assert daemon.bus.servo(1).state()["torque"]


async def test_angle_home_speed_position_and_health(daemons: Any) -> None:
    daemon = await daemons(main={**FAST, "offset_deg": 30.0, "direction": -1, "home_deg": 10.0}).start()
    assert (await daemon.done("move_to_angle", degrees=725)).result["position_deg"] == pytest.approx(5, abs=1)
    assert (await daemon.done("go_home")).result["position_deg"] == pytest.approx(10, abs=1)
    assert (await daemon.done("set_speed", speed=20)).result == {"device": "main", "speed": 20}
    position = (await daemon.done("get_current_position")).result
    assert position["position_deg"] == pytest.approx(10, abs=1)
    health = (await daemon.done("get_motor_health")).result
    assert (health["model"], health["current_ma"], health["simulated"]) == ("XL430-W250", None, True)
    assert health["load_percent"] is not None
    assert health["voltage_v"] > 6
    assert (await daemon.service.device_status(None))["speed"] == 20


async def test_an_unknown_hotel_is_refused_at_submission(daemons: Any) -> None:
    daemon = await daemons().start()
    with pytest.raises(InvalidArguments, match="no hotel is named 'E'"):
        await daemon.submit("activate_hotel", hotel="E")


async def test_a_stop_in_mid_move_latches_cancels_and_needs_a_reset_by_name(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    going = await daemon.submit("activate_hotel", hotel="C")
    await daemon.moving()
    waiting = await daemon.submit("activate_hotel", hotel="A")
    answer = await daemon.service.emergency_stop(None, ALICE, "plate fell")
    assert (answer["confirmed"], answer["latched"], answer["latched_durably"], answer["note"]) == (True, True, True, "")
    assert answer["cancelled_jobs"] == [going.id, waiting.id]
    assert answer["wire_ms"] < 100
    servo = daemon.bus.servo(1).state()
    assert not servo["torque"]
    for job in (going, waiting):
        ended = await daemon.engine.wait(job.id, DEADLINE_S)
        assert ended.state is JobState.CANCELLED
        assert ended.error is not None
        assert ended.error.code == "stop_latched"
    with pytest.raises(StopLatched, match="stopped by unix:alice \\(plate fell\\)"):
        await daemon.submit("go_home")
    status = await daemon.service.device_status(None)
    assert status["stop_latched"]
    assert status["latch"]["durable"]
    assert "stop_latched" in {line["code"] for line in daemon.service.status()["attention"]}
    with pytest.raises(InvalidArguments, match="needs the name of a person and a reason"):
        await daemon.device.reset("", "free", ALICE)
    reset = await daemon.device.reset("alice", "free again", ALICE)
    assert (reset["stop_latched"], reset["torque_enabled"]) == (False, True)
    assert (await daemon.done("set_speed", speed=55)).error is None
    assert (await daemon.done("activate_hotel", hotel="D")).result["hotel"] == "D"
    actions = {entry.action for entry in await daemon.engine.audit_page(None, 50)}
    assert {"resort.stop", "resort.reset"} <= actions


async def test_a_stop_name_at_the_job_door_is_no_queued_job(daemons: Any) -> None:
    daemon = await daemons().start()
    await daemon.engine.pause_queue("standard", ALICE, "lunch")
    job, _ = await daemon.engine.submit_one(Submission(task="emergency-stop/emergency-stop"), ALICE)
    assert daemon.device.latch.latched
    ended = await daemon.engine.wait(job.id, DEADLINE_S)
    assert ended.result["confirmed"]


async def test_a_reset_right_behind_a_stop_in_mid_move_leaves_the_torque_on(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    for _ in range(8):
        going = await daemon.submit("activate_hotel", hotel="C")
        await daemon.moving()
        stop = asyncio.create_task(daemon.service.emergency_stop(None, ALICE, "test"))
        await until(lambda: daemon.device.latch.latched and not daemon.device.switch.pending)
        answer = await daemon.device.reset("bob", "test", ALICE)
        await stop
        await daemon.engine.wait(going.id, DEADLINE_S)
        assert (answer["torque_enabled"], answer["note"]) == (True, "")
        assert daemon.bus.servo(1).state()["torque"]


async def test_a_stop_survives_the_daemon_and_motion_waits_for_the_reset(daemons: Any) -> None:
    first = await daemons().start()
    await first.service.emergency_stop(None, ALICE, "night")
    await first.stop()
    second = await daemons().start(ready=False)
    await until(lambda: second.device.carousel.state == "ready")
    assert second.device.latch.latched
    with pytest.raises(StopLatched):
        await second.submit("activate_hotel", hotel="B")
    await until(lambda: not second.device.switch.pending)
    assert not second.bus.servo(1).state()["torque"]
    await second.device.reset("bob", "morning", ALICE)
    assert (await second.done("activate_hotel", hotel="B")).state is JobState.SUCCEEDED
    await second.stop()
    third = await daemons().start()
    assert not third.device.latch.latched


async def test_a_stop_works_where_nothing_can_be_written(daemons: Any, tmp_path: Path, monkeypatch: Any) -> None:
    daemon = await daemons().start()
    (tmp_path / "state" / "resort-main.stop-latched").mkdir()
    monkeypatch.setattr(type(daemon.engine.journal), "refuse_if_full", _full)
    answer = await daemon.service.emergency_stop(None, ALICE)
    assert (answer["confirmed"], answer["latched_durably"]) == (True, False)
    assert "a power cut would not be survived" in answer["note"]
    cause = daemon.device.gate()
    assert cause is not None
    assert cause.code == "stop_latched"
    monkeypatch.undo()
    (tmp_path / "state" / "resort-main.stop-latched").rmdir()
    assert await daemon.device.latch.wait_durable(DEADLINE_S)


def _full(_journal: Any) -> None:
    raise StoreFull("no space left on the device")


async def test_unplugged_in_mid_move_holds_what_waited_until_a_person_releases_it(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    going = await daemon.submit("activate_hotel", hotel="B")
    await daemon.moving()
    waiting = await daemon.submit("activate_hotel", hotel="A")
    daemon.bus.unplug()
    await until(lambda: daemon.device.carousel.state == "lost")
    ended = await daemon.engine.wait(going.id, DEADLINE_S)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert ended.error.code == "device_lost"
    with pytest.raises(NotConnected, match="labd reconnects by itself"):
        await daemon.submit("go_home")
    daemon.bus.plug()
    await until(lambda: daemon.device.gate() is None)
    held = await daemon.engine.job(waiting.id)
    assert (held.state, held.hold is not None and held.hold.code) == (JobState.QUEUED, "device_lost")
    await daemon.done("set_speed", speed=55)
    await daemon.engine.release(waiting.id, ALICE)
    ended = await daemon.engine.wait(waiting.id, DEADLINE_S)
    assert ended.error is None, ended.error


async def test_a_stop_without_a_port_is_unconfirmed_alarms_and_lands_when_the_port_is_back(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    await daemon.submit("activate_hotel", hotel="C")
    await daemon.moving()
    daemon.bus.unplug()
    answer = await daemon.service.emergency_stop(None, ALICE)
    assert (answer["confirmed"], answer["latched"]) == (False, True)
    assert "cut the power" in answer["note"]
    assert "stop_unconfirmed" in {line["code"] for line in daemon.service.status()["attention"]}
    daemon.bus.plug()
    await until(lambda: not daemon.device.switch.pending)
    assert not daemon.bus.servo(1).state()["torque"]
    assert "stop_unconfirmed" not in {line["code"] for line in daemon.service.status()["attention"]}


async def test_hold_stops_where_it_is_and_keeps_torque(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    going = await daemon.submit("activate_hotel", hotel="C")
    await daemon.moving()
    waiting = await daemon.submit("go_home")
    answer = await daemon.device.hold(ALICE)
    assert (answer["torque_enabled"], answer["held"]) == (True, True)
    ended = await daemon.engine.wait(going.id, DEADLINE_S)
    assert ended.state in (JobState.FAILED, JobState.CANCELLED)
    assert not daemon.bus.servo(1).state()["moving"]
    assert not daemon.device.latch.latched
    held = await daemon.engine.job(waiting.id)
    assert held.hold is not None
    assert held.hold.code == "hold"


@pytest.mark.parametrize("opened", [False, True])
async def test_a_connect_right_after_the_start_joins_the_one_that_labd_does_by_itself(
    daemons: Any, capsys: pytest.CaptureFixture[str], opened: bool
) -> None:
    daemon = await daemons().start(ready=False)
    device = daemon.device
    if opened:
        await until(lambda: device.carousel.state == "ready")
    device.self_connection.begin()
    first, second = await asyncio.gather(device.connect(), daemon.done("connect"))
    assert first["torque_enabled"]
    assert second.error is None, second.error
    assert (second.result["torque_enabled"], device.self_connection.problem) == (True, None)
    assert "connect_failed" not in "".join(capsys.readouterr())


async def test_disconnect_releases_on_purpose_also_over_a_restart(daemons: Any) -> None:
    first = await daemons().start()
    assert (await first.done("disconnect")).result == {"device": "main", "connected": False, "torque_enabled": False}
    assert not first.bus.servo(1).state()["torque"]
    with pytest.raises(NotConnected, match="run `labctl resort connect`"):
        await first.submit("go_home")
    await first.stop()
    second = await daemons().start(ready=False)
    assert second.device.carousel.state == "closed"
    assert (await second.done("connect")).result["torque_enabled"]
    assert (await second.done("go_home")).state is JobState.SUCCEEDED


async def test_two_carousels_on_one_host_are_stopped_alone_or_together(daemons: Any) -> None:
    daemon = await daemons(left=FAST, right=FAST).start()
    with pytest.raises(UnknownDevice, match="say which: --device left or right"):
        await daemon.submit("go_home")
    left, right = await asyncio.gather(
        daemon.done("activate_hotel", hotel="B", device="left"),
        daemon.done("activate_hotel", hotel="D", device="right"),
    )
    assert (left.result["device"], right.result["device"]) == ("left", "right")
    await daemon.service.emergency_stop("left", ALICE)
    assert (await daemon.done("go_home", device="right")).state is JobState.SUCCEEDED
    answer = await daemon.service.emergency_stop(None, ALICE)
    assert [part["device"] for part in answer["devices"]] == ["left", "right"]
    assert answer["confirmed"]
    assert all(device.latch.latched for device in daemon.service.devices.values())


async def test_what_the_lab_sees_and_may_do(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    contract = daemon.service.contracts["main"]
    status = await contract.status()
    assert (status["equipment_id"], status["protocol_version"], status["activity"]) == ("resort", "1.2", "idle")
    assert status["equipment_status"] == "dry_run"
    claim = await contract.claims.claim("alice", "s1", 30)
    refused = await daemon.control("go_home")
    assert (refused.status, refused.body["claimed_by"]["owner"]) == (423, "alice")
    accepted = await daemon.control("activate_hotel", hotel="C", token=claim["claim_token"])
    assert accepted.status == 202
    await daemon.moving()
    await until(lambda: daemon.device.situation().moving)
    status = await contract.status()
    assert status["activity"] == "running"
    assert "activate_hotel" not in status["allowed_actions"]
    busy = await daemon.control("activate_hotel", hotel="A", token=claim["claim_token"])
    assert (busy.status, busy.body["kind"], busy.retry_after) == (412, "busy", "1")
    assert (await daemon.control("stop", reason="test")).status == 200
    status = await contract.status()
    assert (status["equipment_status"], status["activity"], status["required_actions"]) == ("e_stop", "idle", ["reset"])
    assert status["last_error"] is None
    assert status["details"]["claimed_by"]["owner"] == "alice"


async def test_every_door_accepts_what_is_listed_and_refuses_the_rest(daemons: Any) -> None:
    daemon = await daemons().start()
    contract = daemon.service.contracts["main"]
    arguments: dict[str, dict[str, Any]] = {
        "activate_hotel": {"hotel": "A"},
        "move_to_angle": {"degrees": 0},
        "set_speed": {"speed": 30},
        "reset": {"by": "alice", "reason": "test"},
    }
    order = "reset go_home hold disconnect go_home connect activate_hotel move_to_angle set_speed get_motor_health "
    order += "stop connect go_home hold get_current_position reset go_home"
    for action in order.split():
        listed = (await contract.status())["allowed_actions"]
        error = daemon.device.seen.last_error
        reply = await daemon.control(action, **arguments.get(action, {}), wait_s=DEADLINE_S)
        assert (reply.status == 412) == (action not in listed), (action, listed, reply)
        assert reply.status in (200, 412), reply
        assert daemon.device.seen.last_error == error


async def test_a_motor_found_with_a_tripped_watchdog_is_reported_and_older_motion_waits(daemons: Any) -> None:
    def tripped(bus: Any) -> None:
        bus.servo(1).table["torque_enable"] = 1
        bus.servo(1).table["bus_watchdog"] = -1

    first = await daemons().start()
    await first.engine.pause_queue("standard", ALICE, "keep one waiting")
    waiting = await first.submit("go_home")
    await first.stop()
    second = daemons()
    await second.start(ready=False, before=tripped)
    await until(lambda: "watchdog_tripped" in {line["code"] for line in second.service.status()["attention"]})
    await until(lambda: second.device.gate() is None)
    await second.engine.resume_queue("standard", ALICE)
    held = await second.engine.job(waiting.id)
    assert held.hold is not None
    assert held.hold.code == "watchdog_tripped"
    assert (await second.service.device_status(None))["watchdog"]["trips"] == 1
    await second.engine.release(waiting.id, ALICE)
    assert (await second.engine.wait(waiting.id, DEADLINE_S)).state is JobState.SUCCEEDED
    assert "watchdog_tripped" not in {line["code"] for line in second.service.status()["attention"]}


async def test_why_names_the_stop_that_holds_a_job(daemons: Any) -> None:
    daemon = await daemons().start()
    await daemon.engine.pause_queue("standard", ALICE, "lunch")
    job = await daemon.submit("go_home")
    daemon.device.latch.set("bob", "smoke")  # the latch alone: a stop would have cancelled the job
    causes = {cause.code for cause in await daemon.engine.why(job.id)}
    assert {"queue_paused", "stop_latched"} <= causes


async def test_a_motor_in_another_mode_with_torque_on_is_refused_until_configured(daemons: Any) -> None:
    def wrong_mode(bus: Any) -> None:
        bus.servo(1).table["operating_mode"] = 3
        bus.servo(1).table["torque_enable"] = 1

    daemon = await daemons().start(ready=False, before=wrong_mode)
    await until(lambda: daemon.device.self_connection.problem)
    assert "configure" in daemon.device.self_connection.problem
    with pytest.raises(ModeMismatch, match="connect --configure` switches torque off"):
        await daemon.submit("connect")
    job = await daemon.done("connect", configure=True)
    assert job.error is None
    lines = [line.text for line in await daemon.engine.logs(job.id)]
    assert lines[0].startswith("switches torque off (support what hangs on it), sets operating mode from 3 (position)")
    assert any("operating mode" in note for note in job.result["notes"])
    assert daemon.bus.servo(1).state()["operating_mode"] == 4
    assert (await daemon.done("go_home")).state is JobState.SUCCEEDED


async def test_a_stalled_move_fails_and_says_where(daemons: Any) -> None:
    daemon = await daemons(main={**FAST, "stall_s": 0.3}).start()
    daemon.bus.servo(1).surround(stalled=True)
    job = await daemon.done("activate_hotel", hotel="B")
    assert (job.state, job.error is not None and job.error.code) == (JobState.FAILED, "move_stalled")
    status = await daemon.service.device_status(None)
    assert status["last_error"]["code"] == "move_stalled"


@pytest.mark.parametrize(
    ("code", "harm"),
    [
        ("move_stalled", lambda servo: servo.surround(stalled=True)),
        ("move_timeout", lambda servo: None),
        ("device_fault", lambda servo: servo.hardware_error(0x20)),
        ("watchdog_tripped", lambda servo: servo.trip_watchdog()),
    ],
)
async def test_what_waits_behind_a_move_that_ended_badly_is_held_for_a_person(
    daemons: Any, code: str, harm: Callable[[Any], None]
) -> None:
    limit_s = 0.5 if code == "move_timeout" else None
    daemon = await daemons(main={**SLOW, "stall_s": 0.3, "move_timeout_s": limit_s}).start()
    going = await daemon.submit("activate_hotel", hotel="C")
    await daemon.moving()
    waiting = [await daemon.submit("activate_hotel", hotel="A"), await daemon.submit("go_home")]
    harm(daemon.bus.servo(1))
    ended = await daemon.engine.wait(going.id, DEADLINE_S)
    assert (ended.state, ended.error is not None and ended.error.code) == (JobState.FAILED, code)
    for job in waiting:
        held = await daemon.engine.job(job.id)
        assert (held.state, held.hold is not None and held.hold.code) == (JobState.QUEUED, code)
    causes = await daemon.engine.why(waiting[0].id)
    assert any("`labctl job release" in cause.message for cause in causes), causes
    if code == "move_stalled":  # the person cleared it, asks for something new, and lets one of the old go
        daemon.bus.servo(1).surround(stalled=False)
        await daemon.done("set_speed", speed=55)
        assert (await daemon.done("move_to_angle", degrees=20)).error is None
        await daemon.engine.release(waiting[1].id, ALICE)
        assert (await daemon.engine.wait(waiting[1].id, DEADLINE_S)).state is JobState.SUCCEEDED
        assert (await daemon.engine.job(waiting[0].id)).state is JobState.QUEUED


async def test_what_waits_behind_a_cancelled_move_goes_on(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    going = await daemon.submit("activate_hotel", hotel="C")
    await daemon.moving()
    waiting = await daemon.submit("get_current_position"), await daemon.submit("go_home")
    await daemon.engine.cancel(going.id, ALICE, "the other one first")
    assert (await daemon.engine.wait(waiting[1].id, DEADLINE_S)).state is JobState.SUCCEEDED


async def test_a_cancelled_move_is_held_before_the_job_ends(daemons: Any) -> None:
    daemon = await daemons(main=SLOW).start()
    job = await daemon.submit("activate_hotel", hotel="C")
    await daemon.moving()
    await daemon.engine.cancel(job.id, ALICE, "changed my mind")
    ended = await daemon.engine.wait(job.id, DEADLINE_S)
    assert ended.state is JobState.CANCELLED
    servo = daemon.bus.servo(1).state()
    assert (servo["moving"], servo["torque"]) == (False, True)


async def test_a_watchdog_left_armed_by_a_dead_labd_ends_its_move_and_older_motion_waits(daemons: Any) -> None:
    def armed(bus: Any) -> None:
        bus.servo(1).table["torque_enable"] = 1
        bus.servo(1).table["bus_watchdog"] = 127

    first = await daemons().start()
    await first.engine.pause_queue("standard", ALICE, "keep one waiting")
    waiting = await first.submit("go_home")
    await first.stop()
    second = await daemons().start(before=armed)
    assert "move_cut_off" in {line["code"] for line in second.service.status()["attention"]}
    held = await second.engine.job(waiting.id)
    assert held.hold is not None
    assert held.hold.code == "move_cut_off"


async def test_the_job_door_accepts_what_the_status_lists_and_refuses_the_rest(daemons: Any) -> None:
    daemon = await daemons().start()
    await daemon.engine.pause_queue("standard", ALICE, "accepted is enough, nothing needs to run")
    arguments: dict[str, dict[str, Any]] = {
        "configure": {"configure": True},
        "activate_hotel": {"hotel": "A"},
        "move_to_angle": {"degrees": 0},
        "set_speed": {"speed": 30},
    }
    jobs = ("connect", "configure", "disconnect", "activate_hotel", "move_to_angle", "go_home", "set_speed")

    async def compare() -> set[str]:
        listed = set((await daemon.service.device_status(None))["allowed_actions"])
        accepted = set()
        for action in jobs:
            with suppress(Refused):
                await daemon.submit("connect" if action == "configure" else action, **arguments.get(action, {}))
                accepted.add(action)
        assert accepted == listed & set(jobs)
        return accepted

    assert await compare() == set(jobs)
    await daemon.device.disconnect()
    assert await compare() == {"connect", "configure", "disconnect"}
    await daemon.device.connect()
    await daemon.service.emergency_stop(None, ALICE)
    assert await compare() == {"disconnect", "set_speed"}
    daemon.bus.unplug()
    await until(lambda: daemon.device.carousel.state == "lost")
    assert await compare() == set()


async def test_every_name_of_the_seed_is_known(daemons: Any) -> None:
    daemon = await daemons().start()
    verbs = ("connect", "disconnect", "activate-hotel", "move-to-angle", "go-home", "set-speed", "get-current-position",
             "get-motor-health", "emergency-stop")  # fmt: skip
    for verb in verbs:
        snake = verb.replace("-", "_")
        for name in (verb, snake, f"{verb}/{verb}", f"resort.{snake}"):
            assert daemon.engine.registry.find(name).name == f"resort.{snake}"


async def test_an_absent_carousel_is_shown_and_refuses_motion_while_labd_serves(daemons: Any, tmp_path: Path) -> None:
    absent = {"driver": "dynamixel", "device": str(tmp_path / "nowhere")}
    daemon = await daemons(main=absent).start(ready=False)
    await until(lambda: daemon.device.carousel.state == "lost")
    status = await daemon.service.device_status(None)
    assert (status["connected"], status["position_deg"], status["active_hotel"]) == (False, None, None)
    with pytest.raises(NotConnected, match="nowhere"):
        await daemon.submit("go_home")
    assert "device_lost" in {line["code"] for line in daemon.service.status()["attention"]}
    envelope = await daemon.service.contracts["main"].status()
    assert (envelope["equipment_status"], envelope["activity"]) == ("unknown", "unknown")


async def test_a_stop_reaches_a_carousel_whose_port_was_never_opened(daemons: Any) -> None:
    def holding(bus: Any) -> None:
        bus.servo(1).table["torque_enable"] = 1

    daemon = await daemons(main={**FAST, "auto_connect": False}).start(ready=False, before=holding)
    assert daemon.device.carousel.state == "closed"
    answer = await daemon.service.emergency_stop(None, ALICE)
    assert answer["confirmed"]
    assert not daemon.bus.servo(1).state()["torque"]


async def test_fifty_who_ask_for_the_status_cost_one_reading(daemons: Any) -> None:
    daemon = await daemons().start()
    await daemon.service.device_status(None)
    before = daemon.bus.frames_received
    answers = await asyncio.gather(*(daemon.service.device_status(None) for _ in range(50)))
    assert len({answer["position_steps"] for answer in answers}) == 1
    assert daemon.bus.frames_received - before <= 10


async def test_a_watchdog_that_does_not_stop_the_motor_is_shown_wherever_somebody_looks(
    daemons: Any, tmp_path: Path
) -> None:
    def old(bus: Any) -> None:
        bus.servo(1).firmware = bus.servo(1).table["firmware_version"] = 51

    daemon = await daemons(main={**FAST, "simulated": {"model_number": 1220}}).start(before=old)
    status = await daemon.service.device_status(None)
    assert (status["watchdog"]["supported"], status["watchdog"]["stops_motor"]) == (True, False)
    told = {line["code"]: line["message"] for line in daemon.service.status()["attention"]}
    assert "trips without stopping the motor" in told["watchdog_faulty"]
    job = await daemon.done("connect")
    assert any(note.startswith("WARNING: the Bus Watchdog") for note in job.result["notes"])
    note = json.loads((tmp_path / "run" / "resort-main.json").read_text())
    assert (note["watchdog_stops_motor"], note["servo_id"]) == (False, 1)

"""The carousel on the virtual bus through the real dynamixel_sdk: connecting, moving, holding, and a sound wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import serial

from labd.errors import (
    DeviceBusy,
    DeviceFault,
    DeviceLost,
    GoalRefused,
    JobCancelled,
    ModeMismatch,
    MoveStalled,
    MoveTimeout,
    NotConnected,
)
from labd.resort.drive.carousel import Carousel
from labd.resort.registers import HardwareError
from tests.fakes.carousel_rig import Rig, carousel_rig, extended


@pytest.fixture
async def rig(state_dir: Path) -> AsyncIterator[Rig]:
    async with carousel_rig(state_dir) as made:
        yield made


async def ready(rig: Rig, **changes: Any) -> Carousel:
    carousel = rig.carousel(**changes)
    await carousel.open()
    await carousel.connect()
    return carousel


# -- connecting ------------------------------------------------------------------------------------------------------


async def test_connecting_to_a_holding_motor_writes_neither_torque_nor_goal(rig: Rig) -> None:
    rig.servo.push(700)
    rig.servo.write(64, b"\x01")
    rig.servo.write(116, (700).to_bytes(4, "little"))
    before = rig.servo.state()
    carousel = rig.carousel()
    await carousel.open()
    state = await carousel.connect()
    assert (state.torque_enabled, state.position_steps, state.notes) == (True, 700, ())
    after = rig.servo.state()
    assert [after[key] for key in ("torque_writes", "goal_writes", "moves", "shaft")] == [
        before[key] for key in ("torque_writes", "goal_writes", "moves", "shaft")
    ]


async def test_torque_goes_on_where_the_motor_stands(rig: Rig) -> None:
    rig.servo.push(-900)
    carousel = rig.carousel()
    await carousel.open()
    state = await carousel.connect()
    assert (state.position_steps, state.goal_steps, state.torque_enabled) == (-900, -900, True)
    assert state.notes == ("torque was switched on, with goal := present position",)
    assert rig.servo.counts.moves == 0
    assert (await carousel.connect()).notes == ()


async def test_wrong_mode_under_torque_is_refused_and_configure_says_what_it_changed(rig: Rig) -> None:
    rig.servo.table["operating_mode"] = 3
    rig.servo.write(64, b"\x01")
    carousel = rig.carousel()
    await carousel.open()
    with pytest.raises(ModeMismatch) as refusal:
        await carousel.connect()
    assert str(refusal.value) == (
        f"servo 1 on {rig.link}: operating mode 3 (position), labd drives it in operating mode 4 (extended_position); "
        "torque is on and locks the mode; `labctl resort connect --configure` switches torque off (support what "
        "hangs on it), sets operating mode from 3 (position) to 4 (extended_position), then switches torque on where "
        "it stands"
    )
    assert rig.servo.torque_enabled
    state = await carousel.connect(configure=True)
    assert state.operating_mode == 4
    assert state.notes == (
        "torque was switched off for the change",
        "changed operating mode from 3 (position) to 4 (extended_position)",
        "torque was switched on, with goal := present position",
    )
    assert rig.servo.counts.moves == 0


@pytest.mark.parametrize(("register", "value"), [("operating_mode", 3), ("drive_mode", 4), ("drive_mode", 8)])
async def test_wrong_mode_without_torque_is_set_unasked_and_told(rig: Rig, register: str, value: int) -> None:
    rig.servo.table[register] = value
    carousel = rig.carousel()
    await carousel.open()
    state = await carousel.connect()
    assert (rig.servo.register("operating_mode"), rig.servo.register("drive_mode")) == (4, 0)
    assert state.notes[0].startswith(f"changed {register.replace('_', ' ')} from ")
    assert (await rig.event("device.configured"))["changes"] == list(state.notes)


@pytest.mark.parametrize(("bits", "words"), [(4, "time-based profile"), (8, "torque on by goal update")])
async def test_wrong_drive_mode_under_torque_is_refused_like_a_wrong_operating_mode(
    rig: Rig, bits: int, words: str
) -> None:
    rig.servo.table["drive_mode"] = bits
    rig.servo.write(64, b"\x01")
    carousel = rig.carousel()
    await carousel.open()
    with pytest.raises(ModeMismatch) as refusal:
        await carousel.connect()
    assert f"drive mode 0x0{bits} ({words})" in str(refusal.value)
    assert f"sets drive mode from 0x0{bits} to 0x00 (no {words})" in str(refusal.value)
    assert refusal.value.details["drive_mode"] == bits
    with pytest.raises(ModeMismatch, match=words):
        await carousel.move_to(100)
    state = await carousel.connect(configure=True)
    assert (state.drive_mode, rig.servo.counts.moves) == (0, 0)
    await carousel.move_to(100)


async def test_motor_that_answers_pings_only_is_told_to_answer(rig: Rig) -> None:
    rig.servo.table["status_return_level"] = 0
    carousel = rig.carousel()
    await carousel.open()
    told = "changed status return level from 0 to 2 (until its power is cut)"
    assert (await rig.event("device.configured"))["changes"] == [told]
    assert told in (await carousel.connect()).notes
    assert told not in (await carousel.connect()).notes
    assert rig.servo.register("status_return_level") == 2


async def test_closing_keeps_torque_and_the_next_labd_takes_over_without_a_write(rig: Rig) -> None:
    first = await ready(rig)
    await first.move_to(600)
    await first.close()
    await first.close()
    assert rig.servo.torque_enabled
    writes = rig.servo.counts.torque_writes
    second = await ready(rig)
    assert (await second.read_state()).position_steps == 600
    await second.move_to(300)
    assert rig.servo.counts.torque_writes == writes


async def test_torque_off_at_close_is_a_setting(rig: Rig) -> None:
    carousel = await ready(rig, torque_off_at_close=True)
    await carousel.close()
    assert not rig.servo.torque_enabled


async def test_disconnect_releases_the_motor_and_the_port(rig: Rig) -> None:
    carousel = await ready(rig)
    await carousel.disconnect()
    await carousel.disconnect()
    assert (carousel.state, rig.servo.torque_enabled) == ("closed", False)
    with serial.Serial(str(rig.link), exclusive=True):
        pass
    with pytest.raises(NotConnected, match="labctl resort connect"):
        await carousel.read_state()
    assert (await carousel.connect()).torque_enabled


async def test_port_of_another_process_is_named_and_taken_when_it_is_free(rig: Rig) -> None:
    carousel = rig.carousel()
    with serial.Serial(str(rig.link), exclusive=True):
        await carousel.open()
        told = await rig.event("device.not_opened")
        assert told["cause"] == "device_busy"
        assert told["problem"] == f"{rig.link}: another process has the port; `fuser {rig.link}` names it"
        assert carousel.state == "faulty"
        with pytest.raises(DeviceBusy):
            await carousel.connect()
    await rig.event("device.connected")


async def test_port_that_is_not_there_is_named(rig: Rig) -> None:
    rig.bus.unplug()
    carousel = rig.carousel()
    await carousel.open()
    told = await rig.event("device.not_opened")
    assert (
        told["problem"] == f"{rig.link}: no such port; plug the adapter in, or correct `device` (see /dev/serial/by-id)"
    )
    rig.bus.plug()
    await rig.event("device.connected")


async def test_latched_hardware_error_refuses_to_connect_in_words(rig: Rig) -> None:
    rig.servo.hardware_error(HardwareError.OVERLOAD)
    carousel = rig.carousel()
    await carousel.open()
    with pytest.raises(DeviceFault, match=r"hardware error \(overload\) is latched and torque is off"):
        await carousel.connect()


async def test_firmware_without_watchdog_is_reported_and_still_moves(state_dir: Path) -> None:
    async with carousel_rig(state_dir, extended(1020, firmware=37)) as rig:
        carousel = await ready(rig)
        told = await rig.event("device.warning")
        assert told["problem"].startswith("XM430-W350 with firmware 37 has no Bus Watchdog (98)")
        assert (told["warning"], "nothing stops a move if this host dies" in told["problem"]) == (
            "watchdog_unsupported",
            True,
        )
        assert not (await carousel.read_state()).watchdog.supported
        await carousel.move_to(200)


async def test_watchdog_that_trips_without_stopping_the_motor_is_reported_and_the_motor_caught(state_dir: Path) -> None:
    async with carousel_rig(state_dir, extended(1220, firmware=51)) as rig:
        carousel = rig.carousel()
        await carousel.open()
        state = await carousel.connect()
        problem = (
            "the Bus Watchdog (98) of XC330-T288 with firmware 51 trips without stopping the motor: nothing stops "
        )
        assert state.notes[-1].startswith(f"WARNING: {problem}")
        assert carousel.watchdog_problem is not None
        assert ((await rig.event("device.warning"))["warning"], state.watchdog.supported) == ("watchdog_faulty", True)
        assert not state.watchdog.stops_motor
        move = asyncio.create_task(carousel.move_to(60_000, on_progress=rig.on_progress))
        await rig.until(lambda: rig.progress and rig.progress[-1].position_steps > 100)
        rig.bus.unplug()
        with pytest.raises(DeviceLost):
            await move
        await rig.until(lambda: rig.servo.counts.watchdog_trips == 1)
        assert rig.servo.velocity > 0
        rig.bus.plug()
        assert (await rig.event("device.watchdog_tripped"))["when"] == "while labd was not connected"
        await rig.until(lambda: rig.servo.velocity == 0)
        assert rig.servo.position < 50_000


@pytest.mark.parametrize(("model", "has_current"), [(1060, False), (1080, False), (1020, True), (1200, True)])
async def test_current_or_load_by_model(state_dir: Path, model: int, has_current: bool) -> None:
    async with carousel_rig(state_dir, extended(model)) as rig:
        carousel = await ready(rig)
        state = await carousel.read_state()
        assert (state.current_ma is not None, state.load_percent is not None) == (has_current, not has_current)
        assert state.model == model
        assert state.voltage_v == pytest.approx(rig.servo.model.nominal_voltage_v, abs=0.11)


async def test_reading_beyond_its_limit_warns_once(rig: Rig) -> None:
    carousel = await ready(rig)
    rig.servo.warm(70.0)
    state = await carousel.read_state()
    await carousel.read_state()
    assert state.warnings == ("temperature high: 70 C is above 65 C",)
    assert rig.names().count("device.warning") == 1


# -- moving ----------------------------------------------------------------------------------------------------------


async def test_move_goes_beyond_a_turn_and_leaves_the_watchdog_off(rig: Rig) -> None:
    carousel = await ready(rig)
    result = await carousel.move_to(4300, on_progress=rig.on_progress)
    assert result.start_steps == 0
    assert abs(result.end_steps - 4300) <= carousel.settings.tolerance_steps
    assert [look.position_steps for look in rig.progress] == sorted(look.position_steps for look in rig.progress)
    state = await carousel.read_state()
    assert not state.watchdog.armed
    assert (rig.servo.counts.moves, rig.servo.counts.watchdog_trips) == (1, 0)


async def test_watchdog_is_armed_and_the_profile_set_before_the_goal(rig: Rig) -> None:
    carousel = await ready(rig)
    move = asyncio.create_task(carousel.move_to(1500, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress)
    assert carousel.moving
    assert carousel.goal_steps == 1500
    assert rig.servo.register("bus_watchdog") == 15
    assert rig.servo.register("profile_velocity") == carousel.settings.profile_velocity
    assert rig.servo.register("profile_acceleration") == carousel.settings.profile_acceleration
    with pytest.raises(DeviceBusy, match="a move is under way"):
        await carousel.move_to(0)
    await move


async def test_readers_during_a_move_get_the_supervisors_look(rig: Rig) -> None:
    carousel = await ready(rig)
    move = asyncio.create_task(carousel.move_to(1500, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress)
    frames = rig.bus.frames_received
    looks = [await carousel.read_state() for _ in range(100)]
    assert rig.bus.frames_received == frames
    assert {look.read_at for look in looks} == {looks[0].read_at}
    await move


async def test_readers_at_the_same_time_share_one_look(rig: Rig) -> None:
    carousel = await ready(rig)
    frames = rig.bus.frames_received
    await asyncio.gather(*(carousel.read_state() for _ in range(50)))
    assert rig.bus.frames_received - frames <= 3


async def test_stalled_move_fails_with_where_and_the_motor_pushes_no_more(rig: Rig) -> None:
    carousel = await ready(rig)
    move = asyncio.create_task(carousel.move_to(6000, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress and rig.progress[-1].position_steps > 300)
    rig.servo.stall = True
    with pytest.raises(MoveStalled, match="on the way from 0 to 6000") as stalled:
        await move
    state = await carousel.read_state()
    assert abs(stalled.value.details["position_steps"] - state.position_steps) < 20
    assert abs(state.goal_steps - state.position_steps) <= 1
    assert (state.torque_enabled, state.watchdog.armed) == (True, False)


async def test_time_over_is_a_failure_and_the_motor_is_held(rig: Rig) -> None:
    carousel = await ready(rig, move_timeout_s=0.2)
    with pytest.raises(MoveTimeout, match=r"the limit was 0\.2 s"):
        await carousel.move_to(9000)
    state = await carousel.read_state()
    assert abs(state.goal_steps - state.position_steps) <= carousel.settings.tolerance_steps
    assert (state.velocity_rpm, state.torque_enabled) == (0.0, True)


async def test_hardware_error_during_a_move_is_named(rig: Rig) -> None:
    carousel = await ready(rig)
    move = asyncio.create_task(carousel.move_to(6000, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress)
    rig.servo.hardware_error(HardwareError.OVERHEATING)
    with pytest.raises(DeviceFault, match=r"hardware error \(overheating\) at .* on the way from 0 to 6000"):
        await move


async def test_motor_that_lost_its_power_during_a_move_is_no_success(rig: Rig) -> None:
    carousel = await ready(rig)
    move = asyncio.create_task(carousel.move_to(6000, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress)
    rig.servo.reboot()
    with pytest.raises(DeviceFault, match="torque went off"):
        await move
    with pytest.raises(NotConnected, match="torque is off"):
        await carousel.move_to(0)


@pytest.mark.parametrize("goal", [1_048_576, -1_048_576])
async def test_goal_outside_the_mode_is_refused(rig: Rig, goal: int) -> None:
    carousel = await ready(rig)
    with pytest.raises(GoalRefused, match="outside -1048575 to 1048575"):
        await carousel.move_to(goal)


async def test_goal_whose_bytes_would_need_stuffing_is_refused_and_nothing_moves(rig: Rig) -> None:
    carousel = await ready(rig)
    with pytest.raises(GoalRefused, match="ff ff fd ff holds FF FF FD"):
        await carousel.move_to(-131_073)
    assert rig.servo.counts.moves == 0
    assert not (await carousel.read_state()).watchdog.armed


async def test_position_mode_keeps_the_motors_own_limits(state_dir: Path) -> None:
    motor = extended()
    motor.table["operating_mode"] = 3
    motor.table["max_position_limit"] = 3000
    async with carousel_rig(state_dir, motor) as rig:
        carousel = await ready(rig, operating_mode=3)
        with pytest.raises(GoalRefused, match="goal 3001 steps is outside 0 to 3000"):
            await carousel.move_to(3001)
        await carousel.move_to(1000)


async def test_cancelled_move_is_held_before_the_cancellation_goes_through(rig: Rig) -> None:
    carousel = await ready(rig)
    move = asyncio.create_task(carousel.move_to(9000, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress and rig.progress[-1].position_steps > 200)
    move.cancel()
    with pytest.raises(asyncio.CancelledError):
        await move
    assert rig.servo.velocity == 0
    assert rig.servo.torque_enabled
    assert rig.servo.register("bus_watchdog") == 0
    assert abs(rig.servo.register("goal_position") - rig.servo.position) <= carousel.settings.tolerance_steps
    await carousel.move_to(0)


async def test_move_cancelled_at_any_moment_leaves_nothing_moving(rig: Rig) -> None:
    carousel = await ready(rig)
    for turns_of_the_loop in range(0, 12, 2):
        move = asyncio.create_task(carousel.move_to(9000))
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        move.cancel()
        move.cancel()
        with pytest.raises(asyncio.CancelledError):
            await move
        assert (rig.servo.velocity, rig.servo.register("bus_watchdog")) == (0, 0)


async def test_hold_ends_a_move_where_it_is(rig: Rig) -> None:
    carousel = await ready(rig)
    move = asyncio.create_task(carousel.move_to(9000, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress and rig.progress[-1].position_steps > 200)
    state = await carousel.hold()
    assert (state.velocity_rpm, state.torque_enabled) == (0.0, True)
    with pytest.raises(JobCancelled, match="ended by hold"):
        await move
    assert (await carousel.hold()).position_steps == state.position_steps


async def test_speed_is_refused_beyond_the_motors_limit(rig: Rig) -> None:
    carousel = await ready(rig)
    with pytest.raises(GoalRefused, match=r"at most 60.7 rpm"):
        await carousel.set_speed(61.0)
    await carousel.set_speed(20.0)
    await carousel.move_to(100)
    assert rig.servo.register("profile_velocity") == 87

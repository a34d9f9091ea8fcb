"""The carousel on the virtual bus when things go wrong: wire, plug, supervisor, labd itself; and the stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd.clock import SystemClock
from labd.errors import (
    DeviceBusy,
    DeviceCorrupt,
    DeviceError,
    DeviceLost,
    DeviceTimeout,
    StopLatched,
    WatchdogTripped,
)
from labd.resort.drive.carousel import Carousel
from labd.resort.drive.direct import direct_stop
from labd.resort.drive.lanes import Lane
from labd.resort.virtual.wire_faults import Kind
from tests.fakes.carousel_rig import Rig, carousel_rig, extended
from tests.fakes.virtual_bus import host_on


@pytest.fixture
async def rig(state_dir: Path) -> AsyncIterator[Rig]:
    async with carousel_rig(state_dir) as made:
        yield made


async def ready(rig: Rig, clock: SystemClock | None = None, **changes: Any) -> Carousel:
    carousel = rig.carousel(clock, **changes)
    await carousel.open()
    await carousel.connect()
    return carousel


async def under_way(rig: Rig, carousel: Carousel, goal: int = 20_000) -> asyncio.Task[Any]:
    """A long move, a bit along its way."""
    move = asyncio.create_task(carousel.move_to(goal, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress and abs(rig.progress[-1].position_steps) > 200)
    return move


MOVE_AND_DIE_HARD = """
import asyncio, sys
from labd.clock import SystemClock
from labd.resort.drive.carousel import Carousel, DriveSettings

async def main():
    settings = DriveSettings(sys.argv[1], baud_rate=1000000, speed_rpm=58.0, watchdog_period_s=0.4)
    carousel = Carousel(settings, SystemClock(), lambda name, facts: None)
    await carousel.open()
    await carousel.connect()
    await carousel.move_to(20000)

asyncio.run(main())
"""


class HangingClock(SystemClock):
    """A clock whose sleepers can be kept from waking: a supervisor that hangs while the loop lives."""

    def __init__(self) -> None:
        self.awake = asyncio.Event()
        self.awake.set()

    async def sleep(self, delay_s: float) -> None:
        await super().sleep(delay_s)
        await self.awake.wait()


# -- the wire --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lost", "late", "corrupt", "duplicated", "unheard"])
async def test_moves_and_readings_are_right_on_a_bad_wire(rig: Rig, fault: Kind) -> None:
    carousel = await ready(rig)
    rig.bus.faults.late_s = 0.03
    rig.bus.faults.chance(fault, 0.08)
    for goal in (400, -300):
        result = await carousel.move_to(goal)
        assert abs(rig.servo.position - goal) <= carousel.settings.tolerance_steps
        assert abs(result.end_steps - goal) <= carousel.settings.tolerance_steps
        state = await carousel.read_state()
        assert (state.goal_steps, state.torque_enabled, state.operating_mode) == (goal, True, 4)
    assert rig.bus.faults.counts[fault] > 0
    assert rig.servo.counts.watchdog_trips == 0


async def test_late_answer_is_not_taken_for_the_next_one(rig: Rig) -> None:
    carousel = await ready(rig)
    rig.bus.faults.late_s = 0.03
    for _ in range(5):
        rig.bus.faults.next("late")
        state = await carousel.read_state()
        assert (state.position_steps, state.torque_enabled, state.watchdog.armed) == (0, True, False)


async def test_silence_is_named_with_servo_port_register_and_cause(rig: Rig) -> None:
    carousel = await ready(rig)
    rig.bus.faults.chance("lost", 1.0)
    with pytest.raises(DeviceTimeout) as silence:
        await carousel.read_state()
    assert str(silence.value) == (
        f"servo 1 on {rig.link}: read of register 104: no status packet within 0.02 s, 3 tries; check power, cable, "
        "baud rate and servo id"
    )
    await rig.event("device.lost")
    rig.bus.faults.clear()
    await rig.event("device.reopened")
    assert (await carousel.read_state()).torque_enabled


async def test_damage_beyond_the_tries_is_named(rig: Rig) -> None:
    carousel = await ready(rig)
    rig.bus.faults.chance("corrupt", 1.0)
    with pytest.raises((DeviceCorrupt, DeviceTimeout), match="3 tries"):
        await carousel.read_state()


# -- the plug --------------------------------------------------------------------------------------------------------


async def test_unplugged_in_mid_move_the_motor_stops_and_comes_back_verified(rig: Rig) -> None:
    carousel = await ready(rig)
    move = await under_way(rig, carousel)
    rig.bus.unplug()
    with pytest.raises(DeviceLost):
        await asyncio.wait_for(move, 1.0)
    await rig.event("device.lost", 1.0)
    assert not carousel.connected
    await rig.until(lambda: rig.servo.counts.watchdog_trips == 1)
    with pytest.raises(DeviceError):
        await carousel.move_to(0)
    rig.bus.plug()
    facts = await rig.event("device.reopened", 3.0)
    assert facts["moved_while_away_steps"] > 0
    assert (await rig.event("device.watchdog_tripped"))["trips"] == 1
    await rig.until(lambda: rig.servo.velocity == 0)
    state = await carousel.read_state()
    assert (state.velocity_rpm, state.watchdog.tripped, state.watchdog.trips) == (0.0, False, 1)
    assert rig.servo.register("profile_velocity") == carousel.settings.profile_velocity
    stood = state.position_steps
    assert rig.servo.position == stood
    await carousel.move_to(stood + 100)


async def test_idle_unplug_is_seen_without_a_packet(rig: Rig) -> None:
    carousel = await ready(rig)
    frames = rig.bus.frames_received
    rig.bus.unplug()
    facts = await rig.event("device.lost", 1.0)
    assert facts["problem"] == f"{rig.link}: the port hung up (unplugged?); labd reopens it when it is back"
    assert rig.bus.frames_received == frames
    assert carousel.problem == facts["problem"]
    rig.bus.plug()
    await rig.event("device.reopened", 3.0)
    assert carousel.problem is None


async def test_motor_turned_by_hand_while_away_is_reported(rig: Rig) -> None:
    carousel = rig.carousel()
    await carousel.open()
    await rig.event("device.connected")
    rig.bus.unplug()
    await rig.event("device.lost")
    rig.servo.push(500)
    rig.bus.plug()
    assert (await rig.event("device.reopened"))["moved_while_away_steps"] == 500


async def test_another_motor_is_not_driven(rig: Rig) -> None:
    carousel = await ready(rig)
    rig.bus.unplug()
    await rig.event("device.lost")
    other = extended(1020)
    other.attach(rig.bus.clock, rig.servo.on_event, rig.bus.lock)
    rig.bus.servos[0] = other
    rig.bus.plug()
    await rig.until(lambda: carousel.state == "faulty")
    assert "another motor came back: XM430-W350" in str(carousel.problem)
    with pytest.raises(DeviceError, match="another motor came back"):
        await carousel.move_to(0)
    assert not other.torque_enabled


# -- the dead-man ----------------------------------------------------------------------------------------------------


async def poll(carousel: Carousel) -> None:
    """A client that asks for the status as fast as it can, and one that goes past the snapshot to the bus."""
    while True:
        await carousel.read_state()
        with contextlib.suppress(DeviceBusy):  # the gate: the supervisor's lease is over
            await carousel._bus.run(Lane.POLL, carousel._servo.read_motion)
        await asyncio.sleep(0)


async def test_hung_supervisor_lets_the_motor_stop_while_eight_clients_poll(rig: Rig) -> None:
    clock = HangingClock()
    carousel = await ready(rig, clock)
    move = await under_way(rig, carousel)
    clock.awake.clear()
    pollers = [asyncio.create_task(poll(carousel)) for _ in range(8)]
    await rig.until(lambda: rig.servo.counts.watchdog_trips == 1)
    tripped_at = rig.servo.position
    assert not move.done()
    clock.awake.set()
    with pytest.raises(WatchdogTripped, match=r"nothing fed it for 0\.3 s"):
        await move
    for poller in pollers:
        poller.cancel()
    ends = await asyncio.gather(*pollers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert (await rig.event("device.watchdog_tripped"))["when"] == "during a move"
    await rig.until(lambda: rig.servo.velocity == 0)
    state = await carousel.read_state()
    assert (state.velocity_rpm, state.torque_enabled, state.watchdog.tripped) == (0.0, True, False)
    assert abs(state.position_steps - tripped_at) <= carousel.settings.tolerance_steps
    await carousel.move_to(state.position_steps + 50)


async def test_stop_passes_a_hung_supervisor(rig: Rig) -> None:
    clock = HangingClock()
    carousel = await ready(rig, clock, watchdog_period_s=2.0)
    move = await under_way(rig, carousel)
    clock.awake.clear()
    carousel.stop_now()
    assert (await carousel.confirm_stop()).confirmed
    assert (rig.servo.torque_enabled, rig.servo.velocity) == (False, 0)
    clock.awake.set()
    with pytest.raises(StopLatched):
        await move


def end_thread(exchange: object) -> None:
    """Nothing of the owner thread is left, as when the process dies."""
    raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_death_of_the_owner_thread_stops_the_motor(rig: Rig) -> None:
    carousel = await ready(rig)
    move = await under_way(rig, carousel)
    carousel._bus.submit(Lane.MOTION, end_thread)
    with pytest.raises(DeviceLost):
        await move
    await rig.until(lambda: rig.servo.counts.watchdog_trips == 1)
    assert (rig.servo.velocity, rig.servo.torque_enabled) == (0, True)
    with pytest.raises(DeviceError):
        await carousel.read_state()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_labd_that_comes_back_in_the_dead_mans_time_ends_the_abandoned_move(rig: Rig) -> None:
    first = await ready(rig, watchdog_period_s=2.0)
    move = await under_way(rig, first)
    first._bus.submit(Lane.MOTION, end_thread)
    with pytest.raises(DeviceLost):
        await move
    assert rig.servo.velocity > 0
    second = rig.carousel()
    await second.open()
    await rig.until(lambda: rig.names().count("device.connected") == 2)
    assert rig.last("device.connected")["watchdog_found"] == "armed"
    await rig.until(lambda: rig.servo.velocity == 0)
    assert rig.servo.torque_enabled
    assert rig.servo.position < 20_000


async def test_kill_9_in_mid_move_stops_the_motor(rig: Rig) -> None:
    labd = subprocess.Popen([sys.executable, "-c", MOVE_AND_DIE_HARD, str(rig.link)])
    try:
        await rig.until(lambda: rig.servo.counts.moves == 1, 10.0)
    finally:
        labd.kill()
        labd.wait()
    await rig.until(lambda: rig.servo.counts.watchdog_trips == 1, 1.0)
    assert (rig.servo.velocity, rig.servo.torque_enabled) == (0, True)
    assert rig.servo.position < 20_000


async def test_trip_found_at_the_start_is_told_and_cleared_without_a_move(rig: Rig) -> None:
    rig.servo.write(64, b"\x01")
    rig.servo.write(98, b"\x01")
    await rig.until(lambda: rig.servo.counts.watchdog_trips == 1)
    carousel = rig.carousel()
    await carousel.open()
    await rig.event("device.watchdog_tripped")
    assert (rig.servo.register("bus_watchdog"), rig.servo.counts.moves) == (0, 0)
    assert (await carousel.connect()).notes == ()
    await carousel.move_to(100)


# -- the stop --------------------------------------------------------------------------------------------------------


async def test_stop_ends_a_move_confirmed_and_refuses_motion_until_released(rig: Rig) -> None:
    carousel = await ready(rig)
    move = await under_way(rig, carousel)
    future = carousel.stop_now()
    assert carousel.stop_latched
    report = await carousel.confirm_stop()
    assert report == future.result()
    assert (report.confirmed, report.problem) == (True, None)
    assert (rig.servo.torque_enabled, rig.servo.velocity) == (False, 0)
    with pytest.raises(StopLatched, match="ended by a stop"):
        await move
    for refused in (carousel.move_to(0), carousel.connect(), carousel.hold()):
        with pytest.raises(StopLatched, match="labctl resort reset"):
            await refused
    assert not rig.servo.torque_enabled
    carousel.release_stop()
    await carousel.connect()
    await carousel.move_to(rig.servo.position + 100)


async def test_stop_reaches_the_wire_behind_one_transaction_at_most(rig: Rig) -> None:
    carousel = await ready(rig)
    pollers = [asyncio.create_task(poll(carousel)) for _ in range(8)]
    waits_ms: list[float] = []
    for _ in range(100):
        report = await asyncio.wrap_future(carousel.stop_now())
        assert report.wire_ms is not None
        waits_ms.append(report.wire_ms)
        assert report.confirmed
    for poller in pollers:
        poller.cancel()
    await asyncio.gather(*pollers, return_exceptions=True)
    print(f"stop to wire: worst {max(waits_ms):.2f} ms of {len(waits_ms)}")
    assert sorted(waits_ms)[89] < 50


async def test_stop_from_another_thread_while_the_event_loop_hangs(rig: Rig) -> None:
    carousel = await ready(rig)
    move = await under_way(rig, carousel)
    reports = []
    thread = threading.Thread(target=lambda: reports.append(carousel.stop_now().result(2.0)))
    thread.start()
    thread.join()  # the loop stands still meanwhile
    assert reports[0].confirmed
    assert not rig.servo.torque_enabled
    with pytest.raises(StopLatched):
        await move


@pytest.mark.parametrize("fault", ["lost", "late", "corrupt", "duplicated", "unheard"])
async def test_stop_is_resent_on_a_bad_wire_until_it_reads_back(rig: Rig, fault: Kind) -> None:
    carousel = await ready(rig)
    move = await under_way(rig, carousel)
    rig.bus.faults.late_s = 0.03
    rig.bus.faults.next(fault, 4)
    carousel.stop_now()
    report = await carousel.confirm_stop()
    assert report.confirmed, report
    assert (rig.servo.torque_enabled, rig.servo.velocity) == (False, 0)
    with pytest.raises(StopLatched):
        await move


async def test_stop_while_unplugged_holds_and_goes_out_first_on_return(state_dir: Path) -> None:
    record = state_dir / "record"
    async with carousel_rig(state_dir, record=record) as rig:
        carousel = await ready(rig, stop_confirm_s=0.1)
        rig.bus.unplug()
        await rig.event("device.lost")
        future = carousel.stop_now()
        report = await carousel.confirm_stop()
        assert (report.confirmed, report.wire_ms, report.attempts) == (False, None, 0)
        assert report.problem == f"{rig.link}: the port is not open; torque-off goes out first when it is"
        await rig.event("device.stop_unconfirmed")
        assert (carousel.stop_latched, rig.servo.torque_enabled) == (True, True)
        rig.bus.plug()
        final = await asyncio.wait_for(asyncio.wrap_future(future), 3.0)
        assert final.confirmed
        await rig.event("device.reopened")
        assert not rig.servo.torque_enabled
        lines = [json.loads(line) for line in record.read_text().splitlines()]
        back = max(index for index, line in enumerate(lines) if line["kind"] == "plugged")
        first = next(line for line in lines[back:] if line["kind"] == "frame" and line["direction"] == "rx")
        assert first["hex"].startswith("fffffd000106000340000"), first


async def test_latch_set_before_opening_keeps_a_motor_off(rig: Rig) -> None:
    rig.servo.write(64, b"\x01")
    carousel = rig.carousel()
    carousel.latch_stop()
    await carousel.open()
    await rig.event("device.connected")
    assert not rig.servo.torque_enabled
    with pytest.raises(StopLatched):
        await carousel.connect()


async def test_stop_after_a_disconnect_opens_the_port_for_it(rig: Rig) -> None:
    carousel = await ready(rig)
    await carousel.disconnect()
    rig.servo.write(64, b"\x01")
    carousel.stop_now()
    assert (await carousel.confirm_stop()).confirmed
    assert not rig.servo.torque_enabled


async def test_stop_that_cannot_be_read_back_is_told_and_tried_on(rig: Rig) -> None:
    carousel = await ready(rig, stop_confirm_s=0.1)
    rig.bus.faults.chance("unheard", 1.0)
    future = carousel.stop_now()
    report = await carousel.confirm_stop()
    assert not report.confirmed
    assert "no status packet within 0.02 s" in str(report.problem)
    await rig.event("device.stop_unconfirmed")
    rig.bus.faults.clear()
    assert (await asyncio.wait_for(asyncio.wrap_future(future), 3.0)).attempts > 1


async def test_direct_stop_needs_no_daemon_and_respects_one(rig: Rig) -> None:
    carousel = await ready(rig)
    with pytest.raises(DeviceBusy, match="another process has the port"):
        await asyncio.to_thread(direct_stop, str(rig.link), 1_000_000, 1)
    await carousel.close()
    assert rig.servo.torque_enabled
    report = await asyncio.to_thread(direct_stop, str(rig.link), 1_000_000, 1)
    assert (report.confirmed, rig.servo.torque_enabled) == (True, False)
    with host_on(rig.bus) as host:
        assert host.read(1, 64, 1) == 0

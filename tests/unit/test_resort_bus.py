"""The owner thread of a bus on a line without a port: lanes, lease, latch, stops, and the errors of opening."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from labd.errors import (
    DeviceBusy,
    DeviceCorrupt,
    DeviceError,
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    GoalRefused,
    LabdError,
    StopLatched,
)
from labd.resort.drive.bus import DynamixelLine
from labd.resort.drive.exchange import Exchange
from labd.resort.drive.lanes import Bus, Lane
from labd.resort.drive.stopping import StopReport
from tests.fakes.fake_line import FakeLine

LIMIT_S = 5.0


class Watch:
    """Seconds that a test turns forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def line() -> FakeLine:
    return FakeLine()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def lost() -> list[DeviceLost]:
    return []


@pytest.fixture
def bus(line: FakeLine, watch: Watch, lost: list[DeviceLost]) -> Iterator[Bus]:
    made = Bus(line, monotonic=watch)
    made.join(1, on_lost=lost.append)
    made.start()
    yield made
    line.held.set()
    made.shutdown(LIMIT_S)
    assert not line.is_open


def held_up(bus: Bus, line: FakeLine) -> Future[object]:
    """A transaction that has begun and does not end before `line.held` is set."""
    line.held.clear()
    line.inside.clear()
    first: Future[object] = bus.submit(Lane.POLL, lambda x: x.read(1, 0, 1))
    assert line.inside.wait(LIMIT_S)
    return first


def addresses(line: FakeLine) -> list[int]:
    return [address for _, address, _ in line.log]


def test_motion_goes_before_polls_and_each_lane_keeps_its_order(bus: Bus, line: FakeLine) -> None:
    held_up(bus, line)
    waiting = [bus.submit(lane, lambda x, at=at: x.read(1, at, 1)) for lane, at in (
        (Lane.POLL, 1), (Lane.POLL, 2), (Lane.MOTION, 3), (Lane.MOTION, 4),
    )]  # fmt: skip
    line.held.set()
    for future in waiting:
        future.result(LIMIT_S)
    assert addresses(line) == [0, 3, 4, 1, 2]


def test_stop_goes_between_two_transactions_of_one_function(bus: Bus, line: FakeLine) -> None:
    line.held.clear()
    line.inside.clear()
    long = bus.submit(Lane.MOTION, lambda x: [x.read(1, at, 1) for at in range(10, 15)])
    assert line.inside.wait(LIMIT_S)
    ticket = bus.stop(1)
    line.held.set()
    assert ticket.confirmed.result(LIMIT_S).confirmed
    long.result(LIMIT_S)
    assert line.log[0] == ("read", 10, b"")
    assert line.log[1] == ("write", 64, b"\x00")
    assert addresses(line) == [10, 64, 64, 122, 11, 12, 13, 14]


async def test_a_moving_motor_has_its_look_in_the_middle_of_a_neighbours_work(bus: Bus, line: FakeLine) -> None:
    bus.join(2, on_lost=lambda fault: None)
    bus.renew_lease(1, 0.3)
    line.held.clear()
    line.inside.clear()
    long = bus.submit(Lane.MOTION, lambda x: [x.read(2, at, 1) for at in range(10, 13)])
    assert line.inside.wait(LIMIT_S)
    resting = asyncio.create_task(bus.run(Lane.MOTION, lambda x: x.read(2, 31, 1), mover=2))
    look = asyncio.create_task(bus.run(Lane.MOTION, lambda x: [x.read(1, at, 1) for at in (20, 21)], mover=1))
    await asyncio.sleep(0)
    line.held.set()
    await asyncio.gather(look, resting, asyncio.wrap_future(long))
    assert addresses(line) == [10, 20, 21, 11, 12, 31]


def test_every_motors_torque_goes_off_before_any_is_read_back(bus: Bus, line: FakeLine) -> None:
    held_up(bus, line)
    tickets = [bus.stop(1), bus.stop(2), bus.stop(1)]
    line.held.set()
    reports = [ticket.confirmed.result(LIMIT_S) for ticket in tickets]
    assert all(report.confirmed for report in reports)
    writes = [entry for entry in line.log if entry[0] == "write"]
    assert writes == [("write", 64, b"\x00")] * 2, "both motors' torque before any reading back"
    assert addresses(line)[1:3] == [64, 64]


def test_giving_up_waiting_does_not_cancel_a_stop(bus: Bus, line: FakeLine) -> None:
    held_up(bus, line)
    ticket = bus.stop(1)
    assert not ticket.confirmed.cancel()
    line.held.set()
    assert ticket.confirmed.result(LIMIT_S).confirmed


@pytest.mark.parametrize(
    ("address", "data", "refused"),
    [
        (64, b"\x01", True),  # torque on
        (64, b"\x00", False),
        (116, b"\x00\x00\x00\x00", True),  # goal position
        (104, b"\x00\x00\x00\x00", True),  # goal velocity
        (100, b"\x00\x00", True),  # goal pwm
        (108, bytes(8), True),  # profile
        (98, b"\x00", False),  # watchdog off
        (63, b"\x34\x01", True),  # torque on within a longer write
        (68, b"\x02", False),
    ],
)
def test_latch_refuses_what_could_move_in_every_lane(bus: Bus, address: int, data: bytes, refused: bool) -> None:
    bus.stop(1).confirmed.result(LIMIT_S)
    for lane in Lane:
        write = bus.submit(lane, lambda x: x.write(1, address, data))
        if refused:
            with pytest.raises(StopLatched, match="labctl resort reset"):
                write.result(LIMIT_S)
        else:
            write.result(LIMIT_S)
        bus.submit(lane, lambda x: x.write(2, address, data)).result(LIMIT_S)  # the neighbour is not stopped
    bus.release(1)
    bus.submit(Lane.MOTION, lambda x: x.write(1, address, data)).result(LIMIT_S)


def test_stop_that_comes_while_a_goal_is_retried_wins(bus: Bus, line: FakeLine) -> None:
    line.held.clear()
    line.inside.clear()
    line.fail_next = [DeviceTimeout("lost")]
    goal = bus.submit(Lane.MOTION, lambda x: x.write(1, 116, bytes(4)))
    assert line.inside.wait(LIMIT_S)
    bus.stop(1)
    line.held.set()
    with pytest.raises(StopLatched):
        goal.result(LIMIT_S)
    assert addresses(line).count(116) == 1


def test_stale_lease_silences_the_bus_for_all_but_stop(bus: Bus, line: FakeLine, watch: Watch) -> None:
    bus.renew_lease(1, 0.3)
    watch.now += 0.29
    bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1)).result(LIMIT_S)
    watch.now += 0.02
    before = len(line.log)
    for lane in Lane:
        for servo_id in (1, 2):  # also for the neighbour: any packet feeds the watchdog
            with pytest.raises(DeviceBusy, match=r"gave no sign of life for 0\.01 s past its lease"):
                bus.submit(lane, lambda x, servo_id=servo_id: x.read(servo_id, 10, 1)).result(LIMIT_S)
    assert len(line.log) == before
    assert bus.stop(1).confirmed.result(LIMIT_S).confirmed
    bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1)).result(LIMIT_S)  # torque is off: nothing to starve


def test_renewed_lease_lets_the_bus_talk_again(bus: Bus, watch: Watch) -> None:
    bus.renew_lease(1, 0.3)
    watch.now += 1.0
    bus.renew_lease(1, 0.3)
    bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1)).result(LIMIT_S)


def test_lease_that_ends_within_a_function_cuts_it(bus: Bus, line: FakeLine, watch: Watch) -> None:
    bus.renew_lease(1, 0.3)

    def slow(x: Exchange) -> None:
        x.read(1, 10, 1)
        watch.now += 0.4
        x.read(1, 11, 1)

    with pytest.raises(DeviceBusy):
        bus.submit(Lane.POLL, slow).result(LIMIT_S)
    assert addresses(line) == [10]


@pytest.mark.parametrize("fault", [DeviceTimeout("lost"), DeviceCorrupt("damaged")])
def test_tries_are_bounded_and_said(bus: Bus, line: FakeLine, fault: LabdError) -> None:
    line.fail_next = [fault] * 2
    assert bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1)).result(LIMIT_S).data == b"\x00"
    line.fail_next = [type(fault)("lost") for _ in range(3)]
    with pytest.raises(type(fault), match="lost, 3 tries; check power, cable, baud rate and servo id"):
        bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1)).result(LIMIT_S)
    assert addresses(line) == [10] * 6


def test_refusal_by_the_servo_is_not_tried_again(bus: Bus, line: FakeLine) -> None:
    line.fail_next = [DeviceFault("no")]
    with pytest.raises(DeviceFault):
        bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1)).result(LIMIT_S)
    assert len(line.log) == 1


def test_lost_line_is_told_once_and_later_work_is_refused(bus: Bus, line: FakeLine, lost: list[DeviceLost]) -> None:
    line.fail_next = [DeviceLost("pulled")]
    for _ in range(3):
        with pytest.raises(DeviceLost):
            bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1)).result(LIMIT_S)
    assert [str(fault) for fault in lost] == ["pulled"]


def test_line_closes_with_the_last_motor_that_needs_it(bus: Bus, line: FakeLine) -> None:
    for servo_id in (1, 2):
        bus.submit(Lane.POLL, lambda x, servo_id=servo_id: bus.open_line(x, servo_id)).result(LIMIT_S)
    bus.submit(Lane.POLL, lambda x: bus.close_line(x, 1)).result(LIMIT_S)
    assert line.is_open
    bus.submit(Lane.POLL, lambda x: bus.close_line(x, 2)).result(LIMIT_S)
    assert not line.is_open
    with pytest.raises(ValueError, match="servo 1 is driven twice"):
        bus.join(1, on_lost=lambda fault: None)


def test_stop_without_a_line_goes_out_first_when_it_opens(bus: Bus, line: FakeLine) -> None:
    line.opened = False
    ticket = bus.stop(1)
    bus.submit(Lane.POLL, lambda x: bus.open_line(x, 1)).result(LIMIT_S)
    assert ticket.confirmed.result(LIMIT_S).confirmed
    assert line.log[0] == ("write", 64, b"\x00")


def test_stop_is_sent_again_until_torque_reads_back_as_off(line: FakeLine) -> None:
    told: list[StopReport] = []
    watch = Watch()
    bus = Bus(line, monotonic=watch)
    bus.join(1, on_lost=lambda fault: None, on_stop_unconfirmed=told.append)
    bus.start()
    try:
        line.fail_next = [DeviceTimeout("no answer") for _ in range(3)]
        ticket = bus.stop(1)
        while not ticket.confirmed.done():
            watch.now += 0.6
            bus.submit(Lane.POLL, lambda x: None).result(LIMIT_S)
        assert ticket.confirmed.result().attempts >= 2
        assert line.log[:2] == [("write", 64, b"\x00")] * 2
        assert told
        assert "no answer" in str(told[0].problem)
    finally:
        bus.shutdown(LIMIT_S)


def test_motor_that_still_turns_is_not_confirmed(bus: Bus, line: FakeLine, watch: Watch) -> None:
    line.registers[128:132] = (7).to_bytes(4, "little")
    ticket = bus.stop(1)
    ticket.sent.result(LIMIT_S)
    bus.submit(Lane.POLL, lambda x: x.ping(1)).result(LIMIT_S)
    assert not ticket.report().confirmed
    assert ticket.report().problem == "torque is off, the motor still turns at 1.6 rpm"
    line.registers[128:132] = bytes(4)
    watch.now += 1.0
    bus.submit(Lane.POLL, lambda x: x.ping(1)).result(LIMIT_S)
    assert ticket.confirmed.result(LIMIT_S).confirmed


async def test_withdrawn_work_is_left_out(bus: Bus, line: FakeLine) -> None:
    held_up(bus, line)
    task = asyncio.create_task(bus.run(Lane.POLL, lambda x: x.read(1, 99, 1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    line.held.set()
    assert (await bus.run(Lane.POLL, lambda x: x.read(1, 10, 1))).data == b"\x00"
    assert 99 not in addresses(line)


async def test_errors_of_a_function_reach_who_asked(bus: Bus) -> None:
    with pytest.raises(ZeroDivisionError):
        await bus.run(Lane.POLL, lambda x: 1 // 0)
    assert await bus.run(Lane.POLL, lambda x: 7) == 7


async def test_closed_bus_refuses_and_a_second_shutdown_does_nothing(bus: Bus) -> None:
    bus.shutdown()
    bus.shutdown()
    with pytest.raises(DeviceLost, match="the bus is closed"):
        await bus.run(Lane.POLL, lambda x: None)


def test_shutdown_refuses_what_still_waits(bus: Bus, line: FakeLine) -> None:
    held_up(bus, line)
    waiting = bus.submit(Lane.POLL, lambda x: x.read(1, 10, 1))
    bus._ending = True
    line.held.set()
    with pytest.raises(DeviceLost):
        waiting.result(LIMIT_S)


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (errno.ENOENT, DeviceLost, "no such port; plug the adapter in"),
        (errno.EACCES, DeviceError, "no permission to open the port; add the user of labd to the group dialout"),
        (errno.EPERM, DeviceError, "forbidden although file permissions allow it; check the sandbox"),
        (errno.EAGAIN, DeviceBusy, "another process has the port; `fuser /dev/x` names it"),
        (errno.EBUSY, DeviceBusy, "another process has the port"),
        (errno.EIO, DeviceLost, "the port does not open"),
    ],
)
def test_each_fault_of_opening_has_its_words(number: int, error: type[LabdError], words: str) -> None:
    line = DynamixelLine("/dev/x", 57600, 0.04, Watch())
    fault = line._open_error(OSError(number, "fault"))
    assert type(fault) is error
    assert str(fault).startswith("/dev/x: ")
    assert words in str(fault)


def test_bytes_that_need_stuffing_are_refused_before_the_port() -> None:
    line = DynamixelLine("/dev/x", 57600, 0.04, Watch())
    with pytest.raises(GoalRefused, match="ff ff fd ff holds FF FF FD"):
        line.write(1, 116, (-131_073).to_bytes(4, "little", signed=True))

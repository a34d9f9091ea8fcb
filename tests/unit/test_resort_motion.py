"""The rules of a move: how long it may take, and what each look at the motor means."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.errors import DeviceFault, LabdError, MoveStalled, MoveTimeout, WatchdogTripped
from labd.resort.drive.looks import Motion, sendable_goal
from labd.resort.drive.moves import MovePlan, MoveWatch, duration_s, limit_s
from labd.resort.registers import EXTENDED_POSITION_LIMIT, HardwareError, steps_per_s_of_velocity

PLAN = MovePlan(
    goal=4096,
    tolerance=11,
    velocity=100,
    acceleration=6,
    operating_mode=4,
    stall_s=1.0,
    watchdog_period_s=0.5,
    lease_s=0.3,
)
LOOK = Motion(
    position=1000,
    velocity=100,
    moving=True,
    goal=4096,
    profile_velocity=100,
    profile_acceleration=6,
    effort=0,
    voltage=120,
    temperature=30,
    torque_enabled=True,
    watchdog=25,
    hardware_error=0,
    alert=False,
)


def watch(plan: MovePlan = PLAN, start: int = 0) -> MoveWatch:
    return MoveWatch(plan, start, 100.0, "servo 1 on /dev/x")


@pytest.mark.parametrize(
    ("distance", "velocity", "acceleration", "expected_s"),
    [
        (0, 100, 6, 0.0),
        (1563.307, 100, 0, 1.0),  # 22.9 rpm, at once
        (-1563.307, 100, 0, 1.0),  # the way back takes as long
        (3126.613, 100, 6, 3.067),  # 2 s at speed and 1.067 s for 22.9 rpm at 21.46 rpm/s
        (100, 100, 6, 0.5226),  # a triangle: never reaches its speed
    ],
)
def test_duration_of_a_profile(distance: float, velocity: int, acceleration: int, expected_s: float) -> None:
    assert duration_s(distance, velocity, acceleration) == pytest.approx(expected_s, rel=0.01)


@given(st.integers(-(10**6), 10**6), st.integers(1, 300), st.integers(1, 32767))
def test_no_profile_is_faster_than_its_speed_or_longer_than_allowed(distance: int, velocity: int, rate: int) -> None:
    needed_s = duration_s(distance, velocity, rate)
    assert needed_s >= abs(distance) / steps_per_s_of_velocity(velocity) - 1e-9
    assert limit_s(PLAN, distance) >= duration_s(distance, PLAN.velocity, PLAN.acceleration)


def test_a_set_timeout_replaces_the_computed_one() -> None:
    assert limit_s(replace(PLAN, timeout_s=7.0), 4096) == 7.0


DONE = replace(LOOK, position=4090, velocity=0, moving=False)


@pytest.mark.parametrize(
    ("look", "done"),
    [
        (DONE, True),
        (replace(DONE, position=4085), True),
        (replace(DONE, position=4107), True),
        (replace(DONE, position=4084), False),  # a step beyond the tolerance
        (replace(DONE, moving=True), False),  # on its way through
        (LOOK, False),
    ],
)
def test_done_is_within_tolerance_and_at_rest(look: Motion, done: bool) -> None:
    assert watch().judge(look, 100.5) is done


@pytest.mark.parametrize(
    ("look", "error", "words"),
    [
        (replace(LOOK, watchdog=-1), WatchdogTripped, "the motor's watchdog stopped it at 1000 steps"),
        (replace(LOOK, torque_enabled=False), DeviceFault, "torque went off at 1000 steps"),
        (replace(LOOK, hardware_error=HardwareError.OVERLOAD, alert=True), DeviceFault, r"hardware error \(overload\)"),
        (
            replace(LOOK, hardware_error=HardwareError.INPUT_VOLTAGE, torque_enabled=False),
            DeviceFault,
            r"hardware error \(input voltage outside its limits\)",
        ),
        (replace(LOOK, goal=7), DeviceFault, r"Goal Position \(116\) reads 7"),
        (replace(DONE, watchdog=-1), WatchdogTripped, "watchdog"),  # at its goal, and still no success
        (replace(DONE, torque_enabled=False), DeviceFault, "torque went off"),
    ],
)
def test_what_ends_a_move_at_once(look: Motion, error: type[LabdError], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        watch().judge(look, 100.5)
    assert raised.value.details["position_steps"] == look.position
    assert raised.value.details["goal_steps"] == 4096


def test_low_voltage_alone_does_not_end_a_move() -> None:
    assert not watch().judge(replace(LOOK, hardware_error=HardwareError.INPUT_VOLTAGE), 100.5)


def test_no_progress_is_a_stall_with_where() -> None:
    rules = watch()
    assert not rules.judge(LOOK, 100.5)
    assert not rules.judge(replace(LOOK, position=1003), 101.4)  # three steps are none
    with pytest.raises(MoveStalled) as stalled:
        rules.judge(replace(LOOK, position=1004), 101.6)
    assert str(stalled.value) == (
        "servo 1 on /dev/x: stalled at 1004 steps (88.2 deg) on the way from 0 to 4096, 1.6 s after its start: less "
        "than 11 steps nearer in 1.1 s; clear what blocks it, then move again"
    )


def test_slowest_profile_is_no_stall() -> None:
    plan = replace(PLAN, velocity=1, acceleration=1)  # 0.229 rpm: 15.6 steps a second
    rules = watch(plan)
    speed = steps_per_s_of_velocity(1)
    for tick in range(400):
        at_s = tick * 0.05
        look = replace(LOOK, position=math.floor(max(0.0, at_s - 0.1) * speed))
        assert not rules.judge(look, 100.0 + at_s)


def test_way_back_is_progress_too() -> None:
    rules = watch(replace(PLAN, goal=-4096), start=0)
    for tick in range(20):
        assert not rules.judge(replace(LOOK, position=-100 * tick, goal=-4096), 100.0 + tick * 0.2)


def test_time_over_is_a_failure_even_near_the_goal() -> None:
    rules = watch(replace(PLAN, timeout_s=3.0))
    with pytest.raises(MoveTimeout, match=r"still 12 steps from its goal \(tolerance 11\) .* the limit was 3\.0 s"):
        rules.judge(replace(DONE, position=4084, moving=True), 103.1)


def test_goal_reached_at_the_last_moment_is_reached() -> None:
    assert watch(replace(PLAN, timeout_s=3.0)).judge(DONE, 109.0)


@given(st.integers(-EXTENDED_POSITION_LIMIT, EXTENDED_POSITION_LIMIT))
def test_goal_at_present_is_a_step_away_at_most_and_needs_no_stuffing(steps: int) -> None:
    goal = sendable_goal(steps, -EXTENDED_POSITION_LIMIT, EXTENDED_POSITION_LIMIT)
    assert abs(goal - steps) <= 1
    assert b"\xff\xff\xfd" not in goal.to_bytes(4, "little", signed=True)


def test_the_one_position_that_cannot_be_sent_is_held_beside_it() -> None:
    assert sendable_goal(-131_073, -EXTENDED_POSITION_LIMIT, EXTENDED_POSITION_LIMIT) == -131_072

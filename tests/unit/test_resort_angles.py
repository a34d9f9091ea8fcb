"""Hotels, degrees and steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.errors import GoalRefused, InvalidArguments
from labd.resort.angles import (
    MULTI_TURN_LIMIT_STEPS,
    STEPS_PER_TURN,
    Geometry,
    difference_deg,
    hotel_angles,
    needs_stuffing,
    wrap_deg,
)

FOUR = Geometry.of("ABCD", {})
STEP_DEG = 360.0 / STEPS_PER_TURN
angles = st.floats(-1e5, 1e5, allow_nan=False)
positions = st.integers(-MULTI_TURN_LIMIT_STEPS + 2 * STEPS_PER_TURN, MULTI_TURN_LIMIT_STEPS - 2 * STEPS_PER_TURN)
geometries = st.builds(
    lambda offset_deg, direction, count: Geometry.of(
        [f"H{number}" for number in range(count)], {}, offset_deg=offset_deg, direction=direction
    ),
    st.floats(-720, 720),
    st.sampled_from([1, -1]),
    st.integers(1, 12),
)


def test_hotels_without_angles_stand_evenly_from_zero() -> None:
    assert hotel_angles("ABCD", {}) == {"A": 0.0, "B": 90.0, "C": 180.0, "D": 270.0}
    assert hotel_angles(["x", "y", "z"], {}) == {"x": 0.0, "y": 120.0, "z": 240.0}


def test_told_angles_wrap() -> None:
    assert hotel_angles("AB", {"A": -90.0, "B": 450.0}) == {"A": 270.0, "B": 90.0}
    assert hotel_angles("ABCD", {"B": 91.5}) == {"A": 0.0, "B": 91.5, "C": 180.0, "D": 270.0}


@pytest.mark.parametrize(
    ("hotels", "explicit", "words"),
    [
        ([], {}, "at least one name"),
        (["A", " "], {}, "none of them empty"),
        (["A", "a"], {}, "A and a more than once"),
        (["A", "B"], {"A": 0.0, "E": 9.0}, "names E, which hotels does not list: A, B"),
    ],
)
def test_a_faulty_hotel_list_names_the_hotels(hotels: list[str], explicit: dict[str, float], words: str) -> None:
    with pytest.raises(GoalRefused, match=words):
        hotel_angles(hotels, explicit)


def test_hotels_nearer_than_twice_the_tolerance_are_refused() -> None:
    with pytest.raises(GoalRefused) as caught:
        Geometry.of("AB", {"A": 359.5, "B": 1.0}, tolerance_deg=1.0)
    assert caught.value.message == (
        "hotels A and B stand 1.50 degrees apart, within twice the tolerance_deg of 1; "
        "lower the tolerance or move them apart"
    )


@pytest.mark.parametrize(
    ("present", "angle_deg", "steps"),
    [
        (0, 90.0, 1024),
        (0, 270.0, -1024),  # the short way is back
        (3072, 0.0, 4096),  # D to A goes on over the turn
        (4096, 270.0, 3072),
        (0, 180.0, 2048),  # half a turn goes up
        (2048, 0.0, 4096),
        (0, -90.0, -1024),
        (0, 725.0, 57),
        (40960, 90.0, 41984),
        (-8192, 359.9, -8193),
    ],
)
def test_the_short_way(present: int, angle_deg: float, steps: int) -> None:
    goal = FOUR.goal(angle_deg, present)
    assert (goal.steps, goal.folded) == (steps, False)


def test_a_carousel_that_turns_against_its_motor_and_stands_off_zero() -> None:
    geometry = Geometry.of("ABCD", {}, offset_deg=45.0, direction=-1)
    assert geometry.goal(0.0, 0).steps == 512
    assert geometry.goal(90.0, 512).steps == -512
    assert geometry.hotel_at(-512) == "B"


def test_one_turn_mode_never_leaves_its_turn() -> None:
    geometry = Geometry.of("ABCD", {}, multi_turn=False)
    goal = geometry.goal(0.0, 3072)
    assert (goal.steps, goal.travel_steps, goal.folded) == (0, -3072, True)


def test_the_only_goal_that_needs_stuffing_is_gone_round() -> None:
    assert needs_stuffing(-131073)
    assert not any(needs_stuffing(steps) for steps in (-131072, -131074, 0, -1, MULTI_TURN_LIMIT_STEPS))
    angle_deg = FOUR.carousel_deg(-131073)
    goal = FOUR.goal(angle_deg, -131000)
    assert goal.folded
    assert goal.steps == -131073 + STEPS_PER_TURN
    assert FOUR.goal(angle_deg, -131100).steps == -131073 - STEPS_PER_TURN


def test_at_the_end_of_the_range_the_long_way_is_taken() -> None:
    goal = FOUR.goal(FOUR.carousel_deg(1_048_600), 1_048_500)
    assert goal.folded
    assert goal.steps == 1_048_600 - STEPS_PER_TURN


def test_beyond_the_range_a_goal_is_refused() -> None:
    with pytest.raises(GoalRefused, match="within \\+-256 turns"):
        FOUR.goal(0.0, 2_000_000_000)


@pytest.mark.parametrize("angle_deg", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_angle(angle_deg: float) -> None:
    with pytest.raises(GoalRefused, match="is no angle"):
        FOUR.goal(angle_deg, 0)


def test_names_of_hotels_are_found_whatever_their_case() -> None:
    assert FOUR.hotel_named("b") == "B"
    with pytest.raises(InvalidArguments, match="no hotel is named 'E'; the hotels are A, B, C, D"):
        FOUR.hotel_named("E")


@given(angles)
def test_wrapped_degrees_are_below_a_turn(angle_deg: float) -> None:
    assert 0.0 <= wrap_deg(angle_deg) < 360.0


@given(geometries, angles, positions)
def test_a_goal_is_where_it_should_be_by_the_short_way(geometry: Geometry, angle_deg: float, present: int) -> None:
    goal = geometry.goal(angle_deg, present)
    assert abs(difference_deg(geometry.carousel_deg(goal.steps), angle_deg)) <= STEP_DEG / 2 + 1e-6
    assert goal.steps == present + goal.travel_steps
    assert geometry.is_legal(goal.steps)
    assert goal.folded or abs(goal.travel_steps) <= STEPS_PER_TURN // 2


@given(geometries, positions)
def test_every_hotel_is_active_at_its_goal(geometry: Geometry, present: int) -> None:
    for name, angle_deg in geometry.hotels.items():
        assert geometry.hotel_at(geometry.goal(angle_deg, present).steps) == name


@given(geometries, positions, st.integers(-3, 3))
def test_whole_turns_do_not_change_the_place(geometry: Geometry, present: int, turns: int) -> None:
    assert geometry.carousel_deg(present) == geometry.carousel_deg(present + turns * STEPS_PER_TURN)

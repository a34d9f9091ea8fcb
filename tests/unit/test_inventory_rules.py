"""The rules of the stock, without a loop, a file or a clock that runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.errors import BadVolume, InventoryNotInitialized, UnknownReservoir
from labd.inventory import attention, names, wells
from labd.inventory.book import Entry
from labd.inventory.claims import JobClaims, is_short_at_start, shortage, taken_pl
from labd.inventory.clock import LedgerClock
from labd.inventory.evaporation import evaporated_pl, hours_to_empty
from labd.inventory.reservoir import ReservoirSpec, ReservoirView
from labd.inventory.settings import InventorySettings, parse
from labd.inventory.shelf import Shelf
from labd.inventory.tables import MOVEMENT
from labd.inventory.volumes import PL_PER_UL, to_pl, to_ul
from labd.settings import Problems
from tests.fakes.clock import FakeClock

UL = PL_PER_UL


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        (-0.5, "red: -0.5 ul is negative; give 0 or more"),
        (float("nan"), "red: nan is no volume; give a finite number of ul"),
        (float("inf"), "red: inf is no volume; give a finite number of ul"),
        (True, "red: True is no volume; give a finite number of ul"),
        ("8 ml", "red: 8 ml is no volume; give a finite number of ul"),
        (2e9, "red: 2e+09 ul is beyond any vessel; at most 1e+09 ul"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_number_and_the_limit(volume: float, problem: str) -> None:
    with pytest.raises(BadVolume) as caught:
        to_pl(volume, "red")
    assert caught.value.message == problem


@given(st.integers(-(10**15), 10**15))
def test_picolitres_at_the_face_are_rounded_to_a_thousandth(volume_pl: int) -> None:
    assert abs(to_ul(volume_pl) * UL - volume_pl) <= 501


@given(st.integers(1, 10**11), st.floats(0, 1000), st.lists(st.floats(0, 10_000), min_size=1, max_size=30))
def test_settling_often_takes_as_much_as_settling_once(level: int, rate: float, stretches: list[float]) -> None:
    left, carried = level, 0.0
    for elapsed_s in stretches:
        gone, carried = evaporated_pl(left, rate, elapsed_s, carried)
        left -= gone
    at_once, _ = evaporated_pl(level, rate, sum(stretches))
    assert abs((level - left) - at_once) <= 1 + level * 1e-9
    assert left >= 0


@pytest.mark.parametrize(
    ("level_pl", "elapsed_s", "gone_pl"),
    [(100 * UL, 3600.0, 5 * UL), (3 * UL, 3600.0, 3 * UL), (0, 3600.0, 0), (-7, 3600.0, 0), (100 * UL, -3600.0, 0)],
)
def test_evaporation_ends_at_empty_and_leaves_a_deficit_alone(level_pl: int, elapsed_s: float, gone_pl: int) -> None:
    assert evaporated_pl(level_pl, 5.0, elapsed_s)[0] == gone_pl


def test_hours_to_empty() -> None:
    assert [hours_to_empty(50 * UL, 5.0), hours_to_empty(50 * UL, 0.0), hours_to_empty(-1, 5.0)] == [10.0, None, 0.0]


@pytest.mark.parametrize(
    ("available", "required", "threshold", "is_short"),
    [(150, 50, 100, False), (149, 50, 100, True), (50, 50, 0, False), (49, 50, 0, True), (-5, 0, 100, False)],
)
def test_a_job_is_refused_if_it_would_leave_less_than_the_threshold(
    available: int, required: int, threshold: int, is_short: bool
) -> None:
    assert (shortage("r", "red", available, required, threshold) is not None) is is_short


@pytest.mark.parametrize(
    ("level", "dead", "going", "remaining", "is_short"),
    [(100, 10, 40, 50, False), (99, 10, 40, 50, True), (0, 10, 0, 0, False), (100, 0, 0, 100, False)],
)
def test_a_start_needs_its_volume_beside_those_under_way(
    level: int, dead: int, going: int, remaining: int, is_short: bool
) -> None:
    assert is_short_at_start(level, dead, going, remaining) is is_short


def test_a_claim_covers_what_it_has_and_nothing_that_comes_back() -> None:
    assert [taken_pl(30, 100), taken_pl(130, 100), taken_pl(-20, 100)] == [30, 100, 0]


def test_a_step_of_a_later_life_is_another_step() -> None:
    first, later = JobClaims(1, {}), JobClaims(1, {}, life=2)
    assert (first.step_name("1:0"), later.step_name("1:0")) == ("1:0", "2/1:0")


def test_the_ledgers_time_follows_no_wall_clock_while_it_runs_and_stands_still_over_one_set_back() -> None:
    clock = FakeClock(1000.0)
    time = LedgerClock(clock)
    assert time.go_on(50.0, 900.0) == 100.0
    clock.advance(10.0)
    clock.step_wall(-500.0)
    assert (time.now_s(), time.stepped_by_s(), time.stepped_by_s()) == (160.0, -500.0, 0.0)
    assert LedgerClock(clock).go_on(160.0, 1010.0) == 0.0


def shelf(key: str, color: str = "", well: str = "") -> Shelf:
    return Shelf(ReservoirSpec(key=key, color=color or key, device="left", slot="3" if well else "", well=well), 0)


SHELVES = [shelf("red", well="B1"), shelf("red-2", "crimson"), shelf("a", "white"), shelf("b", "white")]


@pytest.mark.parametrize(
    ("name", "key"),
    [("red", "red"), ("RED", "red"), (" Crimson ", "red-2"), ("left/3/B1", "red"), ("left/3/b1", "red")],
)
def test_names_of_reservoirs(name: str, key: str) -> None:
    found = names.find_for_job(SHELVES, name)
    assert found is not None and found.spec.key == key


def test_a_name_that_says_too_little_or_nothing() -> None:
    with pytest.raises(UnknownReservoir, match="colour white is in several reservoirs: a, b; name one of them"):
        names.find(SHELVES, "white")
    with pytest.raises(
        UnknownReservoir, match="no reservoir is named rid, there are red, red-2, a, b; did you mean red"
    ):
        names.find(SHELVES, "rid")
    with pytest.raises(InventoryNotInitialized, match="Inventory not initialized for color green"):
        names.find_for_job(SHELVES, "green")
    assert names.find_for_job(SHELVES, "left/4/B1") is None
    assert [names.label(one, SHELVES) for one in SHELVES] == ["red", "crimson", "a", "b"]


def view(**changes: object) -> ReservoirView:
    shelf = Shelf(ReservoirSpec(key="red", color="red"), 0, initialized=True, level_pl=9000 * UL)
    found = shelf.view(0.0, 100.0, 5000.0, simulated=False)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, []),
        ({"initialized": False}, ["stock_not_initialized"]),
        ({"level_ul": 400.0, "low": True}, ["low_stock"]),
        ({"level_ul": 0.0, "low": True}, ["out_of_stock"]),
        ({"level_ul": -5.0, "deficit_ul": 5.0, "low": True}, ["deficit"]),
        ({"level_ul": 400.0, "low": True, "reserved_ul": 500.0}, ["low_stock", "stock_short"]),
        ({"expires_at": "2026-01-31"}, ["stock_expired"]),
        ({"expires_at": "2126-01-31"}, []),
    ],
)
def test_what_needs_a_person(changes: dict[str, object], codes: list[str]) -> None:
    assert [line["code"] for line in attention.of([view(**changes)], {}, 500.0, 1_800_000_000.0)] == codes


def test_the_state_of_a_trouble_does_not_creep_with_the_level() -> None:
    lines = [attention.of([view(level_ul=ul, low=True)], {"red": -600.0}, 500.0, 0.0) for ul in (4000.0, 3999.0)]
    assert [one["state"] for one in lines[0]] == [one["state"] for one in lines[1]] == ["low", "less"]
    assert lines[0][0]["message"] != lines[1][0]["message"]


def test_without_tables_there_are_the_three_of_the_seed() -> None:
    found = InventorySettings(dead_volume_ul=500.0).reservoirs()
    assert [(one.key, one.position, one.slot, one.dead_volume_ul) for one in found] == [
        ("red", "B1", "3", 500.0),
        ("yellow", "B2", "3", 500.0),
        ("blue", "B3", "3", 500.0),
    ]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"threshold_ul": -1.0}, "inventory.threshold_ul: expected float >= 0.0, got -1.0"),
        ({"treshold_ul": 1.0}, "inventory.treshold_ul: unknown key; did you mean threshold_ul?"),
        ({"tick_s": 0}, "inventory.tick_s: expected float >= 1.0, got 0"),
        ({"reservoir": {"red": {"capacity_ul": 100.0, "dead_volume_ul": 100.0}}},
         "inventory.reservoir: dead_volume_ul: 100 ul of reservoir red leaves nothing of its capacity of 100 ul"),
        ({"reservoir": {"red": {}, "RED": {}}}, "inventory.reservoir: RED and red differ only in case"),
        ({"reservoir": {"red": {"expires_at": "tomorrow"}}},
         "inventory.reservoir: expires_at: 'tomorrow' of reservoir red is no date such as 2027-03-31"),
        ({"reservoir": {"red": {"dead_volume_ul": 15000.0}, "blue": {"slot": "3", "well": "B1"},
                        "cyan": {"slot": "3", "well": "b1", "device": "left"}}},
         "inventory.reservoir: dead_volume_ul: 15000 ul of reservoir red leaves nothing of its capacity of 15000 ul; "
         "cyan and blue both stand in slot 3, well b1 of left; give each its own"),
        ({"reservoir": {"r d": {}}}, "inventory.reservoir: 'r d' is no name; letters, digits, _ . and -, at most 64"),
    ],
)  # fmt: skip
def test_faults_of_the_settings(table: dict[str, object], problem: str) -> None:
    problems = Problems()
    assert parse(table, "labd.toml", problems) is None
    assert problems.lines() == [f"labd.toml: {problem}"]


def test_the_same_well_of_two_robots_is_two_places() -> None:
    left = ReservoirSpec(key="red", color="red", device="left", slot="3", well="B1")
    right = ReservoirSpec(key="blue", color="blue", device="right", slot="3", well="B1")
    assert wells.taken_by(left, [left, right]) is None
    any_robot = ReservoirSpec(key="cyan", color="cyan", slot="3", well="B1")
    assert wells.taken_by(any_robot, [left]) is not None


def test_a_reservoir_without_a_device_is_that_well_of_any_device() -> None:
    free = Shelf(ReservoirSpec(key="red", color="red", slot="3", well="B1"), 0)
    own = Shelf(ReservoirSpec(key="own", color="own", device="right", slot="3", well="B2"), 1)
    found = [names.find_for_job([free, own], name) for name in ("left/3/B1", "main/3/B1", "left/3/B2", "right/3/B2")]
    assert [one and one.spec.key for one in found] == ["red", "red", None, "own"]


def test_a_movement_is_a_row_of_its_table() -> None:
    assert Entry.__struct_fields__ == MOVEMENT

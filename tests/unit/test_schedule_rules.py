"""Schedules: cron across daylight saving, intervals, missed runs, overlap, clock steps."""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labd.clock import from_iso, iso
from labd.engine.cron import next_cron
from labd.engine.schedules import (
    ScheduleSpec,
    check,
    due,
    exclusive_resource,
    fire,
    needs_look,
    next_after,
    preview,
    start,
)
from labd.errors import InvalidArguments

NOON = from_iso("2026-06-01T12:00:00Z")


def spec(**fields: Any) -> ScheduleSpec:
    if "cron" not in fields and "interval_s" not in fields:
        fields["interval_s"] = 3600.0
    return check(ScheduleSpec(name="nightly", task="resort.get_motor_health", **fields))


def runs_utc(cron: str, timezone: str, since: str, count: int) -> list[str]:
    return [(iso(at) or "")[5:16] for at in preview(spec(cron=cron, timezone=timezone), count, from_iso(since))]


# --- daylight saving -------------------------------------------------------------------------------------------------
# Berlin 2026: 03-29 02:00 -> 03:00 (01:00Z), 10-25 03:00 -> 02:00 (01:00Z). New York: 03-08 (07:00Z), 11-01 (06:00Z).
# Lord Howe shifts by half an hour: 04-05 02:00 -> 01:30 (04-04 15:00Z), 10-04 02:00 -> 02:30 (10-03 15:30Z).
@pytest.mark.parametrize(
    ("cron", "timezone", "since", "runs"),
    [
        # one run for each wall-clock time: the left-out time runs at the change, the repeated one the first time
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T00:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-29T01:00", "03-30T00:00", "03-30T00:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["10-25T00:30", "10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", ["10-26T01:30"]),
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00Z", ["03-08T07:00", "03-09T06:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00Z", ["11-01T05:30", "11-02T06:30"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", ["10-03T15:30", "10-04T15:15"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00Z", ["04-04T14:45", "04-05T15:15"]),
        ("0 9 * * *", "Asia/Kolkata", "2026-03-28T12:00Z", ["03-29T03:30", "03-30T03:30"]),
        # stars: real time goes on evenly
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15Z", ["03-29T00:30", "03-29T01:00", "03-29T01:30"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["03-30T00:00", "03-30T00:30"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", ["10-25T00:00", "10-25T01:00", "10-25T02:00"]),
        ("*/30 1 * * *", "America/New_York", "2026-11-01T04:00Z", ["11-01T05:00", "11-01T05:30", "11-01T06:00"]),
        ("*/15 3 * * *", "Australia/Lord_Howe", "2026-10-03T12:00Z", ["10-03T16:00", "10-03T16:15", "10-03T16:30"]),
        ("*/15 2 * * *", "Australia/Lord_Howe", "2026-04-04T12:00Z", ["04-04T15:30", "04-04T15:45", "04-04T16:00"]),
        # far away and past several changes
        ("0 12 29 2 *", "Europe/Berlin", "2026-01-01T00:00Z", ["02-29T11:00"]),
        ("@daily", "Europe/Berlin", "2026-10-24T12:00Z", ["10-24T22:00", "10-25T23:00"]),
    ],
)
def test_cron_is_right_across_daylight_saving(cron: str, timezone: str, since: str, runs: list[str]) -> None:
    assert runs_utc(cron, timezone, since, len(runs)) == runs


@settings(deadline=None)
@given(
    timezone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
    instant=st.integers(int(from_iso("2026-01-01T00:00Z")), int(from_iso("2027-01-01T00:00Z"))),
    step=st.sampled_from([1, 5, 15, 30]),
)
def test_star_minutes_match_a_scan_of_real_minutes(timezone: str, instant: int, step: int) -> None:
    found = next_cron(f"*/{step} 1-3 * * *", timezone, instant)
    assert found is not None
    zone = ZoneInfo(timezone)

    def matches(at: int) -> bool:
        wall = datetime.fromtimestamp(at, zone)
        return wall.minute % step == 0 and 1 <= wall.hour <= 3

    minute = instant - instant % 60 + 60
    while not matches(minute):
        minute += 60
    assert found == minute


@settings(deadline=None, max_examples=40)
@given(
    timezone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    year=st.integers(2020, 2036),
)
def test_a_daily_time_runs_once_on_each_day_of_a_year(timezone: str, hour: int, minute: int, year: int) -> None:

    zone = ZoneInfo(timezone)
    begin, end = (datetime(y, 1, 1, tzinfo=zone).timestamp() for y in (year, year + 1))
    runs = [at for at in preview(spec(cron=f"{minute} {hour} * * *", timezone=timezone), 366, begin - 1) if at < end]
    days = [datetime.fromtimestamp(at, zone).date() for at in runs]
    assert all(later > earlier for earlier, later in pairwise(runs))
    assert days == [date.fromordinal(date(year, 1, 1).toordinal() + n) for n in range(len(days))]
    assert len(days) == (date(year + 1, 1, 1) - date(year, 1, 1)).days


# --- intervals -------------------------------------------------------------------------------------------------------
def test_an_interval_counts_from_its_anchor_and_does_not_drift() -> None:
    every = spec(interval_s=600.0, anchor_at="2026-06-01T12:03:00Z")
    late = NOON + 180 + 600 * 5 + 17.3  # looked 17 s late
    assert next_after(every, late) == NOON + 180 + 600 * 6


@settings(deadline=None)
@given(
    interval_s=st.floats(1, 86_400, allow_nan=False),
    now=st.floats(1.5e9, 2.5e9, allow_nan=False),
    back=st.integers(1, 5),
)
def test_no_rounding_loses_or_doubles_an_interval(interval_s: float, now: float, back: int) -> None:
    every = spec(interval_s=interval_s)
    first = next_after(every, now)
    assert first is not None
    assert now < first <= now + interval_s * 1.000001
    runs = preview(every, back + 1, now)
    assert all(0 < later - earlier < interval_s * 1.5 for earlier, later in pairwise(runs))
    assert next_after(every, runs[-2] if back else now) == runs[-1]


# --- jitter ----------------------------------------------------------------------------------------------------------
def test_jitter_is_the_same_for_the_same_run_and_seed_and_moves_only_the_start() -> None:
    every = spec(jitter_s=30.0)
    one, again, other = fire(every, NOON, "pi1"), fire(every, NOON, "pi1"), fire(every, NOON, "pi2")
    assert one == again
    assert one.run_at != other.run_at
    assert one.at == other.at == NOON
    assert 0 <= one.run_at - NOON < 30
    assert one.key == other.key == "schedule:nightly:2026-06-01T12:00:00.000000Z"


# --- missed runs: down for 3.5 hours of an hourly schedule, and 30 s late for one -----------------------------------
@pytest.mark.parametrize(
    ("misfire", "limit", "late_s", "fired", "left_out"),
    [
        ("skip", 10, 30.0, 1, 0),
        ("skip", 10, 61.0, 0, 1),
        ("skip", 10, 3 * 3600 + 30.0, 1, 3),
        ("skip", 10, 3 * 3600 + 1800.0, 0, 4),
        ("latest", 10, 30.0, 1, 0),
        ("latest", 10, 3 * 3600 + 1800.0, 1, 3),
        ("all", 10, 3 * 3600 + 1800.0, 4, 0),
        ("all", 3, 3 * 3600 + 1800.0, 3, 1),
        ("all", 1, 3 * 3600 + 1800.0, 1, 3),
    ],
)
@pytest.mark.parametrize("timing", [{"interval_s": 3600.0}, {"cron": "0 * * * *", "timezone": "Europe/Berlin"}])
def test_missed_runs(
    timing: dict[str, Any], misfire: str, limit: int, late_s: float, fired: int, left_out: int
) -> None:
    hourly = spec(misfire=misfire, misfire_limit=limit, overlap="parallel", overlap_limit=100, **timing)
    plan = due(hourly, start(hourly, NOON - 1), NOON + late_s, 0, 0)
    newest = NOON + late_s // 3600 * 3600
    assert [run.at for run in plan.fires] == [newest - 3600 * back for back in reversed(range(fired))]
    assert sum(skipped.count or 0 for skipped in plan.skipped) == left_out
    assert plan.next_run_at == newest + 3600
    assert due(hourly, plan.state, NOON + late_s, 0, 0).fires == ()


def test_a_year_of_missed_minutes_is_told_without_counting_them_all() -> None:
    minutely = spec(cron="* * * * *", timezone="Europe/Berlin", misfire="all", misfire_limit=3, overlap="parallel")
    plan = due(minutely, start(minutely, NOON - 365 * 86_400), NOON, 0, 0)
    assert [run.at for run in plan.fires] == [NOON - 120, NOON - 60]
    missed, crowded = plan.skipped
    assert missed.count is None
    assert missed.reason == "misfire: policy all takes the newest 3 runs"
    assert crowded.reason == "overlap: 0 running, 2 queued; policy parallel takes 2"


# --- overlap ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("overlap", "limit", "running", "queued", "runs"),
    [
        ("skip", 2, 0, 0, True),
        ("skip", 2, 1, 0, False),
        ("skip", 2, 0, 1, False),
        ("queue_one", 2, 0, 0, True),
        ("queue_one", 2, 1, 0, True),
        ("queue_one", 2, 0, 1, False),
        ("queue_one", 2, 1, 1, False),
        ("parallel", 2, 1, 0, True),
        ("parallel", 2, 1, 1, False),
        ("parallel", 3, 1, 1, True),
        ("parallel", 1, 0, 1, False),
    ],
)
def test_overlap(overlap: str, limit: int, running: int, queued: int, runs: bool) -> None:
    hourly = spec(overlap=overlap, overlap_limit=limit)
    plan = due(hourly, start(hourly, NOON - 1), NOON, running, queued)
    assert [run.at for run in plan.fires] == ([NOON] if runs else [])
    assert [skipped.first_at for skipped in plan.skipped] == ([] if runs else [NOON])
    assert plan.next_run_at == NOON + 3600


def test_only_queue_one_needs_a_resource_of_its_own() -> None:
    assert exclusive_resource(spec(overlap="queue_one")) == "schedule:nightly"
    assert exclusive_resource(spec(overlap="parallel")) is None


# --- clock steps -----------------------------------------------------------------------------------------------------
def test_a_step_back_fires_nothing_twice_and_goes_on_where_it_was() -> None:
    hourly = spec()
    plan = due(hourly, start(hourly, NOON - 1), NOON + 1, 0, 0)
    assert len(plan.fires) == 1
    assert not needs_look(plan.state, NOON + 3599)
    assert needs_look(plan.state, NOON + 3600)
    for earlier in (NOON - 2 * 3600, NOON - 10, NOON):
        assert needs_look(plan.state, earlier)
        again = due(hourly, plan.state, earlier, 0, 0)
        assert (again.fires, again.skipped, again.next_run_at) == ((), (), NOON + 3600)
        plan = again
    assert [run.at for run in due(hourly, plan.state, NOON + 3600, 0, 0).fires] == [NOON + 3600]


def test_a_wrong_step_forward_that_is_taken_back_loses_no_run() -> None:
    hourly = spec(overlap="parallel", overlap_limit=9)
    plan = due(hourly, start(hourly, NOON - 1), NOON + 14 * 365 * 86_400, 0, 0)  # woke in 2040
    assert len(plan.fires) == 1
    fired, state, looks = [], plan.state, 0
    for now in range(int(NOON) + 5, int(NOON) + 3 * 3600 + 10, 5):
        if needs_look(state, now):
            plan = due(hourly, state, now, 0, 0)
            fired += [run.at for run in plan.fires]
            state, looks = plan.state, looks + 1
    assert looks == 4
    assert fired == [NOON, NOON + 3600, NOON + 7200, NOON + 10_800]


@settings(deadline=None)
@given(
    looks=st.lists(st.integers(-7200, 14_400), min_size=1, max_size=40),
    misfire=st.sampled_from(["skip", "latest", "all"]),
    overlap=st.sampled_from(["skip", "queue_one", "parallel"]),
    cron=st.booleans(),
)
def test_whatever_the_clock_does_no_run_fires_twice(looks: list[int], misfire: str, overlap: str, cron: bool) -> None:
    timing: dict[str, Any] = {"cron": "*/10 * * * *"} if cron else {"interval_s": 600.0}
    often = spec(misfire=misfire, misfire_limit=4, overlap=overlap, **timing)
    state, now = start(often, NOON), NOON
    keys: list[str] = []
    for step in looks:
        now += step
        plan = due(often, state, now, 0, 0)
        keys += [run.key for run in plan.fires]
        assert all(run.at <= now for run in plan.fires)
        assert plan.next_run_at is not None
        assert plan.next_run_at > now
        state = plan.state
        assert len(state.settled) <= 4
    assert len(keys) == len(set(keys))


@settings(deadline=None)
@given(
    steps=st.lists(st.integers(1, 3 * 600), min_size=1, max_size=40),
    cron=st.booleans(),
    jitter_s=st.sampled_from([0.0, 5.0]),
)
def test_while_time_goes_on_each_run_fires_or_is_told_as_skipped(steps: list[int], cron: bool, jitter_s: float) -> None:
    timing: dict[str, Any] = {"cron": "*/10 * * * *"} if cron else {"interval_s": 600.0}
    often = spec(misfire="latest", overlap="parallel", overlap_limit=1000, jitter_s=jitter_s, **timing)
    state, now, told = start(often, NOON), NOON, 0
    for step in steps:
        now += step
        plan = due(often, state, now, 0, 0)
        told += len(plan.fires) + sum(skipped.count or 0 for skipped in plan.skipped)
        state = plan.state
    assert told == int((now - NOON) // 600)
    assert state.settled == ((0.0, now),) or len(state.settled) > 1


# --- pause and change ------------------------------------------------------------------------------------------------
def test_a_paused_schedule_fires_nothing_and_makes_nothing_up_when_it_resumes() -> None:
    paused, running = spec(paused=True), spec()
    plan = due(paused, start(running, NOON - 1), NOON + 7200, 0, 0)
    assert (plan.fires, plan.next_run_at) == ((), None)
    resumed = start(running, NOON + 7300, plan.state)
    assert resumed.next_run_at == NOON + 10_800
    assert due(running, resumed, NOON + 7400, 0, 0).fires == ()


# --- faults of a spec ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron": "61 * * * *"}, "schedule nightly: cron = '61 * * * *': Bad minute"),
        ({"cron": "0 0 30 2 *"}, "schedule nightly: cron = '0 0 30 2 *': Bad day-of-month"),
        (
            {"cron": "* * * * * *"},
            "schedule nightly: cron = '* * * * * *': 6 fields; it takes 5: minute hour day-of-month month day-of-week",
        ),
        ({"cron": "* * * * *", "interval_s": 5.0}, None),
        ({"interval_s": 0.5}, "schedule nightly: interval_s = 0.5: must lie between 1 and 3.16224e+07"),
        ({"interval_s": float("nan")}, None),
        (
            {"cron": "0 0 * * *", "timezone": "Europe/Berln"},
            "schedule nightly: timezone = 'Europe/Berln': must be an IANA name such as Europe/Berlin or UTC",
        ),
        ({"timezone": "../../etc/passwd"}, None),
        ({"misfire": "never"}, "schedule nightly: misfire = 'never': must be one of skip, latest, all"),
        ({"overlap": "never"}, None),
        ({"misfire_limit": 0}, "schedule nightly: misfire_limit = 0: must lie between 1 and 1000"),
        ({"overlap_limit": 1001}, None),
        ({"jitter_s": -1.0}, None),
        ({"priority": 10}, None),
        ({"anchor_at": "noon"}, None),
        ({"cron": "0 0 * * *", "anchor_at": "2026-01-01T00:00Z"}, None),
        ({"tags": tuple("x" * 33)}, None),
        ({"tags": ("two words",)}, None),
    ],
)
def test_faults_name_field_value_and_limit(fields: dict[str, Any], message: str | None) -> None:
    with pytest.raises(InvalidArguments) as refused:
        spec(**fields)
    if message:
        assert refused.value.message == message
    assert refused.value.details["field"] in refused.value.message


def test_a_name_must_fit_a_path_and_a_task_may_be_a_seeds_alias() -> None:
    with pytest.raises(InvalidArguments, match="name = 'a/b'"):
        check(ScheduleSpec(name="a/b", task="x", interval_s=5))
    with pytest.raises(InvalidArguments, match="either cron or interval_s"):
        check(ScheduleSpec(name="a", task="x"))
    assert check(ScheduleSpec(name="a", task="activate-hotel/activate-hotel", interval_s=5))

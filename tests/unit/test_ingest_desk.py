"""Rules behind the doors of the ingestions: estimates, windows, merge patches, and what of a URL is secret."""

from __future__ import annotations

from typing import Any

import pytest

from labd.clock import from_iso
from labd.errors import BadRequest
from labd.ingest import estimate
from labd.ingest.definition import Limits, Schedule
from labd.ingest.desk import merge
from labd.ingest.intake import check_name, secrets_of
from labd.ingest.looks import Window
from labd.ingest.record import Counts, Run, RunBody, RunState, Seen

NOW = from_iso("2026-03-01T00:00:00Z")


def past(files: int, size_bytes: int, worked_s: float, state: RunState = RunState.SUCCEEDED) -> Run:
    body = RunBody(Counts(loaded=files, bytes_in=size_bytes), seconds={"discover": 99.0, "load": worked_s})
    return Run(1, 1, None, "manual", state, NOW, NOW, body)


def test_a_guess_goes_by_earlier_runs_and_says_so() -> None:
    seconds, basis = estimate.seconds_of(100, 1000, [past(10, 100, 2.0), past(0, 0, 5.0)])
    assert seconds == 20.5
    assert basis == "1 earlier runs with 10 files, 0.0 MB, 2.0 s"
    assert estimate.seconds_of(100, 1000, [past(10, 100, 2.0, RunState.FAILED)])[1].startswith("no earlier run")
    few, many = (estimate.seconds_of(count, count * 1000, [])[0] for count in (10, 10_000))
    assert few < 1 < 40 < many < 50
    assert estimate.seconds_of(0, 0, [])[1] == "an empty run"


@pytest.mark.parametrize(
    ("files", "size_bytes", "expected"), [(0, 0, 0), (1, 0, 1), (1000, 1, 1), (1001, 1, 2), (5, 2**30, 4)]
)
def test_batches_are_full_by_count_or_by_bytes(files: int, size_bytes: int, expected: int) -> None:
    assert estimate.batches_of(files, size_bytes, Limits()) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, None), (Schedule(interval_s=3600), 720), (Schedule(cron="@daily"), 30),
        (Schedule(cron="0 0 1 1 *"), 0), (Schedule(cron="* * * * *"), 43_200),
        (Schedule(cron="30 2 * * *", timezone="Europe/Berlin"), 30),
    ],
)  # fmt: skip
def test_runs_of_a_month_are_counted(schedule: Schedule | None, expected: int | None) -> None:
    assert estimate.runs_per_month(schedule, NOW) == expected


@pytest.mark.parametrize(
    ("since", "until", "match", "expected"),
    [
        (None, None, None, True), ("2026-03-01T00:00:00Z", None, None, True),
        ("2026-03-01T00:00:01Z", None, None, False),
        (None, "2026-03-01", None, False), (None, "2026-03-02", None, True), (None, None, "in/*", True),
        (None, None, "*.csv", True), (None, None, "in/?.csv", False), (None, None, "in/deep/[a-c].csv", True),
    ],
)  # fmt: skip
def test_a_window_holds_its_beginning_and_not_its_end(
    since: str | None, until: str | None, match: str | None, expected: bool
) -> None:
    assert Window.of(since, until, match).has(Seen("in/deep/b.csv", "1", 1, NOW)) is expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-03-01T00:00:00", "", "1" * 40])
def test_an_instant_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadRequest, match="since"):
        Window.of(text, None, None)


@pytest.mark.parametrize(
    ("old", "change", "expected"),
    [
        ({"a": 1, "b": 2}, {"b": None}, {"a": 1}), ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}), ({"a": 1}, {"a": {"b": None}}, {"a": {}}), ({}, {"x": 1}, {"x": 1}),
    ],
)  # fmt: skip
def test_a_patch_changes_what_it_says(old: Any, change: Any, expected: Any) -> None:
    before = repr(old)
    assert merge(old, change) == expected
    assert repr(old) == before


@pytest.mark.parametrize("name", ["runs", "Export", "IMPORT", "query", "preview", "estimate"])
def test_words_of_the_path_are_no_names(name: str) -> None:
    with pytest.raises(BadRequest, match="word of the API"):
        check_name(name)
    check_name(f"{name}-2")


def test_the_password_of_a_database_is_known_as_a_secret_in_each_spelling() -> None:
    assert secrets_of("postgresql://u:p%40ss@h/d") == ["postgresql://u:p%40ss@h/d", "p%40ss", "p@ss"]
    assert secrets_of("sqlite:////x.db") == ["sqlite:////x.db"]
    assert secrets_of("postgresql://[bad") == ["postgresql://[bad"]

"""What happened in a span of time, through the door: attempts by page, marks, gaps; from the index, not by scans."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labd.clock import SystemClock, iso
from labd.engine import sql, store
from labd.engine.engine import Engine
from labd.engine.job import INTERNAL
from labd.engine.journal import Journal
from labd.engine.timeline import Timeline
from tests.fakes.api_door import House, open_house

DAY_S = 86_400.0
START = 1_700_000_000.0


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[House]:
    async with open_house(state_dir) as found:
        yield found


async def _all(house: House, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    words = "&".join(f"{name}={value}" for name, value in query.items())
    cursor = ""
    while True:
        answer = await house.client.ask("GET", f"/api/v1/timeline?limit=2&{words}{cursor}")
        assert answer.status == 200, answer.text
        found += answer.json["attempts"]
        if answer.json["next"] is None:
            return found
        cursor = f"&before={answer.json['next']}"


async def test_attempts_come_by_page_newest_first(house: House) -> None:
    for number in range(5):
        made = await house.client.ask("POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": number}})
        await house.client.ask("GET", f"/api/v1/jobs/{made.json['id']}?wait=10")
    await house.client.ask("POST", "/api/v1/jobs", {"task": "test.fail", "args": {}, "resources": ["bench"]})
    held = await house.client.ask("POST", "/api/v1/jobs", {"task": "test.hold", "args": {}})
    async with asyncio.timeout(10):
        async for event in house.engine.events.subscribe(0):
            if (event.job_id, event.kind) == (held.json["id"], "job.started"):
                break
    found = await _all(house)
    assert [one["job_id"] for one in found] == [7, 6, 5, 4, 3, 2, 1]
    assert (found[0]["state"], found[0]["ended_at"]) == ("running", None)
    assert found[0]["phases"][0][0] == "running"
    assert (found[1]["state"], found[1]["resources"], found[1]["queue"]) == ("failed", ["bench"], "standard")
    assert (found[2]["state"], found[2]["attempt"], found[2]["task"]) == ("succeeded", 1, "test.add")
    assert found[2]["started_at"] <= found[2]["ended_at"]
    later = await _all(house, since=found[3]["started_at"], until=found[1]["started_at"])
    assert {3, 5, 6, 7} & {one["job_id"] for one in later} == {5}
    house.tasks.go_on.set()


async def test_a_span_that_ends_before_it_begins_is_refused(house: House) -> None:
    for path in ("timeline", "timeline/marks"):
        refused = await house.client.ask("GET", f"/api/v1/{path}?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z")
        assert (refused.status, refused.code) == (400, "bad_request")


async def test_marks_are_events_of_nobody_and_the_audit(house: House) -> None:
    house.engine.publish("device.connected", {"device": "main"})
    house.engine.audit(INTERNAL, "daemon.start", "bench", {})
    await house.client.ask("POST", "/api/v1/queues/standard/pause", {"reason": "cleaning"})
    marks = (await house.client.ask("GET", "/api/v1/timeline/marks")).json
    assert [event["kind"] for event in marks["events"]] == ["queue.paused", "device.connected"]
    assert [(mark["action"], mark["subject"]) for mark in marks["audit"]] == [
        ("queue.pause", "standard"), ("daemon.start", "bench"),
    ]  # fmt: skip
    assert not marks["more"]
    assert marks["whole_since"] == marks["since"]
    (gap,) = marks["gaps"]
    assert not gap["orderly"]


async def _past(path: Path) -> Journal:
    """Two days: a job every minute, one that ran for a day, a daemon that was killed for two hours."""
    store.prepare(path, "journal")
    job = (
        "INSERT INTO jobs VALUES (?4, 't', '{}', 'standard', 1, 'succeeded', 1, 1, 0, ?1, ?1, ?2, ?3, NULL, 'x', "
        "'repeatable', NULL, '', NULL, 1, NULL, NULL, NULL, '{}')"
    )
    with closing(sqlite3.connect(path)) as opened:
        moves = [(START, 1, "job.started"), (START + DAY_S, 1, "job.succeeded")]
        opened.execute(job, (START, START, START + DAY_S, 1))
        for number in range(2, 2880):
            at = START + number * 60.0
            if DAY_S * 1.5 < at - START < DAY_S * 1.5 + 7200:
                continue
            opened.execute(job, (at, at, at + 5.0, number))
            moves += [(at, number, "job.started"), (at + 5.0, number, "job.succeeded")]
        for seq, (at, number, kind) in enumerate(sorted(moves), start=1):
            opened.execute("INSERT INTO events VALUES (?, ?, ?, ?, '{\"attempt\": 1}')", (seq, at, kind, number))
        for number, at in enumerate((START, START + DAY_S * 1.5 + 7190), start=1):
            row = (number, at, "labd", "daemon.start", "h", "{}", f"{number - 1:064d}", f"{number:064d}")
            opened.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        opened.commit()
    journal = Journal(path, SystemClock())
    await journal.open()
    return journal


async def test_what_reaches_into_a_span_is_told_with_it(state_dir: Path) -> None:
    journal = await _past(state_dir / "labd.db")
    try:
        timeline = Timeline(journal)
        middle = START + DAY_S / 2
        found, cursor = await timeline.attempts(middle + 2.0, middle + 30.0, None, 100)
        assert [(one.job_id, one.started_at) for one in found] == [(720, middle), (1, START)]
        assert cursor is None
        quiet, _ = await timeline.attempts(middle + 10.0, middle + 30.0, None, 100)
        assert [one.job_id for one in quiet] == [1]
        after, _ = await timeline.attempts(START + DAY_S + 10.0, START + DAY_S + 30.0, None, 100)
        assert after == []
    finally:
        await journal.close()


async def test_a_daemon_that_was_killed_leaves_a_gap_from_its_last_sign(state_dir: Path) -> None:
    journal = await _past(state_dir / "labd.db")
    try:
        marks = await Timeline(journal).marks(START + DAY_S * 1.5 + 3600, START + DAY_S * 1.5 + 3700, 100)
        (gap,) = marks.gaps
        assert (gap.since, gap.until, gap.is_orderly) == (START + DAY_S * 1.5 + 5.0, START + DAY_S * 1.5 + 7190, False)
    finally:
        await journal.close()


def test_what_reaches_into_a_span_is_found_by_its_index(state_dir: Path) -> None:
    path = state_dir / "labd.db"
    store.prepare(path, "journal")
    with closing(sqlite3.connect(path)) as opened:
        plans = {
            name: "\n".join(row[3] for row in opened.execute(f"EXPLAIN QUERY PLAN {sql.queries()[name]}", values))
            for name, values in (
                ("reaching_into", (1.0, 10)),
                ("attempts_started", (1, 2, 10)),
                ("loose_events", (1, 2, 3)),
            )
        }
    assert "USING INDEX jobs_long (finished_at>?)" in plans["reaching_into"]
    assert "jobs_notable" in plans["reaching_into"]
    assert "SCAN jobs" not in plans["reaching_into"]
    for name in ("attempts_started", "loose_events"):
        assert "INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plans[name]


async def test_halving_finds_every_instant(state_dir: Path) -> None:
    journal = await _past(state_dir / "labd.db")
    try:
        events = await journal.read("events_after", 0, 2**62, 10_000)
        for wanted in (0, 1, 777, len(events) - 1):
            at = events[wanted][1]
            first = min(event[0] for event in events if event[1] >= at)
            assert (await journal.read("first_event_since", at))[0][0] == first
        assert (await journal.read("first_event_since", 0.0))[0][0] == 1
        assert (await journal.read("first_event_since", 2e9))[0][0] == events[-1][0] + 1
        assert iso(events[0][1]) == "2023-11-14T22:13:20.000000Z"
    finally:
        await journal.close()


async def test_an_engine_without_a_past_has_an_empty_timeline(house: House) -> None:
    engine: Engine = house.engine
    assert await engine.timeline.attempts(0.0, 1.0, None, 10) == ([], None)

"""Lists of jobs: the same rows whichever index is taken, and no look at every row where few stand in a state."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import pytest

from labd.engine import sql
from labd.engine.job import JobState
from labd.engine.views import JobFilter

SCRIPTS = sorted((Path(sql.__file__).parent / "journal").glob("*.sql"))
JOBS = 400


@pytest.fixture
def store() -> sqlite3.Connection:
    opened = sqlite3.connect(":memory:")
    for script in SCRIPTS:
        opened.executescript(script.read_text())
    for number, state in zip(range(1, JOBS + 1), itertools.cycle(JobState), strict=False):
        ended = state in ("succeeded", "failed", "cancelled", "interrupted")
        row = {
            "id": number, "task": "test.noop", "args": "{}", "queue": "standard", "priority": 2, "state": state.value,
            "attempt": 1, "max_attempts": 1, "rank": 2.0, "run_at": 1.0, "created_at": 1.0, "started_at": 1.0,
            "finished_at": 2.0 if ended else None, "submitted_by": "anna", "effect": "physical", "seq": number,
            "hold": "{}" if state == "queued" and number % 3 == 0 else None, "error": "{}", "more": "{}",
        }  # fmt: skip
        marks = ", ".join("?" * len(row))
        opened.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    return opened


@pytest.mark.parametrize("count", [1, 2, 3, len(JobState)])
@pytest.mark.parametrize("held", [None, True, False])
def test_an_index_changes_no_answer(store: sqlite3.Connection, count: int, held: bool | None) -> None:
    for states in itertools.combinations(JobState, count):
        which = JobFilter(states=tuple(states), held=held, before_id=JOBS - 10, limit=30)
        plain = store.execute(*which.statement()).fetchall()
        assert store.execute(*which.statement(by_state=True, by_hold=True)).fetchall() == plain, states
        assert plain or (held and "queued" not in states)


@pytest.mark.parametrize(
    "which",
    [JobFilter(states=("queued",)), JobFilter(states=("queued", "waiting", "failed")), JobFilter(held=True)],
    ids=["queued", "several", "held"],
)
def test_few_jobs_are_not_looked_for_in_all(store: sqlite3.Connection, which: JobFilter) -> None:
    statement, values = which.statement(by_state=True, by_hold=True)
    plan = [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any("PRIMARY KEY" in step for step in plan), plan
    assert "SCAN jobs" not in plan

"""The checker of the crash bench notices every broken promise: a witness that never accuses proves nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labd.engine import rows, store
from labd.engine.job import Job, JobError, JobState
from tests.bench.checker import Checker, Ledger

NOW = 1_800_000_000.0


def a_job(number: int, **fields: Any) -> Job:
    given: dict[str, Any] = {
        "task": "test.sleep", "args": {"duration_s": 0.1}, "queue": "standard", "priority": 2,
        "state": JobState.RUNNING,
        "attempt": 1, "max_attempts": 3, "rank": NOW, "run_at": NOW, "created_at": NOW, "submitted_by": "bench",
        "effect": "repeatable", "started_at": NOW, "idempotency_key": f"key-{number}", **fields,
    }  # fmt: skip
    return Job(id=number, **given)


PHYSICAL: dict[str, Any] = {"task": "test.physical", "effect": "physical"}
MOVE: dict[str, Any] = {"task": "resort.move_to_angle", "effect": "physical", "args": {"degrees": 90.0}}
CUT_OFF: dict[str, Any] = {
    "state": JobState.INTERRUPTED,
    "finished_at": NOW,
    "error": JobError("job_interrupted", "cut off"),
}

PUT = f"INSERT OR REPLACE INTO jobs ({', '.join(rows.COLUMNS)}) VALUES ({','.join('?' * len(rows.COLUMNS))})"


class Scene:
    """A database, a trace and a bus record, written by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "state"
        self.folder.mkdir()
        self.database = self.folder / "labd.db"
        self.trace = folder / "trace.jsonl"
        self.record = folder / "bus.jsonl"
        self.ledger = Ledger()
        self.checker = Checker(self.database, self.trace, self.record)
        store.prepare(self.database, "journal")

    def put(self, *jobs: Job) -> None:
        with sqlite3.connect(self.database) as opened:
            for job in jobs:
                opened.execute(PUT, rows.to_row(job))
        opened.close()

    def remove(self, number: int) -> None:
        with sqlite3.connect(self.database) as opened:
            opened.execute("DELETE FROM jobs WHERE id = ?", (number,))
        opened.close()

    def acknowledge(self, job: Job) -> None:
        key = str(job.idempotency_key)
        self.ledger.asked[key] = {"task": job.task, "args": job.args}
        self.ledger.acknowledged[key] = job.id

    def ran(self, number: int, attempt: int = 1) -> None:
        with self.trace.open("a") as file:
            file.write(json.dumps({"kind": "start", "job": number, "attempt": attempt}) + "\n")

    def moved(self, goal: int, mono: float = 1.0) -> None:
        with self.record.open("a") as file:
            file.write(json.dumps({"kind": "move_started", "goal": goal, "mono": mono}) + "\n")


@pytest.fixture
def scene(state_dir: Path) -> Scene:
    return Scene(state_dir)


def test_kept_promises_are_no_problem(scene: Scene) -> None:
    jobs = [a_job(1), a_job(2, **PHYSICAL), a_job(3, **MOVE)]
    scene.put(*jobs)
    for job in jobs:
        scene.acknowledge(job)
    scene.ran(1)
    scene.ran(2)
    scene.moved(4096 + 1024)
    assert scene.checker.after_kill(scene.ledger) == []
    scene.put(a_job(1, attempt=2, started_at=NOW + 10), a_job(2, **PHYSICAL, **CUT_OFF), a_job(3, **MOVE, **CUT_OFF))
    assert scene.checker.after_restart(scene.ledger, NOW + 5, latched=False) == []


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda s: s.remove(1), "job 1 (key-1): acknowledged, and not in the database"),
        (
            lambda s: s.put(a_job(1, state=JobState.QUEUED, attempt=0, started_at=None)),
            "attempt 1 ran, the database knows 0",
        ),
        (lambda s: s.ran(2, 2), "physical, and started 2 times"),
        (
            lambda s: s.put(a_job(2, **PHYSICAL, state=JobState.QUEUED)),
            "physical, its body ran, and it is queued again",
        ),
        (lambda s: s.ran(1, 1), "attempts [1, 1] are not each one later than the last"),
        (lambda s: s.moved(1024), "the motor was sent to step 1024 2 times"),
        (
            lambda s: s.put(a_job(3, **MOVE, state=JobState.QUEUED)),
            "the motor was sent to step 1024, and the job is queued",
        ),
    ],
)
def test_a_promise_broken_at_the_kill_is_told(scene: Scene, break_it: Callable[[Scene], None], told: str) -> None:
    jobs = [a_job(1), a_job(2, **PHYSICAL), a_job(3, **MOVE)]
    scene.put(*jobs)
    scene.acknowledge(jobs[0])
    scene.ran(1)
    scene.ran(2)
    scene.moved(1024)
    break_it(scene)
    assert any(told in line for line in scene.checker.after_kill(scene.ledger))


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (a_job(2, **PHYSICAL, state=JobState.QUEUED), "physical, was running at the kill, is queued now"),
        (a_job(2, **PHYSICAL), "running since before this daemon began"),
        (a_job(1, state=JobState.SUCCEEDED, finished_at=NOW), "ran again, and its attempt is still 1"),
        (a_job(1, state=JobState.CANCELLED, finished_at=NOW), "repeatable, was running at the kill, is cancelled now"),
        (a_job(4, state=JobState.QUEUED), "it had ended as succeeded and is queued now"),
    ],
)
def test_a_promise_broken_at_the_restart_is_told(scene: Scene, after: Job, told: str) -> None:
    scene.put(a_job(1), a_job(2, **PHYSICAL), a_job(4, state=JobState.SUCCEEDED, finished_at=NOW))
    assert scene.checker.after_kill(scene.ledger) == []
    scene.put(a_job(1, state=JobState.QUEUED), a_job(2, **PHYSICAL, **CUT_OFF))
    scene.put(after)
    assert any(told in line for line in scene.checker.after_restart(scene.ledger, NOW + 5, latched=False))


def test_a_lost_latch_is_told(scene: Scene) -> None:
    scene.ledger.latched = True
    assert scene.checker.after_restart(scene.ledger, NOW, latched=False) == [
        "the stop latch is False after the restart, acknowledged was True"
    ]


def test_motion_behind_a_latch_is_told_at_the_end(scene: Scene) -> None:
    scene.ledger.latch_spans.append([10.0, 20.0])
    scene.moved(8, mono=15.0)
    assert scene.checker.at_end(scene.ledger) == [
        "1 moves began between an acknowledged stop at 10.000 and its reset at 20.000"
    ]

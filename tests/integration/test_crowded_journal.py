"""Where many jobs are going their ends share commits; who waits for a commit is not made to wait longer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.clock import SystemClock
from labd.engine.group import Event
from labd.engine.job import Job, JobState
from labd.engine.journal import PATIENCE_S, Journal

TURNS = 200


@pytest.fixture
async def journal(state_dir: Path) -> Journal:
    return Journal(state_dir / "labd.db", SystemClock())


def stage(journal: Journal) -> None:
    journal.add_event(Event(journal.next_seq(), 0.0, "test.happened", None, {}))


def a_job(number: int) -> Job:
    return Job(
        id=number, task="test.noop", args={}, queue="standard", priority=2, state=JobState.RUNNING, rank=0.0,
        attempt=1, max_attempts=1, run_at=0.0, created_at=0.0, submitted_by="test", effect="repeatable",
    )  # fmt: skip


async def commits_of_a_trickle(journal: Journal, crowded: bool) -> int:
    """One event at a time, each at a turn of the loop of its own, for a few commits' time."""
    await journal.open()
    journal.crowd = lambda: TURNS if crowded else 0
    for _ in range(TURNS):
        stage(journal)
        await asyncio.wait({journal.landed()}, timeout=PATIENCE_S / 40)
    await journal.commit()
    made = journal.commits
    await journal.close()
    return made


async def test_a_trickle_shares_commits_only_in_a_crowd(state_dir: Path) -> None:
    alone = await commits_of_a_trickle(Journal(state_dir / "alone.db", SystemClock()), crowded=False)
    shared = await commits_of_a_trickle(Journal(state_dir / "crowd.db", SystemClock()), crowded=True)
    assert shared < alone


async def test_who_waits_for_a_commit_pushes_it(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labd.engine.journal.PATIENCE_S", 3600.0)
    await journal.open()
    journal.crowd = lambda: 1000
    async with asyncio.timeout(10):
        stage(journal)
        await journal.commit()
        stage(journal)
        journal.push()
        stage(journal)
        await journal.commit()  # while the writer is busy with the one before
    assert journal.durable_seq == journal.last_seq
    await journal.close()


async def test_a_part_of_the_crowd_that_stands_ready_is_not_kept_waiting(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.engine.journal.PATIENCE_S", 3600.0)
    await journal.open()
    journal.crowd = lambda: 2
    launched: list[bool] = []
    async with asyncio.timeout(10):
        stage(journal)
        await journal.commit()
        first = journal.commits
        for number in (7, 8):
            await asyncio.sleep(0)
            assert not launched and journal.commits == first
            stage(journal)
            journal.when_started(a_job(number), launched.append)
        await journal.landed()
    assert launched == [True, True]
    assert journal.commits == first + 1
    await journal.close()


async def test_a_journal_that_closes_is_not_patient(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labd.engine.journal.PATIENCE_S", 3600.0)
    await journal.open()
    journal.crowd = lambda: 1000
    async with asyncio.timeout(10):
        stage(journal)
        await journal.commit()
        stage(journal)
        await journal.close()
    assert journal.durable_seq == journal.last_seq

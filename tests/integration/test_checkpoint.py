"""The log is brought over into the journal's file beside the writer, and does not grow for ever."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from labd.clock import SystemClock
from labd.engine import checkpoint
from labd.engine.group import Event
from labd.engine.journal import Journal
from tests.fakes.broker import until

PAGE_BYTES = 4096


@pytest.fixture
async def journal(state_dir: Path) -> AsyncIterator[Journal]:
    opened = Journal(state_dir / "labd.db", SystemClock())
    await opened.open()
    yield opened
    await opened.close()


async def commit_rows(journal: Journal, rows: int) -> None:
    for _ in range(rows):
        journal.add_event(Event(journal.next_seq(), 0.0, "test.happened", None, {"text": "x" * 200}))
    await journal.commit()


async def test_commits_land_while_the_log_is_brought_over(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow_disk(opened: sqlite3.Connection) -> int:
        begun.set()
        go_on.wait(20.0)
        return 0

    monkeypatch.setattr(checkpoint, "bring_over", slow_disk)
    try:
        await commit_rows(journal, checkpoint.ROWS_A_PASS)
        await until(begun.is_set)
        async with asyncio.timeout(10):
            for _ in range(5):
                await commit_rows(journal, 100)
    finally:
        go_on.set()


async def test_what_was_committed_gets_into_the_file_itself(journal: Journal, tmp_path: Path) -> None:
    def in_file() -> int:
        alone = Path(shutil.copyfile(journal.path, tmp_path / "alone.db"))
        with closing(sqlite3.connect(f"file:{alone}?immutable=1", uri=True)) as opened:
            return int(opened.execute("SELECT count(*) FROM events").fetchone()[0])

    await commit_rows(journal, checkpoint.ROWS_A_PASS)
    await until(lambda: in_file() == checkpoint.ROWS_A_PASS)


async def test_the_log_stays_bounded_though_commits_never_pause(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "LONG_LOG_PAGES", 100)
    log = journal.path.with_name(journal.path.name + "-wal")
    for _ in range(100):
        await commit_rows(journal, 200)  # 16 pages and more each time, so 1,600 in all
    assert log.stat().st_size < 1000 * PAGE_BYTES


async def test_a_disk_that_fails_meanwhile_ends_neither_the_journal_nor_later_passes(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def failing(opened: sqlite3.Connection) -> int:
        passes.append(len(passes))
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(checkpoint, "bring_over", failing)
    for count in (1, 2):
        await commit_rows(journal, checkpoint.ROWS_A_PASS)
        await until(lambda count=count: len(passes) == count)  # type: ignore[misc]
    await commit_rows(journal, 1)


async def test_the_end_waits_for_the_pass_that_is_under_way(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(state_dir / "labd.db", SystemClock())
    await journal.open()
    bring_over = checkpoint.bring_over
    monkeypatch.setattr(checkpoint, "ROWS_A_PASS", 1)
    ended = []

    def noted(opened: sqlite3.Connection) -> int:
        pages = bring_over(opened)
        ended.append(pages)
        return pages

    monkeypatch.setattr(checkpoint, "bring_over", noted)
    await commit_rows(journal, 10)
    await journal.close()
    assert len(ended) == 1
    assert not journal.path.with_name(journal.path.name + "-wal").exists()  # nobody else had it open any more

"""Who waits for an admission waits alone: cancelled, he takes nobody along; refused, everybody hears of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.clock import SystemClock
from labd.engine.group import Batch, Event
from labd.engine.journal import Journal
from labd.errors import StoreFull


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "labd.db", SystemClock())
    await opened.open()
    yield opened
    await opened.close()


def stage(journal: Journal) -> Event:
    event = Event(journal.next_seq(), 1.0, "queue.paused", None, {})
    journal.add_event(event)
    return event


async def kinds(journal: Journal) -> list[str]:
    return [kind for (kind,) in await journal.read_sql("SELECT kind FROM events", ())]


async def test_one_who_is_cancelled_takes_nobody_along(journal: Journal) -> None:
    stage(journal)
    one, other, of_all = journal.admission(), journal.admission(), journal.admitted()

    async def wait(for_: asyncio.Future[None]) -> None:
        await for_

    first, second = asyncio.create_task(wait(one)), asyncio.create_task(wait(other))
    await asyncio.wait({first, second}, timeout=0)
    first.cancel()
    journal.push()
    await asyncio.wait_for(second, 10)
    assert (one.cancelled(), of_all.result(), first.cancelled()) == (True, None, True)
    assert await kinds(journal) == ["queue.paused"]


async def test_it_is_known_when_it_is_on_disk_and_not_before(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    write = Batch.write

    def written(self: Batch, opened: sqlite3.Connection) -> None:
        seen.append(admission.done())
        write(self, opened)
        seen.append(admission.done())

    monkeypatch.setattr(Batch, "write", written)
    stage(journal)
    admission = journal.admission()
    await asyncio.wait_for(admission, 10)
    assert seen == [False, False]


async def test_a_refusal_is_heard_by_everybody_who_waits(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    write, faults = Batch.write, [sqlite3.OperationalError("database or disk is full")]

    def refused_once(self: Batch, opened: sqlite3.Connection) -> None:
        if faults:
            raise faults.pop()
        write(self, opened)

    monkeypatch.setattr(Batch, "write", refused_once)
    stage(journal)
    waiting = [journal.admission(), journal.admission(), journal.admitted()]
    journal.push()
    found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
    assert [type(fault) for fault in found] == [StoreFull] * 3
    await journal.settle()
    await asyncio.wait_for(journal.landed(), 10)
    assert await kinds(journal) == ["queue.paused"]

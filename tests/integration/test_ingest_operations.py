"""Refresh, adoption and the drop of a table through the death of the daemon: what was begun is done, once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labd.engine.job import JobState
from labd.ingest import looks
from labd.ingest.operations import REFRESH
from labd.ingest.port import Page
from labd.ingest.record import FileMark, RunState
from tests.fakes.broker import until
from tests.fakes.ingest_house import ANNA, IngestHouse


@pytest.fixture
def house(state_dir: Path) -> IngestHouse:
    return IngestHouse(state_dir)


class Stands:
    """Stands still from the call of a number on."""

    def __init__(self, call: Any, first: int = 1) -> None:
        self.call = call
        self.left = first - 1
        self.reached = False

    async def __call__(self, *args: Any, **named: Any) -> Any:
        if self.left:
            self.left -= 1
            return await self.call(*args, **named)
        self.reached = True
        return await asyncio.Event().wait()


async def test_a_refresh_that_was_cut_off_after_the_drop_forgets_and_loads_all_the_same(
    house: IngestHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.open():
        record = await house.define()
        for name, row in (("a.jsonl", 1), ("b.jsonl", 2)):
            house.put(name, row)
        await house.run()
        stands = Stands(house.service.ledger.forget)
        monkeypatch.setattr(house.service.ledger, "forget", stands)
        told = await house.service.desk.operations.refresh(ANNA, record, "full", dry_run=False, confirm=True, run=True)
        await until(lambda: stands.reached)
        assert "sales" not in house.lake.tables
        assert told.job is not None
    async with house.open():
        job = await house.ended(await house.engine.job(told.job.id))
        assert job.state is JobState.SUCCEEDED
        assert (await house.ended(await house.engine.job(job.result["job"]))).state is JobState.SUCCEEDED
        assert house.lake.values("sales") == [1, 2]
        assert len(await house.service.runs.runs(house.service.book.find("sales"))) == 2


async def test_a_refresh_submits_one_run_however_often_it_is_tried(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        await house.run()
        job = await house.submit_and_end(task=REFRESH, mode="full")
        first = job.result["job"]
        again = await house.service.submit_run(
            house.service.book.find("sales"), ANNA, full=True, idempotency_key=f"refresh-{job.id}"
        )
        assert again.id == first
        await house.ended(again)
        assert house.lake.values("sales") == [1]


async def test_an_adoption_that_was_cut_off_notes_the_rest_and_nothing_is_ever_loaded(
    house: IngestHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "PAGE", 2)
    names = [f"{number}.jsonl" for number in range(5)]
    async with house.open():
        record = await house.define()
        for name in names:
            house.put(name, 1)
        stands: Any = Stands(house.lake.list_files, first=5)  # three pages to look, then the second to note
        monkeypatch.setattr(house.lake, "list_files", stands)
        told = await house.service.desk.adoption.adopt(ANNA, record, None, None, dry_run=False)
        await until(lambda: stands.reached)
        assert sorted(await house.marks()) == names[:2]
        assert told.job is not None
    monkeypatch.undo()
    async with house.open():
        job = await house.ended(await house.engine.job(told.job.id))
        assert job.result["noted"] == 5
        assert set((await house.marks()).values()) == {FileMark.LOADED}
        assert (await house.run())["files_discovered"] == 0
        assert house.lake.loads == 0


async def test_an_adoption_that_is_cancelled_takes_its_run_along(
    house: IngestHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.open():
        record = await house.define()
        house.put("a.jsonl", 1)
        stands: Any = Stands(house.lake.list_files, first=2)  # one listing to look, then the one to note
        monkeypatch.setattr(house.lake, "list_files", stands)
        told = await house.service.desk.adoption.adopt(ANNA, record, None, None, dry_run=False)
        await until(lambda: stands.reached)
        assert told.job is not None
        await house.engine.cancel(told.job.id, ANNA, "not now")
        await house.ended(await house.engine.job(told.job.id))
        monkeypatch.undo()
        await until(lambda: not house.service.runs.going(record))
        assert (await house.last_run()).state is RunState.CANCELLED
        assert (await house.run())["records"] == 1


async def test_a_batch_that_an_earlier_run_left_open_goes_with_the_table(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        house.lake.gate.clear()
        job = await house.submit()
        await until(lambda: house.lake.loads == 1)
        await house.engine.cancel(job.id, ANNA, "not now")
        await house.ended(job)
        house.lake.gate.set()
        record = house.service.book.find("sales")
        await until(lambda: not house.service.runs.going(record))
        assert len(await house.service.ledger.open_batches(record)) == 1
        done = await house.submit_and_end(task=REFRESH, mode="new_only")
        await house.ended(await house.engine.job(done.result["job"]))
        assert house.lake.values("sales") == [1]
        assert await house.service.ledger.open_batches(record) == []


async def test_a_listing_that_lists_the_same_page_twice_adopts_each_file_once(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define()
        house.put("a.jsonl", 1)
        listed, calls = house.lake.list_files, 0

        async def twice(*args: Any) -> Page:
            nonlocal calls
            calls += 1
            page = await listed(args[0], None, None, 10)
            page.cursor = "again" if calls % 2 else None
            return page

        house.lake.list_files = twice  # type: ignore[method-assign, assignment]
        told = await house.service.desk.adoption.adopt(ANNA, record, None, None, dry_run=False)
        assert told.job is not None
        assert (await house.ended(await house.engine.job(told.job.id))).result["noted"] == 1

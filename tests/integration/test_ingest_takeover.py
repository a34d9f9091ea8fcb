"""A journal that was put back to an older state: what the table has is not loaded again."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from labd.ingest.port import FoundFile
from labd.ingest.record import FileMark
from labd.ingest.takeover import newest, number_of, run_of
from tests.fakes.broker import until
from tests.fakes.ingest_house import ANNA, IngestHouse


@pytest.fixture
def house(state_dir: Path) -> IngestHouse:
    return IngestHouse(state_dir)


@asynccontextmanager
async def forgotten(house: IngestHouse) -> AsyncIterator[IngestHouse]:
    """What happens inside is forgotten by the journal at its end, not by the table."""
    copies = house.state_dir / "copies"
    copies.mkdir()
    await house.engine.backup(copies)
    yield house


def put_back(house: IngestHouse) -> None:
    """As `labd restore` does, between two lives."""
    for path in (house.state_dir / "copies").iterdir():
        for old in house.state_dir.glob(f"{path.name}*"):
            old.unlink()
        shutil.move(path, house.state_dir / path.name)


@pytest.mark.parametrize(
    ("changed", "expected", "lexical"),
    [
        ("append-version", [1, 2, 3, 20, 30], False),
        ("replace-rows", [1, 3, 20, 30], False),
        ("alert", [1, 2, 3, 30], False),
        ("append-version", [1, 2, 3, 20, 30], True),
    ],
)
async def test_what_was_loaded_since_is_taken_over_and_not_loaded_twice(
    house: IngestHouse, changed: str, expected: list[int], lexical: bool
) -> None:
    async with house.open():
        await house.define(changed=changed, source={"lexical": lexical})
        house.put("a.jsonl", 1)
        house.put("b.jsonl", 2)
        await house.run()
        async with forgotten(house):
            house.put("c.jsonl", 3)
            await house.run()
            if not lexical:  # such a source has no changed files
                house.put("b.jsonl", 20)
                await house.run()
    put_back(house)
    async with house.open():
        house.put("d.jsonl", 30)
        if lexical:
            house.put("e.jsonl", 20)
        result = await house.run()
        assert result["state"] == ("partial" if changed == "alert" else "succeeded")
        assert house.lake.values("sales") == expected
        files = {file.path: file for file in await house.service.ledger.files(house.service.book.find("sales"))}
        assert files["c.jsonl"].state is FileMark.LOADED
        assert (files["c.jsonl"].rows, files["c.jsonl"].size_bytes) == (1, (house.inbox / "c.jsonl").stat().st_size)
        assert (await house.run())["files_discovered"] == 0
        house.put("f.jsonl", 40)
        assert (await house.run())["records"] == 1
        assert (await house.last_run()).counts.taken_over == 0


async def test_a_file_that_changed_since_it_was_taken_over_goes_by_the_policy(house: IngestHouse) -> None:
    async with house.open():
        await house.define(changed="replace-rows")
        house.put("a.jsonl", 1)
        await house.run()
        async with forgotten(house):
            house.put("b.jsonl", 2)
            await house.run()
    put_back(house)
    async with house.open():
        house.put("b.jsonl", 3)
        await house.run()
        assert house.lake.values("sales") == [1, 3]


async def test_a_batch_that_was_open_then_and_whose_files_came_in_by_another_is_given_up(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define(schema={"evolution": "approve"})
        house.put("a.jsonl", 1)
        await house.run()
        house.put("b.jsonl", {"id": 2, "new": 1})
        job = await house.submit()
        await until(lambda: bool(house.engine.asking()))
        async with forgotten(house):
            await house.engine.answer(job.id, "reject", ANNA)
            await house.ended(job)
            await house.service.book.commit()
            await house.service.ledger.requeue(record, ["b.jsonl"], [FileMark.HELD])
            again = await house.submit()
            await until(lambda: bool(house.engine.asking()))
            await house.engine.answer(again.id, "approve", ANNA)
            await house.ended(again)
            assert house.lake.values("sales") == [1, 2]
    put_back(house)
    async with house.open():
        await house.engine.cancel(job.id, ANNA, "not now")
        await house.ended(job)
        await until(lambda: not house.service.runs.going())
        await house.run()
        assert house.lake.values("sales") == [1, 2]
        assert await house.service.ledger.open_batches(house.service.book.find("sales")) == []


async def test_where_the_table_does_not_tell_nothing_is_loaded_until_a_person_has_said(house: IngestHouse) -> None:
    async with house.open():
        await house.define(provenance=False)
        house.put("a.jsonl", 1)
        await house.run()
        async with forgotten(house):
            house.put("b.jsonl", 2)
            await house.run()
    put_back(house)
    async with house.open():
        told = await house.fails()
        assert "default/default.sales has 1 commits that the ledger does not know" in told
        assert "labctl ingest adopt sales --until TIME" in told
        assert "ingest_failed" in house.attention()
        record = house.service.book.find("sales")
        adopted = await house.service.desk.adoption.adopt(ANNA, record, None, "b.jsonl", dry_run=False)
        assert adopted.job is not None
        await house.ended(await house.engine.job(adopted.job.id))
        house.put("c.jsonl", 3)
        await house.run()
        assert house.lake.values("sales") == [1, 2, 3]


def test_of_several_versions_the_one_of_the_last_commit_counts() -> None:
    found = [
        FoundFile("file:///in/a", "v2", 7, 3),
        FoundFile("file:///in/a", "v1", 5, 2),
        FoundFile("file:///elsewhere/b", "v1", 5, 2),
    ]
    assert {path: file.version for path, file in newest(found, [5, 7], "file:///in/").items()} == {"a": "v2"}
    assert newest(found, [7, 5], "file:///in")["a"].version == "v1"
    assert (run_of("labd-12-3-000000000000001f"), number_of("labd-12-3-000000000000001f")) == (12, 31)

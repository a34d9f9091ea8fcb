"""Old runs and batches go by the engine's retention; what is needed to load nothing twice stays."""

from __future__ import annotations

from pathlib import Path

from labd.ingest.record import RunState
from tests.fakes.broker import until
from tests.fakes.ingest_house import ANNA, IngestHouse


async def test_old_runs_go_with_their_batches_and_their_commits_are_not_taken_for_forgotten(state_dir: Path) -> None:
    house = IngestHouse(state_dir)
    async with house.open():
        record = await house.define()
        for number in range(3):
            house.put(f"{number}.jsonl", number)
            await house.run()
        house.engine.retention.keep_s = -60.0  # everything that has ended is old
        await house.engine.retention.sweep()
        assert [run.id for run in await house.service.runs.runs(record)] == [3]
        assert await house.service.ledger.batches(1) == []
        assert record.facts.swept_run == 2
    async with house.open():
        house.put("new.jsonl", 7)
        assert (await house.run())["records"] == 1
        assert (await house.last_run()).counts.taken_over == 0
        assert house.lake.values("sales") == [0, 1, 2, 7]
        assert (await house.last_run()).id == 4


async def test_a_run_with_an_open_batch_stays_and_so_do_the_newest_beyond_the_number(state_dir: Path) -> None:
    house = IngestHouse(state_dir)
    async with house.open():
        record = await house.define()
        await house.define("other")
        for _ in range(2):
            await house.run("other")
        house.put("a.jsonl", 1)
        house.lake.gate.clear()
        for loads in (1, 2):
            job = await house.submit()
            await until(lambda loads=loads: house.lake.loads == loads)  # type: ignore[misc]
            await house.engine.cancel(job.id, ANNA, "not now")
            await house.ended(job)
            await until(lambda: not house.service.runs.going())
        house.engine.retention.keep_jobs = 2
        await house.engine.retention.sweep()
        found = {run.id: run.state for run in await house.service.runs.runs()}
        assert found == {2: RunState.SUCCEEDED, 3: RunState.CANCELLED, 4: RunState.CANCELLED}
        house.lake.gate.set()
        await house.run()
        assert house.lake.values("sales") == [1]
        await house.engine.retention.sweep()
        assert record.facts.swept_run == 4
        assert [run.id for run in await house.service.runs.runs()] == [5, 2]


async def test_the_ledger_of_a_deleted_ingestion_goes_in_the_end(state_dir: Path) -> None:
    house = IngestHouse(state_dir)
    async with house.open():
        record = await house.define()
        kept = await house.define("kept")
        house.put("a.jsonl", 1)
        await house.run()
        await house.run("kept")
        house.service.book.delete(record, ANNA)
        await house.service.book.commit()
        await house.engine.retention.sweep()
        assert len(await house.service.ledger.files(record)) == 1
        house.engine.retention.keep_s = -60.0
        await house.engine.retention.sweep()
        assert await house.service.ledger.files(record) == []
        assert len(await house.service.ledger.files(kept)) == 1
        assert (await house.run("kept"))["files_discovered"] == 0

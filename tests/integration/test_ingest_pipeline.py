"""Runs of ingestions on the real engine: every file once, whatever breaks; every end told as it was."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd.api import metrics
from labd.engine.job import JobState, Submission
from labd.engine.schedules import ScheduleSpec
from labd.errors import InvalidArguments, SourceRefused, UnknownIngestion
from labd.ingest.record import FileMark, RunState, State
from labd.ingest.schedules import schedule_name
from tests.fakes.api_engine import FakeStatus
from tests.fakes.broker import until
from tests.fakes.clock import FakeClock
from tests.fakes.ingest_house import ANNA, IngestHouse
from tests.fakes.ingest_lake import lost


@pytest.fixture
def house(state_dir: Path) -> IngestHouse:
    return IngestHouse(state_dir)


async def test_every_file_is_loaded_once_and_a_second_run_loads_what_is_new(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1, 2)
        house.put("sub/b.jsonl", 3)
        first = await house.run()
        assert (first["state"], first["files_processed"], first["records"]) == ("succeeded", 2, 3)
        house.put("c.jsonl", 4)
        second = await house.run()
        assert (second["files_discovered"], second["records"]) == (1, 1)
        third = await house.run()
        assert (third["state"], third["files_discovered"], third["records"]) == ("succeeded", 0, 0)
        assert house.lake.values("sales") == [1, 2, 3, 4]
        assert len(house.lake.tables["sales"].commits) == 2


async def test_the_steps_are_jobs_of_their_own_in_the_queue_of_the_ingestion(house: IngestHouse) -> None:
    async with house.open():
        await house.define(queue="autoloader-high-memory")
        house.put("a.jsonl", 1)
        job = await house.ended(await house.service.submit_run(house.service.book.find("sales"), ANNA))
        assert await house.steps(job) == [
            "ingest.create_run", "ingest.discover_files", "ingest.load_batch", "ingest.complete_run"
        ]  # fmt: skip
        assert job.queue == "autoloader-high-memory"
        assert house.lake.batches[0].memory_mib == 4096


async def test_a_bad_file_is_quarantined_and_named_and_stops_nothing(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        house.put("b.jsonl", "{no json")
        result = await house.run()
        assert (result["state"], result["bad"], result["files_failed"]) == ("partial", ["b.jsonl"], 1)
        assert house.lake.values("sales") == [1]
        assert await house.marks() == {"a.jsonl": FileMark.LOADED, "b.jsonl": FileMark.QUARANTINED}
        assert house.attention()["ingest_quarantined"] == (
            "1 file of sales cannot be read; `labctl ingest files sales --state quarantined` says why"
        )
        assert (await house.run())["files_discovered"] == 0
        house.put("b.jsonl", 2)
        assert (await house.run())["state"] == "succeeded"
        assert "ingest_quarantined" not in house.attention()
        assert house.lake.values("sales") == [1, 2]


async def test_a_run_with_nothing_but_failures_has_failed(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("b.jsonl", "{no json")
        told = await house.fails()
        assert "run 1 failed: b.jsonl: " in told
        assert told.endswith("; `labctl ingest files sales --bad` shows all")
        assert (await house.last_run()).state is RunState.FAILED


@pytest.mark.parametrize("where", ["before_commit", "after_commit"])
async def test_a_child_that_is_lost_around_its_commit_leaves_each_row_once(house: IngestHouse, where: str) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1, 2)
        getattr(house.lake, where).append(lost())
        assert (await house.run())["records"] == 2
        assert house.lake.loads == 2
        assert house.lake.values("sales") == [1, 2]


async def test_what_a_failed_run_has_left_is_taken_up_first_under_its_own_token(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        assert (await house.run())["records"] == 1
        house.lake.before_commit += [lost()] * 4
        house.put("b.jsonl", 2)
        message = await house.fails()
        assert "broke off: ingest.load_batch" in message
        assert (await house.last_run()).state is RunState.FAILED
        token = house.lake.batches[-1].token
        house.put("c.jsonl", 3)
        result = await house.run()
        assert (result["state"], result["records"]) == ("succeeded", 2)
        assert [batch.token for batch in house.lake.batches].count(token) == 5
        assert house.lake.values("sales") == [1, 2, 3]


@pytest.mark.parametrize(
    ("changed", "rows", "mark"),
    [
        ("append-version", [1, 2, 3], FileMark.LOADED),
        ("replace-rows", [2, 3], FileMark.LOADED),
        ("ignore", [1], FileMark.IGNORED),
        ("alert", [1], FileMark.HELD),
    ],
)
async def test_a_changed_file_goes_by_the_policy(
    house: IngestHouse, changed: str, rows: list[int], mark: FileMark
) -> None:
    async with house.open():
        await house.define(changed=changed)
        house.put("a.jsonl", 1)
        await house.run()
        house.put("a.jsonl", 2, 3)
        result = await house.run()
        told = ("partial", ["a.jsonl"]) if changed == "alert" else ("succeeded", [])
        assert (result["state"], result["bad"]) == told
        assert house.lake.values("sales") == rows
        assert (await house.marks())["a.jsonl"] is mark
        assert ("ingest_held" in house.attention()) is (changed == "alert")


async def test_a_held_file_is_loaded_when_a_person_asks_for_it(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define(changed="alert")
        house.put("a.jsonl", 1)
        await house.run()
        house.put("a.jsonl", 2)
        await house.submit_and_end()
        assert await house.service.ledger.requeue(record, ["a.jsonl"], [FileMark.HELD]) == 1
        assert (await house.run(trigger="retry"))["trigger"] == "retry"
        assert house.lake.values("sales") == [1, 2]
        assert "ingest_held" not in house.attention()


async def test_a_touched_file_with_the_same_content_is_not_loaded_again(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        path = house.put("a.jsonl", 1)
        await house.run()
        os.utime(path, (1, 1))
        result = await house.run()
        assert (result["state"], result["files_processed"], result["records"]) == ("succeeded", 1, 0)
        assert house.lake.values("sales") == [1]


async def test_two_runs_of_one_ingestion_never_go_on_at_once(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        house.lake.gate.clear()
        first = await house.submit()
        await until(lambda: house.lake.loads == 1)
        second = await house.submit()
        await asyncio.sleep(0)
        assert "ingest/sales" in (await house.engine.why(second.id))[0].message
        house.lake.gate.set()
        await house.ended(first)
        assert (await house.ended(second)).result["records"] == 0
        assert house.lake.values("sales") == [1]


async def test_new_columns_wait_for_a_person_who_approves_them(house: IngestHouse) -> None:
    async with house.open():
        await house.define(schema={"evolution": "approve"})
        house.put("a.jsonl", 1)
        await house.run()
        house.put("b.jsonl", {"id": 2, "region": "eu"})
        job = await house.submit()
        await until(lambda: house.engine.asking())
        asked = house.engine.asking()[0]
        assert asked.asks is not None
        assert asked.asks["question"] == "ingestion sales: its files bring add region string; change the table?"
        assert house.attention()["ingest_schema"] == "sales waits for a word about its schema: add region string"
        await house.engine.answer(job.id, "approve", ANNA)
        assert (await house.ended(job)).result["records"] == 1
        assert "ingest_schema" not in house.attention()
        assert house.lake.tables["sales"].columns == {"id": "long", "region": "string"}


async def test_columns_that_a_person_rejects_leave_their_files_held(house: IngestHouse) -> None:
    async with house.open():
        await house.define(schema={"evolution": "approve"})
        house.put("a.jsonl", 1)
        await house.run()
        house.put("b.jsonl", {"id": 2, "region": "eu"})
        job = await house.submit()
        await until(lambda: house.engine.asking())
        await house.engine.answer(job.id, "reject", ANNA)
        assert (await house.ended(job)).state is JobState.FAILED
        assert await house.marks() == {"a.jsonl": FileMark.LOADED, "b.jsonl": FileMark.HELD}
        assert house.lake.values("sales") == [1]


async def test_a_frozen_schema_fails_the_run_and_loads_nothing_of_the_batch(house: IngestHouse) -> None:
    async with house.open():
        await house.define(schema={"evolution": "freeze"})
        house.put("a.jsonl", 1)
        await house.run()
        house.put("b.jsonl", {"id": 2, "region": "eu"})
        assert "column region is not in table sales" in await house.fails()
        (house.inbox / "b.jsonl").unlink()
        assert (await house.run())["state"] == "succeeded"
        assert (await house.marks())["b.jsonl"] is FileMark.VANISHED


async def test_a_cancelled_run_is_told_as_such_and_the_next_finishes_its_batches(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        house.lake.gate.clear()
        job = await house.submit()
        await until(lambda: house.lake.loads == 1)
        await house.engine.cancel(job.id, ANNA, "wrong day")
        assert (await house.ended(job)).state is JobState.CANCELLED
        await until(lambda: not house.service.runs.going())
        run = await house.last_run()
        assert (run.state, run.body.errors[-1].message) == (
            RunState.CANCELLED, "cancelled by unix:anna: wrong day",
        )  # fmt: skip
        house.lake.gate.set()
        await house.run()
        assert house.lake.values("sales") == [1]


async def test_a_daemon_that_dies_in_the_middle_of_a_load_ends_with_each_row_once(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1, 2)
        house.lake.gate.clear()
        job = await house.submit()
        await until(lambda: house.lake.loads == 1)
    house.lake.gate.set()
    async with house.open():
        ended = await house.ended(job)
        assert (ended.state, ended.result["records"]) == (JobState.SUCCEEDED, 2)
        assert house.lake.values("sales") == [1, 2]
        assert (await house.run())["files_discovered"] == 0


async def test_files_go_in_batches_and_a_run_takes_no_more_than_its_limit(house: IngestHouse) -> None:
    async with house.open():
        await house.define(limits={"batch_files": 2, "run_files": 5})
        for number in range(7):
            house.put(f"{number}.jsonl", number)
        assert (await house.run())["batches"] == 3
        assert len(house.lake.tables["sales"].commits) == 3
        assert (await house.run())["records"] == 2
        assert house.lake.values("sales") == list(range(7))


async def test_a_lexical_source_is_listed_from_where_the_last_run_came_to(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define(source={"lexical": True})
        house.put("2026-01-01.jsonl", 1)
        await house.run()
        assert record.facts.after == "2026-01-01.jsonl"
        house.put("2025-12-31.jsonl", 2)
        house.put("2026-01-02.jsonl", 3)
        assert (await house.run())["records"] == 1
        assert house.lake.values("sales") == [1, 3]
        assert (await house.run(full=True))["records"] == 1
        assert house.lake.values("sales") == [1, 2, 3]


async def test_a_batch_below_its_quality_is_held_and_the_others_go_in(house: IngestHouse) -> None:
    async with house.open():
        await house.define(quality={"max_rescued_percent": 10}, limits={"batch_files": 1})
        house.put("a.jsonl", {"id": 1, "_rescued_data": "{}"})
        house.put("b.jsonl", 2)
        result = await house.run()
        assert (result["state"], result["records"]) == ("partial", 1)
        assert result["errors"] == ["more than 10 % of the rows were rescued"]
        assert (await house.marks())["a.jsonl"] is FileMark.HELD


async def test_too_few_rows_are_no_success(house: IngestHouse) -> None:
    async with house.open():
        await house.define(quality={"min_rows": 3})
        house.put("a.jsonl", 1)
        assert (await house.run())["state"] == "partial"
        assert "0 rows came in, quality.min_rows is 3" in await house.fails()


async def test_a_source_that_refuses_fails_the_run_at_once(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.lake.listing.append(SourceRefused("bucket b: wrong credentials"))
        assert "bucket b: wrong credentials" in await house.fails()
        assert (await house.last_run()).body.errors[0].code == "source_refused"


async def test_a_run_that_works_for_too_long_ends_and_the_next_goes_on(state_dir: Path) -> None:
    house = IngestHouse(state_dir, flow_run_timeout_seconds=0.2, max_task_retries=0)
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        house.lake.gate.clear()
        assert "has worked for 0.2 s, flow_run_timeout_seconds" in await house.fails()
        house.lake.gate.set()
        await house.run()
        assert house.lake.values("sales") == [1]


async def test_a_schedule_stands_with_its_definition_and_its_runs_say_so(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define(schedule={"interval_s": 1})
        house.put("a.jsonl", 1)
        view = house.engine.schedule(schedule_name(record))
        assert (view.spec.overlap, view.spec.queue) == ("skip", "autoloader-default")
        await until(lambda: record.facts.last_run is not None)
        await until(lambda: not house.service.runs.going())
        assert (await house.last_run()).trigger == "schedule"
        house.service.book.set_state(record, State.PAUSED, ANNA)
        await house.service.put_schedules()
        assert house.engine.schedule(schedule_name(record)).spec.paused
        house.service.book.delete(record, ANNA)
        await house.service.put_schedules()
        assert [view.spec.name for view in house.engine.schedules()] == []


async def test_a_schedule_that_a_person_made_is_not_taken_for_the_wings(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define(schedule={"interval_s": 3600})
        mine = ScheduleSpec(
            name="mine", task="ingest.run", args={"ingestion": "sales", "trigger": "schedule"}, cron="0 5 * * *"
        )
        taken = msgspec.structs.replace(mine, name="ingest.other")
        await house.engine.put_schedule(mine, ANNA)
        await house.engine.put_schedule(taken, ANNA)
        await house.define("other", schedule={"interval_s": 60})
        assert sorted(view.spec.name for view in house.engine.schedules()) == ["ingest.other", "ingest.sales", "mine"]
        assert house.engine.schedule("ingest.other").spec == taken
        assert "a schedule of that name was made by unix:anna" in house.attention()["ingest_schedule"]
        await house.engine.delete_schedule("ingest.other", ANNA)
        edited = msgspec.structs.replace(house.engine.schedule("ingest.sales").spec, interval_s=7200.0)
        await house.engine.put_schedule(edited, ANNA, create=False)
        await house.service.put_schedules()
        assert house.engine.schedule("ingest.sales").spec.interval_s == 3600
        await house.engine.put_schedule(edited, ANNA, create=False)
        house.service.book.delete(record, ANNA)
        await house.service.put_schedules()
        assert sorted(view.spec.name for view in house.engine.schedules()) == ["ingest.other", "mine"]
        assert house.engine.schedule("ingest.other").spec.interval_s == 60
        assert "ingest_schedule" not in house.attention()


async def test_definitions_of_the_settings_come_and_go_with_them(state_dir: Path) -> None:
    house = IngestHouse(state_dir)
    written = {"source": {"url": house.inbox.as_uri(), "settle_s": 0}, "format": {"type": "jsonl"}}
    table: dict[str, Any] = {
        **written,
        "name": "sales",
        "destination": {"table": "sales"},
        "schedule": {"cron": "0 5 * * *"},
    }
    house.rules["definition"] = {"sales": table}
    async with house.open():
        house.put("a.jsonl", 1)
        await house.run()
        assert [view.spec.name for view in house.engine.schedules()] == ["ingest.sales"]
        house.rules["definition"] = {}
        assert house.service.change(house.settings) == []
        assert house.service.book.find("sales").state is State.PAUSED
        await until(lambda: house.engine.schedules()[0].spec.paused)


async def test_a_source_that_falls_silent_asks_for_attention(state_dir: Path) -> None:
    clock = FakeClock()
    house = IngestHouse(state_dir, clock)
    async with house.open():
        await house.define(alerts={"silent_after_s": 3600})
        assert house.attention() == {}
        clock.advance(3601.0)
        assert "has had no new file since 2027-01-15T08:00:00" in house.attention()["ingest_silent"]


async def test_the_names_and_arguments_of_the_older_flow_work(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define()
        house.put("a.jsonl", 1)
        submission = Submission("run_ingestion_flow", {"ingestion_id": record.id, "trigger": "api"})
        job = await house.ended((await house.engine.submit([submission], ANNA))[0])
        assert (job.result["trigger"], job.result["records"]) == ("api", 1)
        with pytest.raises(InvalidArguments, match="give either ingestion or ingestion_id"):
            await house.engine.submit([Submission("ingest.run", {})], ANNA)
        with pytest.raises(UnknownIngestion, match="did you mean sales"):
            await house.submit("salse")


async def test_a_question_outlives_the_daemon_and_a_cancelled_one_is_asked_again(house: IngestHouse) -> None:
    async with house.open():
        await house.define(schema={"evolution": "approve"})
        house.put("a.jsonl", 1)
        await house.run()
        house.put("b.jsonl", {"id": 2, "region": "eu"})
        job = await house.submit()
        await until(lambda: house.engine.asking())
    async with house.open():
        assert [one.id for one in house.engine.asking()] == [job.id]
        await house.engine.cancel(job.id, ANNA)
        await until(lambda: not house.service.runs.going())
        assert (await house.last_run()).state is RunState.CANCELLED
        again = await house.submit()
        await until(lambda: house.engine.asking())
        await house.engine.answer(again.id, "approve", ANNA)
        assert (await house.ended(again)).result["records"] == 1
        assert house.lake.values("sales") == [1, 2]


async def test_a_run_that_has_failed_is_not_taken_up_by_a_retry_of_its_job(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1)
        house.lake.before_commit += [lost()] * 4
        job = await house.submit_and_end()
        assert job.state is JobState.FAILED
        await house.engine.retry(job.id, ANNA)
        again = await house.ended(job)
        assert again.error is not None
        assert "run 1 has ended as failed" in again.error.message
        assert "`labctl ingest run sales` begins another" in again.error.message
        assert (await house.run())["records"] == 1


async def test_a_deleted_ingestion_takes_no_run(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define()
        house.service.book.delete(record, ANNA)
        await house.service.book.commit()
        with pytest.raises(UnknownIngestion, match="was deleted"):
            await house.engine.submit([Submission("ingest.run", {"ingestion": record.id})], ANNA)


async def test_runs_and_files_stand_in_the_metrics_through_a_restart(house: IngestHouse) -> None:
    async with house.open():
        await house.define()
        house.put("a.jsonl", 1, 2)
        await house.run()
        (house.inbox / "b.jsonl").write_text("{no json\n")
        await house.fails()
    async with house.open():
        text = metrics.render(house.engine, FakeStatus(), house.clock)
    assert 'labd_ingest_runs_total{ingestion="sales",state="succeeded"} 1\n' in text
    assert 'labd_ingest_runs_total{ingestion="sales",state="failed"} 1\n' in text
    assert 'labd_ingest_files{ingestion="sales",state="loaded"} 1\n' in text
    assert 'labd_ingest_files{ingestion="sales",state="quarantined"} 1\n' in text
    assert 'labd_ingest_rows_total{ingestion="sales"} 2\n' in text
    assert 'labd_ingest_last_success_timestamp_seconds{ingestion="sales"} 1' in text

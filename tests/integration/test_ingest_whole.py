"""Whole runs with the real engine in real children: what arrives, what is refused, what is left as it was."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from labd.engine.views import JobFilter
from labd.ingest.record import FileMark
from labd.settings_types import EnvironmentSettings
from tests.conftest import requires
from tests.fakes import spark_lab
from tests.fakes.broker import until
from tests.fakes.ingest_house import ANNA, IngestHouse

pytest.importorskip("pyiceberg")


@pytest.fixture
def house(state_dir: Path) -> IngestHouse:
    return IngestHouse(state_dir, children=True)


async def rows(house: IngestHouse, *columns: str, name: str = "sales") -> list[list[Any]]:
    """What is in the table, sorted."""
    record = house.service.book.find(name)
    found = await house.service.engine_of(record).query(house.service.pipeline.table_of(record), [*columns], "", 1000)
    return sorted(found.rows, key=repr)


async def test_bad_files_of_all_kinds_are_named_and_the_good_ones_are_in(house: IngestHouse) -> None:
    async with house.open():
        await house.define(limits={"batch_files": 3})
        house.put("good.jsonl", 1, 2)
        house.put("empty.jsonl")
        (house.inbox / "zipped.jsonl.gz").write_bytes(gzip.compress(b'{"id": 3}\n'))
        (house.inbox / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"id": 4}\n' * 10_000)[:60])
        (house.inbox / "latin.jsonl").write_bytes('{"name": "Müller"}\n'.encode("latin-1"))
        house.put("odd.jsonl", {"id": 5}, "{not json", {"id": "six"})
        result = await house.run()
        assert (result["state"], sorted(result["bad"])) == ("partial", ["cut.jsonl.gz", "latin.jsonl"])
        marks = await house.marks()
        assert {path for path, mark in marks.items() if mark is FileMark.QUARANTINED} == {"cut.jsonl.gz", "latin.jsonl"}
        found = await rows(house, "id", "_rescued_data")
        assert sorted(one for one, _ in found if one is not None) == [1, 2, 3, 5]
        assert sum(rescued is not None for _, rescued in found) == result["rescued"] == 2
        assert (await house.run())["files_discovered"] == 0


async def test_a_table_that_somebody_dropped_is_not_made_anew_by_itself(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define()
        house.put("a.jsonl", 1)
        await house.run()
        assert record.facts.table_uuid is not None
        await house.service.engine_of(record).drop(house.service.pipeline.table_of(record))
        house.put("b.jsonl", 2)
        assert "sales" in await house.fails()
        assert (await house.last_run()).body.errors[0].code == "table_refused"
        assert (await house.marks())["b.jsonl"] is FileMark.PENDING


async def test_a_new_column_is_added_or_asked_for_and_the_schema_keeps_who_brought_it(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define(schema={"evolution": "approve"})
        house.put("a.jsonl", 1)
        await house.run()
        house.put("b.jsonl", {"id": 2, "region": "eu"})
        job = await house.submit()
        await until(lambda: house.engine.asking())
        await house.engine.answer(job.id, "approve", ANNA)
        assert (await house.ended(job)).result["state"] == "succeeded"
        assert await rows(house, "id", "region") == [[1, None], [2, "eu"]]
        versions = await house.service.ledger.schemas(record)
        assert [one.version for one in versions] == [2, 1]
        assert [column.name for column in versions[0].columns] == ["id", "region"]


async def test_csv_replaces_the_rows_of_a_changed_file_and_of_no_other(house: IngestHouse) -> None:
    async with house.open():
        await house.define(format={"type": "csv"}, changed="replace-rows", destination={"partition_by": ["region"]})
        (house.inbox / "a.csv").write_text("id,region\n1,eu\n2,us\n")
        (house.inbox / "b.csv").write_text("id,region\n3,eu\n")
        await house.run()
        (house.inbox / "a.csv").write_text("id,region\n2,us\n4,asia\n")
        assert (await house.run())["state"] == "succeeded"
        assert await rows(house, "id", "region") == [[2, "us"], [3, "eu"], [4, "asia"]]


async def test_a_folder_that_is_not_there_fails_the_run_and_says_which(house: IngestHouse) -> None:
    async with house.open():
        await house.define(source={"url": (house.inbox / "nowhere").as_uri()})
        assert "nowhere" in await house.fails()


async def test_no_secret_is_on_disk_or_in_any_answer(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canaries = {"LABD_TEST_KEY": "canary+key/one", "LABD_TEST_CATALOG": "canary=catalog&two"}
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    house = IngestHouse(
        state_dir, children=True, max_task_retries=0,
        credentials={
            "lake": {
                "options": {"endpoint": "http://127.0.0.1:9", "region": "eu-north-1", "access_key_id": "labd"},
                "secrets": {"secret_access_key": "env:LABD_TEST_KEY"},
            }
        },
        catalog={
            "far": {
                "type": "rest", "uri": "http://127.0.0.1:9/catalog",
                "secrets": {"token": "env:LABD_TEST_CATALOG"},
            }
        },
    )  # fmt: skip
    async with house.open():
        await house.define("far", source={"url": "s3://bucket/in", "credentials": "lake"})
        await house.define("wide", destination={"catalog": "far"})
        house.put("a.jsonl", 1)
        messages = [await house.fails("far"), await house.fails("wide")]
        assert "s3://bucket" in messages[0]
        told = [repr(house.service.status()), *messages]
        for job in await house.engine.jobs(JobFilter()):
            told += [repr(job), *(line.text for line in await house.engine.logs(job.id))]
    written = [path.read_bytes() for path in state_dir.rglob("*") if path.is_file() and "/lend/" not in str(path)]
    forms = {form for value in canaries.values() for form in (value, quote(value, safe=""))}
    assert written
    assert not [text for text in told if any(form in text for form in forms)]
    assert not [form for form in forms if any(form.encode() in data for data in written)]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_runs_by_spark_and_by_arrow_fill_one_table(state_dir: Path) -> None:
    requires("pyspark 4.1, Java and the jars of Iceberg", spark_lab.is_here(), "python -m tests.fakes.spark_lab")
    house = IngestHouse(state_dir, children=True, spark={"url": "local[2]", "conf": spark_lab.conf()})
    house.environments["spark"] = EnvironmentSettings(python=str(spark_lab.PYTHON), start_timeout_s=60.0)
    house.end_s = 100.0
    async with house.open():
        record = await house.define(engine="spark")
        house.put("a.jsonl", 1, 2)
        assert (await house.run())["records"] == 2
        house.service.book.edit(record, house.definition(engine="arrow"), ANNA)
        house.put("b.jsonl", 3)
        result = await house.run()
        assert (result["files_discovered"], result["records"]) == (1, 1)
        assert await rows(house, "id") == [[1], [2], [3]]
        assert record.facts.exactly_once


async def test_a_file_tells_how_long_it_took_and_its_run_how_long_each_part(house: IngestHouse) -> None:
    async with house.open():
        record = await house.define()
        house.put("a.jsonl", 1)
        await house.run()
        [file] = await house.service.ledger.files(record)
        run = await house.last_run()
        assert 0 < file.duration_s <= run.body.seconds["load"]
        assert set(run.body.seconds) >= {"discover", "read", "commit", "load"}

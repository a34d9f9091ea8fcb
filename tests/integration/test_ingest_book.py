"""The book of ingestions and the book of their runs: what is refused, what stays, what a restart finds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from labd.errors import BadRequest, Conflict, NotFound, UnknownIngestion
from labd.ingest.definition import Destination, Source
from labd.ingest.record import Counts, RunError, RunState, State, outcome
from tests.fakes.ingest_ledger import ANNA, LedgerHouse, definition, entry


async def test_an_ingestion_is_found_by_name_and_id_after_a_restart(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    async with house.open():
        record = house.book.create(definition(), ANNA)
        record.facts.after = "2024/7"
        house.book.put_facts(record)
    async with house.open():
        found = house.book.find("Readings")
        assert found == record and found is house.book.find(record.id) is house.book.of_number(record.number)
        assert (found.state, found.created_by, found.facts.after) == (State.ACTIVE, "unix:anna", "2024/7")
        with pytest.raises(UnknownIngestion, match="no ingestion is named reading; did you mean readings"):
            house.book.find("reading")


async def test_a_name_and_a_table_belong_to_one_ingestion(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        house.book.create(definition(), ANNA)
        with pytest.raises(Conflict, match="the name is taken by readings"):
            house.book.create(definition("READINGS"), ANNA)
        with pytest.raises(Conflict, match=r"table default/lab.readings is written by ingestion readings"):
            house.book.create(definition("other", destination=Destination(namespace="LAB", table="Readings")), ANNA)
        assert [record.name for record in house.book.definitions()] == ["readings"]


async def test_a_deleted_ingestion_frees_its_name_and_its_table(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    async with house.open():
        old = house.book.create(definition(), ANNA)
        house.book.delete(old, ANNA)
        new = house.book.create(definition(), ANNA)
    async with house.open():
        assert house.book.find("readings").id == new.id
        assert house.book.find(old.id).state is State.DELETED
        with pytest.raises(UnknownIngestion, match="was deleted; its runs are still shown by its id"):
            house.book.live(old.id)
        assert [record.number for record in house.book.definitions(deleted=True)] == [2, 1]


async def test_what_the_ledger_is_about_stays_once_files_were_taken(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        moved = definition(source=Source(url="file:///srv/other"))
        assert house.book.edit(record, moved, ANNA)
        assert not house.book.edit(record, moved, ANNA)
        await house.take(record, house.begin(record), entry("a"))
        with pytest.raises(Conflict, match=r"source.url and destination cannot change"):
            house.book.edit(record, definition(destination=Destination(table="elsewhere")), ANNA)
        assert house.book.edit(record, definition(source=moved.source, changed="ignore", description="x"), ANNA)
        assert record.definition.changed == "ignore"


async def test_an_ingestion_may_get_another_name(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        house.book.edit(record, msgspec.structs.replace(record.definition, name="weather"), ANNA)
        assert house.book.find("weather") is record
        with pytest.raises(UnknownIngestion):
            house.book.find("readings")


async def test_a_paused_ingestion_stays_paused(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    async with house.open():
        record = house.book.create(definition(), ANNA)
        assert house.book.set_state(record, State.PAUSED, ANNA)
        assert not house.book.set_state(record, State.PAUSED, ANNA)
    async with house.open():
        assert house.book.find("readings").state is State.PAUSED
        with pytest.raises(ValueError, match="no pause"):
            house.book.set_state(house.book.find("readings"), State.DELETED, ANNA)


async def test_definitions_of_the_settings_are_brought_in_force(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    async with house.open():
        house.book.create(definition("by-hand"), ANNA)
        assert house.book.declare({"readings": definition()}) == []
        record = house.book.find("readings")
        for verb in (lambda: house.book.delete(record, ANNA), lambda: house.book.edit(record, definition(), ANNA)):
            with pytest.raises(Conflict, match=r"stands in the settings as \[ingest.definition.readings\]"):
                verb()
        assert house.book.declare({"readings": definition(changed="ignore")}) == []
        assert record.definition.changed == "ignore"
        clash = definition("clash", destination=Destination(namespace="lab", table="hand"))
        house.book.create(msgspec.structs.replace(clash, name="hand"), ANNA)
        [(name, fault)] = house.book.declare({"readings": definition(), "clash": clash})
        assert name == "clash" and "is written by ingestion hand" in str(fault)
    async with house.open():
        house.book.declare({})
        record = house.book.find("readings")
        assert (record.state, record.origin) == (State.PAUSED, "api")
        assert house.book.find("by-hand").state is State.ACTIVE


async def test_names_that_the_settings_lack_are_refused(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        house.book.know(queues=["bulk"], catalogs=["default"], credentials=["lake"])
        bad = definition(
            queue="bulky", destination=Destination(catalog="other", table="t"),
            source=Source(url="s3://b/p", credentials="lak"),
        )  # fmt: skip
        with pytest.raises(BadRequest) as refused:
            house.book.create(bad, ANNA)
        assert refused.value.details["problems"] == [
            "source.credentials: no table [ingest.credentials.lak] in the settings; did you mean lake?",
            "queue: no queue 'bulky'; did you mean bulk?",
            "destination.catalog: no table [ingest.catalog.other] in the settings",
        ]


async def test_a_definition_that_could_not_be_read_back_is_refused(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        with pytest.raises(BadRequest, match=r"destination\.table: 'no-identifier'"):
            house.book.create(definition(destination=Destination(table="no-identifier")), ANNA)


async def test_changes_of_ingestions_are_audited(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        house.book.set_state(record, State.PAUSED, ANNA)
        house.book.delete(record, ANNA)
        entries = await house.engine.audit_page(None, 10)
        assert [(found.actor, found.action) for found in reversed(entries)] == [
            ("unix:anna", "ingestion.created"), ("unix:anna", "ingestion.paused"), ("unix:anna", "ingestion.deleted"),
        ]  # fmt: skip


async def test_the_same_job_begins_a_run_once(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    async with house.open():
        record = house.book.create(definition(), ANNA)
        run = house.begin(record, 7)
        assert house.begin(record, 7) is run
        with pytest.raises(Conflict, match="run 1 of job 7 has not ended"):
            house.begin(record, 8)
    async with house.open():
        record = house.book.find("readings")
        run = house.begin(record, 7)
        assert run.id == 1
        run.add_error(RunError("x", "y"))
        house.clock.step_wall(-100.0)
        assert house.runs.end(run, RunState.PARTIAL)
        assert not house.runs.end(run, RunState.FAILED)
        second = house.begin(record, 8)
        assert [found.id for found in await house.runs.runs(record)] == [2, 1]
        assert [found.id for found in await house.runs.runs(before=2)] == [1]
        assert [found.id for found in await house.runs.runs(state=RunState.RUNNING)] == [2]
        ended = await house.runs.find(1)
        assert (ended.state, ended.ended_at, ended.body.errors) == (
            RunState.PARTIAL, ended.started_at, [RunError("x", "y")],
        )  # fmt: skip
        assert await house.runs.find(2) is second
        with pytest.raises(NotFound, match="no run 3"):
            await house.runs.find(3)


async def test_the_database_keeps_one_going_run_and_one_table(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        house.begin(record)
        await house.commit()
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            house.sql("INSERT INTO ingest_run SELECT 9, ingestion, 9, trigger, state, 1, NULL, body FROM ingest_run")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            house.sql("UPDATE ingest_run SET state = 'failed'")
        row = "SELECT 9, hex(randomblob(18)), 'other', 'active', 'DEFAULT/lab.readings', origin, 1, '', 1, body, facts"
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            house.sql(f"INSERT INTO ingest_definition {row} FROM ingest_definition")


@pytest.mark.parametrize(
    ("counts", "broke_off", "denied", "state"),
    [
        (Counts(), False, 0, "succeeded"),
        (Counts(loaded=2, same=1), False, 0, "succeeded"),
        (Counts(vanished=1), False, 0, "succeeded"),
        (Counts(loaded=2, quarantined=1), False, 0, "partial"),
        (Counts(same=1, held=1), False, 0, "partial"),
        (Counts(loaded=1), False, 1, "partial"),
        (Counts(quarantined=3), False, 0, "failed"),
        (Counts(), False, 1, "failed"),
        (Counts(held=1), False, 0, "failed"),
        (Counts(held=1, noticed=1), False, 0, "partial"),
        (Counts(held=2, noticed=1), False, 0, "failed"),
        (Counts(held=1, noticed=1, quarantined=1), False, 0, "failed"),
        (Counts(held=1, noticed=1), False, 1, "failed"),
        (Counts(), True, 0, "failed"),
        (Counts(loaded=1), True, 0, "partial"),
    ],
)
def test_a_run_never_ends_in_a_false_success(counts: Counts, broke_off: bool, denied: int, state: str) -> None:
    assert outcome(counts, broke_off=broke_off, denied=denied).value == state

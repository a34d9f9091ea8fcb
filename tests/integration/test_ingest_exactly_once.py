"""Other writers, lost answers and lost reports do no harm to a load of the arrow engine: nothing twice or missing."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table import Table

from labd.ingest import remote_commit, remote_iceberg
from labd.ingest.remote_commit import KEPT_TOKENS, marks_of
from tests.fakes.ingest_rig import IngestRig, Refused


@pytest.fixture
def rig(tmp_path: Path) -> IngestRig:
    return IngestRig(tmp_path)


def table_of(rig: IngestRig) -> Table:
    found = remote_iceberg.find_table(rig.table)
    assert found is not None
    return found


def around_commit(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None], after: Callable[[int], None]) -> None:
    """Do something before and after each commit of a table; the first has number 1."""
    inner, count = Table._do_commit, 0

    def counted(self: Table, **options: Any) -> None:
        nonlocal count
        count += 1
        number = count
        before(number)
        inner(self, **options)
        after(number)

    monkeypatch.setattr(Table, "_do_commit", counted)


def nothing(_: int) -> None:
    """At no step."""


def raise_at(number: int, fault: Exception) -> Callable[[int], None]:
    def step(now: int) -> None:
        if now == number:
            raise fault

    return step


@pytest.mark.parametrize(
    "fault", [CommitStateUnknownException("no answer"), CommitFailedException("sent twice"), OSError()]
)
def test_a_commit_whose_answer_is_lost_is_looked_up(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    around_commit(monkeypatch, nothing, raise_at(1, fault))
    assert rig.load()["state"] == "committed"
    assert rig.rows("id") == [(1,)]


@pytest.mark.parametrize("fault", [CommitStateUnknownException("no answer"), CommitFailedException("no"), OSError()])
def test_a_commit_that_never_arrived_is_made_again(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    around_commit(monkeypatch, raise_at(1, fault), nothing)
    assert rig.load()["state"] == "committed"
    assert rig.rows("id") == [(1,)]


def test_two_children_with_one_batch_add_its_rows_once(rig: IngestRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    batch = rig.batch(rig.files())
    other: dict[str, Any] = {}

    def load_first(number: int) -> None:
        if number == 1:
            other.update(rig.ask("load", batch=batch))

    around_commit(monkeypatch, load_first, nothing)
    assert rig.ask("load", batch=batch)["state"] == "already"
    assert other["state"] == "committed"
    assert rig.rows("id") == [(1,)]
    assert len(list((rig.folder / "lake").rglob("*.parquet"))) == 1


def test_a_late_commit_of_a_lost_try_is_told_with_its_own_report(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.write("b.jsonl", [{"id": 2}])
    batch = rig.batch(rig.files())

    def second_reads_other_files(number: int) -> None:
        if number == 1:  # the first try stands before its commit; a second one has read meanwhile, and is overtaken
            report = Path(batch["report"])
            [(attempt, mine)] = json.loads(report.read_text()).items()
            report.write_text(json.dumps({attempt: mine, "another": {**mine, "rows": 77, "files": []}}))

    around_commit(monkeypatch, second_reads_other_files, nothing)
    rig.ask("load", batch=batch)
    told = rig.ask("load", batch=batch)
    assert (told["state"], told["rows"]) == ("already", 2)


def test_rows_of_another_writer_are_kept(rig: IngestRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.write("b.jsonl", [{"id": 2}])
    rig.load("a.jsonl")

    def append_first(number: int) -> None:
        if number == 1:
            table_of(rig).append(pa.table({"id": [100]}))

    around_commit(monkeypatch, append_first, nothing)
    report = rig.load("b.jsonl")
    assert report["state"] == "committed"
    assert rig.rows("id") == [(1,), (100,), (2,)]


def test_replaced_rows_are_found_again_where_another_writer_came_between(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write("a.jsonl", [{"id": 1}, {"id": 2}])
    rig.write("b.jsonl", [{"id": 3}])
    rig.load()
    rig.write("a.jsonl", [{"id": 9}])

    def delete_first(number: int) -> None:
        if number == 1:
            table_of(rig).delete("id == 3")

    around_commit(monkeypatch, delete_first, nothing)
    rig.ask("load", batch=rig.batch(rig.files("a.jsonl", policy="replace")))
    assert rig.rows("id") == [(9,)]
    named = table_of(rig).inspect.all_data_files()["file_path"].to_pylist()
    assert {f"file://{path}" for path in (rig.folder / "lake").rglob("*.parquet")} == set(named)


def test_columns_that_another_writer_changed_make_the_batch_be_read_again(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()
    rig.write("b.jsonl", [{"id": 2, "more": "x"}])

    def add_column(number: int) -> None:
        if number == 1:
            with table_of(rig).update_schema() as update:
                update.union_by_name(pa.schema([("theirs", pa.int64())]))

    around_commit(monkeypatch, add_column, nothing)
    assert rig.load("b.jsonl")["state"] == "committed"
    assert rig.rows("id", "more", "theirs") == [(1, None, None), (2, "x", None)]
    named = table_of(rig).inspect.all_data_files()["file_path"].to_pylist()
    assert {f"file://{path}" for path in (rig.folder / "lake").rglob("*.parquet")} == set(named)


def test_others_without_an_end_are_a_conflict_and_nothing_is_added(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.write("b.jsonl", [{"id": 2}])
    rig.load("a.jsonl")
    monkeypatch.setattr(remote_commit, "COMMIT_S", 0.0)

    def always(_: int) -> None:
        raise CommitFailedException("somebody was faster")

    around_commit(monkeypatch, always, nothing)
    with pytest.raises(Refused, match="others committed to it all the time") as refused:
        rig.load("b.jsonl")
    assert refused.value.code == "table_conflict"
    assert rig.rows("id") == [(1,)]


def test_a_table_dropped_at_the_last_moment_is_refused(rig: IngestRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()

    def drop(number: int) -> None:
        if number == 1:
            rig.ask("drop", table=rig.table)

    around_commit(monkeypatch, drop, nothing)
    with pytest.raises(Refused, match="was dropped while rows were written for it"):
        rig.load()


def test_the_property_of_the_table_does_not_make_pyiceberg_commit_again(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()
    with table_of(rig).transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "4"})
    looks: list[int] = []
    inner = remote_commit.look

    def counted(table: Table, token: str) -> Any:
        looks.append(1)
        return inner(table, token)

    monkeypatch.setattr(remote_commit, "look", counted)
    around_commit(monkeypatch, raise_at(1, CommitFailedException("stale")), nothing)
    rig.load()
    assert len(looks) >= 4  # before and after each of both tries


def test_expired_snapshots_leave_the_token_in_the_table(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.write("bad.jsonl.gz", b"no gzip")
    batch = rig.batch(rig.files())
    rig.ask("load", batch=batch)
    rig.write("b.jsonl", [{"id": 2}])
    rig.load("b.jsonl")
    table = table_of(rig)
    table.maintenance.expire_snapshots().by_id(table.metadata.snapshots[0].snapshot_id).commit()
    assert rig.ask("load", batch=batch)["state"] == "already"
    Path(batch["report"]).unlink()
    told = rig.ask("load", batch=batch)
    assert rig.states(told) == {"a.jsonl": "loaded", "bad.jsonl.gz": "changed"}  # looked at again by the next run
    assert rig.rows("id") == [(1,), (2,)]


def test_the_property_keeps_so_many_tokens_of_each_ingestion(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load(ingestion="other")
    table = table_of(rig)
    known = json.dumps([[f"old/{number}", "try"] for number in range(KEPT_TOKENS)])
    with table.transaction() as transaction:
        transaction.set_properties({"labd.tokens.sales": known})
    token = rig.load()["token"]
    properties = table_of(rig).properties
    kept = [one for one, _ in json.loads(properties["labd.tokens.sales"])]
    assert (len(kept), kept[0], kept[-1]) == (KEPT_TOKENS, "old/1", token)
    assert len(json.loads(properties["labd.tokens.other"])) == 1
    assert "sales/1" in marks_of(table_of(rig).metadata)


def test_a_table_that_another_child_makes_meanwhile_is_used(rig: IngestRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("a.jsonl", [{"id": 1, "more": "x"}])
    rig.write("b.jsonl", [{"id": 2}])
    batch = rig.batch(rig.files("a.jsonl"))
    inner = SqlCatalog.create_table
    first: list[int] = []

    def late(self: SqlCatalog, *args: Any, **options: Any) -> Table:
        if not first:
            first.append(1)
            rig.load("b.jsonl")
        return inner(self, *args, **options)

    monkeypatch.setattr(SqlCatalog, "create_table", late)
    assert rig.ask("load", batch=batch)["state"] == "committed"
    assert rig.rows("id", "more") == [(1, "x"), (2, None)]


def test_a_table_of_somebody_else_gets_labds_columns_and_keeps_its_rows(rig: IngestRig) -> None:
    make_theirs(
        rig, pa.schema([("id", pa.int32()), ("name", pa.string())]), pa.table({"id": pa.array([7], pa.int32())})
    )
    rig.write("a.jsonl", [{"name": "x", "id": 2**40, "more": 1.5}])
    report = rig.load()
    assert [one["key"] for one in report["changes"]] == ["widen id long", "add more double"]
    assert rig.rows("id", "name", "more", "_labd_batch") == [(2**40, "x", 1.5, 1), (7, None, None, None)]
    told = rig.ask("query", table=rig.table, columns=[], where="", limit=1)
    assert [one["name"] for one in told["columns"]][-4:] == [
        "_labd_file", "_labd_version", "_labd_batch", "_rescued_data"
    ]  # fmt: skip


def test_a_table_that_takes_no_rows_without_a_value_refuses_the_batch(rig: IngestRig) -> None:
    make_theirs(rig, pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())]), None)
    rig.write("a.jsonl", [{"name": "x"}])
    with pytest.raises(Refused, match="column id of the table takes no row without a value") as refused:
        rig.load()
    assert refused.value.code == "table_refused"
    assert list((rig.folder / "lake").rglob("*.parquet")) == []


def make_theirs(rig: IngestRig, schema: pa.Schema, rows: pa.Table | None) -> None:
    """A table that labd has not made."""
    catalog = SqlCatalog("default", **rig.catalog["properties"])
    catalog.create_namespace("lab")
    table = catalog.create_table(("lab", "readings"), schema)
    if rows is not None:
        table.append(rows)
    catalog.engine.dispose()


def test_what_lies_in_a_local_lake_is_on_the_disk_before_the_catalogue_names_it(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def noted(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    rig.write("a.jsonl", [{"id": 1}])
    monkeypatch.setattr(os, "fsync", noted)
    rig.load()
    files = [path for path in (rig.folder / "lake").rglob("*") if path.suffix in (".parquet", ".avro", ".json")]
    assert len(files) == 5  # rows, manifest, list of manifests, metadata of the empty and of the full table
    assert [path.name for path in files if path.stat().st_ino not in synced] == []


def test_a_connection_that_failed_once_and_for_good_is_not_used_again(
    rig: IngestRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by rounds of chaos: after an error of the disk a child committed nothing more until it was killed."""
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()
    broken = table_of(rig).catalog
    inner = Table._do_commit

    def commit(self: Table, **options: Any) -> None:
        if self.catalog is broken:
            raise sqlite3.OperationalError("disk I/O error")
        inner(self, **options)

    monkeypatch.setattr(Table, "_do_commit", commit)
    rig.write("b.jsonl", [{"id": 2}])
    assert rig.load("b.jsonl")["state"] == "committed"
    assert rig.rows("id") == [(1,), (2,)]


def test_a_catalogue_that_fails_on_and_on_says_how(rig: IngestRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()
    monkeypatch.setattr(remote_commit, "COMMIT_S", 0.0)

    def always(_: int) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    around_commit(monkeypatch, always, nothing)
    with pytest.raises(Refused, match=r"no commit in 0 s; nothing was added: .*disk I/O error") as refused:
        rig.load("a.jsonl")
    assert refused.value.code == "table_conflict"


def test_a_locked_catalogue_is_a_conflict(rig: IngestRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()
    monkeypatch.setitem(rig.catalog["properties"], "uri", f"sqlite:///{rig.folder}/catalog.db?timeout=0")
    monkeypatch.setattr(remote_commit, "COMMIT_S", 0.0)
    with sqlite3.connect(rig.folder / "catalog.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Refused, match="locked") as refused:
            rig.load()
        other.rollback()
    other.close()
    assert refused.value.code == "table_conflict"

"""The ledger of files: every change of state, what is found again after a restart, what the database refuses."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from labd.errors import Conflict, NotFound
from labd.ingest import ledger
from labd.ingest.definition import Column
from labd.ingest.port import FileFault, FileReport, SchemaChange
from labd.ingest.record import FileMark, RunState
from tests.fakes.ingest_ledger import ANNA, LedgerHouse, definition, entry, page, refs, report

TORN = FileFault("truncated", "the gzip stream ends after 12 of 90 bytes", "byte 12")


def loaded(path: str, version: str = "v1", rows: int = 3, sha256: str = "a" * 64, rescued: int = 0) -> FileReport:
    return FileReport(path, version, "loaded", rows, rescued, 100, sha256)


async def test_a_listing_is_compared_by_path_and_version(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"), entry("b"))
        assert house.ledger.settle(run.id, 1, report(batch, loaded("a"), loaded("b")), run)
        seen = await house.ledger.compare(record, page(entry("b", "v2"), entry("a"), entry("new"), entry('odd"\\\n/é')))
        assert [file.path for file in seen] == ["b", "new", 'odd"\\\n/é']
        assert seen[0].was_loaded and seen[0].old is not None and seen[0].old.version == "v1"
        assert seen[0].to_ref("replace").policy == "replace" and seen[0].to_ref("replace").known_sha256 == "a" * 64
        assert seen[1].old is None and seen[1].to_ref().policy == "new"
        assert (seen[1].size_bytes, seen[1].modified_at) == (100, 1_700_000_000.25)


async def test_ingestions_share_no_files(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        one, two = house.book.create(definition("one"), ANNA), house.book.create(definition("two"), ANNA)
        await house.take(one, house.begin(one), entry("a"))
        assert await house.ledger.compare(one, page(entry("a"))) == []
        assert [file.path for file in await house.ledger.compare(two, page(entry("a")))] == ["a"]


async def test_a_batch_is_found_after_a_restart_as_it_was_taken(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    async with house.open():
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        first = await house.take(record, run, entry("a"), entry("b"))
        assert house.ledger.settle(run.id, 1, report(first, loaded("a"), loaded("b", sha256="b" * 64)), run)
        seen = await house.ledger.compare(record, page(entry("a", "v2"), entry("c")))
        files = [file.to_ref("replace") for file in seen]
        second = house.ledger.take(run, files)
    async with house.open():
        record = house.book.find("readings")
        assert await house.ledger.open_batches(record) == [second]
        assert await house.ledger.open_batches(record, but=run.id) == []
        assert await house.ledger.batch(run.id, 2) == files
        assert [run.id for run in house.runs.going(record)] == [1]
        assert await house.ledger.compare(record, page(entry("a", "v2"), entry("c"))) == []
        again = house.runs.going(record)[0]
        third = house.ledger.take(again, refs(await house.ledger.compare(record, page(entry("d")))))
        assert (third.number, again.counts.found, again.counts.changed) == (3, 5, 1)
        assert len({first.mark, second.mark, third.mark}) == 3 and len({first.token, second.token, third.token}) == 3
        assert 0 < third.mark < 2**63


async def test_what_became_of_each_file_of_a_batch(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, *(entry(name) for name in ("bad", "gone", "good", "moved", "untold")))
        house.clock.advance(5.0)
        told = report(
            batch, loaded("good", rescued=1), FileReport("bad", "v1", "quarantined", fault=TORN),
            FileReport("gone", "v1", "vanished"), FileReport("moved", "v1", "changed"), bytes_in=400, bytes_out=300,
            seconds={"read": 0.5}, table_uuid="u-1", snapshot_id=7,
        )  # fmt: skip
        assert house.ledger.settle(run.id, 1, told, run)
        files = {file.path: file for file in await house.ledger.files(record)}
        assert {path: file.state.value for path, file in files.items()} == {
            "bad": "quarantined", "gone": "vanished", "good": "loaded", "moved": "pending", "untold": "pending",
        }  # fmt: skip
        good = files["good"]
        assert (good.rows, good.rescued, good.sha256, good.attempts) == (3, 1, "a" * 64, 1)
        assert good.loaded_at == good.seen_at + 5.0
        assert files["bad"].fault == TORN and files["bad"].loaded_at is None
        assert [file.path for file in await house.ledger.waiting(record)] == ["moved", "untold"]
        counts = run.counts
        assert (counts.loaded, counts.quarantined, counts.vanished, counts.moved, counts.settled) == (1, 1, 1, 1, 1)
        assert (counts.rows, counts.rescued, counts.bytes_in, counts.bytes_out) == (3, 1, 400, 300)
        assert [(error.path, error.code, error.place) for error in run.body.errors] == [("bad", "truncated", "byte 12")]
        assert (record.facts.table_uuid, run.body.snapshot_id, run.body.seconds) == ("u-1", 7, {"read": 0.5})
        every = page(*(entry(name) for name in files))
        assert {file.path for file in await house.ledger.compare(record, every)} == {"gone", "moved", "untold"}


async def test_a_batch_is_settled_once(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    async with house.open():
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"))
        told = report(batch, loaded("a"))
        assert house.ledger.settle(run.id, 1, told, run)
        assert not house.ledger.settle(run.id, 1, told, run)
        assert (run.counts.loaded, run.counts.rows) == (1, 3)
    async with house.open():
        run = house.runs.going()[0]
        assert not house.ledger.settle(run.id, 1, told, run)
        assert run.counts.loaded == 1
        with pytest.raises(NotFound, match="batch 1 of run 1 is not open"):
            await house.ledger.batch(1, 1)
        [batch] = await house.ledger.batches(1)
        assert (batch.state, batch.settled_by, batch.report is not None) == ("settled", 1, True)


async def test_a_report_of_another_batch_is_refused(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        first, second = await house.take(record, run, entry("a")), await house.take(record, run, entry("b"))
        with pytest.raises(ValueError, match=second.token):
            house.ledger.settle(run.id, 1, report(second, loaded("b")), run)
        assert (await house.ledger.file(record, "a")).state is FileMark.PENDING
        assert first.is_open


async def test_a_later_run_ends_what_an_earlier_one_left(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        early = house.begin(record, 1)
        batch = await house.take(record, early, entry("a"))
        house.runs.end(early, RunState.FAILED)
        late = house.begin(record, 2)
        assert await house.ledger.open_batches(record, but=late.id) == [batch]
        assert house.ledger.settle(early.id, 1, report(batch, loaded("a")), late)
        assert (early.counts.loaded, late.counts.loaded, late.counts.settled) == (0, 1, 1)
        await house.commit()
        assert house.sql("SELECT state, settled_by FROM ingest_batch") == [("settled", late.id)]


async def test_same_bytes_keep_the_rows_that_are_in_the_table(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"))
        house.ledger.settle(run.id, 1, report(batch, loaded("a")), run)
        since = (await house.ledger.file(record, "a")).loaded_at
        house.clock.advance(60.0)
        batch = await house.take(record, run, entry("a", "touched"))
        house.ledger.settle(run.id, 2, report(batch, FileReport("a", "touched", "same"), state="nothing"), run)
        file = await house.ledger.file(record, "a")
        assert (file.state, file.version, file.rows, file.sha256, file.loaded_at) == (
            FileMark.LOADED, "touched", 3, "a" * 64, since,
        )  # fmt: skip
        assert (run.counts.same, run.counts.rows) == (1, 3)


async def test_a_bad_new_version_leaves_what_was_loaded_known(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"))
        house.ledger.settle(run.id, 1, report(batch, loaded("a")), run)
        batch = await house.take(record, run, entry("a", "v2"))
        house.ledger.settle(run.id, 2, report(batch, FileReport("a", "v2", "quarantined", fault=TORN)), run)
        [seen] = await house.ledger.compare(record, page(entry("a", "v3")))
        assert seen.was_loaded and seen.to_ref().policy == "append" and seen.to_ref().known_sha256 == "a" * 64


async def test_a_quarantined_file_is_tried_again_only_when_asked_for(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"), entry("b"), entry("c"))
        bad = [FileReport(name, "v1", "quarantined", fault=TORN) for name in "ab"]
        house.ledger.settle(run.id, 1, report(batch, *bad, loaded("c")), run)
        every = page(entry("a"), entry("b"), entry("c"))
        assert await house.ledger.compare(record, every) == []
        assert await house.ledger.requeue(record, ["a", "c", "nothing"]) == 1
        assert [file.path for file in await house.ledger.compare(record, every)] == ["a"]
        assert [file.path for file in await house.ledger.waiting(record)] == ["a"]
        again = await house.take(record, run, entry("a"), entry("b"))
        house.ledger.settle(run.id, 2, report(again, loaded("a")), run)
        assert (await house.ledger.file(record, "a")).attempts == 2
        assert await house.ledger.requeue(record) == 1
        assert await house.ledger.requeue(record, states=(FileMark.LOADED,)) == 2
        assert len(await house.ledger.waiting(record)) == 3
        assert len(await house.ledger.waiting(record, 2)) == 2


@pytest.mark.parametrize("state", [FileMark.IGNORED, FileMark.HELD])
async def test_a_changed_file_may_be_passed_over_or_held(state_dir: Path, state: FileMark) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"))
        house.ledger.settle(run.id, 1, report(batch, loaded("a")), run)
        fault = FileFault("changed", "it was loaded as v1 and is another version now")
        changed = await house.ledger.compare(record, page(entry("a", "v2")))
        assert house.ledger.mark(record, changed, state, run, fault) == 1
        assert (run.counts.held, run.counts.ignored) == ((1, 0) if state is FileMark.HELD else (0, 1))
        assert await house.ledger.compare(record, page(entry("a", "v2"))) == []
        file = await house.ledger.file(record, "a")
        assert (file.state, file.version, file.sha256, file.rows) == (state, "v2", "a" * 64, 3)
        assert await house.ledger.requeue(record, states=(state,)) == 1
        [seen] = await house.ledger.compare(record, page(entry("a", "v2")))
        assert seen.was_loaded


async def test_a_schema_change_waits_for_a_person_across_a_restart(state_dir: Path) -> None:
    house = LedgerHouse(state_dir)
    change = SchemaChange("add amount double", "add", "amount", "double", path="a")
    async with house.open():
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"))
        assert house.ledger.settle(run.id, 1, report(batch, state="approval", changes=[change]), run)
        assert run.counts.settled == 0
    async with house.open():
        batch = house.ledger.batch_record(1, 1)
        assert batch.state == "approval" and batch.report is not None and batch.report.changes == [change]
        house.ledger.approve(1, 1, [change.key])
        assert (batch.state, batch.approved) == ("open", ["add amount double"])
        assert [file.path for file in await house.ledger.batch(1, 1)] == ["a"]
        columns = [Column("id", "long"), Column("amount", "double")]
        run = house.runs.going()[0]
        house.ledger.settle(1, 1, report(batch, loaded("a"), columns=columns, changes=[change]), run)
        record = house.book.find("readings")
        [version] = await house.ledger.schemas(record)
        assert (version.version, version.columns, version.changes, version.path) == (1, columns, [change], "a")
        assert record.facts.columns == columns
        batch = await house.take(record, run, entry("b"))
        house.ledger.settle(1, 2, report(batch, loaded("b"), columns=columns), run)
        assert len(await house.ledger.schemas(record)) == 1


@pytest.mark.parametrize("fault", [None, FileFault("schema_refused", "unix:anna refuses the column amount")])
async def test_a_batch_that_is_given_up_puts_its_files_back(state_dir: Path, fault: FileFault | None) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        await house.take(record, run, entry("a"), entry("b"))
        state = FileMark.PENDING if fault is None else FileMark.HELD
        assert house.ledger.put_back(run.id, 1, state, run, fault) == 2
        assert run.counts.held == (0 if fault is None else 2)
        files = await house.ledger.files(record, state)
        assert [(file.path, file.batch, file.fault) for file in files] == [("a", None, fault), ("b", None, fault)]
        assert await house.ledger.open_batches(record) == []
        assert [batch.state for batch in await house.ledger.batches(run.id)] == ["void"]
        assert len(await house.ledger.compare(record, page(entry("a"), entry("b")))) == (2 if fault is None else 0)


async def test_files_are_paged_and_filtered_and_counted(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        names = [f"2024/{number:02d}.json" for number in range(5)]
        batch = await house.take(record, run, *map(entry, names))
        told = [loaded(name) for name in names[:3]] + [
            FileReport(name, "v1", "quarantined", fault=TORN) for name in names[3:]
        ]
        house.ledger.settle(run.id, 1, report(batch, *told), run)
        paths = [file.path for file in await house.ledger.files(record, limit=2)]
        assert paths == names[:2]
        assert [file.path for file in await house.ledger.files(record, limit=2, after=paths[-1])] == names[2:4]
        assert [file.path for file in await house.ledger.files(record, FileMark.QUARANTINED)] == names[3:]
        assert [file.path for file in await house.ledger.files(record, match="*/0[12]*")] == names[1:3]
        assert await house.ledger.files(record, run=99) == []
        counts = await house.ledger.counts(record)
        assert {state.value: (n.files, n.rows, n.size_bytes) for state, n in counts.items()} == {
            "loaded": (3, 9, 300), "quarantined": (2, 0, 200),
        }  # fmt: skip
        with pytest.raises(NotFound, match="no file 2024/99"):
            await house.ledger.file(record, "2024/99.json")


async def test_a_full_refresh_forgets_all_files_but_never_an_open_batch(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        batch = await house.take(record, run, entry("a"))
        with pytest.raises(Conflict, match="1 batches are open, the first is 1 of run 1"):
            await house.ledger.forget(record)
        house.ledger.settle(run.id, 1, report(batch, loaded("a"), table_uuid="u-1"), run)
        assert await house.ledger.forget(record) == 1
        assert [file.path for file in await house.ledger.compare(record, page(entry("a")))] == ["a"]
        assert (record.facts.begun, record.facts.table_uuid) == (False, None)


async def test_all_files_are_asked_for_again_and_forgotten_in_pieces(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PIECE", 2)
    async with LedgerHouse(state_dir).open() as house:
        record = house.book.create(definition(), ANNA)
        run = house.begin(record)
        names = list("abcde")
        batch = await house.take(record, run, *map(entry, names))
        bad = [FileReport(name, "v1", "quarantined", fault=TORN) for name in names]
        house.ledger.settle(run.id, 1, report(batch, *bad), run)
        said: list[str] = []
        execute = house.engine.journal.execute

        def listen(name: str, *given: Any) -> None:
            said.append(name)
            execute(name, *given)

        monkeypatch.setattr(house.engine.journal, "execute", listen)
        assert await house.ledger.requeue(record, ["a", "nothing", "b", "b"]) == 2
        assert await house.ledger.requeue(record) == 3
        assert [file.path for file in await house.ledger.waiting(record)] == names
        assert await house.ledger.forget(record) == 5
        assert await house.ledger.files(record) == []
        assert (said.count("ingest.requeue"), said.count("ingest.forget")) == (4, 3)


async def test_the_small_states_are_found_by_their_index(state_dir: Path) -> None:
    async with LedgerHouse(state_dir).open() as house:
        text = house.engine.journal._queries["ingest.files_not_loaded"]
        plan = house.sql(f"EXPLAIN QUERY PLAN {text}", 1, "held", None, None, "", 10)
        assert "ingest_not_loaded" in str(plan)
        for name, given in (
            ("ingest.compare", (1, "[]")), ("ingest.settle", (1, 1, 1, 0.0, "[]")),
            ("ingest.put_back", (1, 1, 1, "pending", None, 0)),
        ):  # fmt: skip
            plan = str(house.sql(f"EXPLAIN QUERY PLAN {house.engine.journal._queries[name]}", *given))
            assert "PRIMARY KEY (ingestion=? AND path=?)" in plan, plan


@pytest.mark.parametrize(
    ("state", "run", "batch", "loaded_at", "fault"),
    [
        ("nonsense", None, None, None, None),
        ("loaded", 1, 1, None, None),
        ("loaded", None, None, 1.0, None),
        ("quarantined", 1, 1, None, None),
        ("held", None, None, None, None),
        ("pending", 1, None, None, None),
        ("vanished", None, None, None, None),
        ("ignored", 1, 1, None, None),
    ],
)
async def test_the_database_refuses_a_state_that_cannot_be(
    state_dir: Path, state: str, run: int | None, batch: int | None, loaded_at: float | None, fault: str | None
) -> None:
    async with LedgerHouse(state_dir).open() as house:
        house.book.create(definition(), ANNA)
        await house.commit()
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            house.sql(
                "INSERT INTO ingest_file (ingestion, path, version, state, run, batch, size_bytes, modified_at, "
                "seen_at, loaded_at, fault) VALUES (1, 'a', 'v', ?, ?, ?, 1, 1.0, 1.0, ?, ?)",
                state, run, batch, loaded_at, fault,
            )  # fmt: skip

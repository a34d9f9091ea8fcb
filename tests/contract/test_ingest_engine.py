"""What every ingest engine does: `labd.ingest.port.TableEngine`, spoken to through the child's entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ingest_rig import QUALITY, RULE, IngestRig, Refused
from tests.fakes.spark_lab import spark_rigs

ENGINES = {"arrow": lambda: IngestRig, "spark": spark_rigs}
URL_OF_SECRET = "se/cret+canary"


@pytest.fixture(scope="module", params=["arrow", pytest.param("spark", marks=[pytest.mark.timeout(180)])])
def rigs(request: pytest.FixtureRequest) -> Callable[[Path], IngestRig]:
    """Makes rigs of one engine; what they share is there before the first test of it."""
    return ENGINES[request.param]()


@pytest.fixture
def rig(rigs: Callable[[Path], IngestRig], tmp_path: Path) -> IngestRig:
    return rigs(tmp_path)


def rule(**words: Any) -> dict[str, Any]:
    return {**RULE, **words}


def test_rows_of_all_files_are_in_one_commit_with_the_token(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])
    rig.write("b/c.jsonl", [{"id": 3, "name": "three"}])
    report = rig.load()
    assert (report["state"], report["rows"]) == ("committed", 3)
    assert rig.states(report) == {"a.jsonl": "loaded", "b/c.jsonl": "loaded"}
    assert rig.rows("id", "name") == [(1, "one"), (2, "two"), (3, "three")]
    facts = rig.ask("describe", table=rig.table)
    assert (facts["rows"], facts["tokens"]) == (3, [report["token"]])
    assert (facts["uuid"], facts["snapshot_id"]) == (report["table_uuid"], report["snapshot_id"])
    assert facts["columns"] == report["columns"] == [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]


def test_every_row_says_where_it_came_from(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    [file] = rig.files()
    report = rig.ask("load", batch=rig.batch([file], number=2**62 + 1))
    assert rig.rows("_labd_file", "_labd_version", "_labd_batch", "_rescued_data") == [
        (f"file://{rig.inbox}/a.jsonl", file["version"], 2**62 + 1, None)
    ]
    assert report["files"][0]["version"] == file["version"]


def test_the_same_call_again_tells_the_same_and_adds_nothing(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.write("bad.jsonl.gz", b"no gzip")
    batch = rig.batch(rig.files())
    first = rig.ask("load", batch=batch)
    (rig.inbox / "a.jsonl").unlink()  # nothing of it is read again
    again = rig.ask("load", batch=batch)
    assert again["state"] == "already"
    assert rig.states(again) == {"a.jsonl": "loaded", "bad.jsonl.gz": "quarantined"}
    for name in ("token", "files", "rows", "snapshot_id", "columns", "bytes_in", "bytes_out"):
        assert again[name] == first[name], name
    assert rig.rows("id") == [(1,)]


def test_a_lost_report_is_told_from_the_table(rig: IngestRig) -> None:
    rig.write("a.jsonl", '{"id": 1}\n{broken\n')
    rig.write("bad.jsonl.gz", b"no gzip")
    batch = rig.batch(rig.files())
    first = rig.ask("load", batch=batch)
    Path(batch["report"]).unlink()
    again = rig.ask("load", batch=batch)
    assert (again["state"], again["rows"]) == ("already", 2)
    assert rig.states(again) == rig.states(first)
    assert [file["rescued"] for file in again["files"]] == [1, 0]


def test_tokens_are_found_and_unknown_ones_are_not(rig: IngestRig) -> None:
    assert rig.ask("find_tokens", table=rig.table, tokens=["a"]) == []
    assert rig.ask("describe", table=rig.table) is None
    rig.write("a.jsonl", [{"id": 1}])
    token = rig.load()["token"]
    assert rig.ask("find_tokens", table=rig.table, tokens=["a", token]) == [token]


def test_a_bad_file_is_quarantined_with_its_reason_and_the_others_go_in(rig: IngestRig) -> None:
    rig.write("bad.jsonl.gz", b"no gzip")
    rig.write("good.jsonl", [{"id": 1}])
    report = rig.load()
    bad = report["files"][0]
    assert (bad["state"], bad["rows"]) == ("quarantined", 0)
    assert bad["fault"]["code"] and bad["fault"]["message"]
    assert rig.rows("id") == [(1,)]


def test_a_file_that_breaks_at_its_end_leaves_no_row(rig: IngestRig) -> None:
    rig.write("cut.jsonl.gz", "".join(f'{{"id": {number}}}\n' for number in range(50_000)))
    whole = (rig.inbox / "cut.jsonl.gz").read_bytes()
    (rig.inbox / "cut.jsonl.gz").write_bytes(whole[:-9])
    rig.write("good.jsonl", [{"id": -1}])
    report = rig.load()
    assert rig.states(report) == {"cut.jsonl.gz": "quarantined", "good.jsonl": "loaded"}
    assert rig.rows("id") == [(-1,)]


def test_malformed_rows_are_rescued_and_counted(rig: IngestRig) -> None:
    rig.write("a.jsonl", '{"id": 1}\n{broken\n{"id": 3}\n')
    report = rig.load()
    assert (report["files"][0]["rows"], report["files"][0]["rescued"]) == (3, 1)
    [(text,)] = rig.rows("_rescued_data", where="id is null")
    assert json.loads(text)["_raw"].startswith("{broken")


def test_a_batch_of_bad_files_makes_no_table(rig: IngestRig) -> None:
    rig.write("bad.jsonl.gz", b"no gzip")
    report = rig.load()
    assert (report["state"], rig.states(report)) == ("nothing", {"bad.jsonl.gz": "quarantined"})
    assert rig.ask("describe", table=rig.table) is None


def test_empty_files_alone_make_no_table_and_the_first_file_with_rows_decides(rig: IngestRig) -> None:
    rig.write("zero.jsonl", b"")
    rig.write("blank.jsonl", b"\n")
    report = rig.load()
    assert (report["state"], report["rows"]) == ("nothing", 0)
    assert rig.states(report) == {"blank.jsonl": "loaded", "zero.jsonl": "loaded"}
    assert rig.ask("describe", table=rig.table) is None
    rig.write("a.jsonl", [{"id": 1}])
    assert rig.load()["rows"] == 1
    assert rig.rows("id") == [(1,)]


def test_the_same_bytes_under_another_version_are_not_loaded_again(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    digest = rig.load()["files"][0]["sha256"]
    rig.write("a.jsonl", [{"id": 1}])
    report = rig.ask("load", batch=rig.batch(rig.files(known_sha256=digest, policy="append")))
    assert (report["state"], rig.states(report)) == ("nothing", {"a.jsonl": "same"})
    assert rig.rows("id") == [(1,)]


def test_a_file_that_is_not_the_listed_one_is_left_for_the_next_listing(rig: IngestRig) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        rig.write(name, [{"id": 1}])
    files = rig.files()
    rig.write("a.jsonl", [{"id": 100}, {"id": 200}])
    (rig.inbox / "b.jsonl").unlink()
    report = rig.ask("load", batch=rig.batch(files))
    assert rig.states(report) == {"a.jsonl": "changed", "b.jsonl": "vanished", "c.jsonl": "loaded"}
    assert rig.rows("id") == [(1,)]


def test_a_new_version_is_added_beside_the_old_one(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()
    rig.write("a.jsonl", [{"id": 2}])
    rig.ask("load", batch=rig.batch(rig.files(policy="append")))
    assert rig.rows("id") == [(1,), (2,)]


def test_a_new_version_replaces_the_rows_of_the_old_one_and_no_others(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}, {"id": 2}])
    rig.write("b.jsonl", [{"id": 10}])
    rig.load()
    rig.write("a.jsonl", [{"id": 3, "more": "x"}])
    batch = rig.batch(rig.files("a.jsonl", policy="replace"))
    report = rig.ask("load", batch=batch)
    assert (report["state"], report["rows"]) == ("committed", 1)
    assert rig.rows("id", "more") == [(10, None), (3, "x")]
    assert rig.ask("load", batch=batch)["state"] == "already"
    assert rig.ask("describe", table=rig.table)["rows"] == 2


def test_a_new_version_without_rows_takes_the_old_ones_out(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.write("b.jsonl", [{"id": 10}])
    rig.load()
    rig.write("a.jsonl", "")
    report = rig.ask("load", batch=rig.batch(rig.files("a.jsonl", policy="replace")))
    assert report["state"] == "committed"
    assert rig.rows("id") == [(10,)]


def test_a_new_version_that_is_broken_leaves_the_old_rows(rig: IngestRig) -> None:
    rig.write("a.jsonl.gz", '{"id": 1}\n')
    rig.load()
    rig.write("a.jsonl.gz", b"no gzip")
    report = rig.ask("load", batch=rig.batch(rig.files(policy="replace")))
    assert (report["state"], rig.states(report)) == ("nothing", {"a.jsonl.gz": "quarantined"})
    assert rig.rows("id") == [(1,)]


def test_new_columns_are_added_and_labds_stay_the_last(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load("a.jsonl")
    rig.write("b.jsonl", [{"id": 2, "amount": 1.5}])
    report = rig.load("b.jsonl")
    assert [(one["key"], one["path"]) for one in report["changes"]] == [("add amount double", "b.jsonl")]
    assert [one["name"] for one in report["columns"]] == ["id", "amount"]
    assert rig.rows("id", "amount") == [(1, None), (2, 1.5)]
    told = rig.ask("query", table=rig.table, columns=[], where="", limit=1)
    assert [one["name"] for one in told["columns"]] == [
        "id", "amount", "_labd_file", "_labd_version", "_labd_batch", "_rescued_data"
    ]  # fmt: skip


def test_a_new_column_in_the_middle_of_a_batch_is_added_as_well(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load("a.jsonl")
    for number in range(2, 300):
        rig.write(f"n{number:03}.jsonl", [{"id": number} | ({"late": number} if number > 290 else {})])
    report = rig.ask("load", batch=rig.batch([file for file in rig.files() if file["path"] != "a.jsonl"]))
    assert [one["column"] for one in report["changes"]] == ["late"]
    assert rig.rows("id", "late") == sorted(
        [(number, number if number > 290 else None) for number in range(1, 300)], key=repr
    )


def test_the_first_files_together_make_the_columns(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1, "amount": 1}])
    rig.write("b.jsonl", [{"id": 2, "amount": 2.5, "more": "x"}])
    rig.load()
    assert rig.rows("id", "amount", "more") == [(1, 1.0, None), (2, 2.5, "x")]


def test_a_value_that_does_not_fit_its_column_is_rescued(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load("a.jsonl")
    rig.write("b.jsonl", [{"id": "two"}])
    report = rig.load("b.jsonl")
    assert report["files"][0]["rescued"] == 1
    [(text,)] = rig.rows("_rescued_data", where="id is null")
    assert json.loads(text)["id"] == "two"


def test_where_columns_are_inferred_once_later_ones_are_rescued(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load("a.jsonl", schema=rule(mode="infer"))
    rig.write("b.jsonl", [{"id": 2, "more": "x"}])
    report = rig.load("b.jsonl", schema=rule(mode="infer"))
    assert [one["name"] for one in report["columns"]] == ["id"]
    [(text,)] = rig.rows("_rescued_data", where="id == 2")
    assert json.loads(text)["more"] == "x"


def test_fixed_columns_are_those_of_the_rule(rig: IngestRig) -> None:
    columns = [{"name": "id", "type": "int"}, {"name": "at", "type": "date"}]
    rig.write("a.jsonl", [{"id": 1, "at": "2026-03-01", "more": 5}, {"id": "x"}])
    report = rig.load(schema=rule(mode="fixed", columns=columns))
    assert report["columns"] == columns
    assert report["files"][0]["rescued"] == 2
    assert rig.rows("id", "at") == [(1, "2026-03-01"), (None, None)]


def test_a_frozen_schema_refuses_and_names_file_and_column(rig: IngestRig) -> None:
    frozen = rule(evolution="freeze")
    rig.write("a.jsonl", [{"id": 1}])
    rig.load("a.jsonl", schema=frozen)
    rig.write("b.jsonl", [{"id": 2, "more": "x"}])
    rig.write("c.jsonl", [{"id": 3}])
    with pytest.raises(Refused, match=r"b\.jsonl brings column more \(string\)") as refused:
        rig.load("b.jsonl", "c.jsonl", schema=frozen)
    assert refused.value.code == "table_refused"
    assert rig.rows("id") == [(1,)]


def test_changes_wait_until_a_person_has_allowed_them(rig: IngestRig) -> None:
    asking = rule(evolution="approve")
    rig.write("a.jsonl", [{"id": 1}])
    rig.load("a.jsonl", schema=asking)
    rig.write("b.jsonl", [{"id": 2, "more": "x"}])
    batch = rig.batch(rig.files("b.jsonl"), schema=asking)
    report = rig.ask("load", batch=batch)
    assert (report["state"], report["rows"]) == ("approval", 0)
    keys = [one["key"] for one in report["changes"]]
    assert keys == ["add more string"]
    assert rig.rows("id") == [(1,)]
    assert rig.ask("load", batch={**batch, "approved": keys})["state"] == "committed"
    assert rig.rows("id", "more") == [(1, None), (2, "x")]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ({"max_rescued_percent": 10.0}, "1 of 2 rows with rescued data are 50 %, more than the 10 % allowed"),
        ({"max_quarantined_percent": 0.0}, "1 of 2 quarantined files are 50 %, more than the 0 % allowed"),
    ],
)
def test_too_much_that_is_bad_refuses_the_batch(rig: IngestRig, limit: dict[str, float], text: str) -> None:
    rig.write("a.jsonl", '{"id": 1}\n{broken\n')
    rig.write("bad.jsonl.gz", b"no gzip")
    with pytest.raises(Refused, match=text) as refused:
        rig.load(quality={**QUALITY, **limit})
    assert refused.value.code == "quality_refused"
    assert rig.ask("find_tokens", table=rig.table, tokens=["sales/1"]) == []


def test_a_table_that_somebody_dropped_is_not_made_anew(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    uuid = rig.load()["table_uuid"]
    assert rig.ask("drop", table=rig.table) is True
    assert rig.ask("drop", table=rig.table) is False
    with pytest.raises(Refused, match=r"is gone: somebody dropped it") as gone:
        rig.load(expected_uuid=uuid)
    assert gone.value.code == "table_refused"
    rig.load()
    with pytest.raises(Refused, match="is another one now"):
        rig.load(expected_uuid=uuid)


@pytest.mark.parametrize(
    "partition_by",
    [("region", "days(at)"), ("months(at)", "bucket(4, id)"), ("years(at)", "truncate(2, region)"),
     ("hours(at)", "bucket(3, region)")],
)  # fmt: skip
def test_partitioned_tables_give_back_what_went_in(rig: IngestRig, partition_by: tuple[str, ...]) -> None:
    rig.table = rig.table_named("split", *partition_by)
    regions = ["north", "south", None]
    rows = [
        {"id": number, "region": regions[number % 3], "at": f"202{number % 5}-0{1 + number % 9}-03T04:05:06Z"}
        for number in range(60)
    ]
    rig.write("a.jsonl", rows[:40])
    rig.write("b.jsonl", rows[40:])
    rig.load("a.jsonl")
    rig.load("b.jsonl")
    assert rig.ask("describe", table=rig.table)["partition_by"] == list(partition_by)
    assert rig.rows("id", "region", "at") == sorted([tuple(row.values()) for row in rows], key=repr)
    assert rig.rows("id", where="region == 'north' and id < 9") == [(0,), (3,), (6,)]
    assert rig.rows("id", where="at < '2020-02-01T00:00:00+00:00'") == [(0,), (45,)]
    rig.write("a.jsonl", [{"id": 1000, "region": "west", "at": "1969-12-31T23:59:59Z"}])
    rig.ask("load", batch=rig.batch(rig.files("a.jsonl", policy="replace")))
    assert sorted(row[0] for row in rig.rows("id")) == [*range(40, 60), 1000]
    assert rig.rows("id", where="at < '1970-01-01T00:00:00+00:00'") == [(1000,)]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("days(region)", "does not work on a string"),
        ("bucket(region)", "is not known"),
        ("days(3, region)", "is not known"),
        ("other", "names no column of the table; it has id, region"),
        ("hilbert(id)", "is not known"),
    ],
)
def test_a_partitioning_that_cannot_be_is_refused(rig: IngestRig, words: str, text: str) -> None:
    rig.table = rig.table_named("split", words)
    rig.write("a.jsonl", [{"id": 1, "region": "north"}])
    with pytest.raises(Refused, match=text) as refused:
        rig.load()
    assert refused.value.code == "table_refused"


def test_without_provenance_the_table_has_the_files_columns_and_rescued_data(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    batch = rig.batch(rig.files(), provenance=False)
    rig.ask("load", batch=batch)
    told = rig.ask("query", table=rig.table, columns=[], where="", limit=5)
    assert [one["name"] for one in told["columns"]] == ["id", "_rescued_data"]
    assert rig.ask("load", batch=batch)["state"] == "already"


def test_a_sample_shows_rows_and_changes_and_writes_nothing(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": number} for number in range(10)])
    sample = rig.ask("sample", batch=rig.batch(rig.files()), rows=3)
    assert [row[0] for row in sample["rows"]] == [0, 1, 2]
    assert [file["rows"] for file in sample["files"]] == [10]
    assert rig.ask("describe", table=rig.table) is None
    rig.load()
    rig.write("b.jsonl", [{"id": 1, "more": 2}])
    sample = rig.ask("sample", batch=rig.batch(rig.files("b.jsonl"), schema=rule(evolution="freeze")), rows=3)
    assert [one["key"] for one in sample["changes"]] == ["add more long"]
    assert [one["name"] for one in rig.ask("describe", table=rig.table)["columns"]] == ["id"]


def test_rows_can_be_looked_at(rig: IngestRig) -> None:
    rig.write(
        "a.jsonl", [{"id": number, "at": "2026-03-01T00:00:00Z", "deep": {"x": [1, None]}} for number in range(9)]
    )
    rig.load()
    told = rig.ask("query", table=rig.table, columns=["deep", "id", "at"], where="id >= 3", limit=2)
    assert [one["name"] for one in told["columns"]] == ["deep", "id", "at"]
    assert (len(told["rows"]), told["more"]) == (2, True)
    assert told["rows"][0][0] == {"x": [1, None]}
    assert told["rows"][0][2] == "2026-03-01T00:00:00Z"
    assert rig.ask("query", table=rig.table, columns=["id"], where="id >= 7", limit=2)["more"] is False


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"columns": ["nope"]}, "has no column nope; it has id"),
        ({"where": "id ==="}, "the filter 'id ===' cannot be used"),
        ({"where": "nope == 1"}, "the filter 'nope == 1' cannot be used"),
    ],
)
def test_a_look_that_cannot_be_says_why(rig: IngestRig, words: dict[str, Any], text: str) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load()
    with pytest.raises(Refused, match=text):
        rig.ask("query", **{"table": rig.table, "columns": [], "where": "", "limit": 5, **words})


def test_a_table_that_is_not_there_cannot_be_looked_at(rig: IngestRig) -> None:
    with pytest.raises(Refused, match=r"default\.lab\.readings: there is no such table"):
        rig.rows()


def test_no_secret_is_in_an_answer(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1, "note": f"it is {URL_OF_SECRET}"}])
    rig.load()
    rig.catalog["secrets"] = {"token": URL_OF_SECRET}
    assert rig.rows("note") == [("it is ***",)]
    with pytest.raises(Refused) as refused:
        rig.rows("id", where=f"id == '{URL_OF_SECRET}' or 'se%2Fcret%2Bcanary'")
    told = str(refused.value) + json.dumps(refused.value.details)
    assert "***" in told
    assert URL_OF_SECRET not in told and "se%2Fcret%2Bcanary" not in told


def test_a_table_tells_the_commits_of_an_ingestion_and_the_files_they_brought(rig: IngestRig) -> None:
    assert rig.ask("find_commits", table=rig.table, ingestion="sales") == []
    assert rig.ask("find_files", table=rig.table, numbers=[1]) == []
    rig.write("a.jsonl", [{"id": 1}, {"id": 2}])
    rig.write("b.jsonl", [{"id": 3}])
    first = rig.batch(rig.files())
    versions = {file["path"]: file["version"] for file in first["files"]}
    rig.ask("load", batch=first)
    rig.write("c.jsonl", [{"id": 4}])
    second = rig.batch(rig.files("c.jsonl"), ingestion="others")
    rig.ask("load", batch=second)
    assert rig.ask("find_commits", table=rig.table, ingestion="sales") == [first["token"]]
    assert rig.ask("find_commits", table=rig.table, ingestion="others") == [second["token"]]
    told = rig.ask("find_files", table=rig.table, numbers=[first["number"], 2**62 + 7])
    assert sorted((one["url"], one["version"], one["number"], one["rows"]) for one in told) == [
        (f"file://{rig.inbox}/a.jsonl", versions["a.jsonl"], first["number"], 2),
        (f"file://{rig.inbox}/b.jsonl", versions["b.jsonl"], first["number"], 1),
    ]


def test_a_table_without_provenance_does_not_tell_its_files(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    rig.load(provenance=False)
    assert len(rig.ask("find_commits", table=rig.table, ingestion="sales")) == 1
    assert rig.ask("find_files", table=rig.table, numbers=[1]) is None

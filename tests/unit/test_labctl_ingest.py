"""`labctl ingest`: definitions from words and files, and the sentences about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labctl import ingest_plans, ingest_requests, ingest_words
from labctl.ingest_definition import merged, of_file, of_options, table_of
from labd.errors import BadRequest


def test_options_become_the_fields_of_a_definition() -> None:
    given = {
        "source": "s3://b/p/", "form": "csv", "table": "prod/lake.eu.sales", "pattern": "**/*.csv",
        "exclude": ("tmp/*",), "option": ("region=eu-central-1", "endpoint=http://m:9000/?a=b"),
        "hint": ("at:timestamp",), "column": (), "cron": "@daily", "timezone": "Europe/Berlin",
        "every": None, "min_rows": 0, "header": False,
        "tag": ("a", "b"), "settings": ("limits.run_files=5", "format.encoding=latin-1"), "unset": ("alerts",),
        "partition_by": ("bucket(16, id)",), "lexical": None, "queue": None,
    }  # fmt: skip
    assert of_options(given) == {
        "source": {
            "url": "s3://b/p/", "pattern": "**/*.csv", "exclude": ["tmp/*"],
            "options": {"region": "eu-central-1", "endpoint": "http://m:9000/?a=b"},
        },
        "format": {"type": "csv", "header": False, "encoding": "latin-1"},
        "destination": {
            "catalog": "prod", "namespace": "lake.eu", "table": "sales", "partition_by": ["bucket(16, id)"],
        },
        "schema": {"hints": {"at": "timestamp"}}, "schedule": {"cron": "@daily", "timezone": "Europe/Berlin"},
        "quality": {"min_rows": 0}, "tags": ["a", "b"], "limits": {"run_files": 5}, "alerts": None,
    }  # fmt: skip
    columns = [{"name": "id", "type": "long"}, {"name": "m", "type": "map<string, long>"}]
    assert of_options({"column": ("id:long", "m:map<string, long>")}) == {
        "schema": {"mode": "fixed", "columns": columns}
    }
    assert of_options({}) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("t", {"table": "t"}), ("n.t", {"namespace": "n", "table": "t"}),
        ("c/n.t", {"catalog": "c", "namespace": "n", "table": "t"}), ("c/t", {"catalog": "c", "table": "t"}),
        ("a.b.t", {"namespace": "a.b", "table": "t"}),
    ],
)  # fmt: skip
def test_a_table_is_written_with_namespace_and_catalogue(text: str, expected: dict[str, str]) -> None:
    assert table_of(text) == expected


@pytest.mark.parametrize("text", ["", "n.", "/n.t", ".t", "c/"])
def test_a_table_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="a table is written"):
        table_of(text)


@pytest.mark.parametrize(
    "given", [{"option": ("region",)}, {"hint": ("=x",)}, {"column": (":long",)}, {"settings": ("x",)}]
)
def test_pairs_that_are_none_say_how_they_are_written(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="write --"):
        of_options(given)


def test_a_file_is_a_definition_in_any_of_its_shapes(tmp_path: Path) -> None:
    plain = {"name": "sales", "source": {"url": "file:///in"}}
    shapes = [
        plain,
        {"state": "active", "definition": plain},
        {"ingestions": [{"state": "paused", "definition": plain}]},
    ]
    for number, shape in enumerate(shapes):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(shape))
        assert of_file(str(path)) == plain
    path = tmp_path / "x.toml"
    path.write_text('[ingest.definition.sales.source]\nurl = "file:///in"\n')
    assert of_file(str(path)) == plain
    path.write_text("[ingest.definition.a]\n[ingest.definition.b]\n")
    with pytest.raises(BadRequest, match="has 2 definitions"):
        of_file(str(path))
    for text in ("[[", "= 3"):
        path.write_text(text)
        with pytest.raises(BadRequest, match="neither TOML nor JSON"):
            of_file(str(path))
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(BadRequest, match="is no definition"):
        of_file(str(tmp_path / "list.json"))


def test_options_go_over_a_file_key_by_key() -> None:
    old = {"name": "a", "source": {"url": "x", "pattern": "*"}, "tags": ["1"]}
    assert merged(old, {"source": {"pattern": "**"}, "tags": []}) == {
        "name": "a", "source": {"url": "x", "pattern": "**"}, "tags": [],
    }  # fmt: skip


def job(**result: Any) -> dict[str, Any]:
    figures = {
        "ingestion": "sales", "run": 3, "state": "succeeded", "files_discovered": 2, "files_processed": 2,
        "files_failed": 0, "records": 1, "rescued": 0, "bytes_read": 2048, "bytes_written": 10, "batches": 1,
        "unsettled": 0, "bad": [],
    }  # fmt: skip
    return {"id": 7, "task": "ingest.run", "result": {**figures, **result}}


def test_the_end_of_a_run_is_told_with_its_figures() -> None:
    assert ingest_words.ended(job(), 1.25).splitlines() == [
        "sales: run 3 succeeded after 1.2 s", "  2 of 2 files, 1 row, 2.0 KiB in, 10 B out, 1 batch",
    ]  # fmt: skip
    told = ingest_words.ended(job(state="partial", files_failed=1, bad=["x\x1b[2Jy"], rescued=1), 1.0)
    assert "\x1b" not in told
    assert "1 row, 1 of them with something in _rescued_data" in told
    assert told.splitlines()[-1] == "  next: labctl ingest files sales --bad, then labctl ingest retry sales"
    nothing = ingest_words.ended(job(files_discovered=0, files_processed=0, unsettled=4), 0.0)
    assert nothing.splitlines()[1] == "  nothing new, 4 still written"


@pytest.mark.parametrize(
    ("task", "result", "expected"),
    [
        ("ingest.create_run", {"run": 4, "left": [[3, 1]]}, "run 4, 1 batches left by earlier ones"),
        ("ingest.load_batch", {"state": "committed", "rows": 2}, "load: committed, 2 rows"),
        ("ingest.load_batch", {"state": "approval", "question": "add x?"}, "load: a person is asked, add x?"),
        ("ingest.hold_batch", {"state": "held"}, "hold batch: held"),
        ("ingest.load_batch", None, "load_batch"),
    ],
)
def test_steps_say_what_they_did(task: str, result: Any, expected: str) -> None:
    assert ingest_words.step(task, result) == expected


def test_an_import_is_told_row_by_row_without_control_characters() -> None:
    one = {
        "verdict": "waits",
        "status": "paused",
        "destination": "l.t",
        "notes": ["a\x1bnote"],
        "reason": "needs \x07it",
    }
    needed = {"name": "s", "secrets": ["k"], "ingestions": ["n"], "is_set": False, "toml": "[x]"}
    told = ingest_plans.imported({"ingestions": [{"name": "n", **one}], "credentials": [needed], "catalogs": ["prod"]})
    assert not {"\x1b", "\x07"} & set(told)
    assert "the settings need credentials for n:\n[x]" in told
    assert "[ingest.catalog.prod]" in told
    assert told.splitlines()[-1] == "1 definition: 1 waits"


def test_names_and_paths_are_escaped_in_requests() -> None:
    assert ingest_requests.act("pause", "../a b").path == "/api/v1/ingestions/..%2Fa%20b/pause"
    asked = ingest_requests.files("s", None, None, "a,b*", 5, "x&y")
    assert asked.query == {"match": "a,b*", "limit": "5", "after": "x&y"}
    assert ingest_requests.delete("s", False, "s").query == {}
    assert ingest_requests.delete("s", True, "s").query == {"drop_table": "true", "confirm": "s"}


def test_a_query_hides_where_rows_came_from_and_keeps_what_was_rescued() -> None:
    names = ["id", "_labd_file", "_labd_version", "_labd_batch", "_rescued_data"]
    answer = {"columns": [{"name": name, "type": "string"} for name in names], "rows": [[1, "f", "v", 7, None]]}
    shown = ingest_words.without_origin({**answer, "more": True})
    assert ([one["name"] for one in shown["columns"]], shown["rows"]) == (["id", "_rescued_data"], [[1, None]])
    assert shown["more"] is True


def test_a_run_that_took_up_what_an_earlier_one_left_does_not_count_it_as_found() -> None:
    result = {
        "ingestion": "s", "run": 2, "state": "succeeded", "files_discovered": 0, "files_processed": 1,
        "files_failed": 0, "unsettled": 0, "rescued": 0, "records": 3, "bytes_read": 1, "bytes_written": 1,
        "batches": 1, "bad": [],
    }  # fmt: skip
    assert "  1 file, 3 rows, 1 B in, 1 B out, 1 batch" in ingest_words.ended({"result": result}, 0.1)
    assert "  1 of 2 files, 3 rows" in ingest_words.ended({"result": {**result, "files_discovered": 2}}, 0.1)


def test_files_that_changed_or_vanished_under_a_run_and_broken_rules_are_told() -> None:
    result = {
        "ingestion": "s", "run": 2, "state": "succeeded", "files_discovered": 33, "files_processed": 0,
        "files_failed": 0, "unsettled": 0, "rescued": 0, "records": 0, "bytes_read": 0, "bytes_written": 0,
        "batches": 7, "moved": 32, "vanished": 1, "bad": ["0.jsonl"],
        "errors": ["0.jsonl: it is no longer there", "0 rows came in, quality.min_rows is 9"],
    }  # fmt: skip
    assert ingest_words.ended({"result": result}, 1.0).splitlines()[1:] == [
        "  0 of 33 files, 0 rows, 0 B in, 0 B out, 7 batches",
        "  32 files changed while they were read; the next run takes them",
        "  1 file vanished before it was read",
        "  ! 0.jsonl",
        "  ! 0 rows came in, quality.min_rows is 9",
    ]

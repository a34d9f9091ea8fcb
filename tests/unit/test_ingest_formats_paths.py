"""The fast and the careful way give the same, whatever the file and however it falls into blocks."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labd.ingest import remote_blocks, remote_json
from labd.ingest.remote_formats import Content, open_file

TIMES = ["2024-01-01", "2024-01-01T10:00:00", "2024-01-01T10:00:00Z", "12", "x"]
NUMBERS = st.integers(-(2**66), 2**66) | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.sampled_from(TIMES))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pq"), inner, max_size=2),
    max_leaves=4,
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "B", "c"]), VALUES, max_size=4), max_size=12)
TYPES = ["long", "int", "double", "string", "boolean", "date", "timestamp", "timestamptz", "decimal(10, 2)",
         "list<long>", "struct<p: long, q: string>", "map<string, long>", "time", "binary"]  # fmt: skip
TABLES = st.lists(st.sampled_from(TYPES), min_size=1, max_size=3).map(
    lambda types: [{"name": name, "type": word} for name, word in zip("abc", types, strict=False)]
)


def read(
    data: bytes, kind: str, table: list[dict[str, str]] | None, *, known: bool = True, **options: Any
) -> tuple[Any, list[Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        memory = options.pop("memory_bytes", 2**27)
        told = table if known else None
        with open_file(
            Content("x", data=data), {"type": kind} | options, {}, told, scratch=Path(scratch), memory_bytes=memory
        ) as file:
            batches = list(file.batches(table or file.columns))
            assert file.rows == sum(batch.num_rows for batch in batches)
            return file.columns, [row for batch in batches for row in batch.to_pylist()]


def lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@settings(max_examples=40, deadline=None)
@given(records=RECORDS, table=TABLES)
def test_line_by_line_and_whole_blocks_give_the_same_rows(
    records: list[dict[str, Any]], table: list[dict[str, str]]
) -> None:
    data = lines(records)
    _, fast = read(data, "jsonl", table)
    _, unknown = read(data, "jsonl", table, known=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_json, "_read", lambda *_: None)
        _, careful = read(data, "jsonl", table)
    assert plain(fast) == plain(careful) == plain(unknown)


def plain(rows: list[dict[str, Any]]) -> list[Any]:
    """Rows to compare: the rescued part by its meaning."""
    return [
        {name: lean(json.loads(v)) if name == "_rescued_data" and v else v for name, v in row.items()} for row in rows
    ]


def lean(value: Any) -> Any:
    """A value without the fields that are null: the fast way does not tell them from those that are not there."""
    if isinstance(value, dict):
        return {name: lean(inner) for name, inner in value.items() if inner is not None}
    return [lean(element) for element in value] if isinstance(value, list) else value


@settings(max_examples=40, deadline=None)
@given(records=RECORDS, table=TABLES)
def test_no_value_of_a_record_is_lost(records: list[dict[str, Any]], table: list[dict[str, str]]) -> None:
    _, rows = read(lines(records), "jsonl", table)
    assert len(rows) == len(records)
    for record, row in zip(records, rows, strict=True):
        rescued = json.loads(row["_rescued_data"] or "{}")
        rescued.pop("_line", None)
        assert all(lean(record[name]) == lean(value) for name, value in rescued.items())
        left = [name for name, value in record.items() if value is not None and name not in rescued]
        filled = [name for name, value in row.items() if value is not None and name != "_rescued_data"]
        assert {name.lower() for name in left} <= {name.lower() for name in filled}


@settings(max_examples=40, deadline=None)
@given(records=st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=4), max_size=12))
def test_small_blocks_and_large_ones_give_the_same(records: list[dict[str, Any]]) -> None:
    data = lines(records)
    columns, rows = read(data, "jsonl", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_blocks, "LEAST_BLOCK_BYTES", 64)
        patch.setattr(remote_json, "SMALL_BYTES", 128)
        parted_columns, parted = read(data, "jsonl", None, memory_bytes=64)
    assert {column["name"]: column["type"] for column in parted_columns} == {
        column["name"]: column["type"] for column in columns
    }
    by_name = [{name: row[name] for name in sorted(row)} for row in plain(rows)]
    assert by_name == [{name: row[name] for name in sorted(row)} for row in plain(parted)]


CELLS = st.text(alphabet='ab1,"\n ', max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=20), quote_all=st.booleans(), least=st.sampled_from([16, 64, 4096])
)
def test_quoted_csv_is_read_as_it_was_written_in_blocks_of_any_size(
    rows: list[tuple[str, str]], quote_all: bool, least: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow(["a", "b"])
    writer.writerows(rows)
    table = [{"name": "a", "type": "string"}, {"name": "b", "type": "string"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_blocks, "LEAST_BLOCK_BYTES", least)
        _, found = read(text.getvalue().encode(), "csv", table, memory_bytes=least)
    assert [(row["a"] or "", row["b"] or "") for row in found] == rows
    assert not any(row["_rescued_data"] for row in found)


def test_blocks_beyond_the_memory_are_kept_in_files_and_given_back(tmp_path: Path) -> None:
    data = b"".join(b'{"n": %d, "s": "some text"}\n' % number for number in range(120_000))
    with open_file(Content("x", data=data), {"type": "jsonl"}, {}, scratch=tmp_path, memory_bytes=2**20) as file:
        assert list(tmp_path.iterdir())
        for _ in range(2):
            assert [row for batch in file.batches(file.columns) for row in batch["n"].to_pylist()] == list(
                range(120_000)
            )
    assert list(tmp_path.iterdir()) == []


def test_mark_of_inches_amid_values_does_not_join_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_blocks, "LEAST_BLOCK_BYTES", 64)
    data = b"a,b\n" + b"".join(b'5" pipe,%d\n' % number for number in range(200)) + b'"two\nlines",7\n'
    _, rows = read(data, "csv", None, memory_bytes=64)
    assert [row["b"] for row in rows] == [*range(200), 7]
    assert {row["a"] for row in rows} == {'5" pipe', "two\nlines"}


def test_type_that_changes_late_in_a_file_makes_all_of_it_text_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_blocks, "LEAST_BLOCK_BYTES", 64)
    rows = [f"{number:05d}" for number in range(50)] + ["abc"]
    for kind, data in (
        ("csv", "v\n" + "\n".join(rows)),
        ("jsonl", "\n".join(f'{{"v": {number}.50}}' for number in range(50)) + '\n{"v": "abc"}'),
    ):
        columns, found = read(data.encode(), kind, None, memory_bytes=64)
        assert columns == [{"name": "v", "type": "string"}]
        assert [row["v"] for row in found] == (rows if kind == "csv" else [f"{n}.50" for n in range(50)] + ["abc"])


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_lines_are_numbered_over_all_blocks(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(remote_blocks, "LEAST_BLOCK_BYTES", 64)
    monkeypatch.setattr(remote_json, "SMALL_BYTES", 32)
    values = ['"x"' if number % 7 == 0 else str(number) for number in range(2, 200)]
    data = "v\n" + "\n".join(values) if kind == "csv" else "\n" + "\n".join(f'{{"v": {value}}}' for value in values)
    _, rows = read(data.encode(), kind, [{"name": "v", "type": "long"}], memory_bytes=64)
    told = [json.loads(row["_rescued_data"])["_line"] for row in rows if row["_rescued_data"]]
    assert told == [number for number in range(2, 200) if number % 7 == 0]

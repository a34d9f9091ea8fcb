"""What files of text give: columns, rows, rescued rows, and faults that name their place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from labd.ingest.remote_formats import Content, FileFault, open_file

LONG = [{"name": "amount", "type": "long"}]


class Read:
    """One file, read to its end."""

    def __init__(
        self, columns: list[dict[str, str]], untyped: list[str], rows: list[dict[str, Any]], counts: tuple[int, int]
    ):
        self.columns = [f"{column['name']} {column['type']}" for column in columns]
        self.untyped = untyped
        self.rescued = [json.loads(row["_rescued_data"]) for row in rows if row["_rescued_data"] is not None]
        self.rows = [{name: value for name, value in row.items() if name != "_rescued_data"} for row in rows]
        self.counts = counts


def read(
    scratch: Path, data: bytes, kind: str = "jsonl", *, name: str = "x", rule: dict[str, Any] | None = None,
    table: list[dict[str, str]] | None = None, memory_bytes: int = 2**27, **options: Any,
) -> Read:  # fmt: skip
    content = Content(name, data=data)
    with open_file(
        content, {"type": kind} | options, rule or {}, table, scratch=scratch, memory_bytes=memory_bytes
    ) as file:
        batches = list(file.batches(table or file.columns))
        rows = [row for batch in batches for row in batch.to_pylist()]
        assert file.rows == len(rows)
        assert file.rescued == sum(row["_rescued_data"] is not None for row in rows)
        found = Read(file.columns, file.untyped, rows, (file.rows, file.rescued))
    assert list(scratch.iterdir()) == []
    return found


def fault(scratch: Path, data: bytes, kind: str = "jsonl", **options: Any) -> tuple[str, str]:
    with pytest.raises(FileFault) as caught:
        read(scratch, data, kind, **options)
    assert caught.value.message
    assert list(scratch.iterdir()) == []
    return caught.value.code, caught.value.place


def test_types_of_json_values_are_inferred(tmp_path: Path) -> None:
    line = {"l": 1, "d": 1.5, "b": True, "s": "x", "day": "2024-02-29", "at": "2024-02-29T10:00:00.25",
            "z": "2024-02-29T10:00:00+02:00", "list": [1, 2], "o": {"a": 1, "b": ["x"]}, "n": None}  # fmt: skip
    found = read(tmp_path, json.dumps(line).encode())
    assert found.columns == [
        "l long", "d double", "b boolean", "s string", "day date", "at timestamp", "z timestamptz", "list list<long>",
        "o struct<a: long, b: list<string>>",
    ]  # fmt: skip
    assert found.untyped == ["n"]
    assert found.rows[0]["z"].isoformat() == "2024-02-29T08:00:00+00:00"


def test_mode_infer_makes_a_column_without_values_text(tmp_path: Path) -> None:
    assert read(tmp_path, b'{"n": null}', rule={"mode": "infer"}).columns == ["n string"]
    assert read(tmp_path, b"a,b\n", "csv", rule={"mode": "infer"}).columns == ["a string", "b string"]


def test_line_that_is_no_object_is_rescued_with_its_number(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"amount": 1}\n\nnonsense\n[1]\n{"amount": 2}\n', table=LONG)
    assert found.rows == [{"amount": 1}, {"amount": None}, {"amount": None}, {"amount": 2}]
    assert found.rescued == [{"_line": 3, "_raw": "nonsense"}, {"_line": 4, "_raw": "[1]"}]


@pytest.mark.parametrize("value", ["abc", "5", 5.0, 1.5, True, [1], {"a": 1}, 2**63])
def test_json_value_that_does_not_fit_is_rescued(tmp_path: Path, value: Any) -> None:
    found = read(tmp_path, b'{"amount": 1}\n' + json.dumps({"amount": value}).encode(), table=LONG)
    assert found.rows == [{"amount": 1}, {"amount": None}]
    assert found.rescued == [{"amount": value, "_line": 2}]


def test_field_without_column_is_rescued(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"amount": 1, "note": "x"}\n{"amount": 2}\n', table=LONG)
    assert found.rescued == [{"note": "x", "_line": 1}]
    assert found.columns == ["amount long", "note string"]


def test_integers_beyond_64_bits_keep_all_digits(tmp_path: Path) -> None:
    digits = 12345678901234567890123
    for data, kind in ((f'{{"v": 1}}\n{{"v": {digits}}}\n', "jsonl"), (f"v\n1\n{digits}\n", "csv")):
        found = read(tmp_path, data.encode(), kind)
        assert found.columns == ["v decimal(38, 0)"]
        assert [int(row["v"]) for row in found.rows] == [1, digits]


def test_second_value_of_a_key_wins_and_the_first_is_rescued(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"amount": 1, "amount": 2}\n')
    assert (found.rows, found.rescued) == ([{"amount": 2}], [{"amount": 1, "_line": 1}])


def test_not_a_number_is_a_double_and_elsewhere_rescued(tmp_path: Path) -> None:
    value = read(tmp_path, b'{"v": NaN}\n{"v": 1.5}\n').rows[0]["v"]
    assert value != value
    assert read(tmp_path, b'{"amount": NaN}\n{"amount": 1}\n', table=LONG).rescued == [{"amount": "NaN", "_line": 1}]


def test_names_match_whatever_their_case_and_order(tmp_path: Path) -> None:
    table = [{"name": "id", "type": "long"}, {"name": "Name", "type": "string"}]
    for data, kind in ((b'{"NAME": "x", "ID": 1}', "jsonl"), (b"NAME,ID\nx,1\n", "csv")):
        found = read(tmp_path, data, kind, table=table)
        assert sorted(found.columns) == ["Name string", "id long"]
        assert (found.rows, found.rescued) == ([{"id": 1, "Name": "x"}], [])


def test_same_name_twice_but_for_case_leaves_the_second_rescued(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"amount": 1, "AMOUNT": 2}', table=LONG)
    assert (found.rows, found.rescued) == ([{"amount": 1}], [{"AMOUNT": 2, "_line": 1}])


def test_numbers_in_a_column_of_text_are_as_they_were_written(tmp_path: Path) -> None:
    table = [{"name": "v", "type": "string"}]
    assert read(tmp_path, b'{"v": 1.10}\n{"v": "x"}\n{"v": {"a": 1.50}}\n', table=table).rows == [
        {"v": "1.10"}, {"v": "x"}, {"v": '{"a": 1.5}'},
    ]  # fmt: skip
    assert read(tmp_path, b"v\n007\n1.10\n", "csv", table=table).rows == [{"v": "007"}, {"v": "1.10"}]


def test_text_only_where_types_are_not_to_be_inferred(tmp_path: Path) -> None:
    rule = {"infer_types": False}
    assert read(tmp_path, b'{"a": 1, "b": true}', rule=rule).rows == [{"a": "1", "b": "true"}]
    assert read(tmp_path, b"a,b\n007,2024-01-01\n", "csv", rule=rule).rows == [{"a": "007", "b": "2024-01-01"}]


def test_hint_decides_a_type(tmp_path: Path) -> None:
    rule = {"hints": {"zip": "string", "price": "decimal(10, 2)"}}
    found = read(tmp_path, b"zip,price\n00123,1.5\n", "csv", rule=rule)
    assert found.columns == ["zip string", "price decimal(10, 2)"]
    assert (found.rows[0]["zip"], str(found.rows[0]["price"])) == ("00123", "1.50")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "json"])
def test_file_of_no_bytes_has_no_rows(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, b"", kind)
    assert (found.columns, found.counts) == ([], (0, 0))


def test_byte_order_mark_and_line_ends_of_windows(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    assert read(tmp_path, mark + b'{"a": 1}\r\n{"a": 2}\r\n').rows == [{"a": 1}, {"a": 2}]
    assert read(tmp_path, mark + b"a,b\r\n1,x\r\n", "csv").rows == [{"a": 1, "b": "x"}]


def test_ragged_rows_are_rescued_whole(tmp_path: Path) -> None:
    found = read(tmp_path, b"a,b\n1,x\n2,y,z\n3\n4,w\n", "csv")
    assert found.rows == [{"a": 1, "b": "x"}, {"a": 4, "b": "w"}, {"a": None, "b": None}, {"a": None, "b": None}]
    assert found.rescued == [{"_raw": "2,y,z", "_line": 3}, {"_raw": "3", "_line": 4}]


def test_values_over_lines_are_read_and_lines_still_counted(tmp_path: Path) -> None:
    found = read(tmp_path, b'amount,b\n1,"x\ny"\nabc,z\n', "csv", table=[*LONG, {"name": "b", "type": "string"}])
    assert found.rows == [{"amount": 1, "b": "x\ny"}, {"amount": None, "b": "z"}]
    assert found.rescued == [{"amount": "abc", "_line": 4}]


def test_csv_options(tmp_path: Path) -> None:
    data = b"made by x\n# a remark\nday;n\n24.12.2024 18:00;NA\n# more\n25.12.2024 18:00;'a;b'\n"
    found = read(
        tmp_path, data, "csv", delimiter=";", quote="'", skip_rows=1, comment="#", null_values=["NA"],
        timestamp_formats=["%d.%m.%Y %H:%M"],
    )  # fmt: skip
    assert found.columns == ["day timestamp", "n string"]
    assert [(row["day"].isoformat(), row["n"]) for row in found.rows] == [
        ("2024-12-24T18:00:00", None), ("2024-12-25T18:00:00", "a;b"),
    ]  # fmt: skip


def test_csv_without_header_and_with_names_twice(tmp_path: Path) -> None:
    assert read(tmp_path, b"1,2\n", "csv", header=False).rows == [{"column_1": 1, "column_2": 2}]
    fixed = {"mode": "fixed", "columns": [{"name": "x", "type": "long"}, {"name": "y", "type": "string"}]}
    assert read(tmp_path, b"1,2\n", "csv", header=False, rule=fixed).rows == [{"x": 1, "y": "2"}]
    assert read(tmp_path, b"a,A,\n1,2,3\n", "csv").rows == [{"a": 1, "A_2": 2, "column_3": 3}]


def test_json_document_and_a_path_in_it(tmp_path: Path) -> None:
    found = read(tmp_path, b'[{"a": 1,\n "b": [1,\n2]}, {"a": 2}, 5]', "json")
    assert found.rows == [{"a": 1, "b": [1, 2]}, {"a": 2, "b": None}, {"a": None, "b": None}]
    assert found.rescued == [{"_raw": "5", "_row": 3}]
    assert read(tmp_path, b'{"n": 2, "d": {"r": [{"a": 1}]}, "z": {}}', "json", json_path="d.r").rows == [{"a": 1}]
    assert read(tmp_path, b'{"a": 1}', "json").rows == [{"a": 1}]


def test_files_in_other_encodings(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16"):
        assert read(tmp_path, "a\nMü\n".encode(encoding), "csv", encoding=encoding).rows == [{"a": "Mü"}]


def packed(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(("codec", "name"), [("gzip", "x.gz"), ("zstd", "x.zst"), ("bz2", "x.bz2"), ("lz4", "x.lz4")])
def test_packed_files_are_whole_or_refused(tmp_path: Path, codec: str, name: str) -> None:
    data = packed(b"".join(b'{"a": %d}\n' % number for number in range(5000)), codec)
    assert read(tmp_path, data, name=name).counts == (5000, 0)
    assert read(tmp_path, data + data, name=name).counts == (10000, 0)
    for cut in (1, 4, len(data) // 2):
        assert fault(tmp_path, data[:-cut], name=name)[0] == "truncated"


FAULTS: list[tuple[str, bytes, dict[str, Any], str, str]] = [
    ("jsonl", b"\x1f\x8b\x08xxx", {}, "wrong_format", ""),
    ("jsonl", b"{}", {"name": "x.gz"}, "wrong_format", "byte 0"),
    ("jsonl", b"PAR1xxxx", {}, "wrong_format", ""),
    ("jsonl", b"{\0}", {}, "wrong_format", "byte 1"),
    ("jsonl", b"one\ntwo\n", {}, "wrong_format", "line 1"),
    ("jsonl", b'{"a": 1}\n{"a": "M\xfc"}\n', {}, "wrong_encoding", "line 2, byte 9"),
    ("csv", b"a\nM\xfc\n", {}, "wrong_encoding", "line 2, byte 2"),
    ("csv", b"M\xfc\n1\n", {}, "wrong_encoding", "line 1"),
    ("csv", "a\n1\n".encode("utf-16"), {}, "wrong_encoding", "byte 0"),
    ("csv", b"a\n\xff\n", {"encoding": "ascii"}, "wrong_encoding", "byte 2"),
    ("csv", b'a,b\n1,"open\n2,3\n', {}, "truncated", "from line 2"),
    ("csv", b"a,b\n1\n2,3,4\n", {}, "wrong_format", "line 2"),
    ("jsonl", b'{"a": 1}\n{"a": "' + b"x" * 2000 + b'"}\n', {"line_limit_bytes": 1024}, "line_too_long", "line 2"),
    ("json", b'[{"a": 1},', {}, "malformed", "line 1, column 11"),
    ("json", b'{"d": [{"a": 1}]', {"json_path": "d"}, "malformed", "line 1, column 17"),
    ("json", b'{"a": 1}\n{"a": 2}\n', {}, "malformed", "line 2, column 1"),
    ("json", b'{"a": 1}', {"json_path": "d"}, "malformed", "line 1, column 1"),
    ("json", b"[" * 100_000, {}, "malformed", ""),
    ("json", b'{"a": "M\xfc"}', {}, "wrong_encoding", "line 1"),
    ("json", b'{"a": "' + b"x" * 5000 + b'"}', {"memory_bytes": 4096}, "too_large", ""),
]


@pytest.mark.parametrize(("kind", "data", "options", "code", "place"), FAULTS)
def test_unusable_file_says_why_and_where(
    tmp_path: Path, kind: str, data: bytes, options: dict[str, Any], code: str, place: str
) -> None:
    assert fault(tmp_path, data, kind, **options) == (code, place)


def test_fault_tells_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileFault) as caught:
        read(tmp_path, b'{"a": "' + b"x" * 2000 + b'"}', line_limit_bytes=1024)
    assert str(caught.value) == "a line of 2009 bytes or more, the limit is 1024; raise line_limit_bytes (line 1)"
    assert caught.value.to_wire()["code"] == "line_too_long"


def test_very_long_line_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.write(b'{"a": 1}\n{"a": "')
        file.truncate(300 * 2**20)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = pa.total_allocated_bytes()
    with pytest.raises(FileFault, match="a line of 33554432 bytes or more"):
        open_file(Content("long", path=str(path)), {"type": "jsonl"}, {}, scratch=scratch)
    assert pa.total_allocated_bytes() == before


def test_gzip_broken_at_its_end_gives_no_row(tmp_path: Path) -> None:
    data = gzip.compress(b'{"a": 1}\n' * 100_000)
    assert fault(tmp_path, data[:-8] + bytes(8), name="x.gz")[0] == "malformed"


@pytest.mark.parametrize("depth", [150, 2_000, 100_000])
def test_line_that_is_nested_too_deeply_is_rescued_and_ends_nothing(tmp_path: Path, depth: int) -> None:
    for opening, closing in (('{"a":', "}"), ('{"a":[{},', "]}")):
        line = opening * depth + "1" + closing * depth
        found = read(tmp_path, f'{{"amount": 1}}\n{line}\n'.encode(), table=LONG)
        assert found.rows == [{"amount": 1}, {"amount": None}]
        assert found.rescued == [{"_raw": line, "_line": 2}]


def test_list_that_begins_with_null_keeps_its_places(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"v": [null, 1]}\n{"v": [[]]}\n{"v": [2]}\n', table=[{"name": "v", "type": "list<long>"}])
    assert [row["v"] for row in found.rows] == [[None, 1], [None], [2]]
    assert found.rescued == [{"v": [[]], "_line": 2}]
    assert read(tmp_path, b'{"v": [null, 1]}').rows == [{"v": [None, 1]}]


def test_half_of_a_surrogate_pair_is_rescued_as_written(tmp_path: Path) -> None:
    found = read(tmp_path, b'{"amount": 1}\n{"amount": 2, "s": "\\ud800"}\n', table=LONG)
    assert found.rescued == [{"_raw": '{"amount": 2, "s": "\\ud800"}', "_line": 2}]

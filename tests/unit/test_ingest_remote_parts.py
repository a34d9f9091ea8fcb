"""Small parts of the ingest child: hiding of secrets, states as text, partitions, words of types, plain values."""

from __future__ import annotations

import datetime as dt
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    MonthTransform,
    Transform,
    TruncateTransform,
    YearTransform,
)
from pyiceberg.types import (
    DateType,
    DecimalType,
    IcebergType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
)
from sqlalchemy.exc import OperationalError

from labd.ingest.remote import ask, hider
from labd.ingest.remote_arrow import told_plainly
from labd.ingest.remote_data_files import piece_bytes
from labd.ingest.remote_iceberg import local_path, words_of
from labd.ingest.remote_partitions import partition_values, split
from labd.ingest.remote_query import plain
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_report import STATES, BatchFolder, read_states, states_text

MIB = 2**20
SECRET = "se/cret+ü"


@pytest.mark.parametrize("spelled", [SECRET, "se%2Fcret%2B%C3%BC", "se/cret%2B%C3%BC"])
def test_secrets_are_hidden_however_deep_and_however_they_are_spelled(spelled: str) -> None:
    hide = hider({"batch": {"table": {"catalog": {"secrets": {"token": SECRET, "empty": ""}}}}})
    assert hide({"text": f"at x://{spelled}@host", "list": [spelled, 3]}) == {
        "text": "at x://***@host",
        "list": ["***", 3],
    }


def test_a_short_secret_is_no_reason_to_spoil_every_word() -> None:
    assert hider({"secrets": {"user": "abc"}})("abc") == "abc"


def test_an_unknown_verb_and_an_unknown_engine_are_refused() -> None:
    assert ask("explode", {})["refusal"] == "source_refused"
    assert ask("describe", {"engine": "flink"})["text"] == "'flink' is no engine; there are arrow and spark"


@given(some.lists(some.sampled_from(sorted(STATES.values())), max_size=50))
def test_states_come_back_from_their_text(states: list[str]) -> None:
    assert read_states(states_text([{"state": state} for state in states])) == states


def test_states_are_short() -> None:
    assert states_text([{"state": "loaded"}] * 998 + [{"state": "quarantined"}, {"state": "loaded"}]) == "998L1Q1L"


MOMENTS = [
    None if text is None else dt.datetime.fromisoformat(text)
    for text in ("1969-12-31T23:59:59.999999", "1970-01-01", "2026-02-28T13:05", "1900-01-01T01:00", None)
]
DAYS = [None if moment is None else moment.date() for moment in MOMENTS]
TEXTS = ["", "ü", "abcdef", "abc", None]


@pytest.mark.parametrize(
    ("transform", "kind", "values"),
    [
        *((one, kind, MOMENTS) for one in (YearTransform(), MonthTransform(), DayTransform(), HourTransform())
          for kind in (TimestampType(), TimestamptzType())),
        *((one, DateType(), DAYS) for one in (YearTransform(), MonthTransform(), DayTransform(), BucketTransform(7))),
        (BucketTransform(16), StringType(), TEXTS),
        (BucketTransform(16), LongType(), [-1, 0, 2**60, None]),
        (BucketTransform(16), TimestamptzType(), MOMENTS),
        (BucketTransform(16), DecimalType(9, 2), [Decimal("1.20"), Decimal("-3.00"), None]),
        (TruncateTransform(3), StringType(), TEXTS),
        (TruncateTransform(10), LongType(), [-1, 0, 19, None]),
    ],
)  # fmt: skip
def test_partitions_are_what_icebergs_transforms_say(
    transform: Transform[Any, Any], kind: IcebergType, values: list[Any]
) -> None:
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    schema = Schema(NestedField(1, "x", kind, required=False))
    field = PartitionField(source_id=1, field_id=1000, transform=transform, name="p")
    column = pa.array(values, schema_to_pyarrow(kind))
    counted = column
    if pa.types.is_timestamp(column.type):
        counted = column.cast(pa.int64())
    elif pa.types.is_date(column.type):
        counted = column.cast(pa.int32())
    expected = [transform.transform(kind)(value) for value in counted.to_pylist()]
    assert partition_values(pa.table({"x": column}), field, schema).to_pylist() == expected


def test_rows_without_a_value_and_not_a_number_have_partitions_of_their_own() -> None:
    schema = Schema(NestedField(1, "x", LongType(), required=False))
    spec = PartitionSpec(PartitionField(source_id=1, field_id=1000, transform=BucketTransform(1), name="p"))
    rows = pa.table({"x": pa.array([1, None, 2])})
    parts = {str(key.partition): part.column("x").to_pylist() for key, part in split(rows, spec, schema) if key}
    assert sorted(parts.values(), key=repr) == [[1, 2], [None]]


def test_types_have_words_without_field_ids() -> None:
    inner = StructType(NestedField(2, "a", LongType()), NestedField(3, "b", MapType(4, StringType(), 5, LongType())))
    assert words_of(ListType(1, inner)) == "list<struct<a: long, b: map<string, long>>>"
    assert words_of(DecimalType(10, 2)) == "decimal(10, 2)"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), None), (1.5, 1.5), (Decimal("1.20"), "1.20"), (b"\x00\xff", "AP8="),
        (dt.date(2026, 3, 1), "2026-03-01"),
        (dt.datetime(2026, 3, 1, tzinfo=dt.UTC), "2026-03-01T00:00:00Z"), (MOMENTS[1], "1970-01-01T00:00:00"),
        ([{"a": (1, float("inf"))}], [{"a": [1, None]}]), ("x", "x"), (None, None), (True, True),
    ],
)  # fmt: skip
def test_values_are_told_as_json_has_them(value: Any, told: Any) -> None:
    assert plain(value) == told


@pytest.mark.parametrize(("memory_mib", "mib"), [(64, 4), (256, 16), (1024, 64), (16_384, 64)])
def test_a_piece_is_a_part_of_the_memory(memory_mib: int, mib: int) -> None:
    assert piece_bytes(memory_mib * MIB) == mib * MIB


@pytest.mark.parametrize(
    ("location", "path"), [("file:///a%20b/c", "/a b/c"), ("/a/b", "/a/b"), ("s3://b/k", None), ("file:/a", "/a")]
)
def test_only_local_files_can_be_synced(location: str, path: str | None) -> None:
    assert local_path(location) == path


def test_reports_of_all_tries_are_kept_and_what_lost_ones_wrote_is_known(tmp_path: Path) -> None:
    folder = BatchFolder(str(tmp_path / "reports" / "1.json"))
    assert folder.recall("a") is None
    folder.keep("a", {"rows": 1})
    assert folder.recall(None) == {"rows": 1}
    folder.keep("b", {"rows": 2})
    assert (folder.recall("a"), folder.recall("b"), folder.recall(None)) == ({"rows": 1}, {"rows": 2}, None)
    folder.note("a", "file:///x")
    folder.note("b", "file:///y")
    with (tmp_path / "reports" / "1.json.files").open("a") as file:
        file.write('["a", "file:/')
    assert (folder.abandoned("b"), folder.abandoned(None)) == (["file:///x"], [])


@pytest.mark.parametrize(
    ("said", "code"),
    [("database or disk is full", "cluster_unreachable"), ("database is locked", "table_conflict"),
     ("no such table: iceberg_tables", "table_refused")],
)  # fmt: skip
def test_what_the_catalogues_database_says_is_tried_again_where_that_can_help(said: str, code: str) -> None:
    table = {"catalog": {"name": "default"}, "namespace": "lab", "table": "t"}
    with pytest.raises(Refusal, match=said) as told, told_plainly(table):
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError(said))
    assert told.value.code == code

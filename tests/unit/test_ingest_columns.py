"""Words of types, and what becomes of a table's columns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from labd.ingest.remote_columns import arrow_schema, union
from labd.ingest.remote_types import UnknownType, merge, to_arrow, to_word


@pytest.mark.parametrize(
    "word",
    ["boolean", "int", "long", "float", "double", "string", "date", "time", "timestamp", "timestamptz", "binary",
     "uuid", "fixed[16]", "decimal(38, 0)", "list<string>", "map<string, list<long>>",
     "struct<a: long, `b c`: struct<`d``e`: date>>"],
)  # fmt: skip
def test_a_word_and_its_type_are_the_same(word: str) -> None:
    assert to_word(to_arrow(word)) == word


@pytest.mark.parametrize(
    "word", ["", "number", "decimal(39, 0)", "decimal(2, 3)", "list<long", "struct<>", "long long", "long;"]
)
def test_a_text_that_is_no_type_is_refused(word: str) -> None:
    with pytest.raises(UnknownType):
        to_arrow(word)


def test_refusal_says_what_there_is() -> None:
    with pytest.raises(UnknownType, match="'number' in 'number' is no type; there are boolean, int, long, "):
        to_arrow("number")


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("int", "long", "long"),
        ("long", "double", "double"),
        ("long", "decimal(10, 2)", "decimal(21, 2)"),
        ("decimal(38, 0)", "long", "decimal(38, 0)"),
        ("decimal(38, 0)", "decimal(10, 2)", "string"),
        ("date", "timestamp", "timestamp"),
        ("timestamp", "timestamptz", "timestamptz"),
        ("date", "long", "string"),
        ("boolean", "long", "string"),
        ("list<int>", "list<double>", "list<double>"),
        ("struct<a: long>", "struct<b: long, a: string>", "struct<a: string, b: long>"),
        ("struct<a: long>", "list<long>", "string"),
    ],
)
def test_narrowest_type_for_both(one: str, other: str, both: str) -> None:
    assert to_word(merge(to_arrow(one), to_arrow(other))) == both
    assert sorted(str(to_word(merge(to_arrow(other), to_arrow(one))))) == sorted(both)


@pytest.mark.parametrize(
    ("was", "brought", "now", "change"),
    [
        ("long", "int", "long", None),
        ("int", "long", "long", "widen c long"),
        ("float", "double", "double", "widen c double"),
        ("decimal(9, 2)", "decimal(12, 2)", "decimal(12, 2)", "widen c decimal(12, 2)"),
        ("decimal(9, 2)", "decimal(9, 3)", "decimal(9, 2)", "conflict c decimal(9, 3)"),
        ("long", "double", "long", "conflict c double"),
        ("long", "string", "long", "conflict c string"),
        ("double", "long", "double", None),
        ("string", "struct<a: long>", "string", None),
        ("timestamp", "date", "timestamp", None),
        ("timestamptz", "timestamp", "timestamptz", None),
        ("date", "timestamp", "date", "conflict c timestamp"),
        ("struct<a: int>", "struct<A: long>", "struct<a: long>", "widen c.a long"),
        ("struct<a: int>", "struct<b: date>", "struct<a: int, b: date>", "add c.b date"),
        ("list<struct<a: int>>", "list<struct<b: date>>", "list<struct<a: int, b: date>>", "add c.element.b date"),
    ],
)
def test_what_a_file_brings_changes_a_table_only_as_iceberg_allows(
    was: str, brought: str, now: str, change: str | None
) -> None:
    columns, changes = union([{"name": "c", "type": was}], [{"name": "C", "type": brought}])
    assert columns == [{"name": "c", "type": now}]
    assert [one["key"] for one in changes] == ([change] if change else [])


def test_new_columns_come_last_and_are_told() -> None:
    columns, changes = union(
        [{"name": "a", "type": "long"}], [{"name": "b", "type": "date"}, {"name": "a", "type": "long"}]
    )
    assert columns == [{"name": "a", "type": "long"}, {"name": "b", "type": "date"}]
    assert changes == [{"key": "add b date", "kind": "add", "column": "b", "type": "date", "was": None}]


def test_schema_ends_with_what_was_rescued() -> None:
    assert arrow_schema([{"name": "a", "type": "int"}]).names == ["a", "_rescued_data"]
    assert arrow_schema([{"name": "a", "type": "int"}], rescued=False) == pa.schema([("a", pa.int32())])

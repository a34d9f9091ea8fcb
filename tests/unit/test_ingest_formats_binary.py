"""What Parquet and Avro files give, and what is said of broken ones."""

from __future__ import annotations

import io
import json
import zlib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from pyarrow import parquet

from labd.ingest.remote_formats import Content, FileFault, open_file

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def read(
    data: bytes, kind: str, scratch: Path, table: list[dict[str, str]] | None = None, name: str = "x"
) -> tuple[list[str], list[dict[str, Any]]]:
    with open_file(Content(name, data=data), {"type": kind}, {}, table, scratch=scratch) as file:
        rows = [row for batch in file.batches(table or file.columns) for row in batch.to_pylist()]
        assert file.rows == len(rows)
        return [f"{column['name']} {column['type']}" for column in file.columns], rows


def parquet_of(table: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **options)
    return sink.getvalue()


def test_types_of_parquet_become_those_of_iceberg(tmp_path: Path) -> None:
    berlin = pa.timestamp("ns", "Europe/Berlin")
    table = pa.table(
        {
            "i8": pa.array([1], pa.int8()),
            "u32": pa.array([2**32 - 1], pa.uint32()),
            "u64": pa.array([2**64 - 1], pa.uint64()),
            "f": pa.array([0.5], pa.float32()),
            "zone": pa.array([NOON], berlin),
            "naive": pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")),
            "day": pa.array([date(2024, 2, 29)]),
            "at": pa.array([time(1, 2, 3)], pa.time32("s")),
            "dec": pa.array([Decimal("1.50")], pa.decimal128(10, 2)),
            "dict": pa.array(["x"]).dictionary_encode(),
            "large": pa.array(["y"], pa.large_string()),
            "bin": pa.array([b"z"]),
            "fix": pa.array([b"abcd"], pa.binary(4)),
            "list": pa.array([[{"a": 1}]]),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
            "none": pa.nulls(1),
        }
    )
    columns, rows = read(parquet_of(table), "parquet", tmp_path)
    assert columns == [
        "i8 int", "u32 long", "u64 decimal(20, 0)", "f float", "zone timestamptz", "naive timestamp", "day date",
        "at time", "dec decimal(10, 2)", "dict string", "large string", "bin binary", "fix fixed[4]",
        "list list<struct<a: long>>", "map map<string, int>",
    ]  # fmt: skip
    assert rows[0]["u64"] == 2**64 - 1
    assert rows[0]["zone"] == NOON
    assert rows[0]["at"] == time(1, 2, 3)


def test_parquet_values_that_do_not_fit_are_rescued_with_their_row(tmp_path: Path) -> None:
    table = pa.table(
        {"v": pa.array([1, 2**40]), "o": [{"a": 1}, {"a": 2}], "t": ["x", "2024-01-01"], "extra": [None, 1]}
    )
    wanted = [
        {"name": "v", "type": "int"},
        {"name": "o", "type": "struct<a: long, b: string>"},
        {"name": "t", "type": "date"},
    ]
    _, rows = read(parquet_of(table, row_group_size=1), "parquet", tmp_path, wanted)
    assert [row["v"] for row in rows] == [1, None]
    assert rows[1]["o"] == {"a": 2, "b": None}
    assert [row["t"] for row in rows] == [None, date(2024, 1, 1)]
    assert [json.loads(row["_rescued_data"]) for row in rows] == [
        {"t": "x", "_row": 1}, {"v": 2**40, "extra": 1, "_row": 2},
    ]  # fmt: skip


def test_field_of_an_object_that_has_no_column_leaves_the_object_rescued(tmp_path: Path) -> None:
    table = pa.table({"o": [{"a": 1, "b": "x"}, {"a": 2, "b": None}]})
    _, rows = read(parquet_of(table), "parquet", tmp_path, [{"name": "o", "type": "struct<a: long>"}])
    assert [row["o"] for row in rows] == [{"a": 1}, {"a": 2}]
    assert [row["_rescued_data"] for row in rows] == ['{"o": {"a": 1, "b": "x"}, "_row": 1}', None]


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("parquet", b"", "empty_file"),
        ("avro", b"", "empty_file"),
        ("parquet", b"a,b\n1,2\n", "wrong_format"),
        ("avro", b"PAR1....", "wrong_format"),
        ("parquet", parquet_of(pa.table({"a": [1]}))[:-5], "truncated"),
        ("parquet", parquet_of(pa.table({})), "empty_schema"),
        ("parquet", b"PAR1" + b"\xff" * 40 + b"\x20\0\0\0PAR1", "malformed"),
        ("avro", b"Obj\x01\x00", "truncated"),
    ],
)
def test_unusable_file_says_why(kind: str, data: bytes, code: str, tmp_path: Path) -> None:
    with pytest.raises(FileFault) as caught:
        read(data, kind, tmp_path)
    assert caught.value.code == code


def test_damaged_page_is_a_fault_that_names_its_row_group(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(1000))})
    data = bytearray(parquet_of(table, row_group_size=500, write_page_checksum=True, use_dictionary=False))
    meta = parquet.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    data[meta.data_page_offset + meta.total_compressed_size // 3] ^= 0xFF
    with pytest.raises(FileFault) as caught:
        read(bytes(data), "parquet", tmp_path)
    assert (caught.value.code, caught.value.place) == ("malformed", "row group 1, row 501")


SCHEMA = {
    "type": "record", "name": "Sale", "fields": [
        {"name": "id", "type": "long"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "either", "type": ["string", "int"]},
        {"name": "where", "type": {"type": "record", "name": "Place", "fields": [{"name": "x", "type": "double"}]}},
    ],
}  # fmt: skip
SALES = [
    {"id": n, "note": None if n % 2 else "n", "at": NOON, "price": Decimal("1.25"), "tags": {"k": n}, "kind": "A",
     "either": n, "where": {"x": 0.5}}
    for n in range(100)
]  # fmt: skip


def avro_of(codec: str = "null") -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, SCHEMA, SALES, codec=codec, sync_interval=500)
    return sink.getvalue()


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_avro(codec: str, tmp_path: Path) -> None:
    columns, rows = read(avro_of(codec), "avro", tmp_path)
    assert columns == [
        "id long", "note string", "at timestamptz", "price decimal(9, 2)", "tags map<string, int>", "kind string",
        "either string", "where struct<x: double>",
    ]  # fmt: skip
    assert [row["id"] for row in rows] == list(range(100))
    assert (rows[1]["at"], rows[1]["price"], rows[1]["either"], rows[0]["note"]) == (NOON, Decimal("1.25"), "1", "n")


def number(value: int) -> bytes:
    """As Avro writes it: zigzag, 7 bits a byte."""
    value = (value << 1) ^ (value >> 63)
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


@pytest.mark.parametrize("codec", ["snappy", "zstandard"])
def test_avro_packed_as_spark_and_kafka_do_it(codec: str, tmp_path: Path) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "s", "type": "string"}]}
    text = "words " * 50
    block = number(len(text)) + text.encode()
    packed = pa.Codec("snappy" if codec == "snappy" else "zstd").compress(block).to_pybytes()
    if codec == "snappy":
        packed += zlib.crc32(block).to_bytes(4, "big")
    entries = {"avro.schema": json.dumps(schema), "avro.codec": codec}
    header = b"Obj\x01" + number(len(entries))
    for key, value in entries.items():
        header += number(len(key)) + key.encode() + number(len(value)) + value.encode()
    sync = bytes(range(16))
    data = header + b"\0" + sync + number(1) + number(len(packed)) + packed + sync
    assert read(data, "avro", tmp_path)[1] == [{"s": text, "_rescued_data": None}]
    with pytest.raises(FileFault) as caught:
        read(data[:-20], "avro", tmp_path)
    assert caught.value.code == "truncated"


@pytest.mark.parametrize("cut", [1, 10, 700])
def test_avro_cut_short(cut: int, tmp_path: Path) -> None:
    with pytest.raises(FileFault) as caught:
        read(avro_of()[:-cut], "avro", tmp_path)
    assert caught.value.code == "truncated"

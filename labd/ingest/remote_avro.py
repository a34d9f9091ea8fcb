"""Avro containers by fastavro, with their schema as Arrow's and the packings that it needs other packages for.

Why pyarrow unpacks: it has snappy and zstd already.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa

from labd.ingest.remote_faults import FileFault
from labd.ingest.remote_values import fit_value

Json = dict[str, Any]
BATCH_ROWS = 8192
_LARGEST = 2**31
_UNPACKED = 256 * 2**20  # of one block; writers make them of 16 KiB to some MiB
# What fastavro meets in a damaged file; a size below zero ends in a SystemError of Python's own.
BROKEN = (
    ValueError, EOFError, KeyError, TypeError, IndexError, OSError, AttributeError, OverflowError, SystemError,
    RecursionError, zlib.error, lzma.LZMAError,
)  # fmt: skip
_SIMPLE = {
    "null": pa.null(), "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(),
    "double": pa.float64(), "bytes": pa.binary(), "string": pa.string(),
}  # fmt: skip
_LOGICAL = {
    "date": pa.date32(), "time-millis": pa.time64("us"), "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("us", "UTC"), "timestamp-micros": pa.timestamp("us", "UTC"),
    "local-timestamp-millis": pa.timestamp("us"), "local-timestamp-micros": pa.timestamp("us"), "uuid": pa.string(),
}  # fmt: skip


def reader(file: Any) -> Any:
    """The reader of a container.

    Raises:
        FileFault: It is none, or is packed in an unknown way.
    """
    try:
        import fastavro
        import fastavro._read as reading
        from fastavro.schema import SchemaParseException
    except ImportError as fault:
        raise FileFault("unsupported", "Avro needs the package fastavro in this environment") from fault
    unpackers = {"snappy": _snappy, "zstandard": _zstd, "deflate": _deflate, "bzip2": _bzip2, "xz": _xz}
    reading.BLOCK_READERS.update(unpackers)
    try:
        found = fastavro.reader(file)
    except (*BROKEN, SchemaParseException) as fault:
        raise _fault(fault, 0, file) from fault
    schema: Any = found.writer_schema
    if _kind(schema) != "record":
        raise FileFault("unsupported", "the Avro file holds no records, so it has no columns")
    return found


def _block(source: Any) -> bytes:
    """The bytes of a packed block, which stand behind their number (zigzag, 7 bits a byte)."""
    file = getattr(source, "fo", source)
    count = shift = 0
    while True:
        part = file.read(1)
        if not part:
            raise EOFError
        count |= (part[0] & 0x7F) << shift
        shift += 7
        if not part[0] & 0x80:
            break
    count = (count >> 1) ^ -(count & 1)
    data = file.read(count) if 0 <= count < _LARGEST else b""
    if len(data) != count:
        raise EOFError
    return bytes(data)


def _snappy(source: Any) -> BytesIO:
    """A block of snappy: its length is told in front (7 bits a byte), a checksum stands behind."""
    data = _block(source)
    packed, checksum = data[:-4], data[-4:]
    size = shift = place = 0
    while True:
        size |= (packed[place] & 0x7F) << shift
        shift += 7
        place += 1
        if not packed[place - 1] & 0x80:
            break
    if size > _UNPACKED:
        raise ValueError(f"a snappy block of {size} bytes")
    found = pa.Codec("snappy").decompress(packed, decompressed_size=size).to_pybytes()
    if zlib.crc32(found).to_bytes(4, "big") != checksum:
        raise ValueError("snappy: the checksum is wrong")
    return BytesIO(found)


def _zstd(source: Any) -> BytesIO:
    return _bounded(pa.CompressedInputStream(pa.BufferReader(_block(source)), "zstd").read(_UNPACKED + 1))


def _deflate(source: Any) -> BytesIO:
    return _bounded(zlib.decompressobj(-15).decompress(_block(source), _UNPACKED + 1))


def _bzip2(source: Any) -> BytesIO:
    return _bounded(bz2.BZ2Decompressor().decompress(_block(source), _UNPACKED + 1))


def _xz(source: Any) -> BytesIO:
    return _bounded(lzma.LZMADecompressor().decompress(_block(source), _UNPACKED + 1))


def _bounded(data: bytes) -> BytesIO:
    if len(data) > _UNPACKED:
        raise ValueError(f"a block unpacks to more than {_UNPACKED} bytes")
    return BytesIO(data)


def batches(file: Any, schema: Any) -> Iterator[Any]:
    """The records of a container as batches.

    Raises:
        FileFault: It breaks off, or a block cannot be unpacked.
    """
    rows: list[Json] = []
    count = 0
    records = iter(reader(file))
    while True:
        try:
            row = next(records, None)
        except BROKEN as fault:
            raise _fault(fault, count, file) from fault
        if row is not None:
            rows.append(row)
            count += 1
        if len(rows) == BATCH_ROWS or (row is None and rows):
            yield pa.RecordBatch.from_arrays([_column(rows, field) for field in schema], schema=schema)
            rows = []
        if row is None:
            return


def _column(rows: list[Json], field: Any) -> Any:
    values = [row[field.name] for row in rows]
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError):
        return pa.array([fit_value(value, field.type)[0] for value in values], field.type)


def _fault(fault: Exception, count: int, file: Any) -> FileFault:
    text = str(fault).splitlines()[0][:300] if str(fault) else type(fault).__name__
    if isinstance(fault, EOFError) or not file.read(1):
        return FileFault("truncated", "Avro: the file ends too early", f"after row {count}")
    return FileFault("malformed", f"Avro: {text}", f"after row {count}")


def schema_of(schema: Any) -> Any:
    """The Arrow schema of an Avro record."""
    return pa.schema([(field["name"], _type(field["type"], (schema["name"],))) for field in schema["fields"]])


def _kind(schema: Any) -> str:
    return schema if isinstance(schema, str) else "union" if isinstance(schema, list) else str(schema["type"])


def _type(schema: Any, inside: tuple[str, ...]) -> Any:
    """The Arrow type of an Avro type; text (JSON) for unions of several and for records within themselves."""
    kind = _kind(schema)
    if kind == "union":
        others = [one for one in schema if _kind(one) != "null"]
        return _type(others[0], inside) if len(others) == 1 else pa.string() if others else pa.null()
    logical = schema.get("logicalType", "") if isinstance(schema, dict) else ""
    if logical in _LOGICAL:
        return _LOGICAL[logical]
    if logical == "decimal" and schema["precision"] <= 38:
        return pa.decimal128(schema["precision"], schema.get("scale", 0))
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind == "enum":
        return pa.string()
    if kind == "fixed":
        return pa.binary(schema["size"])
    if kind == "array":
        return pa.list_(_type(schema["items"], inside))
    if kind == "map":
        return pa.map_(pa.string(), _type(schema["values"], inside))
    if kind == "record" and schema["name"] not in inside:
        deeper = (*inside, schema["name"])
        return pa.struct([(field["name"], _type(field["type"], deeper)) for field in schema["fields"]])
    return pa.string()

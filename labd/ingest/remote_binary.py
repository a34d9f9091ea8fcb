"""Parquet and Avro: files that know their columns.

Why their batches may end in a fault: reading all of a file only to see whether it is whole would cost as much as
loading it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from labd.ingest.remote_blocks import known_types, told_columns
from labd.ingest.remote_columns import arrow_schema
from labd.ingest.remote_faults import FileFault
from labd.ingest.remote_fit import fit_batch
from labd.ingest.remote_text import compression_of, open_raw, unpack
from labd.ingest.remote_types import normal

Json = dict[str, Any]
BATCH_ROWS = 64 * 1024


class Parquet:
    """A Parquet file; batches are as large as the memory allows."""

    def __init__(self, file: Any, rule: Json, table: list[Json] | None, memory_bytes: int) -> None:
        from pyarrow import parquet

        try:
            self._parquet = parquet.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
            schema = self._parquet.schema_arrow
        except (pa.ArrowException, OSError, ValueError) as fault:
            if "footer" in str(fault):
                raise FileFault("truncated", f"the Parquet file has no end: {_words(fault)}") from fault
            raise FileFault("malformed", f"Parquet: {_words(fault)}") from fault
        meta = self._parquet.metadata
        largest = max((meta.row_group(group).total_byte_size for group in range(meta.num_row_groups)), default=0)
        rows = max((meta.row_group(group).num_rows for group in range(meta.num_row_groups)), default=0)
        self._rows = max(1024, min(BATCH_ROWS, memory_bytes // 8 // max(1, largest // max(1, rows))))
        types = _types(schema)
        self.columns, self.untyped = told_columns(types, known_types(rule, table), rule)

    def batches(self, columns: list[Json]) -> Iterator[tuple[Any, int]]:
        """Batches that fit, each with the number of its rescued rows."""
        schema, row, group = arrow_schema(columns), 0, 0
        try:
            for group in range(self._parquet.num_row_groups):
                for batch in self._parquet.iter_batches(batch_size=self._rows, row_groups=[group]):
                    batch.validate(full=True)  # text that is no UTF-8 would spoil the table for its readers
                    yield fit_batch(batch, schema, text=False, number_of=_row(row))
                    row += batch.num_rows
        except (OSError, pa.ArrowException) as fault:
            raise FileFault("malformed", f"Parquet: {_words(fault)}", f"row group {group}, row {row + 1}") from fault

    def close(self) -> None:
        """Give the file back."""
        self._parquet.close(force=True)


class Avro:
    """An Avro container."""

    def __init__(self, file: Any, rule: Json, table: list[Json] | None) -> None:
        from labd.ingest import remote_avro

        self._file = file
        self._start = file.tell()
        self._reader = remote_avro.reader(file)
        self._schema = remote_avro.schema_of(self._reader.writer_schema)
        self.columns, self.untyped = told_columns(_types(self._schema), known_types(rule, table), rule)
        self._batches = remote_avro.batches

    def batches(self, columns: list[Json]) -> Iterator[tuple[Any, int]]:
        """Batches that fit, each with the number of its rescued rows."""
        schema, row = arrow_schema(columns), 0
        self._file.seek(self._start)
        for batch in self._batches(self._file, self._schema):
            yield fit_batch(batch, schema, text=False, number_of=_row(row))
            row += batch.num_rows

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


def open_body(
    content: Any, format_: Json, rule: Json, table: list[Json] | None, scratch: Path, memory_bytes: int
) -> Parquet | Avro:
    """A Parquet or Avro file, unpacked if its name or the format says that it is packed."""
    compression = compression_of(content.name, format_.get("compression", "auto"))
    file: Any = open_raw(content)
    if compression != "none":
        file.close()
        file = tempfile.SpooledTemporaryFile(max_size=memory_bytes, dir=str(scratch))  # noqa: SIM115 closed by the body
        try:
            unpack(content, compression, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
    kind = format_["type"]
    try:
        head = file.read(4)
        file.seek(0)
        if not head:
            raise FileFault("empty_file", f"the file has no bytes, not even those of an empty {kind} file")
        if head != (b"PAR1" if kind == "parquet" else b"Obj\x01"):
            raise FileFault("wrong_format", f"no {kind} file: it starts with {head!r}", "byte 0")
        return Parquet(file, rule, table, memory_bytes) if kind == "parquet" else Avro(file, rule, table)
    except BaseException:
        file.close()
        raise


def _types(schema: Any) -> dict[str, Any]:
    if not len(schema):
        raise FileFault("empty_schema", "the file has no columns")
    if len(set(schema.names)) < len(schema.names):
        raise FileFault("unsupported", f"two columns have one name: {', '.join(schema.names)}")
    return {field.name: normal(field.type) for field in schema}


def _row(begun: int) -> Any:
    return lambda row: {"_row": begun + row + 1}


def _words(fault: Exception) -> str:
    return str(fault).splitlines()[0][:300] if str(fault) else type(fault).__name__

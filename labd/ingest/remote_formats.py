"""Reads one file: first its columns, then its rows as Arrow record batches that fit given columns.

What it takes and gives (all types are plain values, but for Arrow's batches):

    Content(name, path=None, data=None)      one of `path` (a local file that nobody changes) and `data` (bytes)
    open_file(content, format, rule, table=None, *, scratch, memory_bytes=128 MiB) -> OpenFile   (a context manager)
        format, rule   `Format` and `SchemaRule` of definition.py as dicts
        table          the columns that the table has now, [{"name": ..., "type": ...}, ...], without labd's own; None
                       where there is no table. It is no limit: it spares reading twice, lets names match whatever their
                       case, and keeps the table's type where every value of the file fits it
        scratch        an existing folder for what does not fit in memory; emptied of it by `close`
    OpenFile.columns   [{"name", "type"}]: the file's columns in its order, under the table's names where they are the
                       same but for case; types in Iceberg's words. Mode `fixed`: the rule's columns
    OpenFile.untyped   names of columns without any value (no type to infer); mode `infer` makes them string instead
    OpenFile.batches(columns) -> Iterator[pa.RecordBatch]   may be called again. Each batch has the schema
                       `arrow_schema(columns)`: the columns asked for, then `_rescued_data` (string)
    OpenFile.rows, OpenFile.rescued   counted by the last `batches` that came to its end
    FileFault(code, message, place)   raised by `open_file`; for parquet and avro by `batches` as well, so keep a file's
                       batches apart until the last has come: a file is loaded whole or not at all
    remote_columns.arrow_schema(columns, rescued=True) -> pa.Schema
    remote_columns.union(table, brought) -> (columns, changes)   changes: [{"key", "kind", "column", "type", "was"}]

Codes of `FileFault`: truncated, wrong_format, wrong_encoding, line_too_long, empty_file, empty_schema, malformed,
unsupported, unreadable, too_large.

`_rescued_data` is JSON text: `{"_line": 7, "_raw": "..."}` for a line that is no record, and for values that do not fit
their column or have none `{"amount": "abc", "_line": 7}`. Where lines have no number (parquet, avro, json documents) it
is `_row`, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from labd.ingest.remote_faults import FileFault

Json = dict[str, Any]
MIB = 2**20
__all__ = ["Content", "FileFault", "OpenFile", "open_file"]


@dataclass(frozen=True)
class Content:
    """The bytes of one version of a file; `name` tells the compression and stands in messages."""

    name: str
    path: str | None = None
    data: bytes | None = None


class Body(Protocol):
    """What a format makes of a file."""

    columns: list[Json]
    untyped: list[str]

    def batches(self, columns: list[Json]) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Batches that fit, each with the number of its rescued rows."""
        ...

    def close(self) -> None:
        """Give back files and memory."""
        ...


class OpenFile:
    """A file whose columns are known."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.columns: list[Json] = body.columns
        self.untyped: list[str] = body.untyped
        self.rows = 0
        self.rescued = 0

    def batches(self, columns: list[Json]) -> Iterator[pa.RecordBatch]:
        """The rows, fitted to `columns`; a second call reads them again.

        Raises:
            FileFault: The file cannot be read to its end.
        """
        rows = rescued = 0
        with _told():
            for batch, count in self._body.batches(columns):
                rows += batch.num_rows
                rescued += count
                yield batch
        self.rows, self.rescued = rows, rescued

    def close(self) -> None:
        """Give back files and memory; a second call does nothing."""
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_file(
    content: Content,
    format: Json,  # noqa: A002 the definition's own word
    rule: Json,
    table: list[Json] | None = None,
    *,
    scratch: Path,
    memory_bytes: int = 128 * MIB,
) -> OpenFile:
    """Open a file and find its columns.

    Raises:
        FileFault: Nothing of the file can be used; says why and where.
    """
    with _told():
        if format["type"] in ("parquet", "avro"):
            from labd.ingest.remote_binary import open_body

            return OpenFile(open_body(content, format, rule, table, scratch, memory_bytes))
        from labd.ingest.remote_blocks import open_body as open_text

        return OpenFile(open_text(content, format, rule, table, scratch, memory_bytes))


@contextmanager
def _told() -> Iterator[None]:
    """Say what a library refuses as a fault of the file: one such file must not stop the others."""
    try:
        yield
    except MemoryError as fault:  # also Arrow's own
        text = "it takes more memory to read than the child has; use the queue autoloader-high-memory if it is meant"
        raise FileFault("too_large", text) from fault
    except (pa.ArrowException, ValueError, ArithmeticError, RecursionError) as fault:
        text = str(fault).splitlines()[0][:300] if str(fault) else ""
        raise FileFault("unreadable", f"the file cannot be used: {type(fault).__name__}: {text}") from fault

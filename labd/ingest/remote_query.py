"""Rows for people: of a table, or the first ones of some files."""

from __future__ import annotations

import base64
import datetime as dt
import math
import re
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.expressions.parser import parse
from pyiceberg.table import Table
from pyparsing import ParseException

from labd.ingest.remote_iceberg import words_of
from labd.ingest.remote_read import Origin
from labd.ingest.remote_refusal import Refusal

Json = dict[str, Any]
FORM = "write such as amount > 3 and region == 'eu'"


def rows_of(table: Table, name: str, columns: list[str], where: str, limit: int) -> Json:
    """Rows as `port.Rows`; reads no more than it takes to know whether there are more.

    Raises:
        Refusal: table_refused; a column is unknown, or the filter cannot be read.
    """
    schema = table.schema()
    known = [field.name for field in schema.fields]
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise Refusal("table_refused", f"{name} has no column {', '.join(unknown)}; it has {', '.join(known)}")
    wanted = columns or known
    try:
        row_filter = parse(where) if where.strip() else AlwaysTrue()
        scan = table.scan(row_filter=row_filter, selected_fields=tuple(wanted), limit=limit + 1)
        found = _first(scan.to_arrow_batch_reader(), wanted, limit + 1)
    except Exception as fault:
        if not where.strip() or isinstance(fault, OSError):
            raise
        raise Refusal("table_refused", f"{name}: the filter {where!r} cannot be used: {_why(fault, known)}") from fault
    types = [{"name": one, "type": words_of(schema.find_field(one).field_type)} for one in wanted]
    return {"columns": types, "rows": found[:limit], "more": len(found) > limit}


def _why(fault: Exception, known: list[str]) -> str:
    """Why not the parser's own words: they are its whole grammar."""
    text = str(fault)
    if isinstance(fault, ParseException):
        rest = fault.line[fault.column - 1 :][:40]
        return f"nothing can be made of it from {rest!r} on; {FORM}" if rest else f"its end is missing; {FORM}"
    if missing := re.search(r"Could not find field with name ([^,]+)", text):
        return f"there is no column {missing[1]}; it has {', '.join(known)}"
    return f"{text.splitlines()[0][:200] if text else type(fault).__name__}; {FORM}"


def _first(batches: Iterator[pa.RecordBatch], columns: list[str], count: int) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for batch in batches:
        taken = batch.slice(0, count - len(rows)).select(columns)
        rows += _plain_rows(taken)
        if len(rows) >= count:
            break
    return rows


def _plain_rows(batch: pa.RecordBatch) -> list[list[Any]]:
    values = [[plain(value) for value in column.to_pylist()] for column in batch.columns]
    return [list(row) for row in zip(*values, strict=True)]


def plain(value: Any) -> Any:
    """A JSON value: instants with `Z`, exact decimals as text, bytes in base64; what JSON has no number for is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return value.isoformat()
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


class SampleRows:
    """A sink that keeps the first rows and wants no more files then."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: list[Json] = []

    def take(self, batches: Iterator[pa.RecordBatch], origin: Origin | None, check: Callable[[], None]) -> None:
        """All rows of a file are read, so that its faults and counts are those of a load; the first ones are kept."""
        del origin
        kept: list[Json] = []
        for batch in batches:
            room = self._limit - len(self._found) - len(kept)
            if room > 0:
                kept += batch.slice(0, room).to_pylist()
        check()
        self._found += kept

    def is_full(self) -> bool:
        """Enough rows are there."""
        return len(self._found) >= self._limit

    def rows(self, columns: list[Json]) -> list[list[Any]]:
        """They, in the order of these columns; null where a file has brought a column later."""
        names = [one["name"] for one in columns]
        return [[plain(row.get(name)) for name in names] for row in self._found]

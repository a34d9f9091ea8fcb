"""Rows of parquet files: what footers tell of a column, and rows sorted into one file for each table of the store.

Runs in the store's child process: the standard library and pyarrow.

Why scratch files and not batches handed over: the store reads parquet in parallel and by itself. What is sorted waits
for it on disk; in memory there are never more than `HELD_ROWS` rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_ROWS = 256 * 1024
HELD_ROWS = 1024 * 1024
TABLES_LIMIT = 1000
FEW = 8  # so many parts of a batch are picked out one by one, more by sorting it
TRUSTED_BYTES = 60  # some writers cut longer texts in their footers
SEPARATOR = "\x1f"
# What ladybug 0.22 reads by itself (src/processor/operator/persistent/reader/parquet); others end in an assertion.
READ_BY_STORE = frozenset({"PLAIN", "PLAIN_DICTIONARY", "RLE", "RLE_DICTIONARY", "BIT_PACKED", "DELTA_BINARY_PACKED"})


class TooMany(Exception):
    """More tables, or more sets of labels, than the store should have; the text says how many."""


@dataclass(slots=True)
class Sorted:
    """One part of the rows of a table, in a file of its own."""

    path: Path
    rows: int = 0


def int_range(files: Sequence[str], column: str) -> tuple[int, int] | None:
    """Least and greatest whole number of a column, from the footers; None if one of them does not say."""
    ends: list[int] = []
    for statistics in _statistics(files, column):
        if statistics is None or not statistics.has_min_max or not isinstance(statistics.min, int):
            return None
        ends += [statistics.min, statistics.max]
    return (min(ends), max(ends)) if ends else None


def one_text(files: Sequence[str], column: str) -> str | None:
    """The text that stands in every row of a column, from the footers; None if they do not say that it does."""
    found: set[str] = set()
    for statistics in _statistics(files, column):
        if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
            return None
        if statistics.min != statistics.max or not isinstance(statistics.min, str):
            return None
        found.add(statistics.min)
    text = found.pop() if len(found) == 1 else ""
    return text if 0 < len(text.encode()) <= TRUSTED_BYTES else None


def unread_column(files: Sequence[str]) -> str | None:
    """A column that the store cannot read by itself, for the way its pages are packed; None if it can read all."""
    for path in files:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
        for number in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(number).column(place)
                if not READ_BY_STORE.issuperset(chunk.encodings):
                    return str(chunk.path_in_schema)
    return None


def _statistics(files: Sequence[str], column: str) -> Iterator[Any]:
    """Of a plain column in every row group that has rows; None where there are none."""
    for path in files:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if group.num_rows:
                chunks = (group.column(place) for place in range(group.num_columns))
                chunk = next((chunk for chunk in chunks if chunk.path_in_schema == column), None)
                yield chunk.statistics if chunk is not None else None


def batches(files: Sequence[str], columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[Any]:
    """All rows of the files, some at a time."""
    for path in files:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=rows, columns=list(columns))


def texts(column: Any) -> Any:
    """Text, or lists of it, as plain text: parts of a list are joined; no label at all is null or empty."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pc.binary_join(column.cast(pa.list_(pa.string())), SEPARATOR)
    return column.cast(pa.string())


def distinct(files: Sequence[str], column: str) -> list[str]:
    """Every text of a column once, in order; none at all is the empty one.

    Raises:
        TooMany: More than a store should have tables.
    """
    found: set[str] = set()
    for batch in batches(files, [column]):
        found |= {value or "" for value in pc.unique(texts(batch.column(0))).to_pylist()}
        if len(found) > TABLES_LIMIT:
            raise TooMany(f"column {column!r} has more than {TABLES_LIMIT} different values")
    return sorted(found)


def numbered(column: Any, number_of: Mapping[str, int]) -> Any:
    """A column's texts as the numbers they stand for."""
    encoded = texts(column).dictionary_encode(null_encoding="encode")
    numbers = [number_of[value or ""] for value in encoded.dictionary.to_pylist()]
    return pa.array(numbers, pa.int64()).take(encoded.indices)


def sort_rows(
    source: Iterator[Any], number: Callable[[Any], Any], columns: Mapping[str, Any], stem: Path,
    told: Callable[[int], None],
) -> dict[int, Sorted]:  # fmt: skip
    """Write every row to the file of its number.

    Args:
        number: The number of each row of a batch.
        columns: What is written, with the Arrow type that it is written with.
        stem: Files are called like it, with the number behind.
        told: Called with how many rows have been sorted.

    Raises:
        pa.ArrowException: A value does not fit its new type.
        TooMany: More files than a store should have tables.
    """
    schema = pa.schema(list(columns.items()))
    parts: dict[int, Sorted] = {}
    held: dict[int, list[Any]] = {}
    writers: dict[int, Any] = {}
    waiting = done = 0

    def write(key: int) -> None:
        if key not in writers:
            writers[key] = pq.ParquetWriter(parts[key].path, schema, compression="none", use_dictionary=False)
        writers[key].write_table(pa.Table.from_batches(held.pop(key), schema))

    try:
        for batch in source:
            plain = pa.RecordBatch.from_arrays(
                [batch[name].cast(kind) for name, kind in columns.items()], schema=schema
            )
            for key, part in _parts(plain, number(batch)):
                if key not in parts:
                    parts[key] = Sorted(stem.with_name(f"{stem.name}-{key}.parquet"))
                    if len(parts) > TABLES_LIMIT:
                        raise TooMany(f"its rows belong into more than {TABLES_LIMIT} tables")
                parts[key].rows += part.num_rows
                held.setdefault(key, []).append(part)
            waiting += batch.num_rows
            done += batch.num_rows
            told(done)
            if waiting >= HELD_ROWS:
                for key in list(held):
                    write(key)
                waiting = 0
        for key in list(held):
            write(key)
    finally:
        for writer in writers.values():
            writer.close()
    return parts


def _parts(batch: Any, numbers: Any) -> Iterator[tuple[int, Any]]:
    """A batch, by the numbers of its rows."""
    counted = {item["values"]: item["counts"] for item in pc.value_counts(numbers).to_pylist()}
    if len(counted) == 1:
        yield next(iter(counted)), batch
    elif len(counted) <= FEW:
        for key in counted:
            yield key, batch.filter(pc.equal(numbers, key))
    else:
        ordered, start = batch.take(pc.sort_indices(numbers)), 0
        for key in sorted(counted):
            yield key, ordered.slice(start, counted[key])
            start += counted[key]

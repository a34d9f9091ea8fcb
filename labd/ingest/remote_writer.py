"""Writes rows as data files of a table that no commit names yet, a piece at a time in bounded memory.

Why a thread: Parquet is encoded without Python's lock, so the next rows are read meanwhile. One piece is in work, one
is gathered, no more.
Why dictionaries only where values repeat: a piece is a row group, and PyArrow begins a dictionary anew in each, which
for a column of other values in every row costs more than all the rest and makes the file larger.
Why provenance is made when a piece is written: the file's URL is then one entry of a dictionary, not a text a row.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    _get_parquet_writer_kwargs,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionKey
from pyiceberg.schema import Schema
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from labd.ingest.remote_iceberg import BATCH, FILE, VERSION, arrow_schema
from labd.ingest.remote_partitions import split
from labd.ingest.remote_read import Origin
from labd.ingest.remote_refusal import Refusal

ROLL_BYTES = 512 * 2**20
OPEN_FILES = 32
SAMPLED_ROWS = 16 * 1024


@dataclass
class Place:
    """Where data files go and how their rows look."""

    metadata: TableMetadata
    io: FileIO
    name: str
    """Begins the names of the data files; of one try alone."""
    piece_bytes: int
    written: Callable[[str], None]
    """Told of every path before anything is written there."""
    pool: ThreadPoolExecutor
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.schema = self.metadata.schema()
        self.target = _written_as(arrow_schema(self.schema))
        self.options = _get_parquet_writer_kwargs(self.metadata.properties)
        self.locations = load_location_provider(self.metadata.location, self.metadata.properties)


class _OpenFile:
    """One data file that is being written."""

    def __init__(self, place: Place, key: PartitionKey | None, first: pa.Table) -> None:
        self._key = key
        self.path = place.locations.new_data_location(f"{place.name}-{next(place.numbers):05}.parquet", key)
        place.written(self.path)
        self._place = place
        self._output = place.io.new_output(self.path)
        self._stream = self._output.create(overwrite=True)
        self._writer = pq.ParquetWriter(
            self._stream, place.target, store_schema=False, store_decimal_as_integer=True,
            **{**place.options, "use_dictionary": _repeating(first, place.schema)},
        )  # fmt: skip
        self.bytes_in = 0

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)
        self.bytes_in += rows.nbytes

    def close(self) -> DataFile:
        place = self._place
        with self._stream:
            self._writer.close()
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=self._writer.writer.metadata,
            stats_columns=compute_statistics_plan(place.schema, place.metadata.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(place.schema),
        )
        return DataFile.from_args(
            content=DataFileContent.DATA, file_path=self.path, file_format=FileFormat.PARQUET,
            partition=Record() if self._key is None else self._key.partition, file_size_in_bytes=len(self._output),
            sort_order_id=None, spec_id=place.metadata.default_spec_id, equality_ids=None, key_metadata=None,
            **statistics.to_serialized_dict(),
        )  # fmt: skip


class DataWriter:
    """Data files for some rows; `finish` gives them, `discard` forgets and deletes them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._waiting: list[tuple[pa.RecordBatch, Origin | None]] = []
        self._waiting_bytes = 0
        self._open: dict[Any, _OpenFile] = {}
        self._done: list[DataFile] = []
        self._at_work: Future[None] | None = None
        self._ended: Future[None] | None = None

    def write(self, batch: pa.RecordBatch, origin: Origin | None) -> None:
        """Take rows: the table's columns without labd's three; they may wait in memory."""
        self._waiting.append((batch, origin))
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= self._place.piece_bytes:
            self._hand_over()

    def end(self) -> None:
        """Write what waits, end all files; goes on in the thread while the next rows are read."""
        self._hand_over()
        self._ended = self._place.pool.submit(self._close_all)

    def finish(self) -> list[DataFile]:
        """The data files, when all are ended."""
        if self._ended is None:
            self.end()
        self._wait()
        assert self._ended is not None
        self._ended.result()
        return self._done

    def discard(self) -> None:
        """Delete what was written."""
        self._waiting.clear()
        with contextlib.suppress(Exception):
            self._wait()
        with contextlib.suppress(Exception):
            if self._ended is not None:
                self._ended.result()
        paths = [file.path for file in self._open.values()] + [file.file_path for file in self._done]
        with contextlib.suppress(Exception):
            self._close_all()
        delete_files(self._place.io, paths)
        self._done.clear()

    def _hand_over(self) -> None:
        if self._waiting:
            self._wait()
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._at_work = self._place.pool.submit(self._write_piece, waiting)

    def _wait(self) -> None:
        at_work, self._at_work = self._at_work, None
        if at_work is not None:
            at_work.result()

    def _write_piece(self, waiting: list[tuple[pa.RecordBatch, Origin | None]]) -> None:
        place = self._place
        rows = fitted(waiting, place.target)
        waiting.clear()
        for key, part in split(rows, place.metadata.spec(), place.schema):
            name = None if key is None else key.partition
            found = self._open.pop(name, None)
            if found is None:
                if len(self._open) >= OPEN_FILES:
                    self._close(next(iter(self._open)))  # the one that has not been written to for longest
                found = _OpenFile(place, key, part)
            self._open[name] = found
            found.write(part)
            if found.bytes_in >= ROLL_BYTES:
                self._close(name)

    def _close(self, name: Any) -> None:
        self._done.append(self._open.pop(name).close())

    def _close_all(self) -> None:
        for name in list(self._open):
            self._close(name)


def fitted(waiting: list[tuple[pa.RecordBatch, Origin | None]], target: pa.Schema) -> pa.Table:
    """One table of the target's columns and types; labd's columns are made from the origins, if it has them."""
    table = pa.Table.from_batches([batch for batch, _ in waiting])
    origins = [origin for _, origin in waiting]
    places: dict[Origin | None, int] = {}
    for origin in origins:
        places.setdefault(origin, len(places))
    columns = []
    for wanted in target:
        if wanted.name in (FILE, VERSION, BATCH) and wanted.name not in table.column_names:
            indices = pa.concat_arrays(
                [pa.repeat(pa.scalar(places[origin], pa.int32()), batch.num_rows) for batch, origin in waiting]
            )
            values = [_of(origin, wanted.name) for origin in places]
            if wanted.name == BATCH:
                columns.append(pa.array(values, pa.int64()).take(indices))
            else:
                columns.append(pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string())))
        else:
            column = table.column(wanted.name)
            columns.append(column if column.type == wanted.type else column.cast(wanted.type))
        if not wanted.nullable and columns[-1].null_count:
            whose = next((origin.url for origin in origins if origin is not None), "a file")
            text = f"column {wanted.name} of the table takes no row without a value, and the files bring some"
            raise Refusal("table_refused", f"{text}; make it optional in the table (the first file is {whose})")
    return pa.Table.from_arrays(columns, schema=target)


def _written_as(schema: pa.Schema) -> pa.Schema:
    """Texts as the readers give them, and provenance as a dictionary; Parquet's types and field ids are the same."""
    fields = []
    for one in schema:
        if one.name in (FILE, VERSION):
            kind = pa.dictionary(pa.int32(), pa.string())
        else:
            kind = pa.string() if pa.types.is_large_string(one.type) else one.type
        fields.append(one.with_type(kind))
    return pa.schema(fields)


def _repeating(rows: pa.Table, schema: Schema) -> list[str]:
    """Paths of the columns whose values come again in the first rows; nested ones are taken to be such."""
    sample, unlike = rows.slice(0, SAMPLED_ROWS), set()
    for one, column in zip(sample.schema, sample.columns, strict=True):
        if not (pa.types.is_nested(one.type) or pa.types.is_dictionary(one.type) or pa.types.is_boolean(one.type)):
            values = len(column) - column.null_count
            with contextlib.suppress(pa.ArrowNotImplementedError):  # such as of UUIDs
                if values and 2 * pc.count_distinct(column).as_py() > values:
                    unlike.add(one.name)
    return [path for path in parquet_path_to_id_mapping(schema) if path not in unlike]


def _of(origin: Origin | None, name: str) -> str | int | None:
    if origin is None:
        return None
    if name == BATCH:
        return origin.number
    return origin.url if name == FILE else origin.version


def delete_files(io: FileIO, paths: list[str]) -> None:
    """Delete data files that no commit names; one that cannot be deleted stays."""
    for path in paths:
        with contextlib.suppress(Exception):
            io.delete(path)

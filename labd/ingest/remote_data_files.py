"""The rows of a batch as data files of its table: many small files share some, a large file has its own.

A file of a source is loaded whole or not at all. So the rows of a small one wait in memory until the last has come, and
those of a large one go into data files of its own, which are deleted if it breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table.metadata import TableMetadata

from labd.ingest.remote_plan import Plan
from labd.ingest.remote_read import Origin
from labd.ingest.remote_writer import DataWriter, Place, delete_files

MIB = 2**20
LARGEST_PIECE = 64 * MIB
SMALLEST_PIECE = 4 * MIB


def piece_bytes(memory_bytes: int) -> int:
    """So much of Arrow's memory is written at once; some pieces are in work at a time."""
    return max(SMALLEST_PIECE, min(LARGEST_PIECE, memory_bytes // 16))


class DataFiles:
    """A sink of rows; `finish` gives the data files, `discard` deletes them."""

    def __init__(self, plan: Plan, name: str, memory_bytes: int, written: Callable[[str], None]) -> None:
        self._plan = plan
        self._name = name
        self._piece_bytes = piece_bytes(memory_bytes)
        self._written = written
        self._pool = ThreadPoolExecutor(1, "labd-parquet")
        self._place: Place | None = None
        self._version = -1
        self._parts = 0
        self._shared: DataWriter | None = None
        self._ending: list[DataWriter] = []
        self.files: list[DataFile] = []

    def take(self, batches: Iterator[pa.RecordBatch], origin: Origin | None, check: Callable[[], None]) -> None:
        """All rows of a file or none."""
        place: Place | None = None
        staged: list[pa.RecordBatch] = []
        staged_bytes = 0
        own: DataWriter | None = None
        try:
            for batch in batches:
                if not batch.num_rows:
                    continue
                place = place or self._here()
                staged.append(batch)
                staged_bytes += batch.nbytes
                if staged_bytes >= self._piece_bytes and own is None:
                    own = DataWriter(place)
                if own is not None:
                    for part in staged:
                        own.write(part, origin)
                    staged = []
            check()
            if own is not None:
                self._gather()
                own.end()
                self._ending.append(own)
        except BaseException:
            if own is not None:
                own.discard()
            raise
        if staged and place is not None and self._shared is None:
            self._shared = DataWriter(place)
        for part in staged:
            assert self._shared is not None
            self._shared.write(part, origin)

    def is_full(self) -> bool:
        """Never; memory is bounded all the same."""
        return False

    def finish(self) -> list[DataFile]:
        """All data files, ended."""
        self._gather()
        shared, self._shared = self._shared, None
        if shared is not None:
            try:
                self.files += shared.finish()
            except BaseException:
                shared.discard()
                raise
        return self.files

    def _gather(self) -> None:
        """The data files of the large file before, whose last rows were written while the next ones were read."""
        while self._ending:
            self.files += self._ending[0].finish()
            del self._ending[0]

    def discard(self) -> None:
        """Delete all; for rows that no commit may name."""
        ending, self._ending = self._ending, []
        for one in ending:
            one.discard()
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.discard()
        files, self.files = self.files, []
        if self._place is not None:
            delete_files(self._place.io, [file.file_path for file in files])

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    def _here(self) -> Place:
        """Where files of the plan's columns as they are now go; the shared ones of before are ended."""
        self._plan.have_table()
        if self._place is None or self._version != self._plan.version:
            self.finish()
            self._version = self._plan.version
            self._place = place_of(
                self._plan, f"{self._name}-{self._parts}", self._piece_bytes, self._written, self._pool
            )
            self._parts += 1
        return self._place


def place_of(
    plan: Plan, name: str, size: int, written: Callable[[str], None], pool: ThreadPoolExecutor,
    metadata: TableMetadata | None = None,
) -> Place:  # fmt: skip
    """Where the data files of a plan go."""
    assert plan.table is not None, "a table is made when the first columns are known"
    given: Any = metadata or plan.metadata()
    return Place(given, plan.table.io, f"labd-{name}", size, written, pool)

"""Takes the rows of files that have a new version out of a table, in the commit that brings the new ones.

Why not `Transaction.delete`: it makes snapshots of its own beside the one with the rows, and holds data files in
memory whole. Here one snapshot removes the data files that hold such rows, and adds what remains of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import AlwaysTrue, In
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from labd.ingest.remote_data_files import piece_bytes, place_of
from labd.ingest.remote_iceberg import FILE
from labd.ingest.remote_plan import Plan
from labd.ingest.remote_writer import DataWriter


class Replacement:
    """The rows of some URLs, to be replaced."""

    def __init__(
        self, plan: Plan, urls: list[str], name: str, memory_bytes: int, written: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._urls = urls
        self._name = name
        self._piece_bytes = piece_bytes(memory_bytes)
        self._written = written
        self._pool = ThreadPoolExecutor(1, "labd-rewrite")
        self._tries = 0

    def rewrite(self, table: Table) -> tuple[list[DataFile], list[DataFile]]:
        """Data files of the table that hold such rows, and new ones with their other rows."""
        if table.current_snapshot() is None or FILE not in table.schema().column_names:
            return [], []
        self._tries += 1
        metadata = self._plan.begin(table).table_metadata
        place = place_of(
            self._plan, f"{self._name}-r{self._tries}", self._piece_bytes, self._written, self._pool, metadata
        )
        writer = DataWriter(place)
        urls = pa.array(self._urls, pa.string())
        removed: list[DataFile] = []
        try:
            for task in table.scan(row_filter=In(FILE, self._urls)).plan_files():  # type: ignore[call-arg, arg-type]
                only_urls = ArrowScan(metadata, table.io, metadata.schema().select(FILE), AlwaysTrue())
                if not any(_of(batch, urls).true_count for batch in only_urls.to_record_batches([task])):
                    continue  # only its bounds were near
                removed.append(task.file)
                whole = ArrowScan(metadata, table.io, metadata.schema(), AlwaysTrue())
                for batch in whole.to_record_batches([task]):
                    rest = batch.filter(pc.invert(_of(batch, urls)))
                    if rest.num_rows:
                        writer.write(rest, None)
            return removed, writer.finish()
        except BaseException:
            with contextlib.suppress(Exception):
                writer.discard()
            raise

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()


def _of(batch: pa.RecordBatch, urls: pa.Array) -> pa.BooleanArray:
    """Which rows are of one of these files."""
    return pc.is_in(pc.cast(batch.column(FILE), pa.string()), urls)

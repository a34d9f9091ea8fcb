"""The engine on pyarrow and PyIceberg: `port.TableEngine` in plain values, one call at a time.

Why it is imported late: pyarrow and PyIceberg take most of a second, and a listing needs neither.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from pyiceberg.exceptions import ForbiddenError, RESTError, ServiceUnavailableError, UnauthorizedError
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from labd.ingest import remote_load
from labd.ingest.remote_commit import marks_of
from labd.ingest.remote_iceberg import RESCUED, drop_table, find_table, full_name, user_columns
from labd.ingest.remote_plan import Plan, look
from labd.ingest.remote_query import SampleRows, rows_of
from labd.ingest.remote_read import BatchReader
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_trace import files_of, table_commits
from labd.ingest.remote_types import UnknownType

Json = dict[str, Any]
MIB = 2**20


class ArrowEngine:
    """Reads with pyarrow, writes with PyIceberg."""

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()

    def load(self, batch: Json) -> Json:
        """Read, fit and commit a batch, exactly once."""
        with told_plainly(batch["table"]):
            return remote_load.load(batch, self._random)

    def sample(self, batch: Json, rows: int) -> Json:
        """The first rows as `load` would read them; nothing is written but temporary files."""
        with told_plainly(batch["table"]), tempfile.TemporaryDirectory(prefix="labd-sample-") as scratch:
            rule = batch["schema"]
            lenient = {**batch, "schema": {**rule, "evolution": "additive-auto"}, "provenance": False}
            plan = Plan(lenient, look(batch), writes=False)
            sink = SampleRows(rows)
            files = BatchReader(lenient, plan, Path(scratch), int(batch["memory_mib"]) * MIB).read(sink)
            shown = [*plan.columns, {"name": RESCUED, "type": "string"}]
            return {"columns": shown, "rows": sink.rows(shown), "files": files, "changes": plan.changes}

    def describe(self, table: Json) -> Json | None:
        """The table as it stands; None if there is none."""
        with told_plainly(table):
            found = find_table(table)
            if found is None:
                return None
            snapshot, schema, spec = found.current_snapshot(), found.schema(), found.spec()
            summary: dict[str, str] = {}
            if snapshot is not None and snapshot.summary is not None:
                summary = snapshot.summary.additional_properties
            counts = [
                summary.get(name, "0" if snapshot is None else None) for name in ("total-records", "total-data-files")
            ]
            return {
                "uuid": str(found.metadata.table_uuid), "location": found.location(), "columns": user_columns(schema),
                "rows": None if counts[0] is None else int(counts[0]),
                "files": None if counts[1] is None else int(counts[1]),
                "snapshot_id": None if snapshot is None else snapshot.snapshot_id,
                "tokens": list(marks_of(found.metadata)),
                "partition_by": [_partition_words(field, schema) for field in spec.fields],
            }  # fmt: skip

    def find_tokens(self, table: Json, tokens: list[str]) -> list[str]:
        """Which of these tokens are in the table."""
        with told_plainly(table):
            found = find_table(table)
            marks = {} if found is None else marks_of(found.metadata)
            return [token for token in tokens if token in marks]

    def find_commits(self, table: Json, ingestion: str) -> list[str]:
        """Tokens of one ingestion that the table shows."""
        with told_plainly(table):
            found = find_table(table)
            return [] if found is None else table_commits(found.metadata, ingestion)

    def find_files(self, table: Json, numbers: list[int]) -> list[Json] | None:
        """Which files' rows these batches have brought; None where the table does not say."""
        with told_plainly(table):
            found = find_table(table)
            return [] if found is None else files_of(found, numbers)

    def query(self, table: Json, columns: list[str], where: str, limit: int) -> Json:
        """Rows of a table."""
        with told_plainly(table):
            found = find_table(table)
            if found is None:
                raise Refusal("table_refused", f"{full_name(table)}: there is no such table")
            return rows_of(found, full_name(table), columns, where, limit)

    def drop(self, table: Json) -> bool:
        """Drop a table with its files; False if there was none."""
        with told_plainly(table):
            return drop_table(table)


def _partition_words(field: Any, schema: Any) -> str:
    """As `partition_by` has it: `days(ts)`, `bucket(16, id)`."""
    name, transform = schema.find_column_name(field.source_id), str(field.transform)
    if transform == "identity":
        return str(name)
    if "[" in transform:
        kind, width = transform.rstrip("]").split("[")
        return f"{kind}({width}, {name})"
    return f"{transform}s({name})"


@contextmanager
def told_plainly(table: Json) -> Iterator[None]:
    """Turns what catalogues and file systems raise into refusals: may it be tried again, or must somebody look?"""
    name = full_name(table)
    try:
        yield
    except (UnauthorizedError, ForbiddenError) as fault:
        raise Refusal("table_refused", f"{name}: the catalogue refuses: {fault}") from fault
    except OperationalError as fault:
        if "locked" in str(fault):
            raise Refusal("table_conflict", f"{name}: the catalogue's database is locked by others") from fault
        if "is full" in str(fault):  # somebody frees the disk, and the next try goes on
            raise Refusal("cluster_unreachable", f"{name}: the catalogue's database: {fault.orig}") from fault
        raise Refusal("table_refused", f"{name}: the catalogue's database cannot be used: {fault.orig}") from fault
    except SQLAlchemyError as fault:
        raise Refusal("table_refused", f"{name}: the catalogue's database refuses: {fault}") from fault
    except UnknownType as fault:
        raise Refusal("table_refused", f"{name}: {fault}") from fault
    except (RESTError, ServiceUnavailableError) as fault:
        raise Refusal("cluster_unreachable", f"{name}: the catalogue answers with an error: {fault}") from fault
    except MemoryError as fault:
        text = f"{name}: the batch needs more memory than the child may have: {fault}"
        raise Refusal("table_refused", f"{text}; use the queue autoloader-high-memory, or smaller batches") from fault
    except (NotImplementedError, pa.ArrowInvalid) as fault:  # format version 3, nulls where the table wants none
        raise Refusal("table_refused", f"{name}: rows cannot be written to it: {fault}") from fault
    except OSError as fault:  # requests' errors are among them
        raise Refusal(
            "cluster_unreachable", f"{name}: its catalogue or its files cannot be reached: {fault}"
        ) from fault

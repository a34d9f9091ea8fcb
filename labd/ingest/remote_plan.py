"""Which columns a batch's table has, gets, or would get if a person allowed it.

The plan grows while the batch is read. Its changes are staged on the table as it was found, so that data files are
written with the field ids that the commit will give. `begin` stages the same on the table as it is at the commit.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata

from labd.ingest.remote_columns import arrow_schema, union
from labd.ingest.remote_commit import Moved
from labd.ingest.remote_iceberg import (
    BATCH,
    FILE,
    OWN_COLUMNS,
    RESCUED,
    VERSION,
    find_table,
    full_name,
    make_table,
    user_columns,
)  # fmt: skip
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_transaction import BatchTransaction
from labd.ingest.remote_types import merge, to_arrow, to_word

Json = dict[str, Any]


class Plan:
    """The columns of one batch's table.

    Args:
        found: The table as it is; None where it is made when the first columns are known.
        writes: False to look only: nothing is made.
    """

    def __init__(self, batch: Json, found: Table | None, *, writes: bool = True) -> None:
        self._batch = batch
        self._rule: Json = batch["schema"]
        self._writes = writes
        self._steps: list[tuple[pa.Schema, list[str]]] = []
        self.table = found
        self.columns: list[Json] = [] if found is None else user_columns(found.schema())
        self.changes: list[Json] = []
        self.pending: list[Json] = []
        self.version = 0
        """Grows when the columns change."""
        self._is_known = found is not None
        if found is not None:
            self._stage_own(found)
            if self._rule["mode"] == "fixed":
                self._grow(self._rule["columns"], "", allowed=True)

    @property
    def known(self) -> list[Json] | None:
        """The columns that there are already; None where no file was read and no table is there."""
        return self.columns if self._is_known else None

    def take(self, brought: list[tuple[str, list[Json]]]) -> None:
        """Files are about to be written: their paths and columns, those of several at once.

        Raises:
            Refusal: table_refused; the rule is `freeze`, and a file brings what the table has not.
        """
        own = {name.lower() for name in OWN_COLUMNS}
        kept = [(path, [one for one in columns if one["name"].lower() not in own]) for path, columns in brought]
        if not self._is_known:
            if columns := self._first(kept):
                self._make(columns)
        elif self._rule["mode"] == "evolve":
            for path, columns in kept:
                self._grow(columns, path, allowed=False)

    def have_table(self) -> None:
        """Rows are there: without any column of theirs, as of `{}`, the table has labd's own only.

        Why not sooner: empty files bring neither columns nor rows, and the first file with any decides.
        """
        if not self._is_known:
            self._make([])

    def _make(self, columns: list[Json]) -> None:
        self.columns, self._is_known = columns, True
        if self._writes:
            self.table = make_table(self._batch["table"], self._arrow(columns))
            if self.table is None:
                raise Moved  # somebody else has made it meanwhile

    def metadata(self) -> TableMetadata:
        """The table with the plan's columns, as the commit will leave it."""
        assert self.table is not None, "a table is made when the first columns are known"
        return self._staged(self.table).table_metadata

    def begin(self, table: Table) -> Transaction:
        """A transaction with the changed columns, on the table as it is now.

        Raises:
            Moved: It would give other columns, field ids or partitions than the data files were written with.
        """
        transaction, planned = self._staged(table), self.metadata()
        given = transaction.table_metadata
        if (
            given.schema().as_struct() != planned.schema().as_struct()
            or given.default_spec_id != planned.default_spec_id
            or given.location != planned.location
        ):
            raise Moved
        return transaction

    def _first(self, brought: list[tuple[str, list[Json]]]) -> list[Json]:
        """Columns of a new table: the rule's, or those of the first files with types that hold all values, if any."""
        if self._rule["mode"] == "fixed":
            return [dict(one) for one in self._rule["columns"]]
        found: dict[str, Json] = {}
        for _, columns in brought:
            for one in columns:
                known = found.setdefault(one["name"].lower(), dict(one))
                if known["type"] != one["type"]:
                    known["type"] = to_word(merge(to_arrow(known["type"]), to_arrow(one["type"]))) or "string"
        return list(found.values())

    def _grow(self, brought: list[Json], path: str, *, allowed: bool) -> None:
        columns, changes = union(self.columns, brought)
        news = [{**change, "path": path} for change in changes]
        real = [change for change in news if change["kind"] != "conflict"]
        if real and not allowed:
            self._ask(real)
        seen = {change["key"] for change in self.changes}
        self.changes += [change for change in news if change["key"] not in seen]
        if real:
            was = {one["name"]: one["type"] for one in self.columns}
            different = [one for one in columns if was.get(one["name"]) != one["type"]]
            added = [one["name"] for one in different if one["name"] not in was]
            self._steps.append((arrow_schema(different, rescued=False), added))
            self.columns = columns
            self.version += 1

    def _ask(self, changes: list[Json]) -> None:
        evolution = self._rule["evolution"]
        if evolution == "freeze":
            one = changes[0]
            what = f"column {one['column']} ({one['type']})"
            was = "which the table has not" if one["kind"] == "add" else f"which is {one['was']} in the table"
            text = f"{full_name(self._batch['table'])}: {one['path']} brings {what}, {was}, and its schema is frozen"
            raise Refusal("table_refused", f"{text}; change the definition or the file", changes=changes)
        if evolution == "approve":
            asked = {change["key"] for change in self.pending} | set(self._batch["approved"])
            self.pending += [change for change in changes if change["key"] not in asked]

    def _arrow(self, columns: list[Json]) -> pa.Schema:
        fields = list(arrow_schema(columns, rescued=False))
        return pa.schema([*fields, *(pa.field(name, kind) for name, kind in self._own().items())])

    def _own(self) -> dict[str, pa.DataType]:
        provenance = {FILE: pa.string(), VERSION: pa.string(), BATCH: pa.int64()}
        return {**(provenance if self._batch["provenance"] else {}), RESCUED: pa.string()}

    def _stage_own(self, found: Table) -> None:
        """A table that somebody else has made gets labd's columns."""
        there = {field.name for field in found.schema().fields}
        missing = [(name, kind) for name, kind in self._own().items() if name not in there]
        if missing:
            self._steps.append((pa.schema(missing), [name for name, _ in missing if name != RESCUED]))

    def _staged(self, table: Table) -> Transaction:
        transaction = BatchTransaction(table)
        for schema, added in self._steps:
            names = [field.name for field in transaction.table_metadata.schema().fields]
            first_own = next((name for name in names if name in OWN_COLUMNS), None)
            last = RESCUED if RESCUED in names else None
            with transaction.update_schema() as update:
                update.union_by_name(schema)
                for name in added:  # labd's own columns stay the last
                    before = last if name in OWN_COLUMNS else first_own
                    if before is not None:
                        update.move_before(name, before)
        return transaction


def look(batch: Json) -> Table | None:
    """The batch's table, if it is the one that earlier batches went to.

    Raises:
        Refusal: table_refused; it is gone, or another one has its name.
    """
    found = find_table(batch["table"])
    expected = batch.get("expected_uuid")
    if expected is not None and (found is None or str(found.metadata.table_uuid) != expected):
        what = "is gone" if found is None else f"is another one now ({found.metadata.table_uuid})"
        text = f"{full_name(batch['table'])}, to which earlier batches went ({expected}), {what}: somebody dropped it"
        raise Refusal("table_refused", f"{text}; `labctl ingest refresh --full` begins anew")
    return found

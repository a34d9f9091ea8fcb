"""Which columns a batch's table has, gets, or would get if a person allowed it; the rules of the arrow engine."""

from __future__ import annotations

from typing import Any

from labd.ingest.remote_columns import union
from labd.ingest.remote_iceberg import OWN_COLUMNS
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_types import merge, to_arrow, to_word

Json = dict[str, Any]


class SparkPlan:
    """The columns of one batch's table.

    Args:
        known: Columns of the table without labd's own; None where there is none.
        spoken: Its name for messages.
    """

    def __init__(self, batch: Json, known: list[Json] | None, spoken: str) -> None:
        self._batch = batch
        self._rule: Json = batch["schema"]
        self._spoken = spoken
        self.known = known
        self.columns: list[Json] = list(known or [])
        self.changes: list[Json] = []
        self.pending: list[Json] = []
        if self._rule["mode"] == "fixed":
            if known is None:
                self.columns = [dict(one) for one in self._rule["columns"]]
            else:
                self._grow(list(self._rule["columns"]), "", allowed=True)

    @property
    def needs_look(self) -> bool:
        """Whether the files say which columns there are; else they are read once only."""
        return self._rule["mode"] == "evolve" or (self._rule["mode"] == "infer" and self.known is None)

    def take(self, brought: list[tuple[str, list[Json]]]) -> None:
        """The files' paths and columns.

        Raises:
            Refusal: table_refused; the rule is `freeze`, and a file brings what the table has not.
        """
        own = {name.lower() for name in OWN_COLUMNS}
        kept = [(path, [one for one in columns if one["name"].lower() not in own]) for path, columns in brought]
        if self.known is None:
            self.columns = self._first(kept)
            return
        for path, columns in kept:
            self._grow(columns, path, allowed=False)

    def _first(self, brought: list[tuple[str, list[Json]]]) -> list[Json]:
        """Columns of a new table, with types that hold the values of all files."""
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
            self.columns = columns

    def _ask(self, changes: list[Json]) -> None:
        evolution = self._rule["evolution"]
        if evolution == "freeze":
            one = changes[0]
            what = f"column {one['column']} ({one['type']})"
            was = "which the table has not" if one["kind"] == "add" else f"which is {one['was']} in the table"
            text = f"{self._spoken}: {one['path']} brings {what}, {was}, and its schema is frozen"
            raise Refusal("table_refused", f"{text}; change the definition or the file", changes=changes)
        if evolution == "approve":
            asked = {change["key"] for change in self.pending} | set(self._batch["approved"])
            self.pending += [change for change in changes if change["key"] not in asked]

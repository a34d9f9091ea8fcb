"""Loading over Bolt with `UNWIND`: the slower way, for a server without Arrow.

Why a label of its own while loading: ends of relationships are found by id, and an index belongs to a label; one label
on every node needs one index, whatever labels the snapshot has. Its uniqueness makes an id that comes twice a fault.
Why rows are sorted by their labels here: labels cannot be parameters before Neo4j 5.26.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from labd.errors import DatasetRefused, GraphRefused
from labd.snapshots import neo4j_faults
from labd.snapshots.names import quote
from labd.snapshots.neo4j_bolt import Bolt
from labd.snapshots.port import Dataset, Progress

BATCH_ROWS = 5000
LOADING = "__labd_loading__"
CONSTRAINT = "labd_loading"
STATEMENT_TIMEOUT_S = 300.0
_END = object()


class UnwindLoader:
    """Fills an empty database that is there.

    Args:
        progress: As in the port; told after each batch.
    """

    def __init__(self, bolt: Bolt, database: str, dataset: Dataset, progress: Callable[[Progress], None]) -> None:
        self._bolt, self._database, self._dataset, self._progress = bolt, database, dataset, progress
        self._rows = self._size_bytes = 0
        self._id = ""

    async def load(self) -> None:
        """All nodes, then all relationships, then what was for the loading is taken away.

        Raises:
            DatasetRefused: An id comes twice, a relationship's end is no node, or a column does not fit.
        """
        from labd.snapshots import neo4j_columns

        plan = await asyncio.to_thread(neo4j_columns.plan, self._dataset)
        self._id = quote(plan.id_property)
        await self._run(
            f"CREATE CONSTRAINT {quote(CONSTRAINT)} IF NOT EXISTS "
            f"FOR (n:{quote(LOADING)}) REQUIRE n.{self._id} IS UNIQUE"
        )
        for units, send in ((plan.nodes, self._nodes), (plan.relationships, self._relationships)):
            for unit in units:
                batches = neo4j_columns.batches(unit, plan.id_property, BATCH_ROWS)
                while (rows := await asyncio.to_thread(_next, batches)) is not None:
                    await send(unit.table.name, rows)
                    self._tell(unit.table.name, len(rows), unit.size_bytes * len(rows) // unit.rows)
        await self._run(f"DROP CONSTRAINT {quote(CONSTRAINT)} IF EXISTS")
        while (await self._run(
            f"MATCH (n:{quote(LOADING)}) WITH n LIMIT 20000 REMOVE n:{quote(LOADING)} RETURN count(n)"
        ))[0][0]:  # fmt: skip
            pass

    async def _nodes(self, table: str, rows: list[dict[str, Any]]) -> None:
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            found = row.pop("labels", table)
            labels = (found,) if isinstance(found, str) else tuple(dict.fromkeys(found))
            groups[labels].append({"id": row.pop("nodeId"), "p": row})
        for labels, group in groups.items():
            shown = ":".join(quote(label) for label in (LOADING, *labels))
            await self._run(
                f"UNWIND $rows AS row CREATE (n:{shown}) SET n = row.p SET n.{self._id} = row.id RETURN count(n)", group
            )

    async def _relationships(self, table: str, rows: list[dict[str, Any]]) -> None:
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            ends = {"s": row.pop("sourceNodeId"), "t": row.pop("targetNodeId")}
            groups[row.pop("relationshipType")].append({**ends, "p": row})
        for kind, group in groups.items():
            made = await self._run(
                f"UNWIND $rows AS row MATCH (a:{quote(LOADING)} {{{self._id}: row.s}}) "
                f"MATCH (b:{quote(LOADING)} {{{self._id}: row.t}}) CREATE (a)-[r:{quote(kind)}]->(b) SET r = row.p "
                "RETURN count(r)",
                group,
            )
            if made[0][0] != len(group):
                raise DatasetRefused(
                    f"relationships/{table}: {len(group) - made[0][0]} of {len(group)} rows name a node that no table "
                    "has; write the missing nodes", table=table,
                )  # fmt: skip

    async def _run(self, statement: str, rows: list[dict[str, Any]] | None = None) -> Any:
        try:
            answer = await self._bolt.run(
                self._database, statement, None if rows is None else {"rows": rows},
                doing=f"load {self._database}", timeout_s=STATEMENT_TIMEOUT_S,
            )  # fmt: skip
        except GraphRefused as fault:
            if fault.details.get("neo4j_code") == neo4j_faults.NOT_UNIQUE:
                raise DatasetRefused(f"{self._database}: a node's id comes twice: {fault.message}") from fault
            raise
        return answer.rows

    def _tell(self, table: str, rows: int, size_bytes: int) -> None:
        self._rows += rows
        self._size_bytes = min(self._size_bytes + size_bytes, self._dataset.size_bytes)
        total = self._dataset.nodes + self._dataset.relationships
        self._progress(Progress(self._rows, total, self._size_bytes, table))


def _next(batches: Iterator[tuple[Any, Any]]) -> list[dict[str, Any]] | None:
    """The rows of the next batch; reads and decodes, so it is called in a thread."""
    found = next(batches, _END)
    if found is _END:
        return None
    rows: list[dict[str, Any]] = found[1].to_pylist()  # type: ignore[index]
    return rows

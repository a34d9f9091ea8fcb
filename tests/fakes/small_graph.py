"""A graph store as small as one can be: counts in a JSON file, and a hook before every act for faults and kills.

It holds no graph: what it knows of a database is what the footers say. It keeps the promises of the port that the
pipeline rests on: a half-made database is told by its status to nobody, the alias moves in one rename.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from labd.errors import GraphRefused, GraphUnreachable
from labd.snapshots.port import Counts, Database, Dataset, Health, Progress, Rows

Hook = Callable[[str, str], Awaitable[None]]


async def nothing(act: str, name: str) -> None:
    """No fault."""


class SmallGraph:
    """Satisfies `labd.snapshots.port.GraphStore`."""

    simulated = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before: Hook = nothing
        self.answers: dict[str, Any] = {}
        self.is_away = False
        self.heap_percent: float | None = 10.0
        self.transactions_of: dict[str, int] = {}
        self.acts: list[str] = []

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"databases": {}, "aliases": {}}
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def _write(self, state: dict[str, Any]) -> None:
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(state))
        draft.replace(self.path)

    async def _act(self, act: str, name: str = "") -> None:
        if self.is_away:
            raise GraphUnreachable("the small graph is away")
        await self.before(act, name)
        self.acts.append(f"{act} {name}".strip())

    async def health(self) -> Health:
        if self.is_away:
            return Health(False, problem="away")
        return Health(True, heap_percent=self.heap_percent, databases=len(self._read()["databases"]))

    async def databases(self) -> list[Database]:
        await self._act("databases")
        return [Database(name, "online") for name in self._read()["databases"]]

    async def load(
        self, database: str, dataset: Dataset, progress: Callable[[Progress], None], *, replace: bool = False
    ) -> Counts:
        await self._act("load", database)
        state = self._read()
        if database in state["databases"] and not replace:
            raise GraphRefused(f"database {database} is there")
        state["databases"][database] = {"nodes": 0, "relationships": 0, "labels": {}, "types": {}}
        self._write(state)
        await self.before("half", database)
        labels = {table.name: table.rows for table in dataset.tables if table.kind == "node"}
        types = {table.name: table.rows for table in dataset.tables if table.kind == "relationship"}
        made = {"nodes": dataset.nodes, "relationships": dataset.relationships, "labels": labels, "types": types}
        progress(Progress(dataset.nodes, dataset.nodes + dataset.relationships, dataset.size_bytes, "nodes"))
        state["databases"][database] = made
        self._write(state)
        await self.before("loaded", database)
        return Counts(**made)

    async def counts(self, database: str) -> Counts:
        await self._act("counts", database)
        found = self._read()["databases"].get(database)
        if found is None:
            raise GraphRefused(f"no database {database}")
        return Counts(**found)

    async def query(
        self, database: str, cypher: str, parameters: Mapping[str, Any], *, timeout_s: float, limit: int
    ) -> Rows:
        await self._act("query", cypher)
        answer = self.answers.get(cypher, True)
        return Rows(("answer",), [[answer(database) if callable(answer) else answer]], False)

    async def aliases(self) -> dict[str, str]:
        await self._act("aliases")
        return dict(self._read()["aliases"])

    async def switch(self, alias: str, database: str) -> None:
        await self._act("switch", f"{alias} {database}")
        state = self._read()
        if database not in state["databases"]:
            raise GraphRefused(f"no database {database}")
        state["aliases"][alias] = database
        self._write(state)
        await self.before("switched", alias)

    async def drop_alias(self, alias: str) -> None:
        state = self._read()
        state["aliases"].pop(alias, None)
        self._write(state)

    async def transactions(self, database: str) -> int:
        return self.transactions_of.get(database, 0)

    async def drop(self, database: str) -> None:
        await self._act("drop", database)
        state = self._read()
        if database in state["aliases"].values():
            raise GraphRefused(f"an alias points at {database}")
        state["databases"].pop(database, None)
        self._write(state)
        await self.before("dropped", database)

    async def close(self) -> None:
        """Nothing is held."""

"""The `neo4j` engine: a Neo4j server behind the port, filled through Arrow Flight or, where that is absent, over Bolt.

A version is a database of the server, made under its own name and mounted when the import is done; a customer's alias
is moved by one `ALTER ALIAS ... SET DATABASE TARGET`. `CREATE OR REPLACE ALIAS` is never sent: the manual calls it a
drop and a create, and readers between the two find nothing.
Source: Neo4j operations manual, "Standard databases" and "Database aliases".
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import structlog

from labd.errors import GraphRefused, GraphUnreachable
from labd.snapshots import neo4j_faults, neo4j_health, neo4j_import, neo4j_values
from labd.snapshots.names import check_database, quote, version_of
from labd.snapshots.neo4j_bolt import SYSTEM, Address, Bolt
from labd.snapshots.neo4j_unwind import UnwindLoader
from labd.snapshots.port import Counts, Database, Dataset, Health, Progress, Rows

SHOW_DATABASES = "SHOW DATABASES YIELD name, type, currentStatus, statusMessage, default"
SHOW_ALIASES = "SHOW ALIASES FOR DATABASE YIELD name, database, location"
SHOW_TRANSACTIONS = "SHOW TRANSACTIONS YIELD database, transactionId"
ARROW = "CALL gds.debug.arrow() YIELD running, enabled RETURN running, enabled"
NODES, RELATIONSHIPS = "MATCH (n) RETURN count(n)", "MATCH ()-[r]->() RETURN count(r)"
LABELS = "CALL db.labels() YIELD label RETURN label"
TYPES = "CALL db.relationshipTypes() YIELD relationshipType RETURN relationshipType"
COUNT_TIMEOUT_S = 600.0
WAIT_S = 60  # for a database to come or to go; longer is told and tried again
ONLINE_TRIES = 120
ONLINE_INTERVAL_S = 0.5
Loader = Literal["auto", "arrow", "bolt"]
log = structlog.get_logger(__name__)


class Neo4jStore:
    """A `GraphStore`.

    Args:
        loader: `auto` asks the server whether its Arrow server runs.
        streams: Parallel streams of a load.
        page_cache: See `neo4j_health.py`.
        sleep: Between two looks at a database that is starting, and two samples of the heap.
    """

    def __init__(
        self, address: Address, *, loader: Loader = "auto", streams: int = 10, answer_timeout_s: float = 30.0,
        page_cache: neo4j_health.PageCache = "misses", simulated: bool = False,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self.simulated = simulated
        self._address, self._loader, self._streams = address, loader, streams
        self._timeout_s, self._page_cache, self._sleep = answer_timeout_s, page_cache, sleep
        self._bolt = Bolt(address, answer_timeout_s=answer_timeout_s)
        self._loading: set[str] = set()

    async def health(self) -> Health:
        """Asked of the server; see `neo4j_health.py`."""

        async def number() -> int:
            return len(await self.databases())

        return await neo4j_health.look(self._bolt, number, page_cache=self._page_cache, sleep=self._sleep)

    async def databases(self) -> list[Database]:
        """All but `system` and the database that a server is born with, by name.

        In a cluster the worst of a database's members speaks for it.
        """
        return [database for database, is_own in await self._all() if not is_own]

    async def _all(self) -> list[tuple[Database, bool]]:
        """By name, and whether it is the server's own: its default one, unless that is a version of a customer."""
        found: dict[str, tuple[Database, bool]] = {}
        answer = await self._bolt.run(SYSTEM, SHOW_DATABASES, doing="list the databases")
        for name, kind, status, message, is_default in answer.rows:
            if kind != "system" and (name not in found or found[name][0].status == "online"):
                found[name] = Database(name, status, message or ""), bool(is_default) and version_of(name) is None
        return [found[name] for name in sorted(found)]

    async def _database(self, name: str) -> Database | None:
        """Looked for among all.

        Raises:
            GraphRefused: It is the server's own, which labd neither fills nor drops.
        """
        for database, is_own in await self._all():
            if database.name == name and is_own:
                raise GraphRefused(f"{name} is the server's default database; labd leaves it alone", database=name)
            if database.name == name:
                return database
        return None

    async def load(
        self, database: str, dataset: Dataset, progress: Callable[[Progress], None], *, replace: bool = False
    ) -> Counts:
        """Make a database of the dataset; a load that fails or is cancelled takes back what it began.

        Raises:
            DatasetRefused: See `neo4j_columns.py`.
            GraphRefused: It is there or being loaded, Arrow is wanted and absent, the edition has one database only.
        """
        name = check_database(database)
        if name in self._loading:
            raise GraphRefused(f"database {name} is being loaded already", database=name)
        self._loading.add(name)
        try:
            await asyncio.to_thread(importlib.import_module, "labd.snapshots.neo4j_flight")  # pyarrow, off the loop
            with_arrow = await self._has_arrow()
            if name in await self.aliases():
                raise GraphRefused(f"{name} is an alias; a database cannot have its name", database=name)
            if replace:
                await self.drop(name)
            elif await self._database(name) is not None:
                raise GraphRefused(f"database {name} is there already; drop it, or load it with replace", database=name)
            if with_arrow:
                await neo4j_import.run(
                    self._address, name, dataset, progress, streams=self._streams, call_timeout_s=self._timeout_s,
                    replace=replace,
                )  # fmt: skip
                await self._mount(name)
            else:
                await self._load_slowly(name, dataset, progress)
            return await self.counts(name)
        finally:
            self._loading.discard(name)

    async def _load_slowly(self, name: str, dataset: Dataset, progress: Callable[[Progress], None]) -> None:
        from labd.snapshots import neo4j_columns

        await asyncio.to_thread(neo4j_columns.plan, dataset)  # what is refused is refused before anything is made
        await self._mount(name)
        try:
            await UnwindLoader(self._bolt, name, dataset, progress).load()
        except BaseException:
            await _to_its_end(self._take_back(name))
            raise

    async def _take_back(self, name: str) -> None:
        try:
            await self.drop(name)
        except (GraphUnreachable, GraphRefused) as fault:  # the next try replaces it; the first fault is what is told
            log.warning("snapshot.half_made_stays", database=name, why=fault.message)

    async def _has_arrow(self) -> bool:
        if self._loader == "bolt":
            return False
        try:
            rows = (await self._bolt.read(SYSTEM, ARROW, doing="ask for its Arrow server")).rows
        except GraphRefused as fault:
            if fault.details.get("neo4j_code") != neo4j_faults.NO_PROCEDURE:
                raise
            why = "it has no Graph Data Science with Arrow (an Enterprise plugin)"
        else:
            if rows and rows[0][0]:
                return True
            why = "its Arrow server does not run; set gds.arrow.enabled=true and restart it"
        if self._loader == "arrow":
            raise GraphRefused(
                f'neo4j at {self._address.bolt}: {why}; or set neo4j.loader = "bolt", which is slower', why=why
            )
        log.warning("snapshot.slow_loader", why=why, where=self._address.bolt)
        return False

    async def _mount(self, name: str) -> None:
        """Make the database known to the server, with the store files that the import left, and wait for it."""
        statement = f"CREATE DATABASE {quote(name)} IF NOT EXISTS WAIT {WAIT_S} SECONDS"
        await self._bolt.run(SYSTEM, statement, doing=f"create database {name}", timeout_s=WAIT_S + self._timeout_s)
        for _ in range(ONLINE_TRIES):
            found = await self._database(name)
            if found is not None and found.status == "online":
                return
            # Creation goes on after the statement was answered; what went wrong stands in statusMessage only.
            if found is not None and (found.message or found.status in ("dirty", "quarantined")):
                raise GraphRefused(
                    f"neo4j at {self._address.bolt}: database {name} is {found.status}: {found.message}; see its log",
                    database=name,
                )  # fmt: skip
            await self._sleep(ONLINE_INTERVAL_S)
        raise GraphUnreachable(
            f"neo4j at {self._address.bolt}: database {name} is not online after "
            f"{ONLINE_TRIES * ONLINE_INTERVAL_S:g} s; see its log",
            database=name,
        )

    async def counts(self, database: str) -> Counts:
        """From the server's own count store: no node is read."""
        name = check_database(database)

        async def column(statement: str) -> list[Any]:
            rows = (await self._bolt.read(name, statement, doing=f"count {name}", timeout_s=COUNT_TIMEOUT_S)).rows
            return [row[0] for row in rows]

        labels = {
            label: (await column(f"MATCH (n:{quote(label)}) RETURN count(n)"))[0] for label in await column(LABELS)
        }
        types = {
            kind: (await column(f"MATCH ()-[r:{quote(kind)}]->() RETURN count(r)"))[0] for kind in await column(TYPES)
        }
        return Counts(
            (await column(NODES))[0], (await column(RELATIONSHIPS))[0],
            {label: number for label, number in labels.items() if number},  # a name once used is never forgotten
            {kind: number for kind, number in types.items() if number},
        )  # fmt: skip

    async def query(
        self, database: str, cypher: str, parameters: Mapping[str, Any], *, timeout_s: float, limit: int
    ) -> Rows:
        """One query; asked of the server first whether it reads only, because administration has no access mode."""
        name, doing = check_database(database), f"query {database}"
        kind = await self._bolt.kind(name, cypher, parameters, doing=doing)
        if kind != "r":
            raise GraphRefused(f"queries of {name} only read the graph; this one would change it, or ask the server")
        answer = await self._bolt.read(name, cypher, parameters, doing=doing, timeout_s=timeout_s, limit=limit)
        return Rows(answer.columns, [[neo4j_values.plain(value) for value in row] for row in answer.rows], answer.more)

    async def aliases(self) -> dict[str, str]:
        """Local aliases of databases; the Community edition has none."""
        try:
            rows = (await self._bolt.run(SYSTEM, SHOW_ALIASES, doing="list the aliases")).rows
        except GraphRefused as fault:
            if neo4j_faults.is_community(fault):
                return {}
            raise
        return {name: target for name, target, location in rows if location == "local" and target is not None}

    async def switch(self, alias: str, database: str) -> None:
        """One statement; what it did is read back, also where its answer was lost."""
        alias, name = check_database(alias), check_database(database)
        found = {known.name: known for known, _ in await self._all()}
        if alias in found:
            raise GraphRefused(f"{alias} is a database; an alias cannot have its name", alias=alias)
        if name not in found or found[name].status != "online":
            status = found[name].status if name in found else "not there"
            raise GraphRefused(
                f"database {name} does not serve ({status}); load it before {alias} points at it", database=name
            )
        known_aliases = await self.aliases()
        if known_aliases.get(alias) == name:
            return
        if alias in known_aliases:
            statement = f"ALTER ALIAS {quote(alias)} SET DATABASE TARGET {quote(name)}"
        else:
            statement = f"CREATE ALIAS {quote(alias)} FOR DATABASE {quote(name)}"
        lost: GraphUnreachable | None = None
        try:
            await self._bolt.run(SYSTEM, statement, doing=f"point {alias} at {name}")
        except GraphUnreachable as fault:
            lost = fault
        target = (await self.aliases()).get(alias)
        if target != name:
            raise lost or GraphRefused(
                f"the alias {alias} points at {target} and not at {name}; is somebody else moving it?", alias=alias
            )

    async def drop_alias(self, alias: str) -> None:
        """Only the alias; its database stays."""
        alias = check_database(alias)
        if alias in await self.aliases():
            await self._bolt.run(
                SYSTEM, f"DROP ALIAS {quote(alias)} IF EXISTS FOR DATABASE", doing=f"drop alias {alias}"
            )

    async def transactions(self, database: str) -> int:
        """Of others: this one asks in `system`."""
        name = check_database(database)
        rows = (await self._bolt.run(SYSTEM, SHOW_TRANSACTIONS, doing="list the transactions")).rows
        return sum(1 for row in rows if row[0] == name)

    async def drop(self, database: str) -> None:
        """With its data; the server refuses too while an alias targets it: `CASCADE ALIASES` is never sent."""
        name = check_database(database)
        pointing = sorted(alias for alias, target in (await self.aliases()).items() if target == name)
        if pointing:
            raise GraphRefused(f"the alias {', '.join(pointing)} points at {name}; switch it first", database=name)
        if await self._database(name) is None:
            return
        statement = f"DROP DATABASE {quote(name)} IF EXISTS DESTROY DATA WAIT {WAIT_S} SECONDS"
        await self._bolt.run(SYSTEM, statement, doing=f"drop {name}", timeout_s=WAIT_S + self._timeout_s)
        if await self._database(name) is not None:
            raise GraphUnreachable(
                f"neo4j at {self._address.bolt}: {name} is still there after {WAIT_S} s", database=name
            )

    async def close(self) -> None:
        """The connections; the server stays as it is."""
        await self._bolt.close()


async def _to_its_end(work: Any) -> None:
    """Wait for it whoever cancels meanwhile; the cancellation that is under way goes on afterwards."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
    task.result()

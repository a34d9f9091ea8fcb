"""The embedded graph store: ladybug databases in the state folder, one for each version, behind the port.

It is no server: nothing listens, and readers of the graph come through labd. What a query or a load does happens in
child processes (`remote.py`); what this class decides is decided in one turn of the loop.
The mapping of labels and ends is told in `dataset_mapping.py`, the layout on disk and its crash rule in
`embedded_files.py`.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from labd.errors import DatasetRefused, GraphRefused, GraphUnreachable
from labd.snapshots import embedded_statement
from labd.snapshots.embedded_child import Child
from labd.snapshots.embedded_files import GraphFolder
from labd.snapshots.embedded_readers import Readers
from labd.snapshots.names import check_database
from labd.snapshots.port import Counts, Database, Dataset, Health, Progress, Rows

COUNT_TIMEOUT_S = 600.0
ANSWER_LIMIT_BYTES = 4 * 2**20
THREADS = max(1, min(4, os.cpu_count() or 1))
P = ParamSpec("P")
R = TypeVar("R")


class EmbeddedStore:
    """A `GraphStore`.

    Args:
        root: Such as `<state_dir>/snapshots`; nobody else writes there.
        load_memory_mib: What a load may use for its pages.
        query_memory_mib: What each query may use for its.
        readers: So many queries run at once; more wait.
        simulated: Whether its records are marked so.
    """

    def __init__(
        self, root: Path, *, load_memory_mib: int = 512, query_memory_mib: int = 128, readers: int = 2,
        threads: int = THREADS, simulated: bool = False,
    ) -> None:  # fmt: skip
        self.simulated = simulated
        self._folder = GraphFolder(root)
        self._memory_mib = load_memory_mib, query_memory_mib
        self._threads = threads
        self._readers = Readers(readers)
        self._opening: asyncio.Future[None] | None = None
        self._aliases: dict[str, str] = {}
        self._loading: set[str] = set()
        self._reading: Counter[str] = Counter()
        self._dropping: set[str] = set()
        self._change = asyncio.Lock()
        self._closed = False

    async def health(self) -> Health:
        """What there is to tell: the package, the disk, the number of databases; there is no heap and no page cache."""
        try:
            version = importlib.metadata.version("ladybug")
        except importlib.metadata.PackageNotFoundError:
            return Health(False, "ladybug is missing; pip install 'labd[graph]'", edition="embedded")
        try:
            found = await self.databases()
            free_bytes = await _in_thread(self._folder.free_bytes)
        except (GraphUnreachable, GraphRefused) as fault:
            return Health(False, fault.message, version, "embedded")
        return Health(True, "", version, "embedded", databases=len(found), disk_free_bytes=free_bytes)

    async def databases(self) -> list[Database]:
        """All, by name."""
        await self._open()
        return await self._do(self._folder.databases, frozenset(self._loading))

    async def load(
        self, database: str, dataset: Dataset, progress: Callable[[Progress], None], *, replace: bool = False
    ) -> Counts:
        """Make a database of the dataset, in a process of its own that is gone when this returns.

        Raises:
            DatasetRefused: See `dataset_mapping.py`.
            GraphRefused: There is something of that name, it is being loaded or read, or an alias is in the way.
        """
        name = check_database(database)
        await self._open()
        with self._claim_load(name):
            if replace:
                await self._drop(name)
            elif await self._do(self._folder.is_there, name):
                raise GraphRefused(f"database {name} is there already; drop it, or load it with replace", database=name)
            folder = await self._do(self._folder.begin, name)
            try:
                told = await self._fill(folder, dataset, progress)
                await self._do(self._folder.finish, name)
            except BaseException:
                await self._do(self._folder.drop, name)
                raise
        return _counts(told)

    @contextmanager
    def _claim_load(self, name: str) -> Iterator[None]:
        if name in self._loading:
            raise GraphRefused(f"database {name} is being loaded already", database=name)
        if name in self._aliases:
            raise GraphRefused(f"{name} is an alias; a database cannot have its name", database=name)
        self._loading.add(name)
        try:
            yield
        finally:
            self._loading.discard(name)

    async def _fill(self, folder: Path, dataset: Dataset, progress: Callable[[Progress], None]) -> dict[str, Any]:
        total, size_bytes = dataset.nodes + dataset.relationships, dataset.size_bytes
        if not any(table.kind == "node" for table in dataset.tables):
            raise DatasetRefused("the snapshot holds no table of nodes; nothing could be loaded")

        def told(message: dict[str, Any]) -> None:
            rows = min(int(message["rows"]), total)
            done = size_bytes * rows // total if total else size_bytes
            progress(Progress(rows, total, done, str(message["table"])))

        request = {
            "do": "load", "path": str(folder / "graph.lbug"), "scratch": str(folder / "scratch"),
            "memory_mib": self._memory_mib[0], "threads": self._threads, "size_bytes": size_bytes,
            "tables": [
                {
                    "kind": table.kind, "name": table.name, "roles": dict(table.roles), "rows": table.rows,
                    "files": [str(path.absolute()) for path in table.files],
                }
                for table in dataset.tables
            ],
        }  # fmt: skip
        child = await Child.start()
        try:
            return await child.ask(request, told)
        finally:
            await child.end()

    async def counts(self, database: str) -> Counts:
        """Counted by the store."""
        async with self._held(database) as (name, path):
            return _counts(await self._readers.ask(name, self._request("counts", path), COUNT_TIMEOUT_S))

    async def query(
        self, database: str, cypher: str, parameters: Mapping[str, Any], *, timeout_s: float, limit: int
    ) -> Rows:
        """One query on a database, or on what an alias points at when it begins.

        Raises:
            GraphRefused: It does more than read, is no Cypher, takes too long or too much memory.
        """
        statement = embedded_statement.reading(cypher)
        request = {
            "cypher": statement, "parameters": dict(parameters), "timeout_s": timeout_s, "limit": limit,
            "size_limit_bytes": ANSWER_LIMIT_BYTES,
        }  # fmt: skip
        async with self._held(database) as (name, path):
            told = await self._readers.ask(name, {**self._request("query", path), **request}, timeout_s)
        return Rows(tuple(told["columns"]), told["rows"], bool(told["more"]))

    def _request(self, do: str, path: Path) -> dict[str, Any]:
        return {"do": do, "path": str(path), "memory_mib": self._memory_mib[1], "threads": self._threads}

    async def aliases(self) -> dict[str, str]:
        """Alias -> database, as the disk has them."""
        await self._open()
        return dict(sorted(self._aliases.items()))

    async def switch(self, alias: str, database: str) -> None:
        """Point an alias at a database; on disk and read back when this returns."""
        alias, name = check_database(alias), check_database(database)
        await self._open()
        async with self._change:
            if not await self._do(self._folder.is_whole, name) or name in self._dropping:
                raise GraphRefused(
                    f"database {name} does not serve; load it before {alias} points at it", database=name
                )
            if await self._do(self._folder.is_there, alias) or alias in self._loading:
                raise GraphRefused(f"{alias} is a database; an alias cannot have its name", alias=alias)
            await _to_its_end(self._point(alias, name))

    async def _point(self, alias: str, name: str) -> None:
        """Why to its end: what is on disk and what is known here must not differ, whoever is cancelled."""
        await self._do(self._folder.point, alias, name)
        found = await self._do(self._folder.target, alias)
        if found != name:
            raise GraphRefused(f"the alias {alias} points at {found} and not at {name}; is another daemon at work?")
        self._aliases[alias] = name

    async def drop_alias(self, alias: str) -> None:
        """Forget an alias."""
        alias = check_database(alias)
        await self._open()
        async with self._change:
            await _to_its_end(self._unpoint(alias))

    async def _unpoint(self, alias: str) -> None:
        await self._do(self._folder.unpoint, alias)
        self._aliases.pop(alias, None)

    async def transactions(self, database: str) -> int:
        """Queries that run on it, and those that wait for their turn."""
        return self._reading[check_database(database)]

    async def drop(self, database: str) -> None:
        """Delete a database.

        Raises:
            GraphRefused: An alias points at it, a query reads it, or it is being loaded.
        """
        name = check_database(database)
        await self._open()
        if name in self._loading:
            raise GraphRefused(f"database {name} is being loaded; cancel the load first", database=name)
        await self._drop(name)

    async def _drop(self, name: str) -> None:
        async with self._change:
            pointing = sorted(alias for alias, target in self._aliases.items() if target == name)
            if pointing:
                raise GraphRefused(f"the alias {pointing[0]} points at database {name}; switch it first", database=name)
            if readers := self._reading[name]:
                raise GraphRefused(
                    f"{readers} queries read database {name}; it goes when they have ended", database=name
                )
            self._dropping.add(name)
            try:
                await self._readers.forget(name)
                await self._do(self._folder.drop, name)
            finally:
                self._dropping.discard(name)

    async def close(self) -> None:
        """End the processes."""
        self._closed = True
        await self._readers.close()

    def _held(self, database: str) -> _Hold:
        return _Hold(self, check_database(database))

    async def _open(self) -> None:
        """Make and read the folder, once."""
        if self._closed:
            raise GraphUnreachable("embedded graph store: it is closed")
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._read())
        try:
            await asyncio.shield(self._opening)
        except GraphUnreachable:
            self._opening = None
            raise

    async def _read(self) -> None:
        await self._do(self._folder.open)
        self._aliases = await self._do(self._folder.aliases)

    async def _do(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await _in_thread(function, *args, **kwargs)
        except OSError as fault:
            raise GraphUnreachable(f"embedded graph store in {self._folder.root}: {fault}") from fault


class _Hold:
    """A reader's hold on a database: while it lasts, the database is not dropped.

    Why the alias is resolved and the hold taken in one turn of the loop: a drop between them would find no reader.
    """

    def __init__(self, store: EmbeddedStore, name: str) -> None:
        self._store = store
        self._name = name

    async def __aenter__(self) -> tuple[str, Path]:
        store = self._store
        await store._open()
        name = self._name = store._aliases.get(self._name, self._name)
        if name in store._dropping:
            raise GraphRefused(f"database {name} is being dropped", database=name)
        store._reading[name] += 1
        try:
            if not await store._do(store._folder.is_whole, name):
                raise GraphRefused(f"there is no database or alias {name} that serves", database=name)
        except BaseException:
            self._let_go()
            raise
        return name, store._folder.file(name)

    async def __aexit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        self._store._reading[self._name] -= 1
        if not self._store._reading[self._name]:
            del self._store._reading[self._name]


async def _in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """In a thread, and over when this lets a cancellation through."""
    return await _to_its_end(asyncio.to_thread(function, *args, **kwargs))


async def _to_its_end(work: Coroutine[Any, Any, R]) -> R:
    """What has begun ends, also when who waits is cancelled; the cancellation goes through after that."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _counts(told: Mapping[str, Any]) -> Counts:
    return Counts(int(told["nodes"]), int(told["relationships"]), dict(told["labels"]), dict(told["types"]))

"""The engines as the wing uses them: the port over a pool of child processes.

Why a pool by memory class: runs of `autoloader-high-memory` get a child with a larger limit, and a person's look at a
table or a sample does not wait behind a load, for which one child more than the runs may have is started.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from labd.clock import Clock
from labd.engine.worker_start import Worker
from labd.errors import EnvironmentOff
from labd.ingest.engine_child import MODULE, EngineChild
from labd.ingest.port import Batch, BatchReport, FoundFile, Page, Rows, Sample, SourceAccess, TableFacts, TableName
from labd.wing import WorkerOf

MemoryClass = Literal["default", "high"]
LIST_S = 300.0
LOAD_S = 4 * 3600.0  # jobs have their own, shorter limit
LOOK_S = 120.0


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What children are started with; what `given` makes of a memory limit goes to the child with every call.

    Why it is made anew for each call: it holds secrets, which are resolved when they are used and kept nowhere.
    """

    name: str
    environment: str
    memory_mib: Mapping[MemoryClass, int]
    is_limited: bool = True
    """Whether the system limits a child's memory; a JVM reserves more than it uses and has a limit of its own."""
    size: int = 2
    idle_s: float = 300.0
    given: Callable[[int], dict[str, Any]] = lambda memory_mib: {}


class Lane:
    """The children of one engine and memory class."""

    def __init__(self, make: Callable[[], EngineChild], size: int) -> None:
        self._make = make
        self._places = asyncio.Semaphore(size)
        self._more = asyncio.Semaphore(1)
        self._idle: list[EngineChild] = []
        self._all: list[EngineChild] = []

    @asynccontextmanager
    async def child(self, urgent: bool) -> AsyncIterator[EngineChild]:
        """A child for one call, the one that was used last if it is free."""
        place = self._more if urgent and self._places.locked() else self._places
        async with place:
            if not self._idle:
                self._all.append(self._make())
                self._idle.append(self._all[-1])
            child = self._idle.pop()
            try:
                yield child
            finally:
                self._idle.append(child)

    def pids(self) -> list[int]:
        """Of the processes that are there."""
        return [child.pid for child in self._all if child.pid is not None]

    async def close(self) -> None:
        """End all."""
        await asyncio.gather(*(child.close() for child in self._all))


class ChildEngine:
    """An engine in child processes; satisfies `labd.ingest.port.TableEngine`."""

    def __init__(
        self, settings: EngineSettings, lane: Lane, memory: MemoryClass = "default", urgent: bool = False
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._memory: MemoryClass = memory
        self._lane = lane
        self._urgent = urgent

    async def list_files(self, source: SourceAccess, cursor: str | None, after: str | None, count: int) -> Page:
        """A page of the listing."""
        told = await self._ask("list_files", LIST_S, source=source, cursor=cursor, after=after, count=count)
        return msgspec.convert(told, Page)

    async def load(self, batch: Batch) -> BatchReport:
        """Read, fit and commit a batch, exactly once."""
        return msgspec.convert(await self._ask("load", LOAD_S, batch=batch), BatchReport)

    async def sample(self, batch: Batch, rows: int) -> Sample:
        """What `load` would read of the first rows."""
        return msgspec.convert(await self._ask("sample", LOOK_S, batch=batch, rows=rows), Sample)

    async def describe(self, table: TableName) -> TableFacts | None:
        """A table as it stands."""
        return msgspec.convert(await self._ask("describe", LOOK_S, table=table), TableFacts | None)

    async def find_tokens(self, table: TableName, tokens: list[str]) -> list[str]:
        """Which of these are in the table."""
        return msgspec.convert(await self._ask("find_tokens", LOOK_S, table=table, tokens=tokens), list[str])

    async def find_commits(self, table: TableName, ingestion: str) -> list[str]:
        """Tokens of an ingestion."""
        told = await self._ask("find_commits", LOOK_S, table=table, ingestion=ingestion)
        return msgspec.convert(told, list[str])

    async def find_files(self, table: TableName, numbers: list[int]) -> list[FoundFile] | None:
        """What batches have brought."""
        told = await self._ask("find_files", LOAD_S, table=table, numbers=numbers)
        return msgspec.convert(told, list[FoundFile] | None)

    async def query(self, table: TableName, columns: list[str], where: str, limit: int) -> Rows:
        """Rows of a table."""
        told = await self._ask("query", LOOK_S, table=table, columns=columns, where=where, limit=limit)
        return msgspec.convert(told, Rows)

    async def drop(self, table: TableName) -> bool:
        """Drop a table."""
        return msgspec.convert(await self._ask("drop", LOOK_S, table=table), bool)

    async def close(self) -> None:
        """The pool ends the children."""

    async def _ask(self, verb: str, limit_s: float, **args: Any) -> Any:
        settings = self._settings
        own = settings.given(settings.memory_mib[self._memory])
        given = {"engine": self.name, **own, **msgspec.to_builtins(args)}
        async with self._lane.child(self._urgent) as child:
            return await child.ask(verb, given, limit_s, secrets_in(given))


class EnginePool:
    """All children of the wing.

    Args:
        worker_of: `Host.worker_of`; None: there are no workers here.
        engines: By name; read at the first use of an engine.
    """

    def __init__(self, worker_of: WorkerOf | None, engines: Mapping[str, EngineSettings], clock: Clock) -> None:
        self._worker_of = worker_of
        self._engines = engines
        self._clock = clock
        self._lanes: dict[tuple[str, MemoryClass], Lane] = {}

    def engine(self, name: str, memory: MemoryClass = "default", urgent: bool = False) -> ChildEngine:
        """An engine.

        Args:
            urgent: A person waits: its calls do not queue behind loads.

        Raises:
            EnvironmentOff: The settings have no such engine.
        """
        settings = self._engines.get(name)
        if settings is None:
            raise EnvironmentOff(f"ingest: engine {name} is not set up; add `[ingest.{name}]` to the settings")
        lane = self._lanes.get((name, memory))
        if lane is None:
            lane = self._lanes[name, memory] = Lane(self._maker(settings, memory), settings.size)
        return ChildEngine(settings, lane, memory, urgent)

    def _maker(self, settings: EngineSettings, memory: MemoryClass) -> Callable[[], EngineChild]:
        def start() -> Awaitable[Worker]:
            if self._worker_of is None:
                raise EnvironmentOff(f"ingest: there are no workers here for engine {settings.name}")
            limit_mib = settings.memory_mib[memory] if settings.is_limited else 0
            return self._worker_of(settings.environment, MODULE, limit_mib)

        return lambda: EngineChild(settings.name, start, self._clock, settings.idle_s, settings.environment)

    def pids(self) -> list[int]:
        """Of all processes that are there."""
        return [pid for lane in self._lanes.values() for pid in lane.pids()]

    async def close(self) -> None:
        """End all children; a second call does nothing."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))


def secrets_in(value: Any) -> list[str]:
    """Every text below a key `secrets`."""
    if isinstance(value, list):
        return [found for one in value for found in secrets_in(one)]
    if not isinstance(value, dict):
        return []
    found = [text for key, one in value.items() if key != "secrets" for text in secrets_in(one)]
    own = value.get("secrets")
    return found + ([str(text) for text in own.values()] if isinstance(own, dict) else [])

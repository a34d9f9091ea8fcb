"""The snapshots wing on a real engine with a small graph store, and parquet files as producers lay them down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.job import Caller, Job, JobState, Submission
from labd.engine.registry import Registry
from labd.engine.views import JobFilter
from labd.settings import Problems
from labd.snapshots.record import Record, State
from labd.snapshots.service import SnapshotService
from labd.snapshots.settings import parse
from labd.snapshots.wing import SCHEMA
from labd.wing import Host
from tests.fakes.small_graph import SmallGraph

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))


def lay_down(
    base: Path, customer: str, timestamp: str, nodes: int = 20, relationships: int = 10, marker: bool = True
) -> Path:
    """One snapshot with a table of persons who know each other."""
    folder = base / customer / timestamp
    persons, knows = folder / "nodes" / "Person", folder / "relationships" / "KNOWS"
    persons.mkdir(parents=True)
    knows.mkdir(parents=True)
    pq.write_table(
        pa.table({"id": pa.array(range(nodes), pa.int64()), "labels": pa.array(["Person"] * nodes, pa.string())}),
        persons / "0.parquet",
    )
    ends = pa.array(range(relationships), pa.int64())
    pq.write_table(
        pa.table({"source": ends, "target": ends, "type": pa.array(["KNOWS"] * relationships, pa.string())}),
        knows / "0.parquet",
    )
    if marker:
        (folder / "_SUCCESS").touch()
    return folder


class Yard:
    """One state folder through several lives of the daemon."""

    def __init__(self, state_dir: Path, **table: Any) -> None:
        self.state_dir = state_dir
        self.base = state_dir / "data"
        self.base.mkdir(exist_ok=True)
        self.graph = SmallGraph(state_dir / "graph.json")
        rules = {"health_interval_s": 0.1, "retry_backoff_base": 0.001, "scan_interval": 3600.0}
        self.table: dict[str, Any] = {
            **table,
            "orchestrator": {**rules, **table.get("orchestrator", {})},
            "watch": False,
        }
        self.engine: Engine
        self.service: SnapshotService

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Yard]:
        problems = Problems()
        settings = parse(self.table, "test.toml", problems)
        assert not len(problems), list(problems)
        registry, clock = Registry(), SystemClock()
        self.engine = Engine(self.state_dir, registry, clock, Random(5), schemas=[SCHEMA])
        await self.engine.open()
        try:
            host = Host(self.engine, self.state_dir, self.state_dir, clock, Random(5))
            self.service = SnapshotService(settings, host, self.graph)
            for spec in self.service.tasks():
                registry.add(spec)
            await self.service.start()
            await self.engine.start()
            yield self
        finally:
            await self.engine.close()
            if hasattr(self, "service"):
                await self.service.stop()

    async def take(self, customer: str, timestamp: str, **shape: int) -> Record:
        """Lay a snapshot down, let it be found, and wait until its job has ended."""
        lay_down(self.base, customer, timestamp, **shape)
        await self.service.scan()
        await self.settled(customer, timestamp)
        return await self.record(customer, timestamp)

    async def settled(self, customer: str, timestamp: str) -> Job:
        """The snapshot's last job when it has ended."""
        record = await self.record(customer, timestamp)
        assert record.body.job_id is not None
        job = await self.engine.wait(record.body.job_id, 20)
        assert job.finished_at is not None, await self.engine.why(job.id)
        return job

    async def record(self, customer: str, timestamp: str) -> Record:
        return await self.service.book.find(customer, timestamp)

    async def states(self, customer: str) -> dict[str, State]:
        return {record.timestamp: record.state for record in await self.service.book.page(customer, None, 100, 0)}

    async def run(self, task: str, **args: Any) -> Job:
        """One task to its end."""
        job = (await self.engine.submit([Submission(task, args)], ANNA))[0]
        ended = await self.engine.wait(job.id, 20)
        assert ended.state in (JobState.SUCCEEDED, JobState.FAILED), ended.state
        return ended

    async def job_of(self, task: str, **args: Any) -> Job:
        """The newest job of a task with these arguments, once there is one."""
        async with asyncio.timeout(10):
            while True:
                for job in await self.engine.jobs(JobFilter(task=task)):
                    if args.items() <= job.args.items():
                        return job
                await asyncio.sleep(0.01)

    async def until_state(self, customer: str, timestamp: str, state: State) -> None:
        async with asyncio.timeout(20):
            while (await self.record(customer, timestamp)).state is not state:  # noqa: ASYNC110 it has no event for it
                await asyncio.sleep(0.01)

"""The ingest wing on a real engine, with a lake in memory or real children, through several lives of the daemon."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from labd.clock import Clock, SystemClock
from labd.engine.engine import Engine
from labd.engine.job import Caller, Job, JobState, Submission
from labd.engine.registry import Registry
from labd.engine.views import JobFilter
from labd.engine.worker_tasks import WorkerTasks
from labd.ingest.definition import Definition
from labd.ingest.engines import EnginePool
from labd.ingest.record import FileMark, Record, Run
from labd.ingest.service import IngestService
from labd.ingest.settings import IngestSettings
from labd.ingest.wing import SCHEMA
from labd.settings_types import EnvironmentSettings, TasksSettings
from labd.wing import Host
from tests.fakes.ingest_lake import Lake, write

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))
END_S = 20.0


class IngestHouse:
    """One state folder.

    Args:
        children: Read and write with the real engine in real children instead of the lake.
        rules: Of the table `[ingest]`.
    """

    def __init__(self, state_dir: Path, clock: Clock | None = None, children: bool = False, **rules: Any) -> None:
        self.state_dir = state_dir
        self.inbox = state_dir / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.lake = Lake()
        self.clock = clock or SystemClock()
        self.children = children
        self.end_s = END_S
        self.rules: dict[str, Any] = {"task_retry_delay_seconds": 0, **rules}
        self.environments = {"default": EnvironmentSettings(grace_s=0.3, start_timeout_s=30.0)}
        self.lives = 0
        self.engine: Engine
        self.service: IngestService

    @asynccontextmanager
    async def open(self) -> AsyncIterator[IngestHouse]:
        """One life; what still runs at its end is given up as a death of the daemon would."""
        registry, seed = Registry(), self.state_dir.name
        self.lives += 1
        self.engine = Engine(self.state_dir, registry, self.clock, Random(f"{seed} {self.lives}"), schemas=[SCHEMA])
        workers = WorkerTasks(
            self.engine,
            self.state_dir,
            self.environments,
            TasksSettings(folders=(), poll_s=0.0),
            self.clock,
            dict(os.environ),
        )
        await self.engine.open()
        try:
            host = Host(
                self.engine, self.state_dir, self.state_dir, self.clock, Random(f"{seed} {self.lives} wing"),
                worker_of=workers.worker_of,
            )  # fmt: skip
            self.service = IngestService(self.settings, host, None if self.children else self.lake)
            for spec in self.service.tasks():
                registry.add(spec)
            await self.service.start()
            if self.children:
                await workers.start()
            await self.engine.start()
            yield self
        finally:
            if hasattr(self, "service"):
                await self.service.drain()
            await self.engine.close()
            if hasattr(self, "service"):
                await self.service.stop()
            await workers.close()

    @property
    def settings(self) -> IngestSettings:
        """As `rules` say."""
        return msgspec.convert(self.rules, IngestSettings)

    def definition(self, name: str = "sales", **fields: Any) -> Definition:
        """JSON lines of the inbox into a table of the same name, no settling."""
        source = {"url": self.inbox.as_uri(), "settle_s": 0, **fields.pop("source", {})}
        form = {"type": "jsonl", **fields.pop("format", {})}
        into = {"table": name, **fields.pop("destination", {})}
        return msgspec.convert(
            {"name": name, "source": source, "format": form, "destination": into, **fields}, Definition
        )

    async def define(self, name: str = "sales", **fields: Any) -> Record:
        """Create it as a person would."""
        record = self.service.book.create(self.definition(name, **fields), ANNA)
        await self.service.book.commit()
        await self.service.put_schedules()
        return record

    def put(self, path: str, *rows: Any) -> Path:
        """A file in the inbox; numbers stand for rows with that id."""
        return write(self.inbox / path, *({"id": row} if isinstance(row, int) else row for row in rows))

    async def submit(self, name: str = "sales", task: str = "ingest.run", **args: Any) -> Job:
        """A job, not waited for."""
        return (await self.engine.submit([Submission(task, {"ingestion": name, **args})], ANNA))[0]

    async def ended(self, job: Job) -> Job:
        """The job when it has ended."""
        ended = await self.engine.wait(job.id, self.end_s)
        assert ended.finished_at is not None, [cause.message for cause in await self.engine.why(job.id)]
        return ended

    async def run(self, name: str = "sales", **args: Any) -> dict[str, Any]:
        """A run that succeeds as a job; its result."""
        job = await self.ended(await self.submit(name, **args))
        assert job.state is JobState.SUCCEEDED, job.error
        result: dict[str, Any] = job.result
        return result

    async def fails(self, name: str = "sales", **args: Any) -> str:
        """The message of a run whose job fails."""
        job = await self.ended(await self.submit(name, **args))
        assert job.state is JobState.FAILED, job.result
        assert job.error is not None
        return job.error.message

    async def submit_and_end(self, name: str = "sales", **args: Any) -> Job:
        """A run, however it ends."""
        return await self.ended(await self.submit(name, **args))

    async def last_run(self, name: str = "sales") -> Run:
        """The newest run."""
        return (await self.service.runs.runs(self.service.book.find(name), limit=1))[0]

    async def marks(self, name: str = "sales") -> dict[str, FileMark]:
        """State of each file of the ledger."""
        return {file.path: file.state for file in await self.service.ledger.files(self.service.book.find(name))}

    async def steps(self, job: Job) -> list[str]:
        """Tasks of a job's children, in their order."""
        jobs = await self.engine.jobs(JobFilter())
        return [one.task for one in sorted(jobs, key=lambda one: one.id) if one.parent_id == job.id]

    def pids(self) -> list[int]:
        """Of the children that are there."""
        assert isinstance(self.service.engines, EnginePool)
        return self.service.engines.pids()

    def attention(self) -> dict[str, str]:
        """Code -> message of what needs a person."""
        return {item["code"]: item["message"] for item in self.service.status()["attention"]}

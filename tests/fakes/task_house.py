"""An engine with task files and real workers, for tests: files are written as text, jobs are run by name."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.job import INTERNAL, Job, Submission
from labd.engine.registry import Registry
from labd.engine.worker_tasks import ReloadReport, WorkerTasks
from labd.settings_types import EnvironmentSettings, TasksSettings

LIMIT_S = 20.0


class TaskHouse:
    """What the tests use."""

    def __init__(self, engine: Engine, workers: WorkerTasks, folder: Path) -> None:
        self.engine = engine
        self.workers = workers
        self.folder = folder

    def write(self, text: str, name: str = "tasks.py") -> Path:
        path = self.folder / name
        path.write_text("import os, sys, time\nfrom labd import task, log, progress, call, ask\n" + text)
        return path

    async def load(self, text: str, name: str = "tasks.py") -> ReloadReport:
        self.write(text, name)
        return await self.workers.reload()

    async def submit(self, task: str, **args: Any) -> Job:
        return (await self.engine.submit_one(Submission(task, args), INTERNAL))[0]

    async def ended(self, job: Job) -> Job:
        ended = await self.engine.wait(job.id, LIMIT_S)
        assert ended.finished_at is not None, f"{ended.task} did not end: {ended.state}"
        return ended

    async def run(self, task: str, **args: Any) -> Job:
        return await self.ended(await self.submit(task, **args))

    async def result(self, task: str, **args: Any) -> Any:
        job = await self.run(task, **args)
        assert job.error is None, job.error
        return job.result

    async def reached(self, job: Job, text: str = "") -> None:
        """Wait until the body told its progress with this text."""
        async with asyncio.timeout(LIMIT_S):
            async for event in self.engine.events.subscribe(0):
                if event.kind == "job.progress" and event.job_id == job.id and text in event.data["text"]:
                    return

    async def lines(self, job: Job, limit: int = 100_000) -> list[str]:
        return [line.text for line in await self.engine.logs(job.id, 0, limit)]


@asynccontextmanager
async def task_house(
    state_dir: Path, text: str = "", environments: dict[str, EnvironmentSettings] | None = None, poll_s: float = 0.0
) -> AsyncIterator[TaskHouse]:
    """Everything started; on the way out all workers have ended."""
    folder = state_dir / "tasks.d"
    folder.mkdir(exist_ok=True)
    clock = SystemClock()
    engine = Engine(state_dir, Registry(), clock, Random(1))
    settings = TasksSettings(folders=(str(folder),), poll_s=poll_s)
    chosen = {"default": EnvironmentSettings(grace_s=0.3, start_timeout_s=15.0), **(environments or {})}
    workers = WorkerTasks(engine, state_dir, chosen, settings, clock, dict(os.environ))
    house = TaskHouse(engine, workers, folder)
    if text:
        house.write(text)
    await engine.open()
    await workers.start()
    await engine.start()
    try:
        yield house
    finally:
        await engine.drain(0.0)
        await workers.close()
        await engine.close()

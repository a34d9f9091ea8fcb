"""Reads task files in the environment they belong to: starts a worker there, and finds the file that is to blame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from labd.engine.environments import Environments
from labd.engine.orphans import MARK
from labd.engine.task_files import Source
from labd.engine.worker_messages import Fault, FoundTask
from labd.engine.worker_process import WorkerProcess
from labd.engine.worker_start import Outfit, StartFailed, Worker, start_worker
from labd.errors import EnvironmentOff, UnknownEnvironment
from labd.settings_types import REMOTE_PYTHON

KEPT_OUT = (
    "LABD_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY",
    "JOURNAL_STREAM", "INVOCATION_ID", "PYTHON", "VIRTUAL_ENV",
)  # fmt: skip


@dataclass(slots=True)
class Loaded:
    """What one environment makes of its sources; `off` is why it cannot be used at all.

    `watched` are the files of its modules on this host, as they were when they were imported.
    """

    environment: str
    outfit: Outfit | None = None
    worker: Worker | None = None
    tasks: list[FoundTask] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    off: str | None = None
    watched: list[tuple[str, int, int, int]] = field(default_factory=list)


class TaskLoader:
    """Starts workers that read task files.

    Args:
        lend: What workers import labd's own side from.
        work: The working directory of all workers.
        mark: The state folder; workers and what they start carry it, see `orphans`.
        on_end: Called when a process that was started here has ended.
    """

    def __init__(
        self, environments: Environments, lend: Path, work: Path, mark: Path, environ: Mapping[str, str],
        on_end: Callable[[WorkerProcess], None] = lambda process: None,
    ) -> None:  # fmt: skip
        self.environments = environments
        self._lend = lend
        self._work = work
        self._mark = mark
        self._environ = environ
        self._on_end = on_end
        self.beside = ""  # digest of the files without tasks, which those with tasks may import
        self._started: set[WorkerProcess] = set()

    async def outfit(self, name: str, sources: list[Source]) -> Outfit:
        """How workers of this environment are started.

        Raises:
            UnknownEnvironment, EnvironmentOff: It cannot be used.
        """
        settings = self.environments.of(name)
        remote = settings.ssh is not None
        python = None if remote else await asyncio.to_thread(self.environments.interpreter, name)
        kept = {key: value for key, value in self._environ.items() if not key.startswith(KEPT_OUT)}
        if python is None:
            words, version = settings.python or REMOTE_PYTHON, ""
            variables = {**kept, MARK: str(self._mark)}  # of ssh; those of the settings are sent
        else:
            words, version = str(python.path), python.version_text
            path = f"{python.path.parent}:{kept.get('PATH', '')}".rstrip(":")
            variables = {
                **kept,
                "PATH": path,
                "PYTHONUNBUFFERED": "1",
                MARK: str(self._mark),
                **settings.worker_variables,
            }
        files = [source for source in sources if not source.is_module]
        modules = [source for source in sources if source.is_module]
        digests = [*(source.digest for source in files), self.beside if files else ""]
        stamp = "|".join([self.environments.stamp(name), version, *digests])
        return Outfit(
            (words,), self._lend, self._work, variables, tuple(source.place for source in files),
            tuple(source.place for source in modules), settings, stamp,
        )  # fmt: skip

    async def load(self, name: str, sources: list[Source], before: Loaded | None = None) -> Loaded:
        """Import the sources there; a file that takes the interpreter down is found and left out.

        Args:
            before: What the last look found; given back if nothing has changed that can be seen.
        """
        try:
            outfit = await self.outfit(name, sources)
        except (EnvironmentOff, UnknownEnvironment) as fault:
            return Loaded(name, off=fault.message)
        if before is not None and before.outfit == outfit and not outfit.modules:
            return before
        try:
            worker = await self._start(outfit)
        except StartFailed as fault:
            return await self._sift(name, outfit, sources, str(fault))
        return _loaded(name, outfit, worker)

    async def _start(self, outfit: Outfit) -> Worker:
        worker = await start_worker(outfit, self._ended)
        self._started.add(worker.process)
        return worker

    def _ended(self, process: WorkerProcess) -> None:
        self._started.discard(process)
        self._on_end(process)

    async def close(self) -> None:
        """End what was started here and still runs: a look at the files was cut off before a pool took it."""
        for process in list(self._started):
            await process.end_now()

    async def _sift(self, name: str, outfit: Outfit, sources: list[Source], problem: str) -> Loaded:
        """One worker for each source, to see which of them no interpreter survives."""
        try:
            bare = await self._start(replace(outfit, files=(), modules=()))
        except StartFailed as fault:
            return Loaded(name, off=f"environment {name}: {fault}")
        await bare.process.close(outfit.settings.grace_s)
        good: list[Source] = []
        faults: list[Fault] = []
        for source in sources:
            alone = await self.outfit(name, [source])
            try:
                worker = await self._start(alone)
            except StartFailed as fault:
                faults.append(Fault(source.place, f"takes its interpreter down when it is imported: {fault}"))
            else:
                await worker.process.close(outfit.settings.grace_s)
                good.append(source)
        if len(good) == len(sources):
            return Loaded(name, off=f"environment {name}: {problem}")  # each alone is fine, together they are not
        rest = await self.load(name, good)
        rest.faults += faults
        return rest


def _loaded(name: str, outfit: Outfit, worker: Worker) -> Loaded:
    """What the worker read; a module's tasks that name no environment belong where the module was looked for."""
    tasks = list(worker.loaded.tasks or ())
    for task in tasks:
        if task.policy.env is None and task.file not in outfit.files:
            task.policy.env = name
    watched = [] if outfit.settings.ssh is not None else list(worker.loaded.watched or ())
    return Loaded(name, outfit, worker, tasks, list(worker.loaded.faults or ()), watched=watched)

"""The tasks of task files: finds them, offers them to the engine, runs their jobs in the pools, follows changed files.

A reload looks at every file in the environment it belongs to, then swaps the engine's tasks and the pools' outfits in
one step: a job that starts later runs the new code, one that runs finishes on the old. Files that cannot be used keep
their tasks known but refused, each with file, line and reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

import labd
from labd.clock import Clock
from labd.engine import lending, task_files
from labd.engine.environments import Environments, EnvironmentView
from labd.engine.job import INTERNAL, Caller
from labd.engine.orphans import end_orphans
from labd.engine.task_catalogue import catalogue, source_of
from labd.engine.task_files import DEFAULT, Source
from labd.engine.task_loading import Loaded, TaskLoader
from labd.engine.task_pins import TaskPins
from labd.engine.task_specs import ORIGIN
from labd.engine.worker_messages import Fault
from labd.engine.worker_process import WorkerProcess
from labd.engine.worker_run import WorkerRuns
from labd.engine.worker_start import StartFailed, Worker, start_worker
from labd.engine.workers import Pool
from labd.errors import EnvironmentOff
from labd.settings_types import EnvironmentSettings, TasksSettings

if TYPE_CHECKING:
    from labd.engine.engine import Engine

log = structlog.get_logger()
LOOKS = 3
AGAIN_S = 30.0


class ReloadReport(msgspec.Struct):
    """What a look at the task files found."""

    files: int
    tasks: int
    faults: list[Fault]


class PoolView(msgspec.Struct):
    """One environment and its workers."""

    name: str
    state: str
    python: str
    version: str
    requires: tuple[str, ...]
    folder: str
    reason: str
    tasks: int
    workers: int
    busy: int
    size: int
    simulated: bool = False


class WorkerTasks:
    """Everything between task files and the engine.

    Args:
        state_dir: Gets the folders `env`, `lend` and `work`.
        environ: What workers get, without what is labd's own.
    """

    def __init__(
        self, engine: Engine, state_dir: Path, environments: Mapping[str, EnvironmentSettings], tasks: TasksSettings,
        clock: Clock, environ: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.faults: list[Fault] = []
        self.environments = Environments(state_dir / "env", environments, environ)
        self.pins = TaskPins(engine)
        self._engine = engine
        self._state_dir = state_dir
        self._settings = tasks
        self._clock = clock
        self._environ = environ
        self._pools: dict[str, Pool] = {}
        self._retiring: list[Pool] = []
        self._off: dict[str, str] = {}
        self._loaded: dict[str, Loaded] = {}
        self._seen: Any = None
        self._watched: list[str] = []
        self._lock = asyncio.Lock()
        self._runs = WorkerRuns(self._pools, self.pins, self.reload_soon)
        self._lent: Path | None = None
        self._loader: TaskLoader | None = None
        self._beside: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def prepare(self) -> None:
        """End what an earlier daemon left running, and lay out what workers are started with; needs no journal."""
        orphans = await asyncio.to_thread(end_orphans, self._state_dir)
        if orphans:
            log.warning("worker.orphans_ended", pids=orphans)
        (self._state_dir / "work").mkdir(mode=0o750, parents=True, exist_ok=True)
        package = Path(labd.__file__).parent
        self._lent = await asyncio.to_thread(lending.lend, self._state_dir / "lend", package)

    async def start(self) -> ReloadReport:
        """Read the pins and the task files, after `prepare` where nobody has called it; the tasks are known then."""
        if self._lent is None:
            await self.prepare()
        assert self._lent is not None
        await self.pins.open()
        work = self._state_dir / "work"
        self._loader = TaskLoader(self.environments, self._lent, work, self._state_dir, self._environ, self._ended)
        report = await self.reload()
        if self._settings.poll_s:
            self._spawn(self._watch())
        return report

    async def change(self, environments: Mapping[str, EnvironmentSettings], tasks: TasksSettings) -> None:
        """Put changed settings in force: new workers are started with them."""
        self.environments.settings = {DEFAULT: EnvironmentSettings(), **environments}
        self._settings = tasks
        await self.reload()

    async def reload(self, caller: Caller = INTERNAL) -> ReloadReport:
        """Look at the task files again and put them in force; running jobs finish on the code they started with."""
        async with self._lock:
            seen = await asyncio.to_thread(self._look)
            places = task_files.folders(self._settings.folders, self._environ)
            sources = await asyncio.to_thread(task_files.read, places, self._settings.modules)
            loaded = await self._load(sources)
            watched = {facts[0]: facts for one in loaded.values() for facts in one.watched}
            self._seen = (*seen[:2], tuple(watched[path] for path in sorted(watched)))
            self._watched = sorted(watched)
            commits = await asyncio.to_thread(_commits, loaded)
            report = await self._put_in_force(sources, loaded, commits)
        for fault in report.faults:
            log.error("task.file_faulty", file=fault.file, line=fault.line, problem=fault.message)
        facts = {"files": report.files, "tasks": report.tasks, "faults": len(report.faults)}
        log.info("task.reloaded", **facts)
        self._engine.publish("task.reloaded", facts)
        if caller is not INTERNAL:
            self._engine.audit(caller, "task.reload", "tasks", facts)
        return report

    async def _load(self, sources: list[Source]) -> dict[str, Loaded]:
        """Each source in the environments that its text names, then in those that its tasks turn out to name."""
        wanted: dict[str, list[Source]] = {}
        for source in sources:
            for name in source.environments if source.problem is None else ():
                wanted.setdefault(name, []).append(source)
        loaded: dict[str, Loaded] = {}
        loader = self._loader
        assert loader is not None
        loader.beside = ",".join(source.digest for source in sources if not source.environments)
        pending = set(wanted)
        for _ in range(LOOKS):
            looks = [loader.load(name, wanted[name], self._loaded.get(name)) for name in sorted(pending)]
            for one in await asyncio.gather(*looks):
                before = loaded.get(one.environment)
                if before is not None and before.worker is not None:
                    self._spawn(before.worker.process.close(self.environments.of(one.environment).grace_s))
                loaded[one.environment] = one
            pending = set()
            for task in [task for one in loaded.values() for task in one.tasks]:
                name, found = task.policy.env or DEFAULT, source_of(task, sources)
                if found is not None and found not in wanted.setdefault(name, []):
                    wanted[name].append(found)
                    pending.add(name)
            if not pending:
                break
        return loaded

    async def _put_in_force(
        self, sources: list[Source], loaded: dict[str, Loaded], commits: dict[str, str | None]
    ) -> ReloadReport:
        found = catalogue(sources, loaded, commits, self._engine.registry, self._runs, self.pins)
        self._off, self._loaded, self.faults = found.off, loaded, found.faults
        self._engine.registry.replace_origin(ORIGIN, [found.specs[name] for name in sorted(found.specs)])
        await self._change_pools(loaded)
        self._engine.wake()
        return ReloadReport(sum(not source.is_module for source in sources), len(found.specs), found.faults)

    async def _change_pools(self, loaded: dict[str, Loaded]) -> None:
        for name in self._pools.keys() - {name for name, one in loaded.items() if one.outfit is not None}:
            pool = self._pools.pop(name)
            self._retiring.append(pool)
            self._spawn(self._retire(pool))
        for name, one in loaded.items():
            if one.outfit is None:
                continue
            if name not in self._pools:
                self._pools[name] = Pool(name, one.outfit, self._clock)
            self._pools[name].change(one.outfit, one.worker)
            one.worker = None

    async def _retire(self, pool: Pool) -> None:
        await pool.retire()
        self._retiring.remove(pool)

    def _ended(self, process: WorkerProcess) -> None:
        for pool in [*self._pools.values(), *self._retiring]:
            pool.ended(process)

    def is_current(self) -> bool:
        """Whether files, modules and environments look as they did at the last reload."""
        return bool(self._look() == self._seen)

    def _look(self) -> Any:
        places = task_files.folders(self._settings.folders, self._environ)
        stamps = tuple(self.environments.stamp(name) for name in sorted(self.environments.settings))
        return task_files.snapshot(places), stamps, task_files.facts_of(self._watched)

    async def _watch(self) -> None:
        """Reload when something changed and then stood still for one look: a file is not read while it is written."""
        before = self._seen
        looked_at = self._clock.monotonic()
        while not self._closed:
            await self._clock.sleep(self._settings.poll_s or 5.0)
            now = await asyncio.to_thread(self._look)
            if self._clock.monotonic() - looked_at >= AGAIN_S:
                looked_at = self._clock.monotonic()
                if any(one.ssh for name, one in self.environments.settings.items() if name in self._off):
                    await self.reload()  # another host, which may have been switched on meanwhile
            if self._settings.poll_s and now == before and now != self._seen:
                await self.reload()
            before = now

    def reload_soon(self) -> None:
        """Reload beside: a worker has read other code than was known."""
        if not self._lock.locked() and not self._closed:
            self._spawn(self.reload())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="task files")
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def pool(self, name: str) -> Pool:
        """The workers of an environment that has tasks."""
        return self._pools[name]

    async def worker_of(self, name: str, module: str, memory_mib: int | None = None) -> Worker:
        """A worker that belongs to the caller alone, who ends it; `module` is loaded in it.

        Args:
            memory_mib: Limit of its data instead of the environment's; 0: none.

        Raises:
            EnvironmentOff, UnknownEnvironment: It cannot be started, and why.
        """
        if self._loader is None:
            raise EnvironmentOff(f"environment {name}: labd is still starting", environment=name)
        outfit = await self._loader.outfit(name, [Source(module, True)])
        if memory_mib is not None:
            outfit = replace(outfit, settings=msgspec.structs.replace(outfit.settings, memory_mib=memory_mib))
        try:
            return await start_worker(outfit, self._ended)
        except StartFailed as fault:
            raise EnvironmentOff(f"environment {name}: {fault}", environment=name, by_signal=fault.by_signal) from fault

    async def sync(self, name: str, fresh: bool) -> PoolView:
        """Make an environment and put it in use; its tasks are looked for then.

        Raises:
            UnknownEnvironment, EnvironmentOff, Conflict: As `Environments.sync`.
        """
        view = await asyncio.to_thread(self.environments.sync, name, fresh)
        await self.reload()
        return self._view(view)

    async def views(self) -> list[PoolView]:
        """Every environment of the settings, by name."""
        names = sorted(self.environments.settings)
        views = await asyncio.gather(*(asyncio.to_thread(self.environments.view, name) for name in names))
        return [self._view(view) for view in views]

    def _view(self, view: EnvironmentView) -> PoolView:
        pool = self._pools.get(view.name)
        tasks = self._engine.registry.tasks()
        state, reason = view.state, view.reason
        if view.name in self._off and state == "ready":
            state, reason = "faulty", self._off[view.name]
        return PoolView(
            view.name, state, view.python, view.version, view.requires, view.folder, reason,
            sum(1 for task in tasks if task.code is not None and task.code.get("environment") == view.name),
            0 if pool is None else pool.workers, 0 if pool is None else pool.busy,
            self.environments.of(view.name).size, self.environments.of(view.name).simulated,
        )  # fmt: skip

    def attention(self) -> list[dict[str, Any]]:
        """Faulty files and environments that are off, as `labctl status` shows them."""
        found = [
            {"code": "task_off", "message": f"{fault.file}:{fault.line or 0}: {fault.message}", "subject": "tasks"}
            for fault in self.faults
        ]
        found += [{"code": "environment_off", "message": text, "subject": name} for name, text in self._off.items()]
        return found

    async def close(self) -> None:
        """End all workers; the engine has drained before. A second call does nothing."""
        self._closed = True
        for task in list(self._beside):
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in [*self._pools.values(), *self._retiring]))
        self._pools.clear()
        if self._loader is not None:
            await self._loader.close()


def _commits(loaded: Mapping[str, Loaded]) -> dict[str, str | None]:
    """The git commit of every file that a module's tasks are in."""
    files = {task.file for one in loaded.values() for task in one.tasks}
    there = {path for one in loaded.values() for path, *_ in one.watched}
    return {file: task_files.commit_of(Path(file)) for file in sorted(files & there)}

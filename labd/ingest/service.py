"""The ingest wing at work: the book of ingestions, the ledger of their files, the engines, and the runs they make."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from labd import credentials
from labd.clock import iso
from labd.engine.job import ENDED, Caller, Job, JobState, Submission
from labd.engine.registry import StopSpec, TaskSpec
from labd.engine.views import Figure
from labd.errors import LabdError, Refused, SettingsFault, UnknownJob
from labd.ingest import access, meter, schedules, watch
from labd.ingest.book import IngestBook
from labd.ingest.desk import IngestDesk
from labd.ingest.engines import EnginePool, EngineSettings, MemoryClass
from labd.ingest.ledger import FileLedger
from labd.ingest.pipeline import Engines, Pipeline
from labd.ingest.port import TableEngine
from labd.ingest.record import BatchRecord, Record, RunState, Trigger
from labd.ingest.retention import RunRetention
from labd.ingest.runs import RunBook
from labd.ingest.settings import IngestSettings, SparkSettings
from labd.wing import Host

QUEUE_PRIORITY = 3
SIZE, HIGH_SIZE = 4, 1  # jobs of a queue at once
CHILDREN = 2  # of one engine and memory class
FOLLOW_S = 3600.0
LIVE = frozenset({"catalog", "credentials", "definition", "flow_run_timeout_seconds", "simulated"})

log = structlog.get_logger("ingest")


class IngestService:
    """Owns definitions, ledger and engines; satisfies `labd.wing.Wing`.

    Args:
        engines: For tests; a pool of children made from the settings unless given.
    """

    def __init__(self, settings: IngestSettings, host: Host, engines: Engines | None = None) -> None:
        self._host = host
        self.settings = settings
        self.engine = host.engine
        self.engine.add_queue(settings.default_work_queue, QUEUE_PRIORITY, SIZE)
        self.engine.add_queue(settings.high_memory_work_queue, QUEUE_PRIORITY, HIGH_SIZE)
        self.engines: Engines = engines or EnginePool(
            host.worker_of, engine_settings(settings, host.state_dir), host.clock
        )
        self.book = IngestBook(
            host.engine, host.clock, host.random, queues=[queue.name for queue in host.engine.queues()],
            catalogs=settings.catalogs, credentials=settings.credentials, has_spark=bool(settings.spark.url),
        )  # fmt: skip
        self.runs = RunBook(host.engine, host.clock)
        self.ledger = FileLedger(host.engine, host.clock, host.random, self.book, self.runs)
        self.pipeline = Pipeline(
            host.engine, self.book, self.runs, self.ledger, self.engines, settings, host.state_dir, host.clock
        )
        self.desk = IngestDesk(self, host)
        self._standing: dict[int, watch.Standing] = {}
        self._refused: dict[str, str] = {}
        self._unscheduled: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: set[int] = set()

    # Wing

    async def start(self) -> None:
        """Read what the last daemon left, bring the definitions of the settings and all schedules in force."""
        folder = access.catalog_folder(self._host.state_dir)  # labd's own catalogue can be asked before a first run
        await asyncio.to_thread(folder.mkdir, mode=0o750, parents=True, exist_ok=True)
        await asyncio.to_thread(shutil.rmtree, spark_folder(self._host.state_dir), ignore_errors=True)
        await self.book.open()
        await self.runs.open()
        await self.ledger.open()
        self._declare(self.settings)
        self.engine.add_meter(self.figures)
        self.engine.retention.wings.append(RunRetention(self.engine, self.book).sweep)
        await self.book.commit()
        await self.put_schedules()
        for record in self.book.definitions():
            await self.look_at(record)
        for run in self.runs.going():
            self.follow(run.id, run.job_id)

    async def drain(self) -> None:
        """Follow no run any more: those whose jobs go on in the next daemon go on with it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """End all children; a second call does nothing."""
        await self.drain()
        await self.engines.close()

    def tasks(self) -> list[TaskSpec | StopSpec]:
        """The run and its steps."""
        from labd.ingest.adopt import adoption_tasks
        from labd.ingest.operations import operation_tasks
        from labd.ingest.tasks import ingest_tasks

        desk = self.desk
        return [
            *ingest_tasks(self), *operation_tasks(self, desk.operations), *adoption_tasks(self, desk.adoption)
        ]  # fmt: skip

    def endpoints(self) -> list[Any]:
        """The routes of the wing."""
        from labd.ingest.routes import ingest_endpoints

        return ingest_endpoints(self.desk)

    def change(self, settings: IngestSettings) -> list[str]:
        """Definitions, catalogues and credentials are in force at once; queues and children after a restart."""
        old = self.settings
        fields = [name for name in settings.__struct_fields__ if getattr(settings, name) != getattr(old, name)]
        self.settings = self.pipeline.settings = settings
        self.book.know(catalogs=settings.catalogs, credentials=settings.credentials)
        self._declare(settings)
        self._beside(self._settle_change(), "ingest settings")
        return [f"ingest.{name}" for name in fields if name not in LIVE]

    def status(self) -> dict[str, Any]:
        """Each ingestion as a device, and what a person should see to."""
        live, now = self.book.definitions(), self._host.clock.wall()
        going = {run.ingestion for run in self.runs.going()}
        devices = [
            {
                "name": record.name, "state": "running" if record.number in going else record.state.value,
                "since": iso(record.updated_at), "simulated": self.settings.simulated,
                "destination": record.destination,
            }
            for record in live
        ]  # fmt: skip
        found = [item for record in live for item in watch.attention(record, self.standing(record), now)]
        found += [
            {
                "code": "ingest_definition",
                "message": f"[ingest.definition.{name}] is not in force: {text}",
                "subject": name,
            }
            for name, text in self._refused.items()
        ]
        found += [
            {"code": "ingest_schedule", "message": f"schedule {name} is not in force: {text}", "subject": name}
            for name, text in self._unscheduled.items()
        ]
        return {"devices": devices, "attention": found}

    def figures(self) -> list[Figure]:
        """For /metrics."""
        return meter.figures((record, self.standing(record).files) for record in self.book.definitions())

    def _declare(self, settings: IngestSettings) -> None:
        self._refused = {}
        for name, fault in self.book.declare(settings.definition):
            self._refused[name] = fault.message if isinstance(fault, LabdError) else str(fault)
            log.error("ingestion.refused", ingestion=name, problem=self._refused[name])

    async def _settle_change(self) -> None:
        await self.book.commit()
        await self.put_schedules()

    # what the doors use

    async def submit_run(
        self, record: Record, caller: Caller, trigger: Trigger = "manual", *, full: bool = False,
        files: list[str] | None = None, idempotency_key: str | None = None,
    ) -> Job:  # fmt: skip
        """The job of a new run; it waits while another run of the ingestion goes on."""
        args: dict[str, Any] = {"ingestion": record.id, "trigger": trigger, "full": full}
        if files is not None:
            args["files"] = files
        submission = Submission(
            schedules.RUN, args, queue=self.queue_of(record), idempotency_key=idempotency_key, tags=["ingest"]
        )
        job, _ = await self.engine.submit_one(submission, caller)
        return job

    def queue_of(self, record: Record) -> str:
        """Where its jobs wait."""
        return record.definition.queue or self.settings.default_work_queue

    async def put_schedules(self) -> None:
        """Bring the schedules in force; call it when a definition was made, changed, paused or deleted."""
        specs = [schedules.wanted(record, self.queue_of(record)) for record in self.book.definitions()]
        self._unscheduled = await schedules.put(self.engine, [spec for spec in specs if spec is not None])

    async def look_at(self, record: Record) -> None:
        """Count again what of an ingestion needs a person; call it after its files were asked for again."""
        standing = self.standing(record)
        counts = await self.ledger.counts(record)
        watch.counted(standing, {mark: found.files for mark, found in counts.items()})
        waiting = [batch for batch in await self.ledger.open_batches(record) if batch.state == "approval"]
        standing.waits = _waits_for(waiting)
        ended = [run for run in await self.runs.runs(record, limit=2) if run.state is not RunState.RUNNING]
        standing.last = ended[0] if ended else None

    def standing(self, record: Record) -> watch.Standing:
        """How it stands, as last looked at."""
        return self._standing.setdefault(record.number, watch.Standing())

    def engine_of(self, record: Record, urgent: bool = True) -> TableEngine:
        """The engine that a person's look at an ingestion takes; it does not wait behind loads."""
        return self.pipeline.engine_for(record, 0, urgent)

    # runs whose jobs end without a word

    def follow(self, run_id: int, job_id: int | None) -> None:
        """See to it that a run ends with its job, also when that is cancelled while it waits."""
        if run_id not in self._following:
            self._following.add(run_id)
            self._beside(self._follow(run_id, job_id), f"ingest run {run_id}")

    async def _follow(self, run_id: int, job_id: int | None) -> None:
        try:
            state, code, message = await self._ended(job_id)
            run = await self.runs.find(run_id)
            record = self.book.of_number(run.ingestion)
            await self.pipeline.break_off(record, run_id, code, message, state)
            await self.look_at(record)
        except LabdError as fault:
            log.warning("ingest.watch_ended", run=run_id, problem=fault.message)
        finally:
            self._following.discard(run_id)

    async def _ended(self, job_id: int | None) -> tuple[RunState | None, str, str]:
        """How the job of a run ended, when it has."""
        while job_id is not None:
            try:
                job = await self.engine.wait(job_id, FOLLOW_S)
            except UnknownJob:
                break
            if job.state in ENDED:
                state = RunState.CANCELLED if job.state is JobState.CANCELLED else None
                text = f"job {job_id} ended as {job.state}" if job.error is None else job.error.message
                return state, job.state.value if job.error is None else job.error.code, text
        return RunState.CANCELLED, "unknown_job", f"job {job_id} is not known any more"

    def _beside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("ingest.watch_ended", what=task.get_name(), exc_info=task.exception())


def spark_folder(state_dir: Path) -> Path:
    """Where Spark's children keep what is temporary; what killed ones left there goes when labd starts."""
    return access.catalog_folder(state_dir) / "spark"


def engine_settings(settings: IngestSettings, state_dir: Path) -> dict[str, EngineSettings]:
    """What children are started with; Spark only where it is set up."""
    memory: dict[MemoryClass, int] = {"default": settings.memory_mib, "high": settings.high_memory_mib}
    found = {
        "arrow": EngineSettings(
            name="arrow", environment=settings.environment, memory_mib=memory, size=CHILDREN, idle_s=settings.idle_s
        )
    }
    spark = settings.spark
    if spark.url:
        found["spark"] = EngineSettings(
            name="spark", environment=spark.environment, memory_mib=memory, is_limited=False, size=1,
            idle_s=spark.idle_s,
            given=lambda memory_mib: {"spark": {**_spark(spark, memory_mib), "scratch": str(spark_folder(state_dir))}},
        )  # fmt: skip
    return found


def _spark(spark: SparkSettings, memory_mib: int) -> dict[str, Any]:
    """What the Spark engine is told with every call.

    Raises:
        Refused: The token is not where the settings say; names the reference only.
    """
    try:
        token = None if spark.token is None else credentials.resolve(spark.token)
    except SettingsFault as fault:
        raise Refused(f"ingest engine spark: [ingest.spark] token: {fault.message}") from fault
    return {
        "url": spark.url, "conf": spark.conf, "catalog": spark.catalog, "memory_mib": memory_mib,
        "connect_timeout_s": spark.connect_timeout_s, "secrets": {} if token is None else {"token": token},
    }  # fmt: skip


def _waits_for(batches: list[BatchRecord]) -> str:
    """What batches ask that wait for a person."""
    changes = [change.key for batch in batches if batch.report is not None for change in batch.report.changes]
    return ", ".join(sorted(set(changes))[:5])

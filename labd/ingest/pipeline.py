"""The steps of a run: begin, discover, load a batch, give one up, end. Each may be done again from its start.

Why that is safe: what was found is durable as batches with their composition before anything is loaded; a batch is
loaded by a token that stands in the table's own commit, so the engine knows whether it is in; and marking its files
happens once, in one commit with the counts. A daemon or a child that dies anywhere leaves nothing to guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import structlog

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.engine.job import ENDED
from labd.engine.registry import JobContext
from labd.errors import NotFound, QualityRefused, Refused, TaskTimeout, UnknownJob
from labd.ingest import access, batching
from labd.ingest.book import IngestBook
from labd.ingest.discovery import Discovery
from labd.ingest.engine_child import LISTENER
from labd.ingest.engines import MemoryClass
from labd.ingest.ledger import FileLedger
from labd.ingest.port import Batch, BatchReport, FileFault, Page, TableEngine, TableName
from labd.ingest.record import (
    BatchRecord,
    FileMark,
    Record,
    Run,
    RunError,
    RunState,
    Trigger,
    outcome,
)
from labd.ingest.runs import RunBook
from labd.ingest.settings import IngestSettings
from labd.ingest.takeover import Takeover

PAGE = 5000
WORK = ("discover", "load")  # of a run's seconds; engines tell what went into the second
LINES = 20  # of bad files in a job's log, for each batch
log = structlog.get_logger("ingest")


class Engines(Protocol):
    """Where engines come from; `EnginePool` is one."""

    def engine(self, name: str, memory: MemoryClass = "default", urgent: bool = False) -> TableEngine:
        """An engine by name."""
        ...

    async def close(self) -> None:
        """End all children."""
        ...


class Pipeline:
    """What the tasks of a run do.

    Args:
        state_dir: Gets the folder `ingest/reports`.
    """

    def __init__(
        self, engine: Engine, book: IngestBook, runs: RunBook, ledger: FileLedger, engines: Engines,
        settings: IngestSettings, state_dir: Path, clock: Clock,
    ) -> None:  # fmt: skip
        self.settings = settings
        self._engine = engine
        self._book = book
        self._runs = runs
        self._ledger = ledger
        self._engines = engines
        self._state_dir = state_dir
        self._clock = clock
        self.takeover = Takeover(engine, book, ledger, self.engine_for, self.table_of)
        self._discovery = Discovery(book, runs, ledger, clock, self.pages, self.takeover)

    async def create_run(
        self, record: Record, trigger: Trigger, job_id: int, by: str, full: bool, only: list[str] | None
    ) -> dict[str, Any]:
        """A run, and the batches that earlier ones have left; the same job has the same run."""
        for stale in self._runs.going(record):
            if stale.job_id != job_id and await self.is_over(stale):
                self._end(stale, RunState.CANCELLED, RunError("job_cancelled", f"job {stale.job_id} is over"))
        run = self._runs.new_run(
            record, trigger, job_id, by=by, full=full, only=only, simulated=self.settings.simulated
        )
        record.facts.last_run = run.id
        self._book.put_facts(record)
        left = await self._ledger.open_batches(record, but=run.id)
        await self._book.commit()
        self._tell("ingestion.run_started", record, run, job_id)
        return {"run": run.id, "left": [[batch.run, batch.number] for batch in left]}

    async def is_over(self, run: Run) -> bool:
        """Whether the job of a going run has ended, or is not known any more."""
        if run.job_id is None:
            return True
        try:
            return (await self._engine.job(run.job_id)).state in ENDED
        except UnknownJob:
            return True

    async def discover(self, ctx: JobContext, record: Record, run_id: int) -> dict[str, Any]:
        """List, compare, and take what is new into batches; what an earlier try has taken stays taken."""
        run = await self.going(record, run_id)
        async with self._timed(run, "discover"):
            await self._discovery.discover(ctx, record, run)
        numbers = [batch.number for batch in await self._ledger.batches(run.id) if batch.is_open]
        counts = run.counts
        ctx.log(f"{counts.listed} files listed, {counts.found} to load in {len(numbers)} batches")
        return {
            "batches": numbers, "listed": counts.listed, "unsettled": counts.unsettled, "found": counts.found,
            "ignored": counts.ignored, "held": counts.held, "denied": len(run.body.denied),
        }  # fmt: skip

    async def pages(self, record: Record, after: str | None) -> AsyncIterator[Page]:
        """The listing of a source, page by page; `after` only where its names ascend."""
        source = access.source_access(record.definition.source, self.settings, self._state_dir)
        engine, cursor = self.lister(record), None
        while True:
            page = await engine.list_files(source, cursor, after, PAGE)
            yield page
            cursor = page.cursor
            if cursor is None:
                return

    async def load(
        self, ctx: JobContext, record: Record, run: int, number: int, by: int, approved: list[str]
    ) -> dict[str, Any]:
        """Load a batch and mark its files."""
        now = await self.going(record, by)
        try:
            batch = self._ledger.batch_record(run, number)
        except NotFound:
            return await self._settled(run, number)
        if approved:
            self._ledger.approve(run, number, approved)
            await self._book.commit()
        async with self._timed(now, "load"):
            LISTENER.set(ctx)
            if run != by and await self.takeover.take_over(record, now) is not None:
                try:
                    batch = self._ledger.batch_record(run, number)
                except NotFound:  # its files came in by a batch that the ledger had forgotten
                    return await self._settled(run, number)
            asked = await self._batch(record, batch)
            engine = self.engine_for(record, batch.size_bytes)
            try:
                report = await engine.load(asked)
            except QualityRefused as refused:
                return await self._give_up(engine, asked.table, batch, now, FileFault("quality", refused.message))
            self._ledger.settle(run, number, report, now)
            await self._book.commit()
        if report.state == "approval":
            return self._approval(record, report)
        await asyncio.to_thread(Path(asked.report).unlink, missing_ok=True)
        self._tell_batch(ctx, record, now, report)
        return _summary(report)

    async def _batch(self, record: Record, batch: BatchRecord) -> Batch:
        """What an engine is told of a batch."""
        definition = record.definition
        folder = access.catalog_folder(self._state_dir) / "reports"
        await asyncio.to_thread(folder.mkdir, mode=0o750, parents=True, exist_ok=True)
        return Batch(
            ingestion=record.id, token=batch.token, number=batch.mark,
            source=access.source_access(definition.source, self.settings, self._state_dir), format=definition.format,
            schema=definition.schema, quality=definition.quality, table=self.table_of(record),
            files=tuple(await self._ledger.batch(batch.run, batch.number)),
            report=str(folder / f"{batch.run}-{batch.number}-{batch.mark}.json"), provenance=definition.provenance,
            approved=tuple(batch.approved), memory_mib=self._memory_mib(record),
            expected_uuid=record.facts.table_uuid,
        )  # fmt: skip

    async def _settled(self, run: int, number: int) -> dict[str, Any]:
        """A batch whose step was cut off after it was settled."""
        for batch in await self._ledger.batches(run):
            if batch.number == number:
                if batch.report is not None:
                    return _summary(batch.report)
                return {"state": "void", "rows": 0}
        raise NotFound(f"run {run} of an ingestion has no batch {number}", run=run, batch=number)

    def _approval(self, record: Record, report: BatchReport) -> dict[str, Any]:
        keys = [change.key for change in report.changes]
        return {"state": "approval", "keys": keys, "question": batching.question(record.name, report.changes)}

    async def hold(self, record: Record, run: int, number: int, by: int, reason: str) -> dict[str, Any]:
        """Give a batch up that a person does not want; its files are held."""
        now = await self.going(record, by)
        try:
            batch = self._ledger.batch_record(run, number)
        except NotFound:
            return {"state": "void", "rows": 0}
        engine = self.engine_for(record, batch.size_bytes)
        return await self._give_up(engine, self.table_of(record), batch, now, FileFault("rejected", reason))

    async def _give_up(
        self, engine: TableEngine, table: TableName, batch: BatchRecord, by: Run, fault: FileFault
    ) -> dict[str, Any]:
        if await engine.find_tokens(table, [batch.token]):
            raise Refused(f"run {batch.run}, batch {batch.number} is in the table already; it cannot be given up")
        count = self._ledger.put_back(batch.run, batch.number, FileMark.HELD, by, fault)
        await self._book.commit()
        return {"state": "held", "files": count, "rows": 0, "code": fault.code, "message": fault.message}

    async def complete(self, ctx: JobContext, record: Record, run_id: int) -> dict[str, Any]:
        """End a run whose batches are done, and say how it went."""
        run = await self._runs.find(run_id)
        if run.state is RunState.RUNNING:
            fault = self._quality(record, run)
            if fault is not None:
                run.add_error(fault)
            state = outcome(run.counts, broke_off=fault is not None, denied=len(run.body.denied))
            self._end(run, state)
            await self._book.commit()
            self._tell("ingestion.run_ended", record, run, run.job_id)
        return await self.told(record, run)

    def _quality(self, record: Record, run: Run) -> RunError | None:
        rules, rows = record.definition.quality, run.counts.rows
        next_step = f"they are in; look at the source, or `labctl ingest edit {record.name}` changes the rule"
        if rules.min_rows is not None and rows < rules.min_rows:
            return RunError(
                "quality_refused", f"{rows} rows came in, quality.min_rows is {rules.min_rows}; {next_step}"
            )
        if rules.max_rows is not None and rows > rules.max_rows:
            return RunError(
                "quality_refused", f"{rows} rows came in, quality.max_rows is {rules.max_rows}; {next_step}"
            )
        return None

    async def told(self, record: Record, run: Run) -> dict[str, Any]:
        """A run as the result of its job: state, figures, the first bad files."""
        counts = run.counts
        bad = [error.path for error in run.body.errors if error.path][:LINES]
        return {
            "run": run.id, "ingestion": record.name, "state": run.state.value, "trigger": run.trigger,
            "files_discovered": counts.found, "files_processed": counts.good, "files_failed": counts.bad,
            "records": counts.rows, "rescued": counts.rescued, "bytes_read": counts.bytes_in,
            "bytes_written": counts.bytes_out, "batches": counts.settled, "unsettled": counts.unsettled,
            "moved": counts.moved, "vanished": counts.vanished, "bad": bad,
            "errors": [problem(error) for error in run.body.errors[:LINES]], "seconds": run.body.seconds,
        }  # fmt: skip

    async def break_off(self, record: Record, run_id: int, code: str, message: str, state: RunState | None) -> None:
        """End a run that cannot go on; what it has left open the next one takes up. A second call does nothing.

        Args:
            state: None: by what it has done until then.
        """
        run = await self._runs.find(run_id)
        if run.state is not RunState.RUNNING:
            return
        ended = state or outcome(run.counts, broke_off=True, denied=len(run.body.denied))
        self._end(run, ended, RunError(code, message))
        await self._book.commit()
        self._tell("ingestion.run_ended", record, run, run.job_id)

    def _end(self, run: Run, state: RunState, error: RunError | None = None) -> None:
        if error is not None:
            run.add_error(error)
        if self._runs.end(run, state):
            record = self._book.of_number(run.ingestion)
            record.facts.totals.add(run)
            self._book.put_facts(record)

    async def going(self, record: Record, run_id: int) -> Run:
        """A run that has not ended.

        Raises:
            Refused: It has.
        """
        run = await self._runs.find(run_id)
        if run.state is not RunState.RUNNING:
            last = f": {run.body.errors[-1].message}" if run.body.errors else ""
            text = f"ingestion {record.name}: run {run_id} has ended as {run.state}{last}"
            raise Refused(f"{text}; `labctl ingest run {record.name}` begins another", run=run_id)
        return run

    @asynccontextmanager
    async def _timed(self, run: Run, what: str) -> AsyncIterator[None]:
        """Count the time that a run works, and end it where that is over; a wait for a person does not count."""
        limit_s = self.settings.flow_run_timeout_seconds
        left_s = limit_s - sum(run.body.seconds.get(step, 0.0) for step in WORK)
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left_s)) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            text = f"run {run.id} has worked for {limit_s:g} s, flow_run_timeout_seconds; the next run goes on"
            raise TaskTimeout(text, run=run.id) from None
        finally:
            spent_s = self._clock.monotonic() - started
            run.body.seconds[what] = round(run.body.seconds.get(what, 0.0) + spent_s, 6)

    # what engines are told

    def table_of(self, record: Record) -> TableName:
        """The table of an ingestion, with its catalogue."""
        return access.table_name(record.definition.destination, self.settings, self._state_dir)

    def lister(self, record: Record, urgent: bool = False) -> TableEngine:
        """The engine that lists: always the one in a child of labd's own."""
        return self._engines.engine("arrow", "default", urgent)

    def engine_for(self, record: Record, size_bytes: int = 0, urgent: bool = False) -> TableEngine:
        """The engine of an ingestion; `auto` takes Spark for what is large, where there is one."""
        name = record.definition.engine
        if name == "auto":
            spark = self.settings.spark
            name = "spark" if spark.url and size_bytes > spark.small_bytes else "arrow"
        return self._engines.engine(name, self.memory_of(record), urgent)

    def memory_of(self, record: Record) -> MemoryClass:
        """Which children load for it, by its queue."""
        return "high" if record.definition.queue == self.settings.high_memory_work_queue else "default"

    def _memory_mib(self, record: Record) -> int:
        high = self.memory_of(record) == "high"
        return self.settings.high_memory_mib if high else self.settings.memory_mib

    # what people are told

    def _tell(self, kind: str, record: Record, run: Run, job_id: int | None) -> None:
        counts = run.counts
        facts = {
            "ingestion": record.name, "run": run.id, "state": run.state.value, "trigger": run.trigger,
            "files": counts.good, "bad": counts.bad, "rows": counts.rows,
        }  # fmt: skip
        log.info(kind, **facts)
        self._engine.publish(kind, facts, job_id)

    def _tell_batch(self, ctx: JobContext, record: Record, run: Run, report: BatchReport) -> None:
        bad = [file for file in report.files if file.state == "quarantined"]
        for file in bad[:LINES]:
            fault = file.fault
            what = "cannot be read" if fault is None else f"{fault.message}{f', {fault.place}' if fault.place else ''}"
            ctx.log(f"{file.path} is quarantined: {what}", "warning")
        if len(bad) > LINES:
            ctx.log(f"{len(bad) - LINES} more files are quarantined; `labctl ingest files {record.name}`", "warning")
        states = [file.state for file in report.files]
        ctx.log(
            f"batch {report.token}: {report.state}, {report.rows} rows of {states.count('loaded')} files"
            f", {len(bad)} quarantined, in {sum(report.seconds.values()):.3f} s"
        )
        if report.changes:
            told = {"ingestion": record.name, "run": run.id, "changes": [change.key for change in report.changes]}
            log.info("ingestion.schema_changed", **told)
            self._engine.publish("ingestion.schema_changed", told, run.job_id)


def problem(error: RunError) -> str:
    """An error of a run with its file and place."""
    subject, place = f"{error.path}: " if error.path else "", f", {error.place}" if error.place else ""
    return f"{subject}{error.message}{place}"


def _summary(report: BatchReport) -> dict[str, Any]:
    return {"state": report.state, "rows": report.rows, "bytes_in": report.bytes_in, "bytes_out": report.bytes_out,
            "snapshot_id": report.snapshot_id, "exactly_once": report.exactly_once}  # fmt: skip

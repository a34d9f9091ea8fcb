"""Files that another loader has put into the table already: noted as loaded, and not read.

Why taking and settling stand in one commit: a batch that is only taken would be loaded by the next run.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from labd.engine.job import Caller, Submission, view
from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.ingest.looks import Looks, Window
from labd.ingest.operations import SHOWN_FILES, Which
from labd.ingest.port import BatchReport, FileRef, FileReport
from labd.ingest.record import Record, Run, RunState
from labd.ingest.views import Backfill

if TYPE_CHECKING:
    from labd.ingest.service import IngestService

ADOPT = "ingest.adopt_files"
BATCH_FILES = 1000
TIMEOUT_S = 3600.0
Text = Annotated[str, Meta(max_length=500)]


class Adoption:
    """The verb of the desk, and its task."""

    def __init__(self, service: IngestService, looks: Looks) -> None:
        self._service = service
        self._looks = looks

    async def adopt(
        self, caller: Caller, record: Record, until: str | None, match: str | None, *, dry_run: bool
    ) -> Backfill:
        """Note new files as loaded, as a job; those changed before `until` whose path fits `match`.

        Raises:
            BadRequest: An instant that is none.
        """
        window = Window.of(None, until, match)
        found = await self._looks.files(record, window, lambda state: state == "new", SHOWN_FILES)
        told = Backfill(
            record.name, dry_run, found.listed, found.matching, found.matching - found.count, found.count,
            found.size_bytes, found.files,
        )  # fmt: skip
        if not dry_run and found.count:
            args = {"ingestion": record.id, "until": until, "match": match}
            submission = Submission(ADOPT, args, queue=self._service.queue_of(record), tags=["ingest"])
            job, _ = await self._service.engine.submit_one(submission, caller)
            told.job = view(job)
        return told

    async def adopt_files(
        self, ctx: JobContext, ingestion: Which, until: Text | None = None, match: Text | None = None
    ) -> dict[str, Any]:
        """Page by page; what an earlier try has noted stays noted."""
        service, window = self._service, Window.of(None, until, match)
        record = service.book.live(ingestion)
        run = service.runs.new_run(record, "manual", ctx.job.id, by=ctx.caller.name)
        service.follow(run.id, ctx.job.id)  # it ends with its job, also when that is cancelled
        async for page in self._looks.pages(record):
            run.counts.listed += page.count
            fresh = await service.ledger.compare(record, page.entries)
            refs = iter([seen.to_ref() for seen in fresh if seen.old is None and window.has(seen)])
            while files := list(islice(refs, BATCH_FILES)):
                self._note(run, files)
            await service.book.commit()
            ctx.progress(run.counts.same, None, f"{run.counts.same} of {run.counts.listed} files noted")
        await service.pipeline.takeover.account(record)
        service.runs.end(run, RunState.SUCCEEDED)
        record.facts.totals.add(run)
        record.facts.last_run = run.id
        service.book.put_facts(record)
        await service.book.commit()
        await service.look_at(record)
        ctx.log(f"{record.name}: {run.counts.same} files noted as loaded, none read")
        return {"ingestion": record.name, "run": run.id, "noted": run.counts.same, "listed": run.counts.listed}

    def _note(self, run: Run, files: list[FileRef]) -> None:
        ledger = self._service.ledger
        batch = ledger.take(run, files)
        reports = [FileReport(file.path, file.version, "same", size_bytes=file.size_bytes) for file in files]
        facts = self._service.book.of_number(run.ingestion).facts
        report = BatchReport("nothing", batch.token, reports, exactly_once=facts.exactly_once)
        ledger.settle(run.id, batch.number, report, run)


def adoption_tasks(service: IngestService, adoption: Adoption) -> list[TaskSpec | StopSpec]:
    """One run of it at a time, as of the ingestion."""

    def resource_of(args: dict[str, Any]) -> tuple[str, ...]:
        return (service.book.find(str(args["ingestion"])).resource,)

    return [
        TaskSpec(
            ADOPT, adoption.adopt_files, "Note files as loaded that another loader has put into the table.",
            wing="ingest", origin="ingest", queue=service.settings.default_work_queue, resources=resource_of,
            max_attempts=service.settings.max_attempts, retry_delay_s=service.settings.task_retry_delay_seconds,
            backoff="fixed", timeout_s=TIMEOUT_S, simulated=lambda args: service.settings.simulated,
        )
    ]  # fmt: skip

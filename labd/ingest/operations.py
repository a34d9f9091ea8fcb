"""What changes more than a run does: refresh, backfill, retry, and dropping the table of a deleted ingestion.

Why refresh and drop are jobs that hold the ingestion's turn: no run may load into a table that is being dropped, and a
daemon that dies in between does the rest when it is back. Each step may be done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from msgspec import Meta

from labd.engine.job import Caller, Submission, view
from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.errors import BadRequest, Refused
from labd.ingest.looks import Looks, Window
from labd.ingest.record import FileMark, Record, State
from labd.ingest.views import Backfill, Deleted, Operation, Refresh, Retried

if TYPE_CHECKING:
    from labd.ingest.service import IngestService

REFRESH, DROP = "ingest.refresh_table", "ingest.drop_table"
Mode = Literal["full", "new_only"]
Which = Annotated[str, Meta(max_length=63, description="name or id of the ingestion")]
MOST_FILES = 10_000
SHOWN_FILES = 1000
STEP_TIMEOUT_S = 600.0
log = structlog.get_logger("ingest")


class Operations:
    """Verbs of the desk."""

    def __init__(self, service: IngestService, looks: Looks) -> None:
        self._service = service
        self._looks = looks

    async def refresh(
        self, caller: Caller, record: Record, mode: Mode, *, dry_run: bool, confirm: bool, run: bool
    ) -> Refresh:
        """Drop the table and load again: all files (`full`), or only those that no run has taken yet (`new_only`).

        Raises:
            Refused: Neither a dry run nor confirmed; or a run is going on.
        """
        found = await self._looks.estimate(record, full=mode == "full")
        counts = await self._service.ledger.counts(record)
        known = sum(one.files for one in counts.values())
        plan = Refresh(
            record.name, mode, dry_run, [Operation("drop_table", record.destination)], found.files, found.size_bytes,
            found.seconds, found.basis, [],
        )  # fmt: skip
        if mode == "full":
            plan.operations.append(Operation("forget_files", f"{known} files of the ledger"))
            plan.warnings.append(f"all {found.files} files of the source are loaded again")
        else:
            plan.warnings.append(f"the rows of {counts_of(counts, FileMark.LOADED)} loaded files do not come back")
        plan.warnings += [f"{prefix} cannot be listed: {reason}" for prefix, reason in found.denied]
        if run:
            plan.operations.append(Operation("run", f"{found.files} files, {found.size_bytes} bytes"))
        if dry_run:
            return plan
        if not confirm:
            word = "full" if mode == "full" else "new-only"
            raise Refused(
                f"ingestion {record.name}: a refresh drops {record.destination} with all its rows; look with "
                f"`labctl ingest refresh {record.name} --{word} --dry-run`, then say --confirm",
                ingestion=record.name, operations=[one.operation for one in plan.operations],
            )  # fmt: skip
        self._refuse_going(record, "refresh")
        plan.job = view(await self._submit(REFRESH, {"ingestion": record.id, "mode": mode, "run": run}, record, caller))
        return plan

    async def backfill(
        self, caller: Caller, record: Record, since: str | None, until: str | None, match: str | None, *, dry_run: bool
    ) -> Backfill:
        """Load the files of a span of time that are not in the table yet; `until` itself is left out.

        Raises:
            BadRequest: An instant that is none, or neither span nor match.
            Refused: Too many files for one run.
        """
        if since is None and until is None and match is None:
            raise BadRequest("backfill: say since, until or match; `labctl ingest run` loads all that is new")
        window = Window.of(since, until, match)
        found = await self._looks.files(record, window, lambda state: state != "loaded", MOST_FILES)
        wanted = sorted(found.files, key=lambda file: file.path)
        told = Backfill(
            record.name, dry_run, found.listed, found.matching, found.matching - found.count, found.count,
            found.size_bytes, wanted[:SHOWN_FILES],
        )  # fmt: skip
        if dry_run or not wanted:
            return told
        if found.count > MOST_FILES:
            raise Refused(
                f"ingestion {record.name}: {found.count} files match, one backfill takes {MOST_FILES}; narrow it by "
                "--since, --until or --match", files=found.count, limit=MOST_FILES,
            )  # fmt: skip
        paths = [file.path for file in wanted]
        bad = [file.path for file in wanted if file.state not in ("new", "changed")]
        if bad:
            await self._ask_again(record, bad, tuple(FileMark))
        told.job = view(await self._service.submit_run(record, caller, "manual", files=paths))
        return told

    async def retry(
        self, caller: Caller, record: Record, paths: Sequence[str] | None, states: Sequence[FileMark], *, run: bool
    ) -> Retried:
        """Ask for bad files again: those of some states, or the named ones.

        Raises:
            Refused: There are none.
        """
        count = await self._ask_again(record, paths, tuple(FileMark) if paths else states)
        if not count:
            told = "of these names" if paths else f"that is {' or '.join(states)}"
            raise Refused(f"ingestion {record.name}: no file {told}; `labctl ingest files {record.name}` shows all")
        if not run:
            return Retried(record.name, count)
        return Retried(record.name, count, view(await self._service.submit_run(record, caller, "retry")))

    async def _ask_again(self, record: Record, paths: Sequence[str] | None, states: Sequence[FileMark]) -> int:
        askable = [one for one in states if one not in (FileMark.LOADED, FileMark.PENDING)]
        count = await self._service.ledger.requeue(record, paths, askable)
        await self._service.book.commit()
        await self._service.look_at(record)
        return count

    async def delete(self, caller: Caller, record: Record, *, drop_table: bool, confirm: str | None) -> Deleted:
        """Take an ingestion out of service; its table goes only where that is asked for twice.

        Raises:
            Refused: The table is to go, and `confirm` is not the ingestion's name.
            Conflict: It stands in the settings.
        """
        if drop_table and confirm != record.name:
            raise Refused(
                f"ingestion {record.name}: --drop-table drops {record.destination} with all its rows; "
                f"say `--confirm {record.name}` as well",
                ingestion=record.name, destination=record.destination,
            )  # fmt: skip
        if drop_table:
            self._refuse_going(record, "delete with its table")
        self._service.book.delete(record, caller)
        await self._service.book.commit()
        await self._service.put_schedules()
        told = Deleted(record.name, record.id, record.destination, not drop_table)
        if drop_table:
            told.job = view(await self._submit(DROP, {"ingestion": record.id}, record, caller))
        return told

    def _refuse_going(self, record: Record, verb: str) -> None:
        for run in self._service.runs.going(record):
            raise Refused(
                f"ingestion {record.name}: run {run.id} is going on; {verb} when it has ended, or "
                f"`labctl job cancel {run.job_id}`",
                ingestion=record.name, run=run.id, job=run.job_id,
            )  # fmt: skip

    async def _submit(self, task: str, args: dict[str, Any], record: Record, caller: Caller) -> Any:
        queue = self._service.queue_of(record)
        job, _ = await self._service.engine.submit_one(Submission(task, args, queue=queue, tags=["ingest"]), caller)
        return job

    # tasks

    async def refresh_table(self, ctx: JobContext, ingestion: Which, mode: Mode, run: bool = True) -> dict[str, Any]:
        """Drop the table, forget what was in it, and submit the run that loads it again."""
        service, record = self._service, self._service.book.live(ingestion)
        dropped = await service.engine_of(record, urgent=False).drop(service.pipeline.table_of(record))
        ctx.log(f"{record.destination}: {'dropped' if dropped else 'there was no such table'}")
        forgotten = await self._forget(record, everything=mode == "full")
        ctx.log(f"{record.name}: {forgotten} files forgotten")
        told: dict[str, Any] = {"ingestion": record.name, "mode": mode, "dropped": dropped, "forgotten": forgotten}
        if run:
            key = f"refresh-{ctx.job.id}"
            job = await service.submit_run(record, ctx.caller, full=mode == "full", idempotency_key=key)
            told["job"] = job.id
        log.info("ingestion.refreshed", ingestion=record.name, mode=mode, job_id=ctx.job.id)
        return told

    async def _forget(self, record: Record, *, everything: bool) -> int:
        """Batches that earlier runs left open went with the table: their files are free again."""
        service = self._service
        for batch in await service.ledger.open_batches(record):
            run = await service.runs.find(batch.run)
            service.ledger.put_back(batch.run, batch.number, FileMark.PENDING, run)
        await service.book.commit()
        count = await service.ledger.forget(record) if everything else 0
        facts = record.facts
        facts.table_uuid, facts.columns = None, []
        if everything:
            facts.after = facts.last_full_list_at = None
        service.book.put_facts(record)
        await service.book.commit()
        await service.look_at(record)
        return count

    async def drop_table(self, ctx: JobContext, ingestion: Which) -> dict[str, Any]:
        """The table of an ingestion that was deleted, unless another one writes it by now."""
        service, record = self._service, self._service.book.find(ingestion)
        heir = next((one for one in service.book.definitions() if one.destination == record.destination), None)
        if record.state is not State.DELETED or heir is not None:
            by = (heir or record).name
            raise Refused(f"{record.destination} is not dropped: ingestion {by} writes it", ingestion=by)
        dropped = await service.engine_of(record, urgent=False).drop(service.pipeline.table_of(record))
        ctx.log(f"{record.destination}: {'dropped' if dropped else 'there was no such table'}")
        log.info("ingestion.table_dropped", ingestion=record.name, table=record.destination, job_id=ctx.job.id)
        return {"ingestion": record.name, "table": record.destination, "dropped": dropped}


def operation_tasks(service: IngestService, operations: Operations) -> list[TaskSpec | StopSpec]:
    """What is done as a job because it must not meet a run."""

    def resource_of(args: dict[str, Any]) -> tuple[str, ...]:
        return (service.book.find(str(args["ingestion"])).resource,)

    kept: dict[str, Any] = {
        "wing": "ingest", "origin": "ingest", "queue": service.settings.default_work_queue, "resources": resource_of,
        "max_attempts": service.settings.max_attempts, "retry_delay_s": service.settings.task_retry_delay_seconds,
        "backoff": "fixed", "timeout_s": STEP_TIMEOUT_S, "simulated": lambda args: service.settings.simulated,
    }  # fmt: skip
    return [
        TaskSpec(REFRESH, operations.refresh_table, "Drop a table, and load it again.", **kept),
        TaskSpec(DROP, operations.drop_table, "Drop the table of a deleted ingestion.", **kept),
    ]


def counts_of(counts: Any, *states: FileMark) -> int:
    """Files of some states."""
    return sum(counts[state].files for state in states if state in counts)

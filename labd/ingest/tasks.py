"""The steps of a run as tasks, with the names of the older flow as aliases.

Why the tries belong to the steps: a step that fails for good is recorded, and a run that is tried again as a whole
would meet the same record. The next run takes up what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from labd.engine.inline_steps import InlineSteps, StepFailed, failure_code
from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.errors import InvalidArguments, LabdError, TaskFailed
from labd.ingest.record import Record, RunState, State, Trigger
from labd.ingest.schedules import RUN

if TYPE_CHECKING:
    from labd.ingest.service import IngestService

Which = Annotated[str, Meta(max_length=63, description="name or id of the ingestion")]
RunId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="a run, as `labctl ingest runs` shows it")]
BatchNumber = Annotated[int, Meta(ge=1, le=2**63 - 1, description="batch of the run")]
Paths = Annotated[list[str], Meta(max_length=1_000_000)]
ORIGIN = "ingest"
SPARE_S = 60.0  # the run's own limit comes first, and says what is left to the next run
CREATE, DISCOVER, LOAD, HOLD, COMPLETE = (
    "ingest.create_run", "ingest.discover_files", "ingest.load_batch", "ingest.hold_batch", "ingest.complete_run"
)  # fmt: skip


class IngestFailed(TaskFailed):
    """A run broke off, or had nothing but failures; its steps have had their tries."""

    code = "ingest_failed"
    retryable = False


def ingest_tasks(service: IngestService) -> list[TaskSpec | StopSpec]:
    """The tasks of the wing."""
    jobs, rules = IngestJobs(service), service.settings
    kept: dict[str, Any] = {
        "wing": "ingest", "queue": rules.default_work_queue, "resources": jobs.resource_of,
        "simulated": lambda args: service.settings.simulated,
    }  # fmt: skip
    tried = {
        **kept, "max_attempts": rules.max_attempts, "retry_delay_s": rules.task_retry_delay_seconds, "backoff": "fixed",
        "timeout_s": rules.flow_run_timeout_seconds + SPARE_S,
    }  # fmt: skip
    return [
        TaskSpec(RUN, jobs.run, "Load every new file of an ingestion once; each step is durable.", origin=ORIGIN,
                 precheck=jobs.check, aliases=("run_ingestion_flow", "run-ingestion", "run-ingestion/run-ingestion",
                                               "run_ingestion"), **kept),
        TaskSpec(CREATE, jobs.create_run, "Begin a run.", aliases=("create_run_record_task",), **tried),
        TaskSpec(DISCOVER, jobs.discover_files, "List the source, compare with the ledger, make batches.",
                 aliases=("discover_files_task",), **tried),
        TaskSpec("ingest.check_files", jobs.check_files, "Files of the ledger by state.",
                 aliases=("check_file_state_task",), **{**tried, "resources": ()}),
        TaskSpec(LOAD, jobs.load_batch, "Load a batch in one commit and mark its files.",
                 aliases=("process_files_task",), **tried),
        TaskSpec(HOLD, jobs.hold_batch, "Give up a batch that a person does not want; its files are held.", **tried),
        TaskSpec(COMPLETE, jobs.complete_run, "End a run and say how it went.",
                 aliases=("complete_run_record_task",), **tried),
    ]  # fmt: skip


class IngestJobs:
    """What the tasks do; arguments are checked by their annotations."""

    def __init__(self, service: IngestService) -> None:
        self._service = service
        self._pipeline = service.pipeline

    def _record(self, ingestion: str) -> Record:
        return self._service.book.find(ingestion)

    def resource_of(self, args: dict[str, Any]) -> tuple[str, ...]:
        """One run of an ingestion at a time; its steps have its turn."""
        which = str(args.get("ingestion") or args.get("ingestion_id") or "")
        try:
            return (self._record(which).resource,)
        except LabdError:
            return (f"ingest/{which}",)  # refused by `check`

    def check(self, args: dict[str, Any]) -> None:
        """A run needs an ingestion that is there.

        Raises:
            InvalidArguments, UnknownIngestion
        """
        which = [str(args[key]) for key in ("ingestion", "ingestion_id") if args.get(key)]
        if len(which) != 1:
            text = f"{RUN}: give either ingestion or ingestion_id, a name or an id; `labctl ingest list` shows all"
            raise InvalidArguments(text, task=RUN)
        self._service.book.live(which[0])

    async def run(
        self, ctx: JobContext, ingestion: Which = "", trigger: Trigger = "manual", full: bool = False,
        files: Paths | None = None, ingestion_id: Which = "",
    ) -> dict[str, Any]:  # fmt: skip
        """All steps of a run; each is a job of its own, done once."""
        record = self._record(ingestion or ingestion_id)
        if record.state is State.DELETED:
            raise IngestFailed(f"ingestion {record.name} was deleted")
        steps, queue = InlineSteps(ctx), record.definition.queue or self._service.settings.default_work_queue
        which = {"ingestion": record.id}
        made: dict[str, Any] = {
            **which, "job": ctx.job.id, "trigger": "schedule" if ctx.job.schedule is not None else trigger,
            "by": ctx.caller.name, "full": full, "files": files,
        }  # fmt: skip
        begun = steps.call(CREATE, made, queue)
        run_id = int(begun["run"])
        try:
            for run, number in begun["left"]:  # before anything new: what they hold is compared as it will be
                self._load(steps, {**which, "run": run, "number": number, "by": run_id}, queue)
            found = steps.call(DISCOVER, {**which, "run": run_id}, queue)
            for number in found["batches"]:
                self._load(steps, {**which, "run": run_id, "number": number, "by": run_id}, queue)
            ended: dict[str, Any] = steps.call(COMPLETE, {**which, "run": run_id}, queue)
        except StepFailed as fault:
            await self._pipeline.break_off(record, run_id, failure_code(fault), fault.message, None)
            await self._service.look_at(record)
            text = f"ingestion {record.name}: run {run_id} broke off: {fault.message}"
            raise IngestFailed(text, run=run_id, code=failure_code(fault)) from fault
        if ended["state"] == RunState.FAILED:
            told = "; ".join(ended["errors"][:3]) or f"{ended['files_failed']} files are bad"
            more = f" and {len(ended['errors']) - 3} more" if len(ended["errors"]) > 3 else ""
            look = f"; `labctl ingest files {record.name} --bad` shows all" if ended["files_failed"] else ""
            raise IngestFailed(f"ingestion {record.name}: run {run_id} failed: {told}{more}{look}", **ended)
        return ended

    def _load(self, steps: InlineSteps, args: dict[str, Any], queue: str) -> None:
        """One batch; where it brings changes that need a word, a person is asked, and it is loaded or held."""
        told = steps.call(LOAD, args, queue)
        allowed: list[str] = []
        while told["state"] == "approval":
            if steps.ask(told["question"], ("approve", "reject")) == "reject":
                steps.call(HOLD, {**args, "reason": f"rejected: {told['question']}"}, queue)
                return
            allowed = sorted({*allowed, *told["keys"]})
            told = steps.call(LOAD, {**args, "approved": allowed}, queue)

    async def create_run(
        self, ctx: JobContext, ingestion: Which, job: int | None = None, trigger: Trigger = "manual", by: str = "",
        full: bool = False, files: Paths | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The run and what earlier ones have left."""
        job_id = job if job is not None else ctx.job.id
        begun = await self._pipeline.create_run(
            self._record(ingestion), trigger, job_id, by or ctx.caller.name, full, files
        )
        self._service.follow(begun["run"], job_id)
        return begun

    async def discover_files(self, ctx: JobContext, ingestion: Which, run: RunId) -> dict[str, Any]:
        """New and changed files as batches."""
        return await self._pipeline.discover(ctx, self._record(ingestion), run)

    async def check_files(self, ctx: JobContext, ingestion: Which) -> dict[str, Any]:
        """What the ledger knows."""
        counts = await self._service.ledger.counts(self._record(ingestion))
        return {state.value: found.files for state, found in counts.items()}

    async def load_batch(
        self, ctx: JobContext, ingestion: Which, run: RunId, number: BatchNumber, by: RunId | None = None,
        approved: list[str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """A batch in one commit."""
        record = self._record(ingestion)
        told = await self._pipeline.load(ctx, record, run, number, by or run, approved or [])
        await self._service.look_at(record)
        return told

    async def hold_batch(
        self, ctx: JobContext, ingestion: Which, run: RunId, number: BatchNumber, by: RunId | None = None,
        reason: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """A batch that is not wanted."""
        return await self._pipeline.hold(self._record(ingestion), run, number, by or run, reason)

    async def complete_run(self, ctx: JobContext, ingestion: Which, run: RunId) -> dict[str, Any]:
        """The end of a run."""
        record = self._record(ingestion)
        told = await self._pipeline.complete(ctx, record, run)
        await self._service.look_at(record)
        return told

"""The steps of a snapshot as tasks, with the names of the older flows as aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.engine.inline_steps import InlineSteps, StepFailed, failure_code
from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.errors import DatasetChanged, GraphUnreachable, LabdError, StoreFull
from labd.snapshots.precedence import LOADING, load_of
from labd.snapshots.record import State
from labd.snapshots.scan import SnapshotKey

if TYPE_CHECKING:
    from labd.snapshots.service import SnapshotService

Customer = Annotated[str, Meta(min_length=1, max_length=128, description="folder of the customer")]
Timestamp = Annotated[str, Meta(min_length=1, max_length=19, description="folder of the version")]
ORIGIN = "snapshots"
STEP_TIMEOUT_S = 3600.0
STORE = "snapshots/store"
TRANSIENT = frozenset({GraphUnreachable.code, DatasetChanged.code, StoreFull.code})


def aliases_of(flow: str) -> tuple[str, ...]:
    """As a flow, as `flow/flow`, and as the function."""
    return (flow, f"{flow}/{flow}", flow.replace("-", "_"))


def snapshot_tasks(service: SnapshotService) -> list[TaskSpec | StopSpec]:
    """The tasks of the wing."""
    jobs = SnapshotJobs(service)
    rules = service.settings.orchestrator
    kept: dict[str, Any] = {
        "wing": "snapshots", "queue": service.settings.queue, "timeout_s": STEP_TIMEOUT_S,
        "simulated": lambda args: service.store.simulated,
    }  # fmt: skip
    return [
        TaskSpec("snapshots.process_snapshot", jobs.process_snapshot,
                 "Load, verify, switch and clean up, each as a durable step.", origin=ORIGIN,
                 aliases=(*aliases_of("process-snapshot"), *aliases_of("process-single-snapshot")),
                 **{**kept, "timeout_s": None}),
        TaskSpec("snapshots.load_database", jobs.load_database, "Make the database of a snapshot.",
                 resources=_of_load, max_attempts=rules.max_retries + 1, retry_delay_s=rules.retry_backoff_base,
                 aliases=aliases_of("load-database"), **{**kept, "timeout_s": rules.load_timeout_s}),
        TaskSpec("snapshots.verify_database", jobs.verify_database, "Compare a database with its snapshot.",
                 max_attempts=rules.max_retries + 1, retry_delay_s=rules.retry_backoff_base,
                 aliases=aliases_of("verify-database"), **kept),
        TaskSpec("snapshots.check_is_latest", jobs.check_is_latest, "Whether no newer snapshot is there.",
                 aliases=aliases_of("check-is-latest"), **kept),
        TaskSpec("snapshots.switch_alias", jobs.switch_alias, "Let the alias point at a verified snapshot.",
                 resources=_of_customer, max_attempts=rules.max_retries + 1, retry_delay_s=rules.retry_backoff_base,
                 aliases=aliases_of("switch-alias"), **{**kept, "timeout_s": None}),
        TaskSpec("snapshots.cleanup_old_databases", jobs.cleanup_old_databases, "Drop what nobody needs any more.",
                 resources=(STORE,), aliases=aliases_of("cleanup-old-databases"), **kept),
        TaskSpec("snapshots.rollback", jobs.rollback, "Let the alias point at the version before.",
                 resources=_of_customer, **kept),
        TaskSpec("snapshots.scan", jobs.scan, "Look for new snapshots.",
                 aliases=(*aliases_of("scan-for-snapshots"), *aliases_of("watch-for-snapshots")), **kept),
        TaskSpec("snapshots.check_health", jobs.check_health, "How the graph store is, and what loads wait for.",
                 aliases=aliases_of("check-neo4j-health"), **kept),
    ]  # fmt: skip


def _of_load(args: dict[str, Any]) -> tuple[str, ...]:
    """A turn among all loads, and the snapshot itself: two jobs never fill one database."""
    return LOADING, load_of(args["customer"], args["timestamp"])


def _of_customer(args: dict[str, Any]) -> tuple[str, ...]:
    return (f"snapshots/alias.{args['customer']}",)


class SnapshotJobs:
    """What the tasks do; arguments are checked by their annotations."""

    def __init__(self, service: SnapshotService) -> None:
        self._service = service
        self._pipeline = service.pipeline

    async def process_snapshot(
        self, ctx: JobContext, customer: Customer, timestamp: Timestamp, switch: bool = True
    ) -> dict[str, Any]:
        """All steps of one snapshot; each is a job of its own, done once."""
        if not self._service.book.is_known(SnapshotKey(customer, timestamp)):
            await self._service.scan()
        steps, which = InlineSteps(ctx), {"customer": customer, "timestamp": timestamp}
        record = await self._service.book.find(customer, timestamp)
        try:
            loaded = steps.call("snapshots.load_database", which)
            if "newest" in loaded:
                reason = f"{loaded['newest']} is newer and was ready first"
                return {**which, "state": State.SUPERSEDED, "switched": False, "reason": reason}
            verified = steps.call("snapshots.verify_database", which)
            if verified["held"]:
                return {**which, "state": State.HELD, "differences": verified["differences"]}
            if not switch:
                return {**which, "state": record.state, "switched": False, "reason": "asked for without a switch"}
            switched = steps.call("snapshots.switch_alias", which)
            dropped = steps.call("snapshots.cleanup_old_databases", {"customer": customer})
        except StepFailed as fault:
            await self._failed(customer, timestamp, fault)
            raise
        return {**which, "state": record.state, **switched, "dropped": dropped["dropped"]}

    async def _failed(self, customer: str, timestamp: str, fault: LabdError) -> None:
        book = self._service.book
        record = await book.find(customer, timestamp)
        record.body.transient = failure_code(fault) in TRANSIENT
        if record.state in (State.SETTLED, State.GATED, State.LOADING):
            record.body.problem = fault.message
            book.move(record, State.FAILED, problem=fault.message)
            await book.commit()
        elif record.state is not State.QUARANTINED:
            record.body.problem = fault.message
            book.put(record)
            await book.commit()

    async def load_database(self, ctx: JobContext, customer: Customer, timestamp: Timestamp) -> dict[str, Any]:
        """The database of a snapshot."""
        try:
            return await self._pipeline.load(ctx, customer, timestamp)
        finally:
            self._service.store_changed()

    async def verify_database(self, ctx: JobContext, customer: Customer, timestamp: Timestamp) -> dict[str, Any]:
        """Hold it or let it go on."""
        return await self._pipeline.verify(ctx, customer, timestamp)

    async def check_is_latest(self, ctx: JobContext, customer: Customer, timestamp: Timestamp) -> dict[str, Any]:
        """Timestamps are compared as numbers."""
        return await self._pipeline.is_latest(customer, timestamp)

    async def switch_alias(
        self, ctx: JobContext, customer: Customer, timestamp: Timestamp, forced: bool = False
    ) -> dict[str, Any]:
        """The alias, and the canaries behind it."""
        return await self._pipeline.switch(ctx, customer, timestamp, forced)

    async def cleanup_old_databases(
        self, ctx: JobContext, customer: Customer | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """What goes and what stays, each with its reason."""
        verdicts = await (self._pipeline.plan_cleanup(customer) if dry_run else self._pipeline.cleanup(customer))
        if not dry_run and any(verdict.drop for verdict in verdicts):
            self._service.store_changed()
        for verdict in verdicts:
            ctx.log(f"{verdict.database}: {'drop' if verdict.drop else 'keep'}, {verdict.reason}")
        return {
            "dry_run": dry_run,
            "dropped": [verdict.database for verdict in verdicts if verdict.drop],
            "verdicts": msgspec.to_builtins(verdicts),
        }

    async def rollback(
        self, ctx: JobContext, customer: Customer, by: str = "", reason: Annotated[str, Meta(max_length=500)] = ""
    ) -> dict[str, Any]:
        """One step back."""
        return await self._pipeline.rollback(customer, by or ctx.caller.name, reason)

    async def scan(self, ctx: JobContext) -> dict[str, Any]:
        """One look at the folder."""
        service = self._service
        found = await service.scan()
        return {
            "new": [f"{seen.key.customer}/{seen.key.timestamp}" for seen in found.complete],
            "unsettled": [f"{key.customer}/{key.timestamp}" for key in found.unsettled],
            "skipped": [{"path": oddity.path, "reason": oddity.reason} for oddity in found.oddities],
            "problem": service.scan_problem,
        }

    async def check_health(self, ctx: JobContext) -> dict[str, Any]:
        """The store's own figures; what it does not tell is null and named."""
        health = await self._service.ask_health()
        waits = [reason.message for reason in self._service.reasons()]
        return {**msgspec.to_builtins(health), "waits_for": waits, "ok": not waits}

"""The snapshots wing at work: the store, the scanner, the look at the store's health, and the jobs they make."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from labd.clock import iso
from labd.engine.job import INTERNAL, Caller, Cause, Job, Submission
from labd.engine.registry import StopSpec, TaskSpec
from labd.errors import JobStateConflict, LabdError, Refused, UnknownJob
from labd.snapshots import names
from labd.snapshots.alias_watch import AliasWatch
from labd.snapshots.book import SnapshotBook
from labd.snapshots.desk import SnapshotDesk
from labd.snapshots.folder_watch import FolderWatch, Mending, first_of, is_due
from labd.snapshots.gate import Limits, Reason, reasons
from labd.snapshots.pipeline import Pipeline
from labd.snapshots.port import GraphStore, Health
from labd.snapshots.precedence import LOADING, Precedence
from labd.snapshots.record import WANTED, WHOLE, Body, Record, SnapshotView, State, view
from labd.snapshots.scan import Findings, Oddity, Scanner, Sighting, SnapshotKey, sight
from labd.snapshots.settings import SnapshotSettings
from labd.snapshots.stores import store_of
from labd.wing import Host

DISK_FACTOR = 3.0  # of the parquet size, as long as no load has told better
OF_TASKS = ("max_retries", "retry_backoff_base", "load_timeout_s")  # taken when the tasks are made
LIVE = frozenset({"orchestrator", "query", "assertions", "canaries", "dataset", "watch"})

log = structlog.get_logger("snapshots")


class SnapshotService:
    """Owns the graph store and the records; satisfies `labd.wing.Wing`.

    Args:
        store: For tests; made from the settings unless given.
    """

    def __init__(self, settings: SnapshotSettings, host: Host, store: GraphStore | None = None) -> None:
        self._host = host
        self.settings = settings
        self.engine = host.engine
        self.store = store if store is not None else store_of(settings, host)
        self.book = SnapshotBook(host.engine, host.clock)
        self.pipeline = Pipeline(self.store, self.book, settings, host.clock)
        self.precedence = Precedence(host.engine, self.book)
        self.desk = SnapshotDesk(self, host)
        self.health: Health | None = None
        self.health_since: float | None = None
        self.oddities: list[Oddity] = []
        self.unsettled: dict[SnapshotKey, float] = {}
        self.scan_problem = ""
        self.scanned_at: float | None = None
        self._waiting_since: float | None = None
        self._changes = self._seen_changes = 0
        self._scanning = asyncio.Lock()
        self._looking = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._scanner = self._make_scanner()
        self._folder = FolderWatch(self, host.clock)
        self._mending = Mending(host.clock)
        self._aliases = AliasWatch()

    # Wing

    async def start(self) -> None:
        """Read the records, hold loads until the store has been asked, and begin to watch."""
        await self.book.open()
        if self._scanner.base.is_relative_to(self._host.state_dir):  # labd's own; anybody else's is not made here
            self._scanner.base.mkdir(parents=True, exist_ok=True)
        self.engine.limit_resource(LOADING, self.settings.orchestrator.max_concurrent_loads)
        self.engine.add_gate(LOADING, self.cause)
        for record in self.book.live.values():
            if record.state in WANTED and record.body.job_id is not None:
                self.precedence.follow(record)
        self._beside(self._watch_health(), "snapshot health")
        self._beside(self._folder.scans(), "snapshot scan")
        self._beside(self._folder.events(), "snapshot file events")

    async def drain(self) -> None:
        """Nothing moves here."""

    async def stop(self) -> None:
        """Close the store; a second call does nothing."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.precedence.close()
        await self.store.close()

    def tasks(self) -> list[TaskSpec | StopSpec]:
        """The steps and the verbs."""
        from labd.snapshots.tasks import snapshot_tasks

        return snapshot_tasks(self)

    def endpoints(self) -> list[Any]:
        """The routes of the wing."""
        from labd.snapshots.routes import snapshot_endpoints

        return snapshot_endpoints(self)

    def change(self, settings: SnapshotSettings) -> list[str]:
        """Rules, limits and the folder are in force at once; the store itself after a restart."""
        old = self.settings
        fields = [name for name in settings.__struct_fields__ if getattr(settings, name) != getattr(old, name)]
        self.settings = self.pipeline.settings = settings
        if "dataset" in fields:
            self._scanner = self._make_scanner()
        self.engine.limit_resource(LOADING, settings.orchestrator.max_concurrent_loads)
        self.look()
        self._folder.hurry()
        rules, were = settings.orchestrator, old.orchestrator
        later = [f"orchestrator.{name}" for name in OF_TASKS if getattr(rules, name) != getattr(were, name)]
        return [f"snapshots.{name}" for name in [*later, *(name for name in fields if name not in LIVE)]]

    def status(self) -> dict[str, Any]:
        """The store as a device, and what a person should see to."""
        health = self.health
        state = "unknown" if health is None else "reachable" if health.reachable else "away"
        device = {
            "name": self.settings.engine, "state": state, "since": iso(self.health_since),
            "simulated": self.store.simulated, "customers": len(self.book.customers),
            "problem": "" if health is None else health.problem,
        }  # fmt: skip
        return {"devices": [device], "attention": self._attention()}

    def _attention(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for record in self.book.live.values():
            name = f"{record.customer}/{record.timestamp}"
            if record.state is State.HELD:
                told = "; ".join(difference.told() for difference in record.body.differences[:3])
                step = f"`labctl snapshot approve {record.customer} {record.timestamp}` or `reject`"
                found.append({"code": "snapshot_held", "message": f"{name} is held: {told}; {step}", "subject": name})
            elif record.state in (State.QUARANTINED, State.FAILED):
                text = f"{name} is {record.state}: {record.body.problem}"
                found.append({"code": f"snapshot_{record.state}", "message": text, "subject": name})
        alarm_s = self.settings.orchestrator.wait_alarm_s
        if self._waiting_since is not None and self._host.clock.monotonic() - self._waiting_since >= alarm_s:
            told = "; ".join(reason.message for reason in self.reasons())
            text = f"loads have waited for {alarm_s / 60:.0f} min or more: {told}"
            found.append({"code": "snapshot_load_waits", "message": text, "subject": "graph store"})
        if self.scan_problem:
            found.append({"code": "snapshot_scan", "message": self.scan_problem, "subject": "snapshot folder"})
        if self._folder.problem:
            found.append({"code": "snapshot_events", "message": self._folder.problem, "subject": "snapshot folder"})
        for customer, text in self._aliases.differing.items():
            found.append({"code": "snapshot_alias", "message": f"{customer}: {text}", "subject": customer})
        return found

    # health

    def look(self) -> None:
        """Ask the store for its health soon."""
        self._looking.set()

    def store_changed(self) -> None:
        """A load has ended or something was dropped: what the store said before is old, and the next load waits for it.

        Why: databases and heap grow with each load; several in a row would all pass on the answer before the first.
        """
        self._changes += 1
        self.look()

    async def _watch_health(self) -> None:
        """Ask at every interval; what waits for the store goes on by itself when it may."""
        while True:
            self._looking.clear()
            await self.ask_health()
            await self._look_at_aliases()
            pause_s = self.settings.orchestrator.health_interval_s
            await first_of(self._host.clock.sleep(pause_s), self._looking.wait())

    async def _look_at_aliases(self) -> None:
        """Tell aliases that somebody else has moved; not while labd may be about to move them itself."""
        moving = any(record.state in WANTED for record in self.book.live.values())
        if moving or self.health is None or not self.health.reachable:
            return
        try:
            aliases = await self.store.aliases()
        except LabdError:
            return  # the next look at its health tells
        for customer in self._aliases.look(self.book.customers.values(), aliases):
            text = self._aliases.differing[customer]
            log.warning("snapshot.alias_differs", customer=customer, problem=text)
            self.engine.publish("snapshot.alias_differs", {"customer": customer, "problem": text})

    async def ask_health(self) -> Health:
        """The store's health now; waiting loads are looked at again."""
        before, changes = self.health, self._changes
        self.health = await self.store.health()
        self._seen_changes = max(self._seen_changes, changes)
        if before is None or before.reachable != self.health.reachable:
            self.health_since = self._host.clock.wall()
            state = "reachable" if self.health.reachable else "away"
            self.engine.publish("graph.changed", {"state": state, "problem": self.health.problem})
            log.info("graph.changed", state=state, problem=self.health.problem)
        waits = any(record.state in (State.SETTLED, State.GATED) for record in self.book.live.values())
        if not (waits and self.reasons()):
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self._host.clock.monotonic()
        self.engine.wake()
        return self.health

    def reasons(self) -> list[Reason]:
        """What keeps the next load back."""
        if self.health is None:
            return [Reason("graph_unknown", "the graph store has not been asked yet")]
        if self._seen_changes != self._changes:
            return [Reason("graph_unknown", "the graph store is being asked how it is after the last load")]
        rules = self.settings.orchestrator
        limits = Limits(
            rules.heap_threshold_percent, rules.pagecache_threshold_percent, rules.max_databases, rules.gate_on_unknown
        )
        waiting = [r.body.size_bytes for r in self.book.live.values() if r.state in (State.SETTLED, State.GATED)]
        return reasons(self.health, limits, int(max(waiting) * DISK_FACTOR) if waiting else None)

    def cause(self) -> Cause | None:
        """The gate before every load."""
        found = self.reasons()
        if not found:
            return None
        return Cause(found[0].code, "; ".join(reason.message for reason in found))

    # scanning

    def _make_scanner(self) -> Scanner:
        from pathlib import Path

        settings, clock = self.settings.dataset, self._host.clock
        base = Path(settings.base_path).expanduser()
        return Scanner(
            base if base.is_absolute() else self._host.state_dir / base, settings.settle_s, settings.markers,
            self.book.is_known, _fault_of, clock.monotonic, clock.wall, settings.full_scan_s,
        )  # fmt: skip

    @property
    def base_path(self) -> str:
        """The folder that is scanned."""
        return str(self._scanner.base)

    async def scan(self, caller: Caller = INTERNAL, switch: bool | None = None) -> Findings:
        """Look for new snapshots once and make their jobs; jobs that got lost are made again.

        Args:
            caller: Who asks for the jobs.
            switch: Whether they switch in the end; the settings' word unless given.

        Raises:
            StoreFull: Nothing new was taken in.
        """
        async with self._scanning:
            try:
                found = await asyncio.to_thread(self._scanner.scan)
                self.scan_problem = ""
            except OSError as fault:
                self.scan_problem = f"{self._scanner.base} cannot be scanned: {fault.strerror or fault}"
                return Findings()
            self.scanned_at = self._host.clock.wall()
            self._tell_oddities(found.oddities)
            self.unsettled = found.unsettled
            for seen in sorted(found.complete, key=lambda seen: (seen.key.customer, int(seen.key.timestamp))):
                self._discover(seen)
            await self.book.commit()
            await self.process_wanted(caller, switch)
            await self._take_mended(caller, switch)
            await self._take_again(caller, switch)
            return found

    async def _take_mended(self, caller: Caller, switch: bool | None) -> None:
        """Try damaged snapshots again whose files were repaired; not those that are older than what serves."""
        dataset = self.settings.dataset
        there = await self._mending.mended(list(self.book.live.values()), dataset.settle_s, frozenset(dataset.markers))
        self.unsettled.update(self._mending.unsettled)
        for record, seen in there:
            serving = self.book.customer(record.customer).active
            if serving is not None and int(serving) > record.number:
                continue
            log.info("snapshot.mended", customer=record.customer, version=record.timestamp)
            self._as_seen(record, seen)
            await self.process(record, caller, switch, anew=True)

    async def _take_again(self, caller: Caller, switch: bool | None) -> None:
        """Try snapshots again that failed for what passes; not those that are older than what serves.

        Why beside the tries of the job: those are over in a minute, a share or a disk may be away for a night.
        """
        rules = self.settings.orchestrator
        for record in list(self.book.live.values()):
            serving = self.book.customer(record.customer).active
            if serving is not None and int(serving) > record.number:
                continue
            if not is_due(record, self._host.clock.wall(), rules.retry_backoff_base, rules.scan_interval):
                continue
            try:
                seen = await self._sight(record)
            except Refused:
                continue  # its folder is still away
            log.info("snapshot.again", customer=record.customer, version=record.timestamp, problem=record.body.problem)
            if record.state is State.FAILED:
                self._as_seen(record, seen)
            await self.process(record, caller, False if record.body.no_switch else switch, anew=True)

    def _as_seen(self, record: Record, seen: Sighting) -> None:
        """Take a snapshot as its files are now, to be loaded anew."""
        record.fingerprint, record.body.files, record.body.size_bytes = seen.fingerprint, seen.files, seen.size_bytes
        record.body.problem = None
        self.book.move(record, State.SETTLED)

    def _tell_oddities(self, oddities: list[Oddity]) -> None:
        for oddity in oddities:
            if oddity not in self.oddities:
                log.warning("snapshot.skipped", path=oddity.path, reason=oddity.reason)
                self.engine.publish("snapshot.skipped", {"path": oddity.path, "reason": oddity.reason})
        self.oddities = oddities

    def _discover(self, seen: Sighting) -> None:
        """A record for a complete snapshot; one that is older than what serves is not loaded by itself."""
        now = self._host.clock.wall()
        serving = self.book.customer(seen.key.customer).active
        is_old = serving is not None and int(serving) > int(seen.key.timestamp)
        body = Body(path=str(seen.path), files=seen.files, size_bytes=seen.size_bytes)
        if is_old:
            body.problem = f"{serving} served already when it was found; `labctl snapshot load` loads it all the same"
        state = State.SUPERSEDED if is_old else State.SETTLED
        self.book.add(Record(*seen.key, state, None, seen.fingerprint, now, now, False, body))

    async def process_wanted(self, caller: Caller = INTERNAL, switch: bool | None = None) -> None:
        """A job for each snapshot that needs one and has none, newest first; the idempotency key keeps it at one."""
        for record in sorted(self.book.live.values(), key=lambda record: record.number, reverse=True):
            if record.state not in WANTED or record.body.job_id is not None:
                continue
            try:
                await self.process(record, caller, switch)
            except LabdError as fault:
                record.body.problem = fault.message
                log.warning("snapshot.not_queued", customer=record.customer, problem=fault.message)

    async def process(self, record: Record, caller: Caller, switch: bool | None = None, *, anew: bool = False) -> Job:
        """The job that brings a snapshot through all its steps.

        Args:
            switch: Whether the alias goes there in the end; the settings' word unless given.
            anew: A person asks for it, whatever an earlier job made of it.
        """
        if anew:  # staged with what made it wanted: a daemon killed before the job is made makes it at its first scan
            record.body.asked, record.body.job_id = record.body.asked + 1, None
            self.book.put(record)
        key = f"snapshot:{record.customer}:{record.timestamp}:{record.body.asked}"
        wanted = self.settings.orchestrator.switch if switch is None else switch
        args = {"customer": record.customer, "timestamp": record.timestamp, "switch": wanted}
        submission = Submission("snapshots.process_snapshot", args, idempotency_key=key, tags=["snapshot"])
        job, _ = await self.engine.submit_one(submission, caller)
        record.body.job_id, record.body.no_switch, record.body.transient = job.id, not wanted, False
        if record.state is State.SETTLED:
            self.book.move(record, State.GATED)
        else:
            self.book.put(record)
        self.precedence.follow(record)
        await self.book.commit()
        self.look()
        return job

    # verbs

    async def load(self, caller: Caller, customer: str, timestamp: str | None, switch: bool | None) -> Job:
        """Load a snapshot because a person says so; the newest of the customer if none is named.

        Raises:
            UnknownSnapshot, JobStateConflict
        """
        names.check_customer(customer)
        if timestamp is None or not self.book.is_known(SnapshotKey(customer, timestamp)):
            await self.scan()
        if timestamp is None:
            timestamp = self.book.newest(customer)
            if timestamp is None:
                raise Refused(
                    f"customer {customer} has no snapshot under {self.base_path}; see `labctl snapshot list`",
                    customer=customer,
                )
        record = await self.book.find(customer, timestamp)
        if record.state in (State.ACTIVE, State.HELD):
            step = "it serves already" if record.state is State.ACTIVE else "approve or reject it first"
            raise JobStateConflict(f"{customer}/{timestamp} is {record.state}; {step}", state=record.state)
        if record.body.job_id is not None:
            job = await self._job(record.body.job_id)
            if job is not None and job.finished_at is None:
                if switch is not None and job.args["switch"] is not switch:
                    raise JobStateConflict(
                        f"job {job.id} loads {customer}/{timestamp} already and will {'not ' * switch}switch; "
                        f"`labctl job cancel {job.id}` first",
                        job=job.id,
                    )
                return job
        if record.database is None or record.state not in WHOLE:
            self._as_seen(record, await self._sight(record))
        elif record.state is State.SUPERSEDED:
            self.book.move(record, State.LOADED)
        record.body.wished = True  # on disk with what `process` puts
        return await self.process(record, caller, switch, anew=True)

    async def _job(self, job_id: int) -> Job | None:
        """The job, None where its retention is over."""
        try:
            return await self.engine.job(job_id)
        except UnknownJob:
            return None

    async def _sight(self, record: Record) -> Sighting:
        """Its files as they are now.

        Raises:
            Refused: They are gone.
        """
        try:
            return await asyncio.to_thread(sight, record.key, record.path, frozenset(self.settings.dataset.markers))
        except OSError as fault:
            what = f"{record.customer}/{record.timestamp} cannot be loaded: {record.path}"
            raise Refused(f"{what}: {fault.strerror or fault}; bring it back, or load another version") from fault

    async def approve(self, caller: Caller, customer: str, timestamp: str, reason: str) -> Job:
        """Let a held snapshot go on in spite of its differences."""
        record = await self._held(customer, timestamp)
        record.body.approved_by, record.body.approved_reason = caller.name, reason
        sang = [found.what for found in record.body.differences if found.check == "canary"]
        record.body.approved_canaries = [*record.body.approved_canaries, *sang]  # those are not asked of it again
        self.engine.audit(caller, "snapshot.approve", f"{customer}/{timestamp}", _told(record, reason))
        self.book.move(record, State.VERIFIED, by=caller.name)
        return await self.process(record, caller, anew=True)

    async def reject(self, caller: Caller, customer: str, timestamp: str, reason: str) -> SnapshotView:
        """Say that a held snapshot is never served; its database is dropped."""
        record = await self._held(customer, timestamp)
        self.engine.audit(caller, "snapshot.reject", f"{customer}/{timestamp}", _told(record, reason))
        record.body.problem = f"rejected by {caller.name}{f': {reason}' if reason else ''}"
        self.book.move(record, State.REJECTED, by=caller.name)
        await self.book.commit()
        await self.pipeline.drop(record)
        self.store_changed()
        return self.view(record)

    async def _held(self, customer: str, timestamp: str) -> Record:
        record = await self.book.find(customer, timestamp)
        if record.state is not State.HELD:
            raise JobStateConflict(
                f"{customer}/{timestamp} is {record.state} and not held; there is nothing to decide", state=record.state
            )
        return record

    async def pin(self, caller: Caller, customer: str, timestamp: str, pinned: bool) -> SnapshotView:
        """Keep a version whatever its age, or no longer."""
        record = await self.book.find(customer, timestamp)
        record.pinned = pinned
        self.book.put(record, "snapshot.pinned" if pinned else "snapshot.unpinned")
        self.engine.audit(caller, "snapshot.pin", f"{customer}/{timestamp}", {"pinned": pinned})
        await self.book.commit()
        return self.view(record)

    async def drop(self, caller: Caller, customer: str, timestamp: str) -> SnapshotView:
        """Drop one version's database by hand; what a cleanup would protect for its use is protected here as well."""
        record = await self.book.find(customer, timestamp)
        if record.database is None:
            return self.view(record)
        verdicts = await self.pipeline.plan_cleanup(customer)
        mine = next(verdict for verdict in verdicts if verdict.timestamp == timestamp)
        if not mine.drop and not mine.by_age:
            raise Refused(f"{customer}/{timestamp} is not dropped: {mine.reason}", reason=mine.reason)
        self.engine.audit(caller, "snapshot.drop", f"{customer}/{timestamp}", {"database": record.database})
        await self.pipeline.drop(record)
        self.store_changed()
        return self.view(record)

    def view(self, record: Record) -> SnapshotView:
        """As the API shows it."""
        return view(record, names.alias_of(record.customer), self.store.simulated)

    def _beside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(partial(_ended, name))
        self._tasks.append(task)


def _ended(name: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("snapshot.watch_ended", task=name, exc_info=task.exception())


def _fault_of(kind: str, name: str) -> str | None:
    return names.customer_fault(name) if kind == "customer" else names.timestamp_fault(name)


def _told(record: Record, reason: str) -> dict[str, Any]:
    return {"reason": reason, "differences": [difference.told() for difference in record.body.differences]}

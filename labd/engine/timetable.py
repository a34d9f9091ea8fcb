"""Fires the schedules: asks the rules what is due, makes the jobs and stores the schedule's state in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import structlog

from labd.clock import Clock, iso
from labd.engine import rows, schedules
from labd.engine.job import Caller, Job, Submission
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.schedules import ScheduleSpec, ScheduleState
from labd.engine.views import ScheduleView
from labd.errors import LabdError, UnknownSchedule

log = structlog.get_logger()
LONGEST_SLEEP_S = 60.0
RETRY_S = 5.0
Submit = Callable[[list[Submission], Caller, Callable[[], None]], Awaitable[list[Job]]]


@dataclass(slots=True)
class Entry:
    """A schedule as it stands in memory."""

    spec: ScheduleSpec
    state: ScheduleState
    origin: str
    created_by: str
    created_at: float


class Timetable:
    """All schedules of the host."""

    def __init__(self, book: JobBook, journal: Journal, clock: Clock, submit: Submit, seed: str) -> None:
        self.entries: dict[str, Entry] = {}
        self._book = book
        self._journal = journal
        self._clock = clock
        self._submit = submit
        self._seed = seed
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Read the stored schedules."""
        for name, spec, state, origin, created_by, created_at in await self._journal.read("schedules"):
            self.entries[name] = Entry(
                msgspec.json.decode(spec, type=ScheduleSpec), msgspec.json.decode(state, type=ScheduleState),
                origin, created_by, created_at,
            )  # fmt: skip

    def put(self, spec: ScheduleSpec, origin: str, caller: Caller) -> ScheduleView:
        """Make or replace a schedule; runs before now are not made up for."""
        schedules.check(spec)
        now = self._clock.wall()
        old = self.entries.get(spec.name)
        if old is not None and old.spec == spec and old.origin == origin:
            return self.view(spec.name)
        state = schedules.start(spec, now, old.state if old else None)
        created_by, created_at = (old.created_by, old.created_at) if old else (caller.name, now)
        self.entries[spec.name] = Entry(spec, state, origin, created_by, created_at)
        self._store(spec.name)
        self._book.publish("schedule.changed", {"schedule": spec.name, "paused": spec.paused})
        self._changed.set()
        return self.view(spec.name)

    def delete(self, name: str) -> None:
        """Forget a schedule; the jobs it made stay."""
        self._entry(name)
        del self.entries[name]
        self._journal.execute("delete_schedule", name)
        self._book.publish("schedule.changed", {"schedule": name, "deleted": True})

    def view(self, name: str) -> ScheduleView:
        """One schedule.

        Raises:
            UnknownSchedule: None of that name.
        """
        entry = self._entry(name)
        return ScheduleView(
            entry.spec, entry.origin, entry.created_by, entry.created_at,
            entry.state.next_run_at, entry.state.last_run_at,
        )  # fmt: skip

    def _entry(self, name: str) -> Entry:
        entry = self.entries.get(name)
        if entry is None:
            raise UnknownSchedule(f"no schedule is named {name}; `labctl schedule list` shows all", schedule=name)
        return entry

    def _store(self, name: str) -> None:
        entry = self.entries[name]
        self._journal.execute(
            "put_schedule", name, msgspec.json.encode(entry.spec).decode(), msgspec.json.encode(entry.state).decode(),
            entry.origin, entry.created_by, entry.created_at,
        )  # fmt: skip

    def wake(self) -> None:
        """Look again now, such as when the clock was set."""
        self._changed.set()

    async def run(self) -> None:
        """Fire what is due, for ever; sleeps until the next instant or a change."""
        while True:
            self._changed.clear()
            wait_s = await self.fire_due()
            sleeper = asyncio.ensure_future(self._clock.sleep(wait_s))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({sleeper, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeper.cancel()
                changed.cancel()

    async def fire_due(self) -> float:
        """Fire everything that is due now; returns how long nothing more can be."""
        wait_s = LONGEST_SLEEP_S if self.entries else 3600.0
        for name in list(self.entries):
            entry = self.entries.get(name)
            if entry is None or entry.spec.paused:
                continue
            now = self._clock.wall()
            if schedules.needs_look(entry.state, now):
                try:
                    await self._fire(name, entry, now)
                except LabdError as fault:
                    log.error("schedule.failed", schedule=name, code=fault.code, problem=fault.message)
                    self._book.publish("schedule.skipped", {"schedule": name, "reason": fault.message})
                    if fault.retryable:
                        wait_s = min(wait_s, RETRY_S)
                        continue
                    entry.state = schedules.start(entry.spec, now, entry.state)
                    self._store(name)
            if entry.state.next_run_at is not None:
                wait_s = min(wait_s, max(0.0, entry.state.next_run_at - self._clock.wall()))
        return wait_s

    async def _fire(self, name: str, entry: Entry, now: float) -> None:
        self._journal.refuse_if_full()
        running, queued = await self._open_jobs(name)
        plan = schedules.due(entry.spec, entry.state, now, running, queued, self._seed)
        before, entry.state = entry.state, plan.state
        exclusive = schedules.exclusive_resource(entry.spec)
        items = [
            Submission(
                entry.spec.task,
                dict(entry.spec.args),
                queue=entry.spec.queue,
                priority=entry.spec.priority,
                run_at=iso(fire.run_at),
                idempotency_key=fire.key,
                tags=list(entry.spec.tags),
                resources=[exclusive] if exclusive else None,
                schedule=name,
            )
            for fire in plan.fires
        ]
        caller = Caller(f"schedule:{name}", frozenset({"operate"}))
        try:
            jobs = await self._submit(items, caller, lambda: self._store(name)) if items else []
        except LabdError:
            entry.state = before  # where the state was staged, it has not landed: the older one overtakes it
            self._store(name)
            raise
        if not items and plan.state != before:
            self._store(name)
        for job, fire in zip(jobs, plan.fires, strict=True):
            self._book.publish("schedule.fired", {"schedule": name, "at": iso(fire.at)}, job.id)
        for left in plan.skipped:
            facts = {
                "schedule": name,
                "first_at": iso(left.first_at),
                "last_at": iso(left.last_at),
                "count": left.count,
            }
            self._book.publish("schedule.skipped", {**facts, "reason": left.reason})

    async def _open_jobs(self, name: str) -> tuple[int, int]:
        await self._journal.commit()
        running = queued = 0
        for row in await self._journal.read("open_of_schedule", name):
            job = self._book.live.get(row[0]) or rows.from_row(row)
            if job.state.value == "queued":
                queued += 1
            elif job.state.value in ("running", "waiting", "cancelling"):
                running += 1
        return running, queued

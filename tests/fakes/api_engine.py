"""An engine in memory for tests of the doors alone: it keeps jobs and events, runs nothing, forgets at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from labd.api.events import event_view
from labd.clock import Clock, SystemClock
from labd.engine.audit import AuditEntry, AuditReport
from labd.engine.event_texts import EventText
from labd.engine.events import EventFeed
from labd.engine.group import Event
from labd.engine.job import ENDED, Caller, Cause, Job, JobState, Submission, brief_view, view
from labd.engine.listing import JobListing
from labd.engine.registry import Registry
from labd.engine.steps import Step
from labd.engine.views import JobFilter, LogLine, QueueView, TokenRow
from labd.errors import StoreFull, UnknownJob, UnknownQueue


class MemoryEngine:
    """What the doors ask of an engine, in memory."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.registry = Registry()
        self.store_full = False
        self.store_problem = "the disk is full: no job is accepted; free some space"
        self.draining = False
        self.disk: list[Event] = []
        self.events = EventFeed(self._read_after, 0)
        self._jobs: dict[int, Job] = {}
        self._values: dict[str, Any] = {}
        self._tokens: dict[int, TokenRow] = {}
        self._changed = asyncio.Event()
        self.waits_running = 0
        self.audited: list[tuple[str, str, str]] = []

    async def _read_after(self, after: int, up_to: int, limit: int) -> list[Event]:
        return [event for event in self.disk if after < event.seq <= up_to][:limit]

    def publish(self, kind: str, data: dict[str, Any], job_id: int | None = None) -> None:
        event = Event(len(self.disk) + 1, self.clock.wall(), kind, job_id, data)
        self.disk.append(event)
        self.events.publish([event])

    async def submit(self, items: list[Submission], caller: Caller) -> list[Job]:
        return [(await self.submit_one(item, caller))[0] for item in items]

    async def submit_one(self, item: Submission, caller: Caller) -> tuple[Job, bool]:
        if self.store_full:
            raise StoreFull("the disk is full; nothing was accepted")
        for job in self._jobs.values():
            if item.idempotency_key is not None and job.idempotency_key == item.idempotency_key:
                return job, False
        now = self.clock.wall()
        job = Job(
            id=len(self._jobs) + 1,
            task=item.task,
            args=item.args,
            queue=item.queue or "standard",
            priority=2,
            rank=0.0,
            state=JobState.QUEUED,
            attempt=0,
            max_attempts=1,
            run_at=now,
            created_at=now,
            submitted_by=caller.name,
            effect="repeatable",
            idempotency_key=item.idempotency_key,
        )
        self._jobs[job.id] = job
        self.publish("job.submitted", {"task": job.task}, job.id)
        return job, True

    async def job(self, job_id: int) -> Job:
        if job_id not in self._jobs:
            raise UnknownJob(f"no job {job_id}", job=job_id)
        return self._jobs[job_id]

    async def jobs(self, which: JobFilter) -> list[Job]:
        found = [job for job in reversed(self._jobs.values()) if which.before_id is None or job.id < which.before_id]
        return [job for job in found if not which.states or job.state in which.states][: which.limit]

    async def job_page(self, which: JobFilter, brief: bool = False) -> JobListing:
        jobs = await self.jobs(which)
        shown = [brief_view(job) if brief else view(job) for job in jobs]
        return JobListing(msgspec.json.encode(shown), len(jobs), jobs[-1].id if jobs else None)

    async def event_texts(self, after: int) -> list[EventText]:
        found = await self._read_after(after, self.events.last_seq, 1000)
        return [EventText(event.seq, event.kind, msgspec.json.encode(event_view(event))) for event in found]

    def end(self, job_id: int, state: JobState = JobState.SUCCEEDED, result: Any = None) -> None:
        job = self._jobs[job_id]
        job.state, job.result, job.finished_at = state, result, self.clock.wall()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, job_id: int, timeout_s: float) -> Job:
        self.waits_running += 1
        try:
            async with asyncio.timeout(timeout_s):
                while (await self.job(job_id)).state not in ENDED:
                    await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self.waits_running -= 1
        return await self.job(job_id)

    async def cancel(self, job_id: int, caller: Caller, reason: str = "") -> Job:
        await self.job(job_id)
        self.end(job_id, JobState.CANCELLED)
        return await self.job(job_id)

    async def retry(self, job_id: int, caller: Caller) -> Job:
        return await self.job(job_id)

    async def release(self, job_id: int, caller: Caller) -> Job:
        return await self.job(job_id)

    async def answer(self, job_id: int, value: Any, caller: Caller) -> Job:
        return await self.job(job_id)

    async def steps(self, job_id: int) -> list[Step]:
        return []

    async def why(self, job_id: int) -> list[Cause]:
        return [Cause("queue_full", "queue standard runs 4 of 4 jobs")]

    async def logs(self, job_id: int, after: int = 0, limit: int = 500) -> list[LogLine]:
        await self.job(job_id)
        return [LogLine(1, 0.0, 1, "info", "hello")][after:limit]

    async def job_events(self, job_id: int) -> list[Event]:
        await self.job(job_id)
        return [event for event in self.disk if event.job_id == job_id]

    def queues(self) -> list[QueueView]:
        return [QueueView("standard", 2, 4, False, None, None, None, len(self._jobs), 0, 0)]

    async def pause_queue(self, name: str, caller: Caller, reason: str) -> QueueView:
        return self._queue(name)

    async def resume_queue(self, name: str, caller: Caller) -> QueueView:
        return self._queue(name)

    async def change_queue(
        self, name: str, caller: Caller, concurrency: int | None = None, priority: int | None = None
    ) -> QueueView:
        return self._queue(name)

    def _queue(self, name: str) -> QueueView:
        if name != "standard":
            raise UnknownQueue(f"no queue is named {name}", queue=name)
        return self.queues()[0]

    def schedules(self) -> list[Any]:
        return []

    def counts(self) -> dict[str, int]:
        found = {state.value: 0 for state in JobState}
        for job in self._jobs.values():
            found[job.state.value] += 1
        return found

    def statistics(self) -> dict[str, float]:
        return {"commits_total": 3.0, "store_size_bytes": 4096.0, "store_wal_size_bytes": 0.0}

    def audit(self, actor: Caller, action: str, subject: str, details: dict[str, Any]) -> None:
        self.audited.append((actor.name, action, subject))

    async def audit_page(self, before: int | None, limit: int) -> list[AuditEntry]:
        return []

    async def audit_verify(self) -> AuditReport:
        return AuditReport(True, 0, "0" * 64)

    async def put_token(self, row: TokenRow) -> TokenRow:
        if row.id == 0:
            row = msgspec.structs.replace(row, id=len(self._tokens) + 1)
        self._tokens[row.id] = row
        return row

    def tokens(self) -> list[TokenRow]:
        return list(self._tokens.values())

    async def store_value(self, key: str, value: Any) -> None:
        self._values[key] = value

    async def stored_value(self, key: str) -> Any:
        return self._values.get(key)

    async def backup(self, folder: Path) -> list[Path]:
        path = folder / "labd.db"
        path.write_bytes(b"rows" * 100)
        return [path]


class FakeStatus:
    """A daemon with one wing that is off."""

    version = "0.0.test"
    started_at = 0.0

    def wings(self) -> list[dict[str, Any]]:
        return [{"name": "resort", "state": "off", "reason": "not configured", "install": "pip install labd[resort]"}]

    def attention(self) -> list[dict[str, Any]]:
        return []

    def mqtt(self) -> dict[str, Any] | None:
        return None

    def mongo(self) -> dict[str, Any] | None:
        return None

    def simulated(self) -> bool:
        return True

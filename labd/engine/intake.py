"""Takes submissions in: checks them, finds their idempotency keys, admits them in one commit, and lets stops pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from labd.clock import Clock
from labd.engine import admission
from labd.engine.attendant import Attendance
from labd.engine.audit_trail import AuditTrail
from labd.engine.cache import Hit, ResultCache
from labd.engine.delayed import DelayedJobs
from labd.engine.dispatcher import Dispatcher
from labd.engine.job import Caller, Job, JobError, JobState, Submission
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.pump import Pump
from labd.engine.registry import Registry, StopSpec, TaskSpec
from labd.errors import BadRequest, Draining, LabdError, Refused, ScopeMissing

SUBMISSIONS_LIMIT = 1000
LONG_LIST = 100
OVERRIDE_LIMIT = 500


class Intake:
    """The way in for jobs."""

    def __init__(
        self, book: JobBook, dispatcher: Dispatcher, delayed: DelayedJobs, journal: Journal, registry: Registry,
        audit: AuditTrail, pump: Pump, cache: ResultCache, attendance: Attendance, clock: Clock, ageing_s: float,
        expires_in_s: float,
    ) -> None:  # fmt: skip
        self._book = book
        self._dispatcher = dispatcher
        self._delayed = delayed
        self._journal = journal
        self._registry = registry
        self._audit = audit
        self._pump = pump
        self._cache = cache
        self._attendance = attendance
        self._clock = clock
        self._ageing_s = ageing_s
        self._expires_in_s = expires_in_s
        self._keys_coming: dict[str, asyncio.Future[None]] = {}
        self._keys_landed = 0
        self._long_list = asyncio.Lock()

    async def submit(self, items: list[Submission], caller: Caller) -> list[Job]:
        """Accept jobs, all or none, in one commit; on disk when it returns.

        A known idempotency key gives the job that already has it.

        Raises:
            BadRequest, UnknownTask, InvalidArguments, Refused, IdempotencyConflict, StoreFull, Draining
        """
        return await self.submit_with(items, caller)

    async def submit_one(self, item: Submission, caller: Caller) -> tuple[Job, bool]:
        """Accept one job; False if its idempotency key was known."""
        known: dict[str, Job] = {}
        job = (await self.submit_with([item], caller, known=known))[0]
        return job, item.idempotency_key not in known

    async def submit_with(
        self, items: list[Submission], caller: Caller, staged: Callable[[], None] | None = None,
        known: dict[str, Job] | None = None,
    ) -> list[Job]:  # fmt: skip
        """As `submit`.

        Args:
            staged: May stage more writes for the same commit.
            known: Takes the jobs that were there already, by idempotency key.
        """
        if len(items) == 1:
            spec = self._registry.find(items[0].task)
            if isinstance(spec, StopSpec):
                return [await self._stop(spec, items[0], caller)]
        if len(items) > SUBMISSIONS_LIMIT:
            raise BadRequest(f"{len(items)} submissions at once; at most {SUBMISSIONS_LIMIT}", limit=SUBMISSIONS_LIMIT)
        self._refuse_when_ending()
        self._journal.refuse_if_full()
        sweeps = dict(self._book.sweeps)
        if len(items) <= LONG_LIST:
            jobs, admission = await self._take_in(items, caller, staged, known, sweeps)
        else:  # one after the other, for each must see what the one before has put into the next commit
            async with self._long_list:
                await self._journal.room()
                jobs, admission = await self._take_in(items, caller, staged, known, sweeps)
        self._journal.push()
        await admission
        return jobs

    async def _take_in(
        self, items: list[Submission], caller: Caller, staged: Callable[[], None] | None,
        known: dict[str, Job] | None, sweeps: dict[str, int],
    ) -> tuple[list[Job], asyncio.Future[None]]:  # fmt: skip
        """Look at everything that takes time, then stage the jobs; and what tells that they are on disk."""
        checked = [self._check(item) for item in items]
        hits = await self._hits(items, checked) if any(spec.cached for spec in checked) else {}
        needs: dict[int, dict[str, float]] = {}
        refusals: dict[int, LabdError] = {}
        if any(spec.takes_stock for spec in checked) or any(item.override is not None for item in items):
            needs, refusals = await self._needs(items, checked, caller)
        there: dict[str, Job] = {}
        if any(item.idempotency_key is not None for item in items):
            there = await self._known_keys(items)
        if known is not None:
            known.update(there)
        self._refuse_when_ending()
        for place, (item, spec) in enumerate(zip(items, checked, strict=True)):
            # only for new jobs: who asks again for one that is there gets it, whatever has changed since
            if spec.precheck is not None and item.idempotency_key not in there:
                spec.precheck(item.args)
            if place in refusals and item.idempotency_key not in there:
                raise refusals[place]
            if sweeps != self._book.sweeps and item.idempotency_key not in there:
                self._refuse_what_was_swept(item, spec, sweeps)
        jobs = self._stage(items, checked, there, caller, staged, hits, needs)
        return jobs, self._journal.admission()

    def _refuse_when_ending(self) -> None:
        if self._dispatcher.stopped is not None:
            raise Draining("labd is ending and takes no new jobs; try again when it is back")

    def _refuse_what_was_swept(self, item: Submission, spec: TaskSpec, before: dict[str, int]) -> None:
        """A request that came before a stop must not start after it, however long its analysis took."""
        own = spec.resources if isinstance(spec.resources, tuple) else spec.resources(item.args)
        swept = [name for name in own if self._book.sweeps.get(name, 0) != before.get(name, 0)]
        if spec.effect == "physical" and swept:
            raise Refused(
                f"{spec.name}: {swept[0]} was stopped or lost while the request was being looked at; look at it, then "
                "ask again",
                resource=swept[0],
            )

    def _check(self, item: Submission) -> TaskSpec:
        spec = self._registry.find(item.task)
        if isinstance(spec, StopSpec):
            raise BadRequest(f"{spec.name} is a stop and goes alone, not in a list", task=spec.name)
        self._registry.check_args(spec, item.args)
        if spec.idempotency is not None and item.idempotency_key is None:
            item.idempotency_key = self._registry.key_of(spec, item.args)
        return spec

    def _stage(
        self, items: list[Submission], specs: list[TaskSpec], known: dict[str, Job], caller: Caller,
        staged: Callable[[], None] | None, hits: dict[int, Hit], needs: dict[int, dict[str, float]],
    ) -> list[Job]:  # fmt: skip
        """Build all, then admit all: a fault in the last leaves nothing of the first. No await in here."""
        book, now = self._book, self._clock.wall()
        lanes, ageing_s, expires_in_s = self._dispatcher.lanes, self._ageing_s, self._expires_in_s
        first_id = book.last_id
        jobs: list[Job] = []
        fresh: list[Job] = []
        for place, (item, spec) in enumerate(zip(items, specs, strict=True)):
            key = item.idempotency_key
            if key is not None and key in known:
                if spec.idempotency is None:  # a task's own template says which arguments make it another job
                    admission.same_request(known[key], spec.name, item.args)
                jobs.append(known[key])
                continue
            job = admission.build(
                item, spec, item.args, caller, lanes, first_id + len(fresh) + 1, now, ageing_s, expires_in_s
            )
            if job.parent_id is not None:
                job.locks = self._locks(job)
            if place in hits:
                _take_hit(job, hits[place], now)
            elif place in needs:
                job.needs, job.override = needs[place], item.override
            fresh.append(job)
            jobs.append(job)
            if key is not None:
                known[key] = job
        self._attendance.admit(fresh)
        for job in fresh:
            book.next_id()
            book.admit(job)
            if job.cached_from is not None:
                book.change(job, "job.succeeded", JobState.SUCCEEDED, {"cached_from": job.cached_from})
                continue
            lane = lanes[job.queue]
            lane.queued += 1
            if job.run_at > now:
                self._delayed.offer(job)
            else:
                self._dispatcher.offer(job)
            if job.override is not None:
                facts = {"task": job.task, "needs_ul": job.needs, "reason": job.override}
                self._audit.add(caller, "stock.override", f"job {job.id}", facts)
            if job.effect == "physical":
                self._audit.add(caller, "job.submit", f"job {job.id}", {"task": job.task, "args": job.args})
        if staged is not None:
            staged()
        if fresh:
            admitted = self._journal.admitted()
            admitted.add_done_callback(lambda done: self._admission_settled(done, fresh))
            for job in fresh:
                if job.idempotency_key is not None:
                    self._keys_coming[job.idempotency_key] = admitted
            self._pump.pump()  # a job that can start at once shares the commit of its admission
        return jobs

    async def _hits(self, items: list[Submission], specs: list[TaskSpec]) -> dict[int, Hit]:
        """Recorded results, by place in the list."""
        hits: dict[int, Hit] = {}
        for place, (item, spec) in enumerate(zip(items, specs, strict=True)):
            hit = await self._cache.find(spec, item.args) if spec.cached and not item.no_cache else None
            if hit is not None:
                hits[place] = hit
        return hits

    async def _needs(
        self, items: list[Submission], specs: list[TaskSpec], caller: Caller
    ) -> tuple[dict[int, dict[str, float]], dict[int, LabdError]]:
        """What the jobs take from stock, by place in the list, and refusals, which count only for jobs that are new."""
        needs: dict[int, dict[str, float]] = {}
        refusals: dict[int, LabdError] = {}
        for place, (item, spec) in enumerate(zip(items, specs, strict=True)):
            if item.override is not None:
                _check_override(item.override, caller)
            try:
                found = await self._attendance.needs_of(spec, item.args)
            except LabdError as fault:
                refusals[place] = fault
                continue
            if found:
                needs[place] = found
        return needs, refusals

    def _locks(self, job: Job) -> tuple[str, ...] | None:
        """What a child occupies in place of what its waiting parent holds."""
        parent = self._book.live.get(job.parent_id or 0)
        if parent is None:
            return None
        held = {lock.partition("@")[0] for lock in parent.lock_names}
        return tuple(f"{name}@{parent.id}" if name in held else name for name in job.resources)

    def _admission_settled(self, done: asyncio.Future[None], fresh: list[Job]) -> None:
        refused = done.cancelled() or done.exception() is not None
        for job in fresh:
            if job.idempotency_key is not None:
                self._keys_coming.pop(job.idempotency_key, None)
                self._keys_landed += 1
            if refused and job.cached_from is not None:
                self._book.forget(job)
            elif refused and job.id in self._book.live and job.state is JobState.QUEUED:
                self._dispatcher.withdraw(job)
                self._delayed.withdraw(job)
                self._dispatcher.lanes[job.queue].queued -= 1
                self._book.forget(job)

    async def _known_keys(self, items: list[Submission]) -> dict[str, Job]:
        """Jobs that have one of the keys already; waits for keys that are on their way to the disk.

        Race: two requests with one key come in one after the other. The second finds the key in `_keys_coming`, waits
        for that commit, and reads the job. A key that was staged and landed while this one was reading is seen by
        `_keys_landed`, and the reading is done again; between the last look and `_stage` there is no await.
        """
        keys = {item.idempotency_key for item in items if item.idempotency_key is not None}
        while True:
            coming = next((self._keys_coming[key] for key in keys if key in self._keys_coming), None)
            if coming is not None:
                await asyncio.wait([asyncio.shield(coming)])
                continue
            landed = self._keys_landed
            known = await self._book.by_keys(keys)
            if landed == self._keys_landed and not keys & self._keys_coming.keys():
                return known

    async def _stop(self, spec: StopSpec, item: Submission, caller: Caller) -> Job:
        """Stop first, write afterwards."""
        now = self._clock.wall()
        job = Job(
            id=0, task=spec.name, args=item.args, queue="high-priority", priority=0, state=JobState.QUEUED, attempt=1,
            max_attempts=1, rank=now, run_at=now, created_at=now, started_at=now, submitted_by=caller.name,
            effect="physical", idempotency_key=None, tags=tuple(item.tags),
        )  # fmt: skip
        try:
            job.result = await spec.function(item.args, caller)
            state, kind = JobState.SUCCEEDED, "job.succeeded"
        except LabdError as fault:
            job.error = JobError(fault.code, fault.message, type(fault).__name__, fault.details)
            state, kind = JobState.FAILED, "job.failed"
        if self._journal.full_reason is not None:
            job.state, job.finished_at = state, self._clock.wall()
            return job  # the stop is done; only its record is missing, and id 0 says so
        job.id = self._book.next_id()
        if job.queue not in self._dispatcher.lanes:
            job.queue = next(iter(self._dispatcher.lanes))
        self._book.admit(job)
        job.finished_at = self._clock.wall()
        self._book.change(job, kind, state)
        try:
            await asyncio.shield(self._journal.admitted())
        except LabdError:
            self._book.forget(job)
            job.id = 0
        return job


def _check_override(reason: str, caller: Caller) -> None:
    if "operate" not in caller.scopes:
        raise ScopeMissing(f"{caller.name} may not override a stock check; it takes the scope operate", scope="operate")
    if not 1 <= len(reason.strip()) <= OVERRIDE_LIMIT:
        raise BadRequest(
            f"override is the reason in 1 to {OVERRIDE_LIMIT} characters; it has {len(reason.strip())}",
            field="override",
        )


def _take_hit(job: Job, hit: Hit, now: float) -> None:
    """The job ends before it starts: an earlier one has found its result."""
    job.attempt, job.started_at, job.finished_at = 1, now, now
    job.result, job.cached_from = hit.result, hit.job_id

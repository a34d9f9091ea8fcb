"""Who runs next: queues, priorities with ageing, resources, gates, and `why` from the same rules.

Why a fixed rank: a job's claim grows by one priority step every `ageing_s`, for all waiting jobs alike, so their order
never changes while they wait. `rank = waiting since + priority x ageing_s` says it once and can be indexed.

Ready jobs live here in a bounded window per queue; what lies behind the window is in the database and is read when
the window runs low. No I/O here: `lanes_to_fill` says what to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from labd.engine.job import Cause, Hold, Job, JobState

WINDOW = 4000
LOW_WATER = 2000
END = (float("inf"), 0)
Gate = Callable[[], Cause | None]
GroupKey = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(slots=True)
class Lane:
    """One queue: its rules, and the ready jobs in memory by the resources and the reservoirs they need."""

    name: str
    priority: int
    concurrency: int
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_at: float | None = None
    running: int = 0
    queued: int = 0
    held: int = 0
    in_memory: int = 0
    window_end: tuple[float, int] = END
    filling: bool = False
    late: list[Job] = field(default_factory=list)
    groups: dict[GroupKey, list[tuple[float, int]]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """True if every ready job of the queue is in memory."""
        return self.window_end == END


def rank(priority: int, waiting_since: float, ageing_s: float) -> float:
    """A job's place in the order; lower runs first."""
    return waiting_since + priority * ageing_s


class Dispatcher:
    """The ready jobs and what they wait for.

    Args:
        capacities: How many jobs may use a resource at once; 1 where not named.
        stock_cause: Why a job that needs something of the stock may not start now.
    """

    def __init__(
        self, capacities: dict[str, int], stock_cause: Callable[[Job], Cause | None] = lambda job: None
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        self.ready: dict[int, Job] = {}
        self.users: dict[str, dict[int, Job]] = {}
        self.stopped: Cause | None = None
        self._capacities = capacities
        self._own_capacities: dict[str, int] = {}
        self._gates: dict[str, list[Gate]] = {}
        self._stock_cause = stock_cause

    def change_capacities(self, capacities: dict[str, int]) -> None:
        """Let more or fewer jobs use a resource at once; those that use it now are left alone."""
        self._capacities = capacities

    def limit(self, resource: str, count: int) -> None:
        """Let `count` jobs use a resource at once where the settings do not say otherwise."""
        self._own_capacities[resource] = count

    def add_gate(self, resource: str, gate: Gate) -> None:
        """Hold every job of the resource while `gate` answers a cause."""
        self._gates.setdefault(resource, []).append(gate)

    def remove_gates(self, resource: str) -> None:
        """Hold its jobs no longer by gates; where there are none it does nothing."""
        self._gates.pop(resource, None)

    def offer(self, job: Job) -> bool:
        """A ready job; False if it lies behind the window and is left to the database."""
        lane = self.lanes[job.queue]
        if job.id in self.ready:
            return True
        if (job.rank, job.id) > lane.window_end:
            if lane.filling:
                lane.late.append(job)
            return False
        self._keep(lane, job)
        if lane.in_memory > 2 * WINDOW:
            self._trim(lane)
        return job.id in self.ready

    def _keep(self, lane: Lane, job: Job) -> None:
        self.ready[job.id] = job
        lane.in_memory += 1
        heappush(lane.groups.setdefault(_key_of(job), []), (job.rank, job.id))

    def _trim(self, lane: Lane) -> None:
        """Forget the jobs that would run last; they are in the database."""
        places = sorted(place for heap in lane.groups.values() for place in heap if place[1] in self.ready)
        for _, job_id in places[WINDOW:]:
            del self.ready[job_id]
        lane.window_end = places[WINDOW - 1]
        lane.in_memory = WINDOW
        lane.groups = {key: [p for p in sorted(heap) if p[1] in self.ready] for key, heap in lane.groups.items()}
        lane.groups = {key: heap for key, heap in lane.groups.items() if heap}

    def withdraw(self, job: Job) -> None:
        """A job that no longer waits; its place in the heap is skipped when it comes up."""
        if self.ready.pop(job.id, None) is not None:
            self.lanes[job.queue].in_memory -= 1

    def filled(
        self, lane: Lane, jobs: list[Job], *, exhausted: bool, end: tuple[float, int] | None, changed: set[int]
    ) -> None:
        """Jobs read behind the window.

        Args:
            lane: Marked `filling` since before the read began.
            jobs: As the database had them, in order of rank.
            exhausted: The database has no more of the queue.
            end: Place of the last row read.
            changed: Ids that changed since the read began; what was read of them is stale.
        """
        lane.filling = False
        lane.window_end = END if exhausted or end is None else end
        for job in jobs:
            if job.id not in self.ready and job.id not in changed:
                self._keep(lane, job)
        late, lane.late = lane.late, []
        for job in late:
            if job.state is JobState.QUEUED and job.hold is None:
                self.offer(job)

    def lanes_to_fill(self) -> list[Lane]:
        """Queues whose window runs low while the database has more."""
        return [
            lane
            for lane in self.lanes.values()
            if not lane.complete and not lane.filling and lane.in_memory < LOW_WATER
        ]

    def release(self, job: Job) -> None:
        """Give back the slot and the resources of a job that ran."""
        self.lanes[job.queue].running -= 1
        self.let_go(job)

    def pause(self, job: Job) -> None:
        """Give back the slot of a job that waits for its steps; what it holds it keeps, for its children."""
        self.lanes[job.queue].running -= 1

    def keep(self, job: Job) -> None:
        """Hold for a waiting job what it held before the daemon started again."""
        for name in job.lock_names:
            self.users.setdefault(name, {})[job.id] = job

    def let_go(self, job: Job) -> None:
        """Free what a job holds."""
        for name in job.lock_names:
            self.users.get(name, {}).pop(job.id, None)

    def take(self, now: float, limit: int) -> tuple[list[Job], list[Job]]:
        """Up to `limit` jobs to start now, in order, and those found expired; all leave the ready set.

        A job taken occupies its slot and resources until `release`. One that draws from stock ends the list: what is
        left for the next is known only when its start has been counted.
        """
        started: list[Job] = []
        expired: list[Job] = []
        while len(started) < limit:
            found = self._best()
            if found is None:
                break
            lane, heap = found
            _, job_id = heappop(heap)
            job = self.ready.pop(job_id)
            lane.in_memory -= 1
            if job.state is JobState.QUEUED:
                lane.queued -= 1
            if job.state is JobState.QUEUED and job.expires_at is not None and now > job.expires_at:
                expired.append(job)
                continue
            self._occupy(job)
            started.append(job)
            if job.needs is not None:
                break
        return started, expired

    def _best(self) -> tuple[Lane, list[tuple[float, int]]] | None:
        best: tuple[Lane, list[tuple[float, int]]] | None = None
        if self.stopped is not None:
            return None
        for lane in self.lanes.values():
            if not lane.in_memory or self._lane_blocked(lane):
                continue
            for (locks, stock), heap in lane.groups.items():
                while heap and heap[0][1] not in self.ready:
                    heappop(heap)
                if not heap or (best is not None and heap[0] >= best[1][0]):
                    continue
                if locks and self._resources_blocked(locks):
                    continue
                if stock and self._stock_cause(self.ready[heap[0][1]]) is not None:
                    continue
                best = (lane, heap)
        return best

    def _lane_blocked(self, lane: Lane) -> bool:
        return lane.paused_by is not None or lane.running >= lane.concurrency

    def _resources_blocked(self, locks: tuple[str, ...]) -> bool:
        return any(self._resource_cause(name) is not None for name in locks)

    def _resource_cause(self, lock: str) -> Cause | None:
        users = self.users.get(lock)
        name = lock.partition("@")[0]
        limit = self._capacities.get(name) or self._own_capacities.get(name, 1)
        if users and len(users) >= limit:
            by = ", ".join(f"job {job.id} ({job.task})" for job in users.values())
            return Cause(
                "resource_held", f"resource {name} ({limit}) is held by {by}", {"resource": name, "jobs": list(users)}
            )
        for gate in self._gates.get(name, ()):
            cause = gate()
            if cause is not None:
                return cause
        return None

    def _occupy(self, job: Job) -> None:
        self.lanes[job.queue].running += 1
        self.keep(job)

    def causes(self, job: Job, now: float, at: Callable[[float], str | None]) -> list[Cause]:
        """Everything that holds a queued job, by the rules that `take` follows; empty: it is next."""
        lane = self.lanes[job.queue]
        causes: list[Cause] = []
        if self.stopped is not None:
            causes.append(self.stopped)
        if job.hold is not None:
            causes.append(_held(job, job.hold))
        if job.run_at > now:
            causes.append(Cause("run_at", f"not before {at(job.run_at)}", {"run_at": at(job.run_at)}))
        if lane.paused_by is not None:
            reason = f": {lane.paused_reason}" if lane.paused_reason else ""
            causes.append(
                Cause(
                    "queue_paused",
                    f"queue {lane.name} was paused by {lane.paused_by}{reason}; `labctl queue resume {lane.name}`",
                    {"queue": lane.name, "by": lane.paused_by},
                )
            )
        elif self._lane_blocked(lane):
            causes.append(
                Cause(
                    "queue_limit",
                    f"queue {lane.name} runs {lane.running} of {lane.concurrency} jobs at once",
                    {"queue": lane.name, "running": lane.running, "concurrency": lane.concurrency},
                )
            )
        causes += self._causes_of(job.lock_names)
        short = self._stock_cause(job)
        if short is not None:
            causes.append(short)
        return causes or [self._turn(job, lane)]

    def _causes_of(self, names: Iterable[str]) -> list[Cause]:
        found = (self._resource_cause(name) for name in names)
        return [cause for cause in found if cause is not None]

    def _turn(self, job: Job, lane: Lane) -> Cause:
        ahead = sum(
            1
            for other in self.ready.values()
            if other.queue == lane.name and (other.rank, other.id) < (job.rank, job.id)
        )
        if ahead or job.id not in self.ready:
            return Cause(
                "turn",
                f"{ahead if job.id in self.ready else 'more than ' + str(ahead)} jobs of queue {lane.name} are ahead",
                {"ahead": ahead},
            )
        return Cause("starting", "nothing holds it; it is starting now", {})


def _key_of(job: Job) -> GroupKey:
    """What a job shares with those that take turns with it: locks, and the reservoirs it draws from.

    A job that goes on after waiting has never let go of what it holds; one that was taken in spite of its stock waits
    for none. Why a turn for reservoirs: small jobs would otherwise pass a large one for ever.
    """
    if job.state is not JobState.QUEUED:
        return ((), ())
    return (job.lock_names, () if job.needs is None or job.override is not None else tuple(sorted(job.needs)))


def _held(job: Job, hold: Hold) -> Cause:
    return Cause(hold.code, f"{hold.reason}; `labctl job release {job.id}` lets it go", {"since": hold.since})

"""Jobs that become ready later: a bounded window of the nearest ones, the rest in the database."""

from __future__ import annotations

from heapq import heappop, heappush

from labd.engine.job import Job, JobState

WINDOW = 4000
LOW_WATER = 1000
END = (float("inf"), 0)


class DelayedJobs:
    """The nearest jobs with a `run_at` ahead.

    Args:
        jobs: The dictionary that the job book looks into; kept up to date here.
    """

    def __init__(self, jobs: dict[int, Job]) -> None:
        self.jobs = jobs
        self.window_end = END
        self.filling = False
        self._heap: list[tuple[float, int]] = []
        self._late: list[Job] = []

    def offer(self, job: Job) -> None:
        """A job whose time has not come; behind the window it is left to the database."""
        if (job.run_at, job.id) > self.window_end:
            if self.filling:
                self._late.append(job)
            return
        self.jobs[job.id] = job
        heappush(self._heap, (job.run_at, job.id))
        if len(self.jobs) > 2 * WINDOW:
            self._heap = sorted(place for place in self._heap if self._is_current(place))
            for _, job_id in self._heap[WINDOW:]:
                del self.jobs[job_id]
            del self._heap[WINDOW:]
            self.window_end = self._heap[-1]

    def withdraw(self, job: Job) -> None:
        """A job that no longer waits for its time."""
        self.jobs.pop(job.id, None)

    def due(self, now: float) -> list[Job]:
        """Jobs whose time has come; they leave."""
        found: list[Job] = []
        while self._heap and self._heap[0][0] <= now:
            place = heappop(self._heap)
            if self._is_current(place):
                found.append(self.jobs.pop(place[1]))
        return found

    def next_at(self) -> float | None:
        """When the next one is due."""
        while self._heap and not self._is_current(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def is_low(self) -> bool:
        """True if the database has more than the window and the window runs low."""
        return self.window_end != END and not self.filling and len(self.jobs) < LOW_WATER

    def filled(self, jobs: list[Job], *, exhausted: bool, changed: set[int]) -> None:
        """Jobs read behind the window; see `Dispatcher.filled`."""
        self.filling = False
        self.window_end = END if exhausted else (jobs[-1].run_at, jobs[-1].id)
        late, self._late = self._late, []
        for job in [*(j for j in jobs if j.id not in changed), *late]:
            if job.state is JobState.QUEUED and job.hold is None and job.id not in self.jobs:
                self.offer(job)

    def _is_current(self, place: tuple[float, int]) -> bool:
        job = self.jobs.get(place[1])
        return job is not None and job.run_at == place[0]

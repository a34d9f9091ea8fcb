"""Drives the dispatcher: starts what is ready, wakes when a time has come, reads on when a window runs low."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from labd.clock import Clock
from labd.engine import recovery, rows
from labd.engine.delayed import DelayedJobs
from labd.engine.dispatcher import Dispatcher
from labd.engine.job import Hold, Job
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.registry import Registry
from labd.engine.runs import Runs

FILL = 500
LONGEST_TIMER_S = 15.0


class Pump:
    """Between the ready jobs in memory, those on disk, and the runs.

    Args:
        spawn: Runs a coroutine beside, under a name.
    """

    def __init__(
        self, book: JobBook, dispatcher: Dispatcher, delayed: DelayedJobs, journal: Journal, registry: Registry,
        clock: Clock, spawn: Callable[[Any, str], None],
    ) -> None:  # fmt: skip
        self._book = book
        self._dispatcher = dispatcher
        self._delayed = delayed
        self._journal = journal
        self._registry = registry
        self._clock = clock
        self._spawn = spawn
        self._runs: Runs
        self._woken = False
        self._is_open = False
        self._due_timer: asyncio.TimerHandle | None = None

    async def open(self, runs: Runs) -> None:
        """Read the first window and let jobs start."""
        self._runs = runs
        for lane in self._dispatcher.lanes.values():
            if lane.queued:
                lane.window_end = (float("-inf"), 0)
        self._delayed.window_end = (float("-inf"), 0)
        await self.fill()
        self._is_open = True
        self.wake()

    def close(self) -> None:
        """Start nothing more."""
        self._is_open = False
        if self._due_timer is not None:
            self._due_timer.cancel()

    def wake(self) -> None:
        """Look for jobs to start, at the next turn of the loop."""
        if not self._woken and self._is_open:
            self._woken = True
            asyncio.get_running_loop().call_soon(self.pump)

    def pump(self) -> None:
        """Start what may start now."""
        self._woken = False
        if not self._is_open:
            return
        for job in self._delayed.due(self._clock.wall()):
            self._dispatcher.offer(job)
        if self._runs.start_ready():
            self.wake()
        if self._dispatcher.lanes_to_fill() or self._delayed.is_low():
            self._spawn(self.fill(), "fill")
        self._set_timer()

    def _set_timer(self) -> None:
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        at = self._delayed.next_at()
        if at is not None:
            wait_s = min(max(at - self._clock.wall(), 0.001), LONGEST_TIMER_S)
            self._due_timer = asyncio.get_running_loop().call_later(wait_s, self.wake)

    async def fill(self) -> None:
        """Read the next waiting jobs of every queue whose window runs low."""
        book = self._book
        lanes = self._dispatcher.lanes_to_fill()
        delayed = self._delayed.is_low()
        for lane in lanes:
            lane.filling = True
        self._delayed.filling = self._delayed.filling or delayed
        async with book.reading() as changed:
            now = self._clock.wall()
            for lane in lanes:
                found = await self._journal.read("ready_after", lane.name, *lane.window_end, now, FILL)
                jobs = self._known(found, changed)
                end = (found[-1][8], found[-1][0]) if found else None
                self._dispatcher.filled(lane, jobs, exhausted=len(found) < FILL, end=end, changed=changed)
            if delayed:
                found = await self._journal.read("delayed_after", *self._delayed.window_end, now, FILL)
                jobs = [rows.from_row(row) for row in found]
                self._delayed.filled(jobs, exhausted=len(found) < FILL, changed=changed)
        self.wake()

    def _known(self, found: list[tuple[Any, ...]], changed: set[int]) -> list[Job]:
        """The jobs of rows; one whose task no wing offers now is held until one does."""
        jobs: list[Job] = []
        live = self._book.live
        offered: dict[str, bool] = {}
        for row in found:
            job = self._book.current(row, changed)
            if job is None:
                continue
            known = offered.get(job.task)
            if known is None:
                known = offered[job.task] = recovery.knows(self._registry, job)
            if known:
                jobs.append(job)
                live[job.id] = job
            elif row[0] not in changed:
                self._runs.hold(job, Hold("task_missing", f"no wing offers {job.task} now", self._clock.wall()))
        return jobs

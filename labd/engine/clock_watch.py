"""Looks whether the wall clock has jumped, and what that means for jobs that wait by it.

A step forward is only told: what became due by it runs, what expired by it does not. A step back would let jobs wait
for an hour that has been before: a retry's pause and a physical job's expiry are durations, so they are brought
forward by as much as the clock was set back. A `run_at` that somebody asked for is an instant, and stays.

Why the newest event at a start: a board without a clock battery comes up in the past, and the daemon that could have
seen the step is gone.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from labd.clock import Clock, iso
from labd.engine import rows
from labd.engine.delayed import DelayedJobs
from labd.engine.dispatcher import rank
from labd.engine.job import Job, JobState
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal

log = structlog.get_logger()
STEP_S = 2.0


class ClockWatch:
    """Asked again and again by the engine's upkeep.

    Args:
        wait_for_turn: Puts a job whose `run_at` was changed where it is looked for.

    Attributes:
        steps: How often the clock was set, as far as it was seen and acted upon.
    """

    def __init__(
        self, book: JobBook, journal: Journal, delayed: DelayedJobs, clock: Clock, ageing_s: float,
        wait_for_turn: Callable[[Job], None],
    ) -> None:  # fmt: skip
        self._book = book
        self._journal = journal
        self._delayed = delayed
        self._clock = clock
        self._ageing_s = ageing_s
        self._wait_for_turn = wait_for_turn
        self._offset = self._now_offset()
        self.steps = 0

    def _now_offset(self) -> float:
        return self._clock.wall() - self._clock.monotonic()

    async def begin(self) -> None:
        """Hold the clock against the newest instant that the journal knows; before jobs run."""
        self._offset = self._now_offset()
        newest = (await self._journal.read("newest_instant"))[0][0]
        if newest is not None and self._clock.wall() - newest < -STEP_S:
            await self._stepped(self._clock.wall() - newest)
            await self._journal.settle()

    async def look(self) -> bool:
        """Whether the clock was set since the last look; if so it is told, and acted upon."""
        offset = self._now_offset()
        by_s, self._offset = offset - self._offset, offset
        if abs(by_s) <= STEP_S:
            return False
        await self._stepped(by_s)
        return True

    async def _stepped(self, by_s: float) -> None:
        log.warning("clock.stepped", by_s=round(by_s, 3))
        self._book.publish("clock.stepped", {"by_s": round(by_s, 3)})
        if by_s < 0:
            await self._set_back(by_s)
        self.steps += 1

    async def _set_back(self, by_s: float) -> None:
        now = self._clock.wall()
        for job in await self._found("pausing_after", now):
            if job.attempt > 0 and job.run_at > max(now, job.created_at):
                self._delayed.withdraw(job)
                job.run_at = max(now, job.run_at + by_s)
                job.rank = rank(job.priority, job.run_at, self._ageing_s)
                self._book.change(job, "job.rescheduled", None, {"run_at": iso(job.run_at)})
                self._wait_for_turn(job)
        for job in await self._found("queued_physical"):
            if job.effect == "physical" and job.expires_at is not None and job.expires_at > now - by_s:
                job.expires_at += by_s
                self._book.change(job, "job.rescheduled", None, {"expires_at": iso(job.expires_at)})

    async def _found(self, query: str, *parameters: float) -> list[Job]:
        """Queued jobs of a query, and all that are in memory, of which the disk may not know yet."""
        read = await self._journal.read(query, *parameters)
        live = self._book.live
        found = {row[0]: live.get(row[0]) or rows.from_row(row) for row in read} | live
        return [job for job in found.values() if job.state is JobState.QUEUED]

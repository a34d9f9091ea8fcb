"""Looks whether the wall clock has jumped, and what that means for jobs that wait by it.

A retry's pause and the time that a motion may wait are durations, so they go with the clock: a step back would let
jobs wait for an hour that has been before, a step forward would cancel motions that waited for a second. A `run_at`
that somebody asked for is an instant, and stays; an `expires_at` that somebody asked for may only come sooner.

Why the events are looked at when a daemon starts: a board without a clock battery comes up in the past, and a daemon
may die between a step and its look; so the latest instant counts, since the last step that was told.
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
A_MOMENT_S = 0.001


class ClockWatch:
    """Asked again and again by the engine's upkeep.

    Args:
        wait_for_turn: Puts a job whose `run_at` was changed where it is looked for.
        expiry_s: How long a job may wait where nobody said.

    Attributes:
        steps: How often the clock was set, as far as it was seen and acted upon.
    """

    def __init__(
        self, book: JobBook, journal: Journal, delayed: DelayedJobs, clock: Clock, ageing_s: float,
        wait_for_turn: Callable[[Job], None], expiry_s: Callable[[Job], float],
    ) -> None:  # fmt: skip
        self._book = book
        self._journal = journal
        self._delayed = delayed
        self._clock = clock
        self._ageing_s = ageing_s
        self._wait_for_turn = wait_for_turn
        self._expiry_s = expiry_s
        self._offset = self._now_offset()
        self._seen_id = 0
        self.steps = 0

    def _now_offset(self) -> float:
        return self._clock.wall() - self._clock.monotonic()

    def expiry_now(self) -> float:
        """The instant by which jobs expire: a jump since the last look cancels none, wherever it went."""
        return min(self._clock.wall(), self._clock.monotonic() + self._offset)

    async def begin(self) -> None:
        """Hold the clock against the newest instant that the journal knows; before jobs run."""
        self._offset, self._seen_id = self._now_offset(), self._book.last_id
        newest = (await self._journal.read("newest_instant"))[0][0]
        if newest is not None and self._clock.wall() - newest < -STEP_S:
            await self._stepped(self._clock.wall() - newest)
            await self._journal.settle()

    async def look(self) -> bool:
        """Whether the clock was set since the last look; if so it is told, and acted upon."""
        offset = self._now_offset()
        by_s, self._offset = offset - self._offset, offset
        if abs(by_s) > STEP_S:
            await self._stepped(by_s)
        self._seen_id = self._book.last_id
        return abs(by_s) > STEP_S

    async def _stepped(self, by_s: float) -> None:
        log.warning("clock.stepped", by_s=round(by_s, 3))
        self._book.publish("clock.stepped", {"by_s": round(by_s, 3)})
        if by_s < 0:
            await self._shorten_pauses(by_s)
        now = self._clock.wall()
        for job in await self._found("queued_physical"):
            until = job.expires_at
            if job.effect != "physical" or until is None or not self._is_older(job, by_s, now) or until <= now - by_s:
                continue
            if by_s < 0 or abs(until - job.run_at - self._expiry_s(job)) < A_MOMENT_S:
                job.expires_at = until + by_s
                self._book.change(job, "job.rescheduled", None, {"expires_at": iso(job.expires_at)})
        self.steps += 1

    async def _shorten_pauses(self, by_s: float) -> None:
        now = self._clock.wall()
        for job in await self._found("pausing_after", now):
            if (job.attempt > 0 or job.schedule is not None) and job.run_at > max(now, job.created_at):
                self._delayed.withdraw(job)
                shifted = job.run_at + by_s
                job.run_at = shifted if shifted > max(now, job.created_at) else now  # nothing is due before it was made
                job.rank = rank(job.priority, job.run_at, self._ageing_s)
                self._book.change(job, "job.rescheduled", None, {"run_at": iso(job.run_at)})
                self._wait_for_turn(job)

    def _is_older(self, job: Job, by_s: float, now: float) -> bool:
        """Whether its times are those of the clock before the step."""
        if job.id <= self._seen_id:
            return True
        return job.created_at > now if by_s < 0 else job.created_at <= now - by_s

    async def _found(self, query: str, *parameters: float) -> list[Job]:
        """Queued jobs of a query, and all that are in memory, of which the disk may not know yet."""
        read = await self._journal.read(query, *parameters)
        live = self._book.live
        found = {row[0]: live.get(row[0]) or rows.from_row(row) for row in read} | live
        return [job for job in found.values() if job.state is JobState.QUEUED]

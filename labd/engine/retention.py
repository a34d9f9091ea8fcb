"""Keeps the files small: ended jobs go by age and by number, in bounded bites between two commits."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from labd.clock import Clock
from labd.engine import sql, store
from labd.engine.journal import Journal
from labd.engine.logbook import Logbook

BITE = 500
BITES_PER_ROUND = 40


class Retention:
    """What may go, and when.

    Args:
        keep_s: Ended jobs older than this go.
        keep_jobs: Beyond this many rows the oldest ended ones go.
        keep_lines_s: Log lines and readings older than this go, those of jobs that are kept as well.
    """

    def __init__(
        self, journal: Journal, logbook: Logbook, clock: Clock, keep_s: float, keep_jobs: int, keep_lines_s: float
    ) -> None:
        self._journal = journal
        self._logbook = logbook
        self._clock = clock
        self._queries = sql.queries()
        self.wings: list[Callable[[float, int], Awaitable[None]]] = []
        """Rounds of the wings, with the instant before which things go and the number that is kept."""
        self.keep_s = keep_s
        self.keep_jobs = keep_jobs
        self.keep_lines_s = keep_lines_s

    async def sweep(self) -> int:
        """One round; returns how many jobs went. Stops early when there is no more to do."""
        gone = 0
        before = self._clock.wall() - self.keep_s
        surplus = (await self._journal.look("jobs_total"))[0][0] - self.keep_jobs
        for _ in range(BITES_PER_ROUND):
            ids = [row[0] for row in await self._journal.look("ended_before", 0, before, BITE)]
            if not ids and surplus > 0:
                ids = [row[0] for row in await self._journal.look("ended_lowest", 0, min(BITE, surplus))]
            if not ids:
                break
            await self._journal.commit()
            self._journal.put_fact("job_id_floor", max(ids))
            self._journal.put_fact("seq_floor", self._journal.last_seq)
            listed = json.dumps(ids)
            self._journal.execute("delete_events_of_jobs", listed)
            self._journal.execute("delete_steps_of_jobs", listed)
            self._journal.execute("delete_cached_of_jobs", listed)
            self._journal.execute("delete_jobs", listed)
            await self._journal.commit()
            await self._logbook.delete_lines(ids)
            gone += len(ids)
            surplus -= len(ids)
        self._journal.execute("delete_events_before", self._journal.durable_seq, before, BITE * BITES_PER_ROUND)
        self._journal.execute("delete_cached_before", self._clock.wall())
        await self._journal.commit()
        for sweep in self.wings:
            await sweep(before, self.keep_jobs)
        await self._journal.write(store.free_pages)
        await self._logbook.forget_before(self._clock.wall() - self.keep_lines_s)
        return gone

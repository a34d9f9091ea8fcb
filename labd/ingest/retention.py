"""Old runs go with their batches, by the engine's age and number; so does the ledger of a deleted ingestion.

Kept whatever their age: each ingestion's newest run, those that go on, those with a batch of which nobody knows yet
what became of it; and the ledger and the schema versions of every ingestion that is not deleted.
Why the highest run that went is noted: its tokens still stand in the table, and are not to be taken for forgotten ones.
"""

from __future__ import annotations

import json

from labd.engine.engine import Engine
from labd.ingest.book import IngestBook
from labd.ingest.record import State

BITE = 200  # runs in a commit
FILES_BITE = 5000
BITES = 20  # in a round


class RunRetention:
    """What may go.

    Args:
        engine: Its journal holds the tables; its retention tells when, how old and how many.
    """

    def __init__(self, engine: Engine, book: IngestBook) -> None:
        self._engine = engine
        self._book = book

    async def sweep(self, before: float, keep: int) -> None:
        """One round.

        Args:
            before: Runs that ended earlier go, seconds since 1970.
            keep: Beyond this many runs the oldest go.
        """
        journal = self._engine.journal
        surplus = (await journal.read("ingest.runs_total"))[0][0] - keep
        for _ in range(BITES):
            rows = await journal.read("ingest.old_runs", before, BITE)
            if not rows and surplus > 0:
                rows = await journal.read("ingest.lowest_runs", min(BITE, surplus))
            if not rows:
                break
            ids = json.dumps([run for run, _ in rows])
            for run, number in rows:
                record = self._book.of_number(number)
                record.facts.swept_run = max(record.facts.swept_run, run)
            for number in {number for _, number in rows}:
                self._book.put_facts(self._book.of_number(number))
            journal.execute("ingest.delete_batches_of", ids)
            journal.execute("ingest.delete_runs", ids)
            await journal.commit()
            surplus -= len(rows)
        for record in self._book.definitions(deleted=True):
            if record.state is State.DELETED and record.updated_at < before:
                await self._forget(record.number)

    async def _forget(self, number: int) -> None:
        journal = self._engine.journal
        for _ in range(BITES):
            if not (await journal.read("ingest.files_left", number))[0][0]:
                return
            journal.execute("ingest.forget_some", number, FILES_BITE)
            await journal.commit()

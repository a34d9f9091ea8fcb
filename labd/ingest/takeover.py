"""Commits that a table has and the ledger does not know: what they hold is noted as loaded, or a person is asked.

Why that can be: the journal was put back to an older state (`labd restore`, a snapshot of the machine), the table was
not. Every commit carries the token of its batch, and every batch is in the ledger before it is loaded; so a token that
the ledger does not know is of a batch that it has forgotten, and the files of that batch look new.

Why only before something is taken: a run that finds nothing new cannot load anything twice, and asks no table.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from labd.engine.engine import Engine
from labd.engine.job import INTERNAL
from labd.errors import TableRefused
from labd.ingest.book import IngestBook
from labd.ingest.ledger import FileLedger
from labd.ingest.port import FoundFile, TableEngine, TableName
from labd.ingest.record import FileMark, Record, Run

TOLD = 3
log = structlog.get_logger("ingest")


class Takeover:
    """Looks, and takes over.

    Args:
        engine_of, table_of: The engine and the table of an ingestion.
    """

    def __init__(
        self, engine: Engine, book: IngestBook, ledger: FileLedger, engine_of: Callable[[Record], TableEngine],
        table_of: Callable[[Record], TableName],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._book = book
        self._ledger = ledger
        self._engine_of = engine_of
        self._table_of = table_of

    async def take_over(self, record: Record, run: Run) -> int | None:
        """Note what forgotten commits hold; the number of the batch that stands for them, None if there were none.

        Raises:
            TableRefused: The table does not say which files they hold; says what a person can do.
        """
        forgotten = await self._forgotten(record)
        if not forgotten:
            return None
        numbers = {token: number_of(token) for token in forgotten}
        found = await self._engine_of(record).find_files(self._table_of(record), sorted(numbers.values()))
        told = {file.number for file in found or ()}
        silent = [token for token, number in numbers.items() if number not in told]
        if found is None or (silent and record.definition.changed != "replace-rows"):
            raise self._refusal(record, silent or forgotten)  # rows that others replaced have left no trace either
        files = newest(found, [numbers[token] for token in forgotten], record.definition.source.url)
        number = self._ledger.take_over(run, [(path, file.version, file.rows) for path, file in files.items()])
        await self._void(record, run, {path: file.version for path, file in files.items()}, forgotten)
        self._account(record, forgotten)
        facts = {"ingestion": record.name, "run": run.id, "commits": len(forgotten), "files": len(files)}
        self._engine.audit(INTERNAL, "ingestion.taken_over", record.resource, facts)
        self._engine.publish("ingestion.taken_over", facts, run.job_id)
        await self._book.commit()
        log.warning("ingestion.taken_over", **facts)
        return number

    async def account(self, record: Record) -> int:
        """A person has said which files are in the table: its commits need no other word. Returns how many."""
        forgotten = await self._forgotten(record)
        if forgotten:
            self._account(record, forgotten)
            await self._book.commit()
        return len(forgotten)

    async def _forgotten(self, record: Record) -> list[str]:
        """Tokens of this ingestion in the table that no batch of the ledger has, oldest first."""
        shown = await self._engine_of(record).find_commits(self._table_of(record), record.id)
        facts = record.facts
        facts.accounted = [token for token in facts.accounted if token in shown]
        known = {*facts.accounted, *await self._ledger.known_tokens(shown)}
        return [token for token in shown if token not in known and run_of(token) > facts.swept_run]

    def _account(self, record: Record, tokens: list[str]) -> None:
        record.facts.accounted = [*record.facts.accounted, *tokens]
        self._book.put_facts(record)

    async def _void(self, record: Record, run: Run, files: dict[str, str], tokens: list[str]) -> None:
        """Batches that were open in the older state and whose files came in by a later batch: nothing is left of them.

        One whose own token is in the table is left to its load, which finds it there.
        """
        for batch in await self._ledger.open_batches(record):
            refs = await self._ledger.batch(batch.run, batch.number)
            if batch.token not in tokens and any(files.get(ref.path) == ref.version for ref in refs):
                there = await self._engine_of(record).find_tokens(self._table_of(record), [batch.token])
                if not there:
                    self._ledger.put_back(batch.run, batch.number, FileMark.PENDING, run)

    @staticmethod
    def _refusal(record: Record, tokens: list[str]) -> TableRefused:
        more = f" and {len(tokens) - TOLD} more" if len(tokens) > TOLD else ""
        return TableRefused(
            f"ingestion {record.name}: {record.destination} has {len(tokens)} commits that the ledger does not know "
            f"({', '.join(tokens[:TOLD])}{more}), as after a restore of an older state, and does not say which files "
            f"they hold; nothing is loaded. Note the files that are in with `labctl ingest adopt {record.name} "
            f"--until TIME`, or load all again with `labctl ingest refresh {record.name} --full`",
            ingestion=record.name, commits=len(tokens), tokens=tokens[:100],
        )  # fmt: skip


def number_of(token: str) -> int:
    """`Batch.number` of a token, which ends in it."""
    return int(token.rpartition("-")[2], 16)


def run_of(token: str) -> int:
    """The run that took the batch of a token."""
    return int(token.split("-")[1])


def newest(found: list[FoundFile], numbers: list[int], url: str) -> dict[str, FoundFile]:
    """By path the version that came last; rows of all versions count with none but their own."""
    order, first = {number: place for place, number in enumerate(numbers)}, f"{url.rstrip('/')}/"
    files = sorted((file for file in found if file.url.startswith(first)), key=lambda file: order[file.number])
    return {file.url.removeprefix(first): file for file in files}

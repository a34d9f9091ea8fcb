"""The book, the runs and the ledger of the ingest wing on a real journal, through several lives of the daemon."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from labd.engine.engine import Engine
from labd.engine.job import Caller
from labd.engine.registry import Registry
from labd.engine.schema import Schema
from labd.ingest.book import IngestBook
from labd.ingest.definition import Definition, Destination, Format, Source
from labd.ingest.ledger import FileLedger
from labd.ingest.port import BatchReport, FileRef, FileReport
from labd.ingest.record import BatchRecord, Record, Run, Seen
from labd.ingest.runs import RunBook
from tests.fakes.clock import FakeClock

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))
Entry = tuple[str, str, int, float]


def definition(name: str = "readings", **given: Any) -> Definition:
    """A small one; `given` are fields that say something else."""
    fields: dict[str, Any] = {
        "source": Source(url="file:///srv/in"),
        "format": Format(type="jsonl"),
        "destination": Destination(namespace="lab", table=name.replace("-", "_")),
    }
    return Definition(name=name, **{**fields, **given})


def page(*entries: Entry) -> str:
    """As a source lists."""
    return json.dumps(entries)


def entry(path: str, version: str = "v1", size_bytes: int = 100) -> Entry:
    """One file of a listing."""
    return path, version, size_bytes, 1_700_000_000.25


def refs(seen: Iterable[Seen]) -> list[FileRef]:
    """To be taken as they are."""
    return [file.to_ref() for file in seen]


def report(batch: BatchRecord, *files: FileReport, **given: Any) -> BatchReport:
    """A committed batch."""
    rows = sum(file.rows for file in files)
    return BatchReport(**{"state": "committed", "token": batch.token, "files": list(files), "rows": rows, **given})


class LedgerHouse:
    """One state folder."""

    engine: Engine
    book: IngestBook
    runs: RunBook
    ledger: FileLedger

    def __init__(self, state_dir: Path, seed: int = 1) -> None:
        self.state_dir = state_dir
        self.clock = FakeClock()
        self._seed = seed

    @asynccontextmanager
    async def open(self) -> AsyncIterator[LedgerHouse]:
        """One life; closed on the way out, with every promise of the database kept."""
        self._seed += 1
        random = Random(self._seed)
        schema = Schema("ingest", "labd.ingest.sql")
        self.engine = Engine(self.state_dir, Registry(), self.clock, random, schemas=[schema])
        await self.engine.open()
        self.book = IngestBook(self.engine, self.clock, random)
        self.runs = RunBook(self.engine, self.clock)
        self.ledger = FileLedger(self.engine, self.clock, random, self.book, self.runs)
        try:
            for part in (self.book, self.runs, self.ledger):
                await part.open()
            yield self
            await self.commit()
            self.check_sums()
        finally:
            await self.engine.journal.close()
            await self.engine.logbook.close()

    async def commit(self) -> None:
        """Everything staged is on disk, and nothing of it was refused."""
        await self.engine.journal.commit()

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What is on disk."""
        opened = sqlite3.connect(self.state_dir / "labd.db")
        try:
            return opened.execute(statement, parameters).fetchall()
        finally:
            opened.close()

    def check_sums(self) -> None:
        """The sums that triggers keep are those of the files."""
        counted = self.sql(
            "SELECT ingestion, state, count(*), sum(rows), sum(size_bytes) FROM ingest_file GROUP BY 1, 2 ORDER BY 1, 2"
        )
        assert self.sql("SELECT * FROM ingest_sum WHERE files > 0 ORDER BY 1, 2") == counted

    def begin(self, record: Record, job_id: int = 1) -> Run:
        """A run by hand."""
        return self.runs.new_run(record, "manual", job_id)

    async def take(self, record: Record, run: Run, *entries: Entry) -> BatchRecord:
        """A batch of what is new of these, on disk."""
        batch = self.ledger.take(run, refs(await self.ledger.compare(record, page(*entries))))
        await self.commit()
        return batch

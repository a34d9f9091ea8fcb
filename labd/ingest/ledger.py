"""The file ledger: which version of which file is in the table, which is on its way, which is bad.

Why in SQL: a listing of a million files is compared page by page as the text it came in; only what is new or changed
becomes an object, and the work is done on the journal's reading thread, without the interpreter's lock.

Changes are staged in the same turn; the caller awaits `engine.journal.commit()`. Reads see everything staged before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import msgspec

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.errors import Conflict, NotFound
from labd.ingest import tables
from labd.ingest.book import IngestBook
from labd.ingest.port import BatchReport, FileFault, FileRef
from labd.ingest.record import (
    BatchRecord,
    FileCounts,
    FileMark,
    LedgerFile,
    OldFile,
    Record,
    Run,
    RunError,
    RunState,
    SchemaVersion,
    Seen,
    encode,
)
from labd.ingest.runs import RunBook

ASKABLE = (FileMark.QUARANTINED,)


class FileLedger:
    """Files, batches and schema versions of all ingestions.

    Args:
        engine: Its journal holds the tables.
        random: Makes the marks of batches.
        book, runs: Told of what a batch brought.
    """

    def __init__(self, engine: Engine, clock: Clock, random: Random, book: IngestBook, runs: RunBook) -> None:
        self._engine = engine
        self._clock = clock
        self._random = random
        self._book = book
        self._runs = runs
        self._open: dict[tuple[int, int], BatchRecord] = {}

    async def open(self) -> None:
        """Read the batches that the last daemon left open."""

    async def compare(self, ingestion: Record, page: str) -> list[Seen]:
        """What of a page of a listing is new, changed, back again or asked for again, in the page's order.

        Args:
            page: `Page.entries`, as it is.
        """

    async def waiting(self, ingestion: Record, limit: int = 10_000) -> list[Seen]:
        """Files that were asked for again, or changed while they were read, and are in no batch; as last listed.

        For what no listing of this run has shown: `compare` gives them as well.
        """

    def take(self, run: Run, files: Sequence[FileRef]) -> BatchRecord:
        """A new batch of a going run: its token, its mark and its composition are durable with the next commit."""

    def mark(self, ingestion: Record, seen: Iterable[Seen], state: FileMark, run: Run, fault: FileFault) -> int:
        """Note changed files that are not to be loaded: `ignored`, or `held` for a person; with the reason.

        Returns:
            How many; they are counted in the run.
        """

    async def batch(self, run: int, number: int) -> list[FileRef]:
        """The composition of an open batch, as it was taken.

        Raises:
            NotFound: There is no such batch, or it is settled.
        """

    def batch_record(self, run: int, number: int) -> BatchRecord:
        """An open batch, with its token.

        Raises:
            NotFound: There is no such batch, or it is settled.
        """

    def settle(self, run: int, number: int, report: BatchReport, by: Run) -> bool:
        """What became of a batch: its files, its counts in the run `by`, the schema's new version; in one commit.

        A report `approval` leaves the batch open until `approve` or `put_back`.

        Returns:
            False if the batch was settled before; nothing has changed then.
        """

    def approve(self, run: int, number: int, keys: Sequence[str]) -> None:
        """A person allows these schema changes; the batch is open again."""

    def put_back(self, run: int, number: int, state: FileMark, by: Run, fault: FileFault | None = None) -> int:
        """Give a batch up that is certainly not in the table: its files are `held` with the reason, or `pending` again.

        Only after `find_tokens` said that its token is not there.
        """

    async def open_batches(self, ingestion: Record, but: int | None = None) -> list[BatchRecord]:
        """Batches that have not ended, oldest first; those of run `but` left out."""

    async def batches(self, run: int) -> list[BatchRecord]:
        """All batches of a run."""

    async def file(self, ingestion: Record, path: str) -> LedgerFile:
        """One file.

        Raises:
            NotFound: The ledger has none of this path.
        """

    async def files(
        self, ingestion: Record, state: FileMark | None = None, run: int | None = None, match: str | None = None,
        limit: int = 200, after: str = "",
    ) -> list[LedgerFile]:  # fmt: skip
        """A page by path; `match` is a glob over the whole path (`*` crosses folders), `after` the last path before."""

    async def counts(self, ingestion: Record) -> dict[FileMark, FileCounts]:
        """Files, rows and bytes by state; at no cost however many there are."""

    async def requeue(
        self, ingestion: Record, paths: Sequence[str] | None = None, states: Sequence[FileMark] = ASKABLE
    ) -> int:
        """Ask for files again: the next run takes them. All of these states, or the named ones of them.

        Returns:
            How many.
        """

    async def forget(self, ingestion: Record) -> int:
        """Forget all files, for a full refresh once the table is dropped: the next run finds everything new.

        Raises:
            Conflict: A batch is open; what is in it may be in the table.
        """

    async def schemas(self, ingestion: Record) -> list[SchemaVersion]:
        """Every version of the table's columns, newest first."""

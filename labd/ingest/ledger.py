"""The file ledger: which version of which file is in the table, which is on its way, which is bad.

Why in two looks: nearly all of a listing is known and as it was. So a page is first compared with the stretch of the
ledger between its first and its last path, which SQLite reads in one go and without the interpreter's lock; what is
not found there in that version is looked up path by path.

Changes are staged in the same turn; the caller awaits `engine.journal.commit()`. Reads see everything staged before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from random import Random
from typing import Any

import msgspec

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.errors import Conflict, NotFound
from labd.ingest import tables
from labd.ingest.book import IngestBook
from labd.ingest.port import BatchReport, FileFault, FileRef
from labd.ingest.record import (
    BatchRecord,
    BatchState,
    FileCounts,
    FileMark,
    LedgerFile,
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
PIECE = 5000
"""So many files are changed in one statement where all of them may be meant."""
STRETCH, MANY = 2, 1000
"""So many times a page's files, and so many more, are read of the ledger at once: a page may be thinly spread over it,
and what is not among them is looked up."""


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
        for row in await self._engine.journal.read("ingest.open_batches"):
            batch = tables.batch(row)
            self._open[batch.key] = batch

    async def compare(self, ingestion: Record, page: str) -> list[Seen]:
        """What of a page of a listing is new, changed, back again or asked for again, in the page's order.

        Args:
            page: `Page.entries`, as it is.
        """
        listed = tables.entries(page)
        if not listed:
            return []
        limit = STRETCH * len(listed) + MANY
        first, last = min(listed)[0], max(listed)[0]
        found = await self._read("ingest.known_between", ingestion.number, first, last, limit)
        known = tables.versions(found[0][0])
        if known:
            left = [entry for entry in listed if known.get(entry[0]) != entry[1]]
            if not left:
                return []
            page = encode(left)
        return [tables.seen(row) for row in await self._read("ingest.compare", ingestion.number, page)]

    async def waiting(self, ingestion: Record, limit: int = 10_000) -> list[Seen]:
        """Files that were asked for again, or changed while they were read, and are in no batch; as last listed.

        For what no listing of this run has shown: `compare` gives them as well.
        """
        return [tables.waiting(row) for row in await self._read("ingest.waiting", ingestion.number, limit)]

    def take(self, run: Run, files: Sequence[FileRef]) -> BatchRecord:
        """A new batch of a going run: its token, its mark and its composition are durable with the next commit."""
        if run.state is not RunState.RUNNING or not files:
            raise ValueError(f"run {run.id} is {run.state}, and {len(files)} files were to be taken")
        record, counts, now = self._book.of_number(run.ingestion), run.counts, self._clock.wall()
        counts.batches += 1
        counts.found += len(files)
        counts.changed += sum(file.policy != "new" for file in files)
        mark = self._random.getrandbits(62) + 1
        batch = BatchRecord(
            run.id, counts.batches, record.number, mark, f"labd-{run.id}-{counts.batches}-{mark:016x}", "open",
            len(files), sum(file.size_bytes for file in files), now,
        )  # fmt: skip
        self._open[batch.key] = batch
        record.facts.begun, record.facts.last_new_file_at = True, now
        text, journal = tables.composition(files), self._engine.journal
        journal.execute(
            "ingest.add_batch", batch.run, batch.number, batch.ingestion, batch.mark, batch.token, batch.files,
            batch.size_bytes, now, text,
        )  # fmt: skip
        journal.execute("ingest.take", record.number, batch.run, batch.number, now, text)
        self._book.put_facts(record)
        self._runs.put_run(run)
        return batch

    def mark(self, ingestion: Record, seen: Iterable[Seen], state: FileMark, run: Run, fault: FileFault) -> int:
        """Note changed files that are not to be loaded: `ignored`, or `held` for a person; with the reason.

        Returns:
            How many; they are counted in the run.
        """
        if state not in (FileMark.IGNORED, FileMark.HELD):
            raise ValueError(f"files are marked ignored or held, not {state}")
        files = list(seen)
        if not files:
            return 0
        if state is FileMark.HELD:
            run.counts.held += len(files)
            run.counts.noticed += len(files)
            for file in files:
                run.add_error(RunError(fault.code, fault.message, file.path, fault.place))
        else:
            run.counts.ignored += len(files)
        text = tables.listed(files)
        self._engine.journal.execute(
            "ingest.mark", ingestion.number, state.value, self._clock.wall(), encode(fault), text
        )
        self._runs.put_run(run)
        return len(files)

    def take_over(self, run: Run, files: Sequence[tuple[str, str, int]]) -> int:
        """Note files as loaded that are in the table by commits which the ledger does not know.

        Args:
            files: Path, version and rows. Sizes and times are not known; `fill` brings them from a listing.

        Returns:
            The number of the batch of `run` that stands for them; its own token is in no table.
        """
        counts, now, journal = run.counts, self._clock.wall(), self._engine.journal
        counts.batches += 1
        counts.taken_over += len(files)
        self._book.of_number(run.ingestion).facts.begun = True
        mark, number = self._random.getrandbits(62) + 1, counts.batches
        if files:
            token = f"labd-{run.id}-{number}-{mark:016x}"
            report = BatchReport("already", token, rows=sum(rows for _, _, rows in files))
            journal.execute("ingest.add_batch", run.id, number, run.ingestion, mark, token, len(files), 0, now, "[]")
            journal.execute("ingest.take_over", run.ingestion, run.id, number, now, encode(files))
            journal.execute("ingest.end_batch", run.id, number, "settled", encode(report), now, run.id)
        self._runs.put_run(run)
        return number

    def fill(self, run: Run, number: int, page: str) -> None:
        """Sizes and times of files that were taken over, from a page of the listing."""
        self._engine.journal.execute("ingest.fill", run.ingestion, run.id, number, page)

    async def known_tokens(self, tokens: Sequence[str]) -> list[str]:
        """Those of these that a batch has."""
        return [row[0] for row in await self._read("ingest.known_tokens", encode(list(tokens)))]

    async def batch(self, run: int, number: int) -> list[FileRef]:
        """The composition of an open batch, as it was taken.

        Raises:
            NotFound: There is no such batch, or it is settled.
        """
        record = self.batch_record(run, number)
        found = await self._read("ingest.composition", record.run, record.number)
        return tables.refs(found[0][0])

    def batch_record(self, run: int, number: int) -> BatchRecord:
        """An open batch, with its token.

        Raises:
            NotFound: There is no such batch, or it is settled.
        """
        found = self._open.get((run, number))
        if found is None:
            raise NotFound(f"batch {number} of run {run} is not open: it is settled, or was never taken", run=run)
        return found

    def settle(self, run: int, number: int, report: BatchReport, by: Run) -> bool:
        """What became of a batch: its files, its counts in the run `by`, the schema's new version; in one commit.

        A report `approval` leaves the batch open until `approve` or `put_back`.

        Returns:
            False if the batch was settled before; nothing has changed then.
        """
        batch = self._open.get((run, number))
        if batch is None:
            return False
        if report.token != batch.token:
            raise ValueError(f"batch {number} of run {run} has token {batch.token}, the report is of {report.token}")
        kept = msgspec.structs.replace(report, files=[])
        if report.state == "approval":
            self._change(batch, "approval", batch.approved, kept)
            return True
        now, journal = self._clock.wall(), self._engine.journal
        record = self._book.of_number(batch.ingestion)
        self._learn(record, batch, report, now)
        journal.execute("ingest.settle", batch.ingestion, batch.run, batch.number, now, tables.reports(report.files))
        journal.execute("ingest.put_back", batch.ingestion, batch.run, batch.number, "pending", None, 1)
        self._end(batch, "settled", kept, by, now)
        self._count(by, report)
        self._runs.put_run(by)
        return True

    def approve(self, run: int, number: int, keys: Sequence[str]) -> None:
        """A person allows these schema changes; the batch is open again."""
        batch = self.batch_record(run, number)
        self._change(batch, "open", sorted({*batch.approved, *keys}), None)

    def put_back(self, run: int, number: int, state: FileMark, by: Run, fault: FileFault | None = None) -> int:
        """Give a batch up that is certainly not in the table: its files are `held` with the reason, or `pending` again.

        Only after `find_tokens` said that its token is not there.
        """
        if state not in (FileMark.HELD, FileMark.PENDING) or (state is FileMark.HELD) != (fault is not None):
            raise ValueError(f"a batch is put back as pending, or as held with a reason, not {state} with {fault}")
        batch = self.batch_record(run, number)
        text = None if fault is None else encode(fault)
        self._engine.journal.execute("ingest.put_back", batch.ingestion, batch.run, batch.number, state.value, text, 0)
        self._end(batch, "void", None, by, self._clock.wall())
        if fault is not None:
            by.counts.held += batch.files
            by.add_error(RunError(fault.code, fault.message, place=fault.place))
        by.counts.settled += 1
        self._runs.put_run(by)
        return batch.files

    async def open_batches(self, ingestion: Record, but: int | None = None) -> list[BatchRecord]:
        """Batches that have not ended, oldest first; those of run `but` left out."""
        found = [b for b in self._open.values() if b.ingestion == ingestion.number and b.run != but]
        return sorted(found, key=lambda batch: batch.key)

    async def batches(self, run: int) -> list[BatchRecord]:
        """All batches of a run."""
        return [tables.batch(row) for row in await self._read("ingest.batches", run)]

    async def file(self, ingestion: Record, path: str) -> LedgerFile:
        """One file.

        Raises:
            NotFound: The ledger has none of this path.
        """
        found = await self._read("ingest.file", ingestion.number, path)
        if not found:
            text = f"ingestion {ingestion.name}: no file {path} in its ledger; `labctl ingest files` shows them"
            raise NotFound(text, ingestion=ingestion.name, path=path)
        return tables.ledger_file(found[0])

    async def files(
        self, ingestion: Record, state: FileMark | None = None, run: int | None = None, match: str | None = None,
        limit: int = 200, after: str = "",
    ) -> list[LedgerFile]:  # fmt: skip
        """A page by path; `match` is a glob over the whole path (`*` crosses folders), `after` the last path before."""
        name = "ingest.files" if state in (None, FileMark.LOADED) else "ingest.files_not_loaded"
        word = None if state is None else state.value
        rows = await self._read(name, ingestion.number, word, run, match, after, limit)
        return [tables.ledger_file(row) for row in rows]

    async def counts(self, ingestion: Record) -> dict[FileMark, FileCounts]:
        """Files, rows and bytes by state; at no cost however many there are."""
        return tables.counts(await self._read("ingest.counts", ingestion.number))

    async def requeue(
        self, ingestion: Record, paths: Sequence[str] | None = None, states: Sequence[FileMark] = ASKABLE
    ) -> int:
        """Ask for files again: the next run takes them. All of these states, or the named ones of them.

        Why in pieces, each on disk before the next: a million rows in one statement would keep the journal's writer
        from everybody else for seconds. Cut off in between, the rest can be asked for again.

        Returns:
            How many.
        """
        if FileMark.PENDING in states:
            raise ValueError("pending files are on their way already")
        words, count = encode([state.value for state in states]), 0
        async for piece in self._askable(ingestion, paths, words):
            self._engine.journal.execute("ingest.requeue", ingestion.number, words, encode(piece))
            await self._engine.journal.commit()
            count += len(piece)
        return count

    async def _askable(self, ingestion: Record, paths: Sequence[str] | None, words: str) -> AsyncIterator[list[str]]:
        """The paths of these states, some at a time."""
        if paths is not None:
            for begin in range(0, len(paths), PIECE):
                asked = encode(list(paths[begin : begin + PIECE]))
                if piece := [row[0] for row in await self._read("ingest.askable", ingestion.number, words, asked)]:
                    yield piece
            return
        after = ""
        while rows := await self._read("ingest.askable_after", ingestion.number, words, after, PIECE):
            after = rows[-1][0]
            yield [row[0] for row in rows]

    async def forget(self, ingestion: Record) -> int:
        """Forget all files, for a full refresh once the table is dropped: the next run finds everything new.

        In pieces, as `requeue`; cut off in between, a second call forgets the rest.

        Raises:
            Conflict: A batch is open; what is in it may be in the table.
        """
        going = await self.open_batches(ingestion)
        if going:
            raise Conflict(
                f"ingestion {ingestion.name}: {len(going)} batches are open, the first is {going[0].number} of run "
                f"{going[0].run}; run it until they have ended, or cancel that run",
                ingestion=ingestion.name, batches=len(going),
            )  # fmt: skip
        known = sum(count.files for count in (await self.counts(ingestion)).values())
        for _ in range(0, known, PIECE):
            self._engine.journal.execute("ingest.forget", ingestion.number, PIECE)
            await self._engine.journal.commit()
        facts = ingestion.facts
        facts.begun, facts.table_uuid, facts.columns, facts.after = False, None, [], None
        facts.last_full_list_at = None
        self._book.put_facts(ingestion)
        return known

    async def schemas(self, ingestion: Record) -> list[SchemaVersion]:
        """Every version of the table's columns, newest first."""
        return [tables.schema(row) for row in await self._read("ingest.schemas", ingestion.number)]

    async def commit(self) -> None:
        """Everything staged is on disk."""
        await self._engine.journal.commit()

    def _learn(self, record: Record, batch: BatchRecord, report: BatchReport, now: float) -> None:
        """What the report tells of the table: its id, its columns, a new version of these."""
        facts = record.facts
        facts.table_uuid = report.table_uuid or facts.table_uuid
        facts.exactly_once = report.exactly_once
        if report.columns and report.columns != facts.columns:
            facts.schema_version += 1
            facts.columns = report.columns
            path = next((change.path for change in report.changes if change.path), "")
            if not path:
                path = next((file.path for file in report.files if file.state == "loaded"), "")
            self._engine.journal.execute(
                "ingest.put_schema", record.number, facts.schema_version, encode(report.columns),
                encode(report.changes), batch.run, batch.number, path, now,
            )  # fmt: skip
        self._book.put_facts(record)

    def _change(self, batch: BatchRecord, state: BatchState, approved: list[str], report: BatchReport | None) -> None:
        batch.state, batch.approved, batch.report = state, approved, report
        text = None if report is None else encode(report)
        self._engine.journal.execute("ingest.change_batch", batch.run, batch.number, state, encode(approved), text)

    def _end(self, batch: BatchRecord, state: BatchState, report: BatchReport | None, by: Run, now: float) -> None:
        del self._open[batch.key]
        batch.state, batch.report, batch.settled_at, batch.settled_by = state, report, now, by.id
        text = None if report is None else encode(report)
        self._engine.journal.execute("ingest.end_batch", batch.run, batch.number, state, text, now, by.id)

    @staticmethod
    def _count(by: Run, report: BatchReport) -> None:
        counts = by.counts
        counts.settled += 1
        for file in report.files:
            name = "moved" if file.state == "changed" else file.state
            setattr(counts, name, getattr(counts, name) + 1)
            counts.rescued += file.rescued
            if file.state in ("quarantined", "vanished") and file.fault is not None:
                by.add_error(RunError(file.fault.code, file.fault.message, file.path, file.fault.place))
        counts.rows += report.rows
        counts.bytes_in += report.bytes_in
        counts.bytes_out += report.bytes_out
        by.body.snapshot_id = report.snapshot_id or by.body.snapshot_id
        for step, took_s in report.seconds.items():
            by.body.seconds[step] = by.body.seconds.get(step, 0.0) + took_s

    async def _read(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        await self._engine.journal.settle()
        return await self._engine.journal.read(name, *parameters)

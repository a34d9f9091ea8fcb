"""What is new at a source: its listing, page by page, compared with the ledger and taken into batches.

Why never by a time: clocks of writers differ and files come late. A source whose names ascend is listed from where the
last listing came to, and as a whole now and then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from labd.clock import Clock
from labd.engine.registry import JobContext
from labd.ingest import batching
from labd.ingest.book import IngestBook
from labd.ingest.ledger import FileLedger
from labd.ingest.port import Page
from labd.ingest.record import FileMark, Record, Run, RunError
from labd.ingest.runs import RunBook
from labd.ingest.takeover import Takeover


class Discovery:
    """Finds files and takes them.

    Args:
        pages: The listing of an ingestion's source, from a path on.
    """

    def __init__(
        self, book: IngestBook, runs: RunBook, ledger: FileLedger, clock: Clock,
        pages: Callable[[Record, str | None], AsyncIterator[Page]], takeover: Takeover,
    ) -> None:  # fmt: skip
        self._book = book
        self._runs = runs
        self._ledger = ledger
        self._clock = clock
        self._pages = pages
        self._takeover = takeover

    async def discover(self, ctx: JobContext, record: Record, run: Run) -> None:
        """All of it, or only what lies behind the last listing where names ascend; on disk when it returns."""
        facts, definition, now = record.facts, record.definition, self._clock.wall()
        only = frozenset(run.body.only) if run.body.only else None
        is_due = _is_due(facts.last_full_list_at, definition.source.full_list_s, now)
        whole = run.body.full or only is not None or is_due or not definition.source.lexical
        after = reached = None if whole else facts.after
        run.counts.listed = run.counts.unsettled = 0
        run.body.denied = []
        most = definition.limits.run_files
        batcher = batching.Batcher(definition.limits, None if most is None else most - run.counts.found)
        known = _Known(self._takeover, self._ledger, record, run, ctx)
        async for page in self._pages(record, after):
            last = await self._take_page(record, run, page, batcher, only, known)
            reached = max(reached or "", last) if last is not None else reached
            ctx.progress(run.counts.listed, None, f"{run.counts.found} of {run.counts.listed} files are to be loaded")
            if batcher.is_full:
                break
        if after is not None and not batcher.is_full:
            waiting = await self._ledger.waiting(record)
            if waiting and await known.look():
                waiting = await self._ledger.waiting(record)
            asked = batching.sort(waiting, definition.changed, only)
            self._take(run, batcher.add(asked.taken))
        self._take(run, [batcher.rest()])
        passed_over = run.counts.unsettled or run.body.denied or batcher.is_full or only is not None
        if not passed_over:  # else it must be listed again
            facts.after = reached
            facts.last_full_list_at = now if whole else facts.last_full_list_at
        if run.counts.found:
            facts.last_new_file_at = now
        for prefix, reason in run.body.denied:
            run.add_error(RunError("source_refused", f"{prefix} cannot be listed: {reason}", prefix))
        self._book.put_facts(record)
        self._runs.put_run(run)
        await self._book.commit()

    async def _take_page(
        self, record: Record, run: Run, page: Page, batcher: batching.Batcher, only: frozenset[str] | None,
        known: _Known,
    ) -> str | None:  # fmt: skip
        """Compare a page and take what is to be loaded; returns the path that the listing has reached."""
        run.counts.listed += page.count
        run.counts.unsettled += page.unsettled
        run.body.denied += page.denied
        seen = await self._ledger.compare(record, page.entries)
        if seen and await known.look():
            seen = await self._ledger.compare(record, page.entries)
        known.fill(page)
        found = batching.sort(seen, record.definition.changed, only)
        full = batcher.add(found.taken)
        self._take(run, full)
        for seen, mark, fault in (
            (found.ignored, FileMark.IGNORED, batching.IGNORED), (found.held, FileMark.HELD, batching.HELD)
        ):  # fmt: skip
            if seen:
                self._ledger.mark(record, seen, mark, run, fault)
        if full or found.ignored or found.held:
            await self._book.commit()
        if not record.definition.source.lexical or not page.count:
            return None
        return str(msgspec.json.decode(page.entries)[-1][0])

    def _take(self, run: Run, batches: list[list[Any]]) -> None:
        for files in batches:
            if files:
                self._ledger.take(run, files)


class _Known:
    """Whether the ledger knows what is in the table: looked at once in a listing, before anything is taken."""

    def __init__(self, takeover: Takeover, ledger: FileLedger, record: Record, run: Run, ctx: JobContext) -> None:
        self._takeover = takeover
        self._ledger = ledger
        self._record = record
        self._run = run
        self._ctx = ctx
        self._is_looked_at = False
        self._batch: int | None = None

    async def look(self) -> bool:
        """True where files were taken over: what was read of the ledger before is to be read again."""
        if self._is_looked_at:
            return False
        self._batch = await self._takeover.take_over(self._record, self._run)
        self._is_looked_at = True
        if self._batch is not None:
            count = self._run.counts.taken_over
            text = f"{count} files are in the table by commits that the ledger had forgotten; they are noted as loaded"
            self._ctx.log(text, "warning")
        return self._batch is not None

    def fill(self, page: Page) -> None:
        """Sizes and times of what was taken over."""
        if self._batch is not None:
            self._ledger.fill(self._run, self._batch, page.entries)


def _is_due(last: float | None, every_s: float, now: float) -> bool:
    """Whether the whole source is listed; also where the clock was set back behind the last time."""
    return last is None or not 0.0 <= now - last < every_s

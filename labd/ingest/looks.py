"""What people ask of a source and a table without changing anything: estimate, preview, which files, rows."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable
from fnmatch import translate
from re import Pattern
from re import compile as compiled
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from labd.clock import from_iso, iso
from labd.errors import BadRequest
from labd.ingest import access, checks, estimate
from labd.ingest.definition import Definition, Destination
from labd.ingest.pipeline import PAGE
from labd.ingest.port import Batch, FileRef, Page, Rows, TableName
from labd.ingest.record import Facts, FileMark, Record, Seen, State
from labd.ingest.views import Estimate, ListedFile, Preview
from labd.wing import Host

if TYPE_CHECKING:
    from labd.ingest.service import IngestService

PAST_RUNS = 20
PREVIEW_PAGES = 10
QUERY_LIMIT = 10_000
KNOWN_PAGE = 1000


class Window(NamedTuple):
    """Files by time of change, `since` included and `until` not, and by a glob over the whole path."""

    since: float | None
    until: float | None
    glob: Pattern[str] | None

    @classmethod
    def of(cls, since: str | None, until: str | None, match: str | None) -> Window:
        """From words.

        Raises:
            BadRequest: An instant that is none.
        """
        glob = None if match is None else compiled(translate(match))
        return cls(_instant("since", since), _instant("until", until), glob)

    def has(self, file: Seen) -> bool:
        """Whether a file is in it."""
        is_early = self.since is not None and file.modified_at < self.since
        if is_early or (self.until is not None and file.modified_at >= self.until):
            return False
        return self.glob is None or self.glob.match(file.path) is not None


class Found(msgspec.Struct):
    """What a listing has in a window; `files` are the first, `count` and `size_bytes` of all that are wanted."""

    listed: int = 0
    matching: int = 0
    count: int = 0
    size_bytes: int = 0
    files: list[ListedFile] = []


class Looks:
    """Reads for the desk; nothing here is staged."""

    def __init__(self, service: IngestService, host: Host) -> None:
        self._service = service
        self._state_dir = host.state_dir
        self._clock = host.clock

    def draft(self, definition: Definition) -> Record:
        """An ingestion that is not kept: everything is new to it.

        Raises:
            BadRequest, Conflict: It could not be kept as it is.
        """
        self._service.book.check(definition)
        now = self._clock.wall()
        return Record(0, "preview", definition, State.PAUSED, "api", now, "", now, Facts())

    async def pages(self, record: Record) -> AsyncIterator[Page]:
        """The whole listing, not behind loads."""
        source = access.source_access(record.definition.source, self._service.settings, self._state_dir)
        lister, cursor = self._service.pipeline.lister(record, urgent=True), None
        while True:
            page = await lister.list_files(source, cursor, None, PAGE)
            yield page
            cursor = page.cursor
            if cursor is None:
                return

    async def estimate(self, record: Record, full: bool = False) -> Estimate:
        """What the next run would find.

        Args:
            full: As if the ledger were empty.
        """
        found = Estimate(record.name, 0, 0, 0, 0, 0, 0, 0, 0.0, "")
        async for page in self.pages(record):
            found.listed += page.count
            found.unsettled += page.unsettled
            found.denied += page.denied
            for seen in _all(page) if full else await self._service.ledger.compare(record, page.entries):
                found.files += 1
                found.size_bytes += seen.size_bytes
                found.changed += seen.was_loaded
        found.new = found.files - found.changed
        definition = record.definition
        found.batches = estimate.batches_of(found.files, found.size_bytes, definition.limits)
        runs = await self._service.runs.runs(record, limit=PAST_RUNS) if record.number else []
        found.seconds, found.basis = estimate.seconds_of(found.files, found.size_bytes, runs)
        found.runs_per_month = estimate.runs_per_month(definition.schedule, self._clock.wall())
        return found

    async def files(self, record: Record, window: Window, wanted: Callable[[str], bool], keep: int) -> Found:
        """Files of the source in a window whose state is wanted; the first `keep` by their listing, all counted."""
        found = Found()
        passed_over = await self._passed_over(record)
        async for page in self.pages(record):
            found.listed += page.count
            fresh = {seen.path: seen for seen in await self._service.ledger.compare(record, page.entries)}
            for seen in filter(window.has, _all(page)):
                found.matching += 1
                state = _state_of(fresh.get(seen.path), passed_over.get(seen.path, "loaded"))
                if not wanted(state):
                    continue
                found.count += 1
                found.size_bytes += seen.size_bytes
                if len(found.files) < keep:
                    found.files.append(ListedFile(seen.path, seen.size_bytes, iso(seen.modified_at), state))
        return found

    async def _passed_over(self, record: Record) -> dict[str, str]:
        """Paths of which this version is known and not in the table."""
        found: dict[str, str] = {}
        for state in (FileMark.QUARANTINED, FileMark.HELD, FileMark.IGNORED):
            after = ""
            while page := await self._service.ledger.files(record, state, limit=KNOWN_PAGE, after=after):
                found.update((file.path, state.value) for file in page)
                after = page[-1].path
        return found

    async def preview(self, record: Record, rows: int, files: int) -> Preview:
        """Rows of the newest files as a load would read them; nothing is written."""
        newest: list[tuple[float, str, FileRef]] = []
        listed = count = 0
        async for page in self.pages(record):
            listed, count = listed + page.count, count + 1
            for seen in _all(page):
                heapq.heappush(newest, (seen.modified_at, seen.path, seen.to_ref()))
                if len(newest) > files:
                    heapq.heappop(newest)
            if count >= PREVIEW_PAGES:
                break
        chosen = tuple(file for _, _, file in sorted(newest, reverse=True))
        if not chosen:
            return Preview(record.name, [], [], [], [], listed)
        service, definition = self._service, record.definition
        batch = Batch(
            ingestion=record.id, token=record.id, number=1,
            source=access.source_access(definition.source, service.settings, self._state_dir), format=definition.format,
            schema=definition.schema, quality=definition.quality, table=service.pipeline.table_of(record),
            files=chosen, report="", provenance=definition.provenance, memory_mib=service.settings.memory_mib,
        )  # fmt: skip
        sample = await service.engine_of(record).sample(batch, rows)
        return Preview(record.name, sample.columns, sample.rows, sample.files, sample.changes, listed)

    async def query(self, table: str, columns: list[str], where: str, limit: int) -> Rows:
        """Rows of a table: that of an ingestion by its name, or `[catalog.]namespace.table`.

        Raises:
            BadRequest: No such name.
            TableRefused: No such table, or a filter that is none.
        """
        service = self._service
        for record in service.book.definitions():
            into = record.definition.destination
            if table in (record.name, record.id, record.destination, f"{into.namespace}.{into.table}"):
                engine, name = service.engine_of(record), service.pipeline.table_of(record)
                break
        else:
            name = self._table(table)
            engine = service.engines.engine("arrow", urgent=True)
        return await engine.query(name, columns, where, limit)

    def _table(self, text: str) -> TableName:
        parts = text.replace("/", ".", 1).split(".")
        settings = self._service.settings
        catalog = parts.pop(0) if len(parts) > 2 and parts[0] in settings.catalogs else "default"
        if len(parts) < 2:
            raise BadRequest(f"{text[:80]!r} is no ingestion and no namespace.table; `labctl ingest list` shows both")
        try:
            given = {"catalog": catalog, "namespace": ".".join(parts[:-1]), "table": parts[-1]}
            into = msgspec.convert(given, Destination)
        except msgspec.ValidationError:
            into = None
        if into is None or any(checks.destination_faults(into)):
            raise BadRequest(f"{text[:80]!r} is no name of a table, such as default.readings")
        return access.table_name(into, settings, self._state_dir)


def _all(page: Page) -> list[Seen]:
    """Every file of a page, as if nothing were known."""
    return [Seen(path, version, size, at) for path, version, size, at in msgspec.json.decode(page.entries)]


def _state_of(fresh: Seen | None, known: str) -> str:
    if fresh is None:
        return known
    return "new" if fresh.old is None else "changed" if fresh.was_loaded else fresh.old.state.value


def _instant(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return from_iso(text if len(text) > 10 else f"{text}T00:00:00Z")
    except ValueError:
        raise BadRequest(f"{name} {text[:40]!r} is no instant such as 2026-01-31T08:00:00Z") from None

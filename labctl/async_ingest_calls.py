"""The ingestions in the asynchronous client; the same methods as in the blocking one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from labctl import ingest_requests as ingest
from labctl.routes import Request, get

Json = dict[str, Any]


class AsyncIngestCalls:
    """What a client asks of the ingest wing; an ingestion is named by its name or its id.

    Raises:
        BadRequest, UnknownIngestion, Conflict, Refused: Nothing was changed.
        SourceRefused, SourceUnreachable, TableRefused: The source or the table says no.
    """

    @abstractmethod
    async def _object(self, request: Request, timeout_s: float | None = None) -> Json: ...

    async def ingestions(self, status: str | None = None, tag: str | None = None) -> Json:
        """All by name: `{"ingestions": [...]}`; deleted ones by their status only."""
        return await self._object(ingest.listing(status, tag))

    async def ingestion(self, ingestion: str) -> Json:
        """One, with its definition and what is known of it."""
        return await self._object(get(ingest.one_path(ingestion)))

    async def create_ingestion(self, definition: Mapping[str, Any], paused: bool = False) -> Json:
        """A new one."""
        return await self._object(ingest.create(definition, paused))

    async def replace_ingestion(self, ingestion: str, definition: Mapping[str, Any]) -> Json:
        """Another definition for it."""
        return await self._object(ingest.replace(ingestion, definition))

    async def edit_ingestion(self, ingestion: str, change: Mapping[str, Any]) -> Json:
        """Change some fields; None takes one back to what it is unless said."""
        return await self._object(ingest.edit(ingestion, change))

    async def delete_ingestion(self, ingestion: str, drop_table: bool = False, confirm: str | None = None) -> Json:
        """Take it out of service; the table goes only with `drop_table` and its name as `confirm`."""
        return await self._object(ingest.delete(ingestion, drop_table, confirm))

    async def pause_ingestion(self, ingestion: str) -> Json:
        """Let it run by itself no more."""
        return await self._object(ingest.act("pause", ingestion))

    async def resume_ingestion(self, ingestion: str) -> Json:
        """Let it run by itself again."""
        return await self._object(ingest.act("resume", ingestion))

    async def run_ingestion(self, ingestion: str, full: bool = False, idempotency_key: str | None = None) -> Json:
        """The job that loads every new file, for `wait`; `full` lists the whole source."""
        return await self._object(ingest.run(ingestion, full, idempotency_key))

    async def retry_ingestion(
        self,
        ingestion: str,
        paths: Sequence[str] | None = None,
        states: Sequence[str] | None = None,
        run: bool = True,
    ) -> Json:
        """Take bad files again, the named ones or all of some states: `{"files": count, "job": ...}`."""
        return await self._object(ingest.retry(ingestion, paths, states, run))

    async def refresh_ingestion(
        self, ingestion: str, mode: str, dry_run: bool = False, confirm: bool = False, run: bool = True
    ) -> Json:
        """Drop the table and load again: mode `full` all files, `new_only` only new ones."""
        return await self._object(ingest.refresh(ingestion, mode, dry_run, confirm, run), ingest.LIST_ANSWER_S)

    async def backfill_ingestion(
        self,
        ingestion: str,
        since: str | None = None,
        until: str | None = None,
        match: str | None = None,
        dry_run: bool = False,
    ) -> Json:
        """Load the files of a span of time (ISO 8601) that are not in the table yet."""
        return await self._object(ingest.backfill(ingestion, since, until, match, dry_run), ingest.LIST_ANSWER_S)

    async def adopt_ingestion(
        self, ingestion: str, until: str | None = None, match: str | None = None, dry_run: bool = False
    ) -> Json:
        """Note files as loaded that another loader has put into the table; none is read."""
        return await self._object(ingest.adopt(ingestion, until, match, dry_run), ingest.LIST_ANSWER_S)

    async def estimate_ingestion(self, ingestion: str, full: bool = False) -> Json:
        """What the next run would load, and how long it may take."""
        return await self._object(ingest.estimate(ingestion, full), ingest.LIST_ANSWER_S)

    async def preview_ingestion(self, ingestion: str, rows: int = 20, files: int = 3) -> Json:
        """Rows of the newest files as a load would read them; nothing is written."""
        return await self._object(ingest.preview(ingestion, rows, files), ingest.LOOK_ANSWER_S)

    async def preview_definition(self, definition: Mapping[str, Any], rows: int = 20, files: int = 3) -> Json:
        """The same of a definition that is not kept."""
        return await self._object(ingest.preview_definition(definition, rows, files), ingest.LOOK_ANSWER_S)

    async def ingestion_runs(
        self,
        ingestion: str | None = None,
        state: str | None = None,
        limit: int | None = None,
        before: int | None = None,
    ) -> Json:
        """Runs of one or of all, newest first: `{"runs": [...], "next": ...}`."""
        return await self._object(ingest.runs(ingestion, state, limit, before))

    async def ingestion_run(self, ingestion: str, run: int) -> Json:
        """One run."""
        return await self._object(get(f"{ingest.one_path(ingestion)}/runs/{run}"))

    async def ingestion_files(
        self,
        ingestion: str,
        state: str | None = None,
        run: int | None = None,
        match: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Json:
        """A page of files by path: `{"files": [...], "next": path or None}`."""
        return await self._object(ingest.files(ingestion, state, run, match, limit, after))

    async def ingestion_schema(self, ingestion: str) -> Json:
        """Columns of its table, all versions, and changes that wait for a person."""
        return await self._object(get(f"{ingest.one_path(ingestion)}/schema"))

    async def query_table(self, table: str, columns: Sequence[str] = (), where: str = "", limit: int = 100) -> Json:
        """Rows of an ingestion's table or of `[catalog.]namespace.table`: `{"columns", "rows", "more"}`."""
        return await self._object(ingest.query(table, columns, where, limit), ingest.LOOK_ANSWER_S)

    async def export_ingestions(self, names: Sequence[str] = ()) -> Json:
        """Definitions as a document, without secrets; all unless some are named."""
        return await self._object(ingest.export(names))

    async def import_ingestions(
        self,
        text: str | None = None,
        document: Any = None,
        database_url: str | None = None,
        dry_run: bool = False,
        activate: bool = False,
        tenant: str | None = None,
        catalog: str | None = None,
        engine: str | None = None,
    ) -> Json:
        """Take definitions over from an export, or from an older loader's table as JSON, CSV or by database URL.

        Returns:
            What became of each, and what the settings must have for them.
        """
        options = {"tenant": tenant, "catalog": catalog, "engine": engine}
        request = ingest.import_(text, document, database_url, dry_run, activate, options)
        return await self._object(request, ingest.LOOK_ANSWER_S)

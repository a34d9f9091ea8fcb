"""Definitions that come in from a document or from an older loader's database, each kept or told why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from labd.engine.job import Caller
from labd.errors import BadRequest, Conflict, SourceRefused
from labd.ingest import transfer
from labd.ingest.definition import Definition
from labd.ingest.engine_child import EngineChild
from labd.ingest.record import Record, State
from labd.ingest.transfer import Prepared
from labd.ingest.views import ImportAnswer, Imported, Needed
from labd.wing import Host

if TYPE_CHECKING:
    from labd.engine.worker_start import Worker
    from labd.ingest.service import IngestService

MODULE = "labd.ingest.remote_import"
READ_S = 120.0
RESERVED = frozenset({"import", "export", "query", "runs", "preview", "estimate"})
IDLE_S = 60.0


class Intake:
    """Imports for the desk."""

    def __init__(self, service: IngestService, host: Host) -> None:
        self._service = service
        self._host = host

    async def read(self, database_url: str) -> tuple[list[Any], Mapping[str, int]]:
        """The rows of an older table, and how many files each has taken in; the URL goes to a worker and nowhere else.

        Raises:
            SourceRefused, SourceUnreachable: No such database, table or driver.
        """
        child = EngineChild("import", self._start, self._host.clock, IDLE_S)
        try:
            args = {"secrets": {"database_url": database_url}}
            told = await child.ask("read_rows", args, READ_S, secrets_of(database_url))
        finally:
            await child.close()
        return told["rows"], told["files"]

    async def _start(self) -> Worker:
        settings = self._service.settings
        if self._host.worker_of is None:
            raise SourceRefused("import: there are no workers here to read a database; import a JSON or CSV dump")
        return await self._host.worker_of(settings.environment, MODULE, settings.memory_mib)

    async def take(
        self, caller: Caller, document: Any, *, dry_run: bool, activate: bool, tenant: str | None = None,
        catalog: str | None = None, engine: str = "arrow", files: Mapping[str, int] | None = None,
    ) -> ImportAnswer:  # fmt: skip
        """Keep what can be kept, or with `dry_run` only say so.

        Args:
            activate: Ingestions that were active there are so here; else all of an older loader begin paused.

        Raises:
            BadRequest: The document as a whole is none.
        """
        if tenant is not None and isinstance(document, list):
            document = [row for row in document if not isinstance(row, Mapping) or row.get("tenant_id") == tenant]
            if not document:
                raise BadRequest(f"import: no row has tenant_id {tenant[:60]!r}")
        found = transfer.prepare(document, catalog=catalog, engine=engine)
        told = [self._take(caller, one, dry_run, activate, files or {}) for one in found]
        if not dry_run:
            await self._service.book.commit()
            await self._service.put_schedules()
        known = self._service.settings.catalogs
        wanted = [one.definition.destination.catalog for one in found if one.definition is not None]
        catalogs = sorted(set(wanted) - known)
        return ImportAnswer(dry_run, told, self._needed(found), catalogs)

    def _take(self, caller: Caller, one: Prepared, dry_run: bool, activate: bool, files: Mapping[str, int]) -> Imported:
        told = Imported(one.name, "left_out", one.reason, one.notes, one.key, files=files.get(one.key))
        definition = one.definition
        if definition is None:
            return told
        told.destination = f"{definition.destination.namespace}.{definition.destination.table}"
        told.credentials = definition.source.credentials
        there = self._there(one)
        if there is not None:
            told.verdict, told.id, told.status = "there", there.id, there.state.value
            told.reason = f"it was imported before, as {there.name}"
            return told
        is_active = one.state == "active" and (activate or not one.key)
        told.status = "active" if is_active else "paused"
        if one.key and not is_active:
            told.notes = [*one.notes, _paused(definition, told.files)]
        missing = self._missing(definition)
        if missing:
            told.verdict, told.reason = "waits", f"the settings need {' and '.join(missing)}; then import again"
            return told
        try:
            self._keep(caller, definition, is_active, dry_run, told)
        except (BadRequest, Conflict) as fault:
            told.reason = fault.message
        return told

    def _keep(self, caller: Caller, definition: Definition, is_active: bool, dry_run: bool, told: Imported) -> None:
        check_name(definition.name)
        book = self._service.book
        if dry_run:
            book.check(definition)
            told.verdict = "would_create"
            return
        record = book.create(definition, caller)
        if not is_active:
            book.set_state(record, State.PAUSED, caller)
        told.verdict, told.id = "created", record.id

    def _there(self, one: Prepared) -> Record | None:
        """The ingestion that an earlier import has made of it."""
        for record in self._service.book.definitions():
            if one.key and str(record.definition.extra.get("id")) == one.key:
                return record
            if not one.key and record.definition == one.definition:
                return record
        return None

    def _missing(self, definition: Definition) -> list[str]:
        settings, found = self._service.settings, []
        name, catalog = definition.source.credentials, definition.destination.catalog
        if name is not None and name not in settings.credentials:
            found.append(f"[ingest.credentials.{name}]")
        if catalog not in settings.catalogs:
            found.append(f"[ingest.catalog.{catalog}]")
        if definition.engine == "spark" and not self._service.book.has_spark:
            found.append("[ingest.spark] url")
        return found

    def _needed(self, found: Sequence[Prepared]) -> list[Needed]:
        by_name: dict[str, Needed] = {}
        settings = self._service.settings
        for one in found:
            name = None if one.definition is None else one.definition.source.credentials
            if name is None:
                continue
            needed = by_name.setdefault(name, Needed(name, [], [], name in settings.credentials, ""))
            needed.ingestions.append(one.name)
            needed.secrets = sorted({*needed.secrets, *one.secrets})
            needed.toml = _toml(needed)
        return list(by_name.values())


def _toml(needed: Needed) -> str:
    """The table as a person fills it in: references, never values."""
    lines = [f"[ingest.credentials.{_key(needed.name)}.secrets]"]
    for secret in needed.secrets or ["..."]:
        if secret.isidentifier():
            place = f"{needed.name}_{secret}".upper().replace("-", "_").replace(".", "_")
            lines.append(f'{secret} = "env:{place}"')
        else:
            lines.append(f"# {secret}")
    return "\n".join(lines)


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else f'"{name}"'


def _paused(definition: Definition, files: int | None) -> str:
    name, loaded = definition.name, "" if files is None else f" ({files} were loaded there)"
    return (
        f"it begins paused: its first run takes every file{loaded}; `labctl ingest adopt {name}` notes those that are "
        f"in the table already, then `labctl ingest resume {name}`"
    )


def check_name(name: str) -> None:
    """Names that are words of the path are none of an ingestion.

    Raises:
        BadRequest
    """
    if name.lower() in RESERVED:
        raise BadRequest(f"ingestion {name}: the name is a word of the API; take another")


def secrets_of(database_url: str) -> list[str]:
    """What of a database URL must stand in no log."""
    try:
        password = urlsplit(database_url).password
    except ValueError:
        password = None
    return [database_url, *([password, unquote(password)] if password else [])]

"""Everything people ask of ingestions over the doors: making and changing them, their runs, files and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from labd.clock import iso
from labd.engine.job import Caller, Job
from labd.errors import BadRequest, Conflict, NotFound, UnknownSchedule
from labd.ingest import transfer
from labd.ingest.adopt import Adoption
from labd.ingest.definition import Definition
from labd.ingest.intake import Intake, check_name
from labd.ingest.looks import Looks
from labd.ingest.operations import Operations
from labd.ingest.port import SchemaChange
from labd.ingest.record import FileMark, Record, RunState, State, Trigger
from labd.ingest.schedules import schedule_name
from labd.ingest.views import (
    FileView,
    IngestionView,
    RunView,
    SchemaView,
    file_view,
    run_view,
    schema_view,
)
from labd.wing import Host

if TYPE_CHECKING:
    from labd.ingest.service import IngestService


class IngestDesk:
    """What the routes use of the wing."""

    def __init__(self, service: IngestService, host: Host) -> None:
        self._service = service
        self._clock = host.clock
        self.looks = Looks(service, host)
        self.operations = Operations(service, self.looks)
        self.adoption = Adoption(service, self.looks)
        self.intake = Intake(service, host)

    def find(self, name_or_id: str, *, deleted: bool = False) -> Record:
        """One by its name or id; with `deleted` also one that was, by its id.

        Raises:
            UnknownIngestion: With the nearest names.
        """
        return self._service.book.find(name_or_id) if deleted else self._service.book.live(name_or_id)

    # looks

    async def ingestions(self, state: State | None, tag: str | None) -> list[IngestionView]:
        """By name."""
        return [
            await self.view(record) for record in self._service.book.definitions(deleted=state is State.DELETED)
            if state in (None, record.state) and (tag is None or tag in record.definition.tags)
        ]  # fmt: skip

    async def view(self, record: Record) -> IngestionView:
        """One as on the wire."""
        facts, going = record.facts, self._service.runs.going(record)
        return IngestionView(
            id=record.id, name=record.name, status=record.state.value, origin=record.origin,
            definition=record.definition, destination=record.destination, created_at=iso(record.created_at),
            created_by=record.created_by, updated_at=iso(record.updated_at), next_run_at=self._next_run_at(record),
            last_run_id=facts.last_run, going_run_id=going[0].id if going else None,
            schema_version=facts.schema_version, columns=facts.columns, exactly_once=facts.exactly_once,
            last_new_file_at=iso(facts.last_new_file_at), files=await self._service.ledger.counts(record),
            waits=self._service.standing(record).waits, simulated=self._service.settings.simulated,
        )  # fmt: skip

    def _next_run_at(self, record: Record) -> str | None:
        if record.state is not State.ACTIVE or record.definition.schedule is None:
            return None
        try:
            return iso(self._service.engine.schedule(schedule_name(record)).next_run_at)
        except UnknownSchedule:
            return None

    async def runs(
        self, name_or_id: str | None, state: RunState | None, limit: int, before: int | None
    ) -> list[RunView]:
        """Newest first; of a deleted ingestion too, by its id."""
        book = self._service.book
        record = None if name_or_id is None else book.find(name_or_id)
        found = await self._service.runs.runs(record, state, limit, before)
        return [run_view(book.of_number(run.ingestion), run) for run in found]

    async def run(self, name_or_id: str, run_id: int) -> RunView:
        """One run.

        Raises:
            NotFound: It is of another ingestion, or there is none.
        """
        record, run = self._service.book.find(name_or_id), await self._service.runs.find(run_id)
        if run.ingestion != record.number:
            raise NotFound(f"run {run_id} is none of {record.name}; `labctl ingest runs {record.name}` shows its own")
        return run_view(record, run)

    async def files(
        self, name_or_id: str, state: FileMark | None, run: int | None, match: str | None, limit: int, after: str
    ) -> list[FileView]:
        """A page by path."""
        record = self._service.book.find(name_or_id)
        found = await self._service.ledger.files(record, state, run, match, limit, after)
        return [file_view(file) for file in found]

    async def schema(self, name_or_id: str) -> SchemaView:
        """Columns, versions, and what waits for a person."""
        record = self._service.book.find(name_or_id)
        waits: dict[str, SchemaChange] = {}
        for batch in await self._service.ledger.open_batches(record):
            if batch.state == "approval" and batch.report is not None:
                waits.update({change.key: change for change in batch.report.changes})
        versions = [schema_view(one) for one in await self._service.ledger.schemas(record)]
        return SchemaView(record.name, record.facts.columns, versions, list(waits.values()))

    # changes

    async def create(self, caller: Caller, definition: Definition, *, paused: bool = False) -> Record:
        """A new ingestion.

        Raises:
            BadRequest, Conflict: As the book says; nothing was kept.
        """
        check_name(definition.name)
        record = self._service.book.create(definition, caller)
        if paused:
            self._service.book.set_state(record, State.PAUSED, caller)
        await self._changed()
        return record

    async def replace(self, caller: Caller, record: Record, definition: Definition) -> None:
        """Another definition.

        Raises:
            BadRequest, Conflict: As the book says; the old one is in force.
        """
        check_name(definition.name)
        if definition.name != record.name:
            self._refuse_rename(record)
        self._service.book.edit(record, definition, caller)
        await self._changed()

    async def patch(self, caller: Caller, record: Record, change: Mapping[str, Any]) -> None:
        """Some fields; null takes one back to what it is unless said (RFC 7386).

        Raises:
            BadRequest: A field that is none; names it.
        """
        merged = merge(msgspec.to_builtins(record.definition), change)
        try:
            definition = msgspec.convert(merged, Definition)
        except msgspec.ValidationError as fault:
            raise BadRequest(f"ingestion {record.name}: {fault}") from None
        await self.replace(caller, record, definition)

    async def set_paused(self, caller: Caller, record: Record, *, paused: bool) -> None:
        """Whether it runs by itself; asked for by hand it runs in any case."""
        self._service.book.set_state(record, State.PAUSED if paused else State.ACTIVE, caller)
        await self._changed()

    async def submit_run(self, caller: Caller, record: Record, trigger: Trigger, full: bool, key: str | None) -> Job:
        """The job of a run."""
        return await self._service.submit_run(record, caller, trigger, full=full, idempotency_key=key)

    def export(self, names: Sequence[str]) -> dict[str, Any]:
        """The named ones, else all."""
        book = self._service.book
        records = [book.live(name) for name in names] if names else book.definitions()
        return transfer.export(records, iso(self._clock.wall()) or "")

    def _refuse_rename(self, record: Record) -> None:
        for run in self._service.runs.going(record):
            raise Conflict(f"ingestion {record.name}: run {run.id} is going on; give it another name when it has ended")

    async def _changed(self) -> None:
        await self._service.book.commit()
        await self._service.put_schedules()


def merge(old: Any, change: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(change, Mapping):
        return change
    merged = dict(old) if isinstance(old, Mapping) else {}
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged

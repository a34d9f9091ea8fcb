"""All ingestions by number, name and id, with what was learned of them.

Every change is staged in the journal in the same turn; who must not go on before it is on disk awaits `commit`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.engine.job import INTERNAL, Caller
from labd.errors import BadRequest, Conflict, UnknownIngestion
from labd.ingest import checks
from labd.ingest.definition import Definition
from labd.ingest.record import Facts, Origin, Record, State, destination_key, from_row


class IngestBook:
    """Definitions and their facts, all in memory; the deleted ones too, for their runs.

    Args:
        engine: Its journal holds the tables `ingest_...`; its audit and its events are told of every change.
        random: Makes the ids.
        queues: Names of queues that a definition may ask for; empty takes any.
        catalogs, credentials: Names that the settings have; None takes any.
        has_spark: Whether there is a cluster for `engine = "spark"`.
    """

    def __init__(
        self, engine: Engine, clock: Clock, random: Random, *, queues: Iterable[str] = (),
        catalogs: Iterable[str] | None = None, credentials: Iterable[str] | None = None, has_spark: bool = True,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._clock = clock
        self._random = random
        self._known = checks.Known(has_spark=has_spark)
        self.know(queues=queues, catalogs=catalogs, credentials=credentials)
        self._records: dict[int, Record] = {}
        self._by_name: dict[str, Record] = {}
        self._by_id: dict[str, Record] = {}

    async def open(self) -> None:
        """Read what the last daemon left."""
        for row in await self._engine.journal.read("ingest.definitions"):
            self._remember(from_row(row))

    @property
    def has_spark(self) -> bool:
        """Whether a definition may say `engine = "spark"`."""
        return self._known.has_spark

    def know(
        self, *, queues: Iterable[str] | None = None, catalogs: Iterable[str] | None = None,
        credentials: Iterable[str] | None = None,
    ) -> None:  # fmt: skip
        """Names that definitions are checked against from now on; None leaves those of before."""
        known = self._known
        self._known = checks.Known(
            known.queues if queues is None else frozenset(queues),
            known.catalogs if catalogs is None else frozenset(catalogs),
            known.credentials if credentials is None else frozenset(credentials),
            known.has_spark,
        )

    def definitions(self, *, deleted: bool = False) -> list[Record]:
        """By name; those that were deleted only where they are asked for, after the others."""
        live = [self._by_name[name] for name in sorted(self._by_name)]
        gone = [record for record in self._records.values() if record.state is State.DELETED] if deleted else []
        return live + gone

    def find(self, name_or_id: str) -> Record:
        """The ingestion of a name (in any case) or an id; a deleted one by its id only.

        Raises:
            UnknownIngestion: With the nearest names.
        """
        found = self._by_name.get(name_or_id.lower()) or self._by_id.get(name_or_id.lower())
        if found is not None:
            return found
        names = [record.name for record in self._by_name.values()]
        near = difflib.get_close_matches(name_or_id, names, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `labctl ingest list` shows all"
        raise UnknownIngestion(f"no ingestion is named {name_or_id}{hint}", ingestion=name_or_id, near=near)

    def live(self, name_or_id: str) -> Record:
        """As `find`, and not deleted.

        Raises:
            UnknownIngestion: There is none, or it was deleted.
        """
        record = self.find(name_or_id)
        if record.state is State.DELETED:
            text = f"ingestion {record.name} ({record.id}) was deleted; its runs are still shown by its id"
            raise UnknownIngestion(text, ingestion=name_or_id, near=[])
        return record

    def of_number(self, number: int) -> Record:
        """The ingestion that rows of the ledger and runs carry."""
        return self._records[number]

    def check(self, definition: Definition, *, but: Record | None = None) -> None:
        """Whether a definition could be kept now; `but` is the one that it would replace.

        Raises:
            BadRequest: It says something that cannot be; `details["problems"]` has every fault as `key: problem`.
            Conflict: Its name or its table is taken; names the ingestion that has it.
        """
        checks.refuse_faults(definition, self._known)
        other = self._by_name.get(definition.name.lower())
        if other is not None and other is not but:
            raise Conflict(
                f"ingestion {definition.name}: the name is taken by {other.name} ({other.id}); choose another, or "
                f"`labctl ingest edit {other.name}`",
                ingestion=other.name, id=other.id,
            )  # fmt: skip
        wanted = destination_key(definition).lower()
        for record in self._by_name.values():
            if record is not but and record.destination.lower() == wanted:
                raise Conflict(
                    f"ingestion {definition.name}: table {record.destination} is written by ingestion {record.name}; "
                    "two on one table would take each other's rows for their own, choose another table",
                    ingestion=record.name, id=record.id, destination=record.destination,
                )  # fmt: skip

    def create(self, definition: Definition, caller: Caller, *, origin: Origin = "api") -> Record:
        """A new ingestion, active.

        Raises:
            BadRequest, Conflict: As `check`.
        """
        self.check(definition)
        now = self._clock.wall()
        number = max(self._records, default=0) + 1
        identity = str(UUID(int=self._random.getrandbits(128), version=4))
        record = Record(number, identity, definition, State.ACTIVE, origin, now, caller.name, now, Facts())
        self._remember(record)
        self._put(record, "ingestion.created", caller, {"destination": record.destination})
        return record

    def edit(self, record: Record, definition: Definition, caller: Caller) -> bool:
        """Another definition for an ingestion; False if it says the same already.

        Raises:
            BadRequest, Conflict: As `check`.
            Conflict: It comes from the settings; or it has taken files, and source or table would be others.
        """
        self._refuse_settings(record, "edit")
        return self._edit(record, definition, caller)

    def set_state(self, record: Record, state: State, caller: Caller) -> bool:
        """Active or paused; False if it is so already."""
        if record.state is state:
            return False
        if State.DELETED in (state, record.state):
            raise ValueError(f"{record.name}: {record.state} to {state} is no pause")
        record.state = state
        self._put(record, "ingestion.paused" if state is State.PAUSED else "ingestion.resumed", caller)
        return True

    def delete(self, record: Record, caller: Caller) -> None:
        """Take it out of service; its runs and its ledger stay, its name and its table are free.

        Raises:
            Conflict: It comes from the settings.
        """
        self._refuse_settings(record, "delete")
        del self._by_name[record.name.lower()]
        record.state = State.DELETED
        self._put(record, "ingestion.deleted", caller, {"destination": record.destination})

    def declare(self, given: Mapping[str, Definition]) -> list[tuple[str, Exception]]:
        """Bring the ingestions in force that the settings hold; those that left the settings are paused, not deleted.

        Returns:
            Name and reason of each that cannot be kept; the others are in force.
        """
        refused: list[tuple[str, Exception]] = []
        for record in self.definitions():
            if record.origin == "settings" and record.name not in given:
                record.origin, record.state = "api", State.PAUSED
                self._put(record, "ingestion.paused", INTERNAL, {"reason": "it is in the settings no longer"})
        for name, definition in given.items():
            found = self._by_name.get(name.lower())
            try:
                if found is None:
                    self.create(definition, INTERNAL, origin="settings")
                    continue
                self._edit(found, definition, INTERNAL)
                if found.origin != "settings":
                    found.origin = "settings"
                    self._put(found, "ingestion.changed", INTERNAL, {"origin": "settings"})
            except (BadRequest, Conflict) as fault:
                refused.append((name, fault))
        return refused

    def put_facts(self, record: Record) -> None:
        """Stage what was learned, as it stands in the record."""
        self._engine.journal.execute("ingest.put_facts", msgspec.json.encode(record.facts).decode(), record.number)

    async def commit(self) -> None:
        """Everything staged is on disk."""
        await self._engine.journal.commit()

    def _edit(self, record: Record, definition: Definition, caller: Caller) -> bool:
        before = record.definition
        if before == definition:
            return False
        self.check(definition, but=record)
        if record.facts.begun:
            changed = [
                key for key, old, new in (
                    ("source.url", before.source.url, definition.source.url),
                    ("destination", destination_key(before), destination_key(definition)),
                ) if old != new
            ]  # fmt: skip
            if changed:
                raise Conflict(
                    f"ingestion {record.name}: {' and '.join(changed)} cannot change, since the ledger tells which "
                    f"files of {before.source.url} are in {record.destination}; create another ingestion",
                    ingestion=record.name, fields=changed,
                )  # fmt: skip
        del self._by_name[record.name.lower()]
        record.definition = definition
        self._remember(record)
        self._put(record, "ingestion.changed", caller, {"fields": _differences(before, definition)})
        return True

    def _refuse_settings(self, record: Record, verb: str) -> None:
        if record.origin == "settings":
            raise Conflict(
                f"ingestion {record.name}: it stands in the settings as [ingest.definition.{record.name}]; {verb} it "
                "there and reload, or take it out there first",
                ingestion=record.name,
            )

    def _remember(self, record: Record) -> None:
        self._records[record.number] = self._by_id[record.id] = record
        if record.state is not State.DELETED:
            self._by_name[record.name.lower()] = record

    def _put(self, record: Record, kind: str, caller: Caller, facts: dict[str, Any] | None = None) -> None:
        record.updated_at = self._clock.wall()
        self._engine.journal.execute("ingest.put_definition", *record.to_row())
        data = {"ingestion": record.name, "id": record.id, "state": record.state.value, **(facts or {})}
        self._engine.audit(caller, kind, record.resource, data)
        self._engine.publish(kind, data)


def _differences(before: Definition, after: Definition) -> list[str]:
    """Names of the fields that say something else."""
    names = [field.name for field in msgspec.structs.fields(Definition)]
    return [name for name in names if getattr(before, name) != getattr(after, name)]

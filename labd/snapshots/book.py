"""All snapshots by their keys: those that something may still happen to in memory, the rest as names only.

Every change is staged in the journal in the same turn; who must not go on before it is on disk awaits `commit`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.errors import UnknownSnapshot
from labd.snapshots import names
from labd.snapshots.record import OVERTAKING, Customer, Record, State, from_row
from labd.snapshots.scan import SnapshotKey

AT_REST = frozenset({State.DROPPED, State.REJECTED, State.SUPERSEDED})
PAGE = 200


class SnapshotBook:
    """Records and customers.

    Args:
        engine: Its journal holds the tables `snapshots_...`.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self.live: dict[SnapshotKey, Record] = {}
        self.customers: dict[str, Customer] = {}
        self._known: dict[str, set[str]] = {}

    async def open(self) -> None:
        """Read what the last daemon left."""
        for customer, timestamp in await self._engine.journal.read("snapshots.keys"):
            self._known.setdefault(customer, set()).add(timestamp)
        for row in await self._engine.journal.read("snapshots.live"):
            record = from_row(row)
            self.live[record.key] = record
        for row in await self._engine.journal.read("snapshots.customers"):
            self.customers[row[0]] = Customer(*row)

    def is_known(self, key: SnapshotKey) -> bool:
        """Whether it has a record; called from the scan's thread, where a miss only means another look."""
        return key.timestamp in self._known.get(key.customer, ())

    async def find(self, customer: str, timestamp: str) -> Record:
        """The record.

        Raises:
            BadRequest: A name that cannot be one.
            UnknownSnapshot: No scan has found it.
        """
        names.check_customer(customer)
        names.check_timestamp(timestamp)
        record = self.live.get(SnapshotKey(customer, timestamp))
        if record is not None:
            return record
        found = await self._engine.journal.read("snapshots.record", customer, timestamp)
        if not found:
            text = f"no snapshot {customer}/{timestamp} is known; `labctl snapshot scan` looks for new ones"
            raise UnknownSnapshot(text, customer=customer, timestamp=timestamp)
        return self.live.get(SnapshotKey(customer, timestamp)) or from_row(found[0])

    async def page(self, customer: str | None, state: str | None, limit: int, offset: int) -> list[Record]:
        """By customer, newest first; as committed."""
        await self._engine.journal.settle()
        rows = await self._engine.journal.read("snapshots.page", customer, state, limit, offset)
        return [from_row(row) for row in rows]

    def customer(self, name: str) -> Customer:
        """Of this name, made where it is new."""
        found = self.customers.get(name)
        if found is None:
            found = self.customers[name] = Customer(name, names.alias_of(name))
        return found

    def versions(self, customer: str) -> list[Record]:
        """Of a customer, those in memory, newest first."""
        mine = [record for record in self.live.values() if record.customer == customer]
        return sorted(mine, key=lambda record: record.number, reverse=True)

    def newest(self, customer: str) -> str | None:
        """Timestamp of the newest snapshot that is or may come to be served."""
        return next((record.timestamp for record in self.versions(customer) if record.state in SERVABLE), None)

    def overtaker(self, record: Record) -> Record | None:
        """A newer version of the same customer that is verified, or was and has its database still."""
        for newer in self.versions(record.customer):
            if newer.number <= record.number:
                break
            if newer.state in OVERTAKING or (newer.state is State.SUPERSEDED and newer.database is not None):
                return newer
        return None

    def add(self, record: Record) -> None:
        """A new one."""
        self._known.setdefault(record.customer, set()).add(record.timestamp)
        self.put(record, "snapshot.discovered")

    def move(self, record: Record, state: State, **facts: Any) -> None:
        """Let it stand elsewhere; an event tells."""
        record.state = state
        self.put(record, "snapshot.changed", **facts)

    def put(self, record: Record, kind: str = "", **facts: Any) -> None:
        """Stage the record as it stands; with an event if `kind` names one."""
        record.changed_at = self._clock.wall()
        if record.database is None and record.state in AT_REST:
            self.live.pop(record.key, None)
        else:
            self.live[record.key] = record
        self._engine.journal.execute("snapshots.put_record", *record.to_row())
        if kind:
            data = {"customer": record.customer, "timestamp": record.timestamp, "state": record.state.value}
            self._engine.publish(kind, {**data, **facts}, record.body.job_id)

    def put_customer(self, customer: Customer) -> None:
        """Stage who serves."""
        self._engine.journal.execute("snapshots.put_customer", *msgspec.structs.astuple(customer))

    async def commit(self) -> None:
        """Everything staged is on disk."""
        await self._engine.journal.commit()


SERVABLE = frozenset(State) - {State.REJECTED, State.QUARANTINED, State.DROPPED, State.DROPPING}

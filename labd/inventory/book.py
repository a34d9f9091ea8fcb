"""The ledger's books in memory, and the one way in which movements get into them and onto the disk.

Memory and disk change together: a movement is applied to its shelf and staged in the journal in the same turn, in the
same order, with the balances it found and left. The database checks both sums and that each movement follows the one
before it; so a write that memory did not see, or the other way round, cannot stay unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from labd.clock import Clock
from labd.inventory.claims import JobClaims
from labd.inventory.clock import LedgerClock
from labd.inventory.reservoir import Kind
from labd.inventory.shelf import Shelf

_encode = msgspec.json.Encoder().encode


class Statements(Protocol):
    """What the ledger uses of the journal."""

    def execute(self, name: str, *parameters: Any) -> None:
        """Stage a statement; written in order until it lands."""
        ...

    def insert(self, table: str, *new: tuple[Any, ...]) -> None:
        """Stage rows; those of a commit go in together, before its statements."""
        ...

    async def read(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query; sees commits only."""
        ...

    async def settle(self) -> None:
        """Return when what is staged now is on disk."""
        ...


class Entry(msgspec.Struct):
    """One movement, in the order of `tables.MOVEMENT`."""

    id: int
    reservoir: str
    ordinal: int
    kind: Kind
    at: float
    ledger_s: float
    volume_pl: int
    level_before_pl: int
    level_after_pl: int
    reserve_pl: int
    reserved_before_pl: int
    reserved_after_pl: int
    actor: str
    cause: str
    job_id: int | None
    step: str | None
    operation: int
    details: str


class Book:
    """Shelves, claims and numbers.

    Args:
        simulated: This stock is a simulator's.

    Attributes:
        tell: Puts an event into the feed (kind, facts, job); before it is set, nobody hears it.
    """

    def __init__(self, journal: Statements, clock: Clock, *, simulated: bool) -> None:
        self.tell: Callable[[str, dict[str, Any], int | None], None] = lambda kind, facts, job_id: None
        self.journal = journal
        self.simulated = simulated
        self.clock = LedgerClock(clock)
        self.shelves: dict[str, Shelf] = {}
        self.claims: dict[int, JobClaims] = {}
        self.last_id = 0
        self.last_measurement_id = 0
        self.drift_pl: dict[str, int] = {}

    def there(self) -> list[Shelf]:
        """The reservoirs in use, in their order."""
        return sorted((one for one in self.shelves.values() if one.removed_at is None), key=lambda one: one.place)

    def act(self, actor: str, cause: str = "", job_id: int | None = None) -> Act:
        """A new act; nothing is staged before its `stage`."""
        return Act(self, actor, cause, job_id)

    def put_shelf(self, shelf: Shelf) -> None:
        """Stage how a reservoir is set up."""
        self.journal.execute(
            "inventory.put_reservoir", shelf.spec.key, shelf.place, _encode(shelf.spec).decode(), shelf.configured,
            int(shelf.initialized), shelf.removed_at, shelf.settled_s,
        )  # fmt: skip

    def put_claims(self, owners: Iterable[JobClaims]) -> None:
        """Stage the claims of jobs as they are now; those of a plain first reservation the database makes itself."""
        rows = [
            (one.job_id, claim.reservoir, claim.needed_pl, claim.remaining_pl, int(one.is_overridden),
             int(one.has_told), one.life)
            for one in owners
            for claim in one.claims.values()
        ]  # fmt: skip
        for row in rows:
            self.journal.execute("inventory.put_claim", *row)

    def drop_claims(self, job_id: int) -> None:
        """Stage that a job claims nothing any more; what it still held was released before."""
        if self.claims.pop(job_id, None) is not None:
            self.journal.execute("inventory.delete_claims", job_id)

    def save_clock(self) -> None:
        """Stage where the ledger's time stands."""
        self.journal.execute("inventory.put_clock", self.clock.now_s(), self.clock.wall(), int(self.simulated))


class Act:
    """Movements that belong together; the first one's id names them all.

    Why rows and no entries: most movements are reservations, which nobody looks at before they are on the disk.
    """

    def __init__(self, book: Book, actor: str, cause: str, job_id: int | None) -> None:
        self._book = book
        self._actor = actor
        self._cause = cause
        self._job_id = job_id
        self._operation = book.last_id + 1
        self.now_s = book.clock.now_s()
        self._at = book.clock.wall()
        self._rows: list[tuple[Any, ...]] = []

    def begin(self, cause: str, job_id: int | None) -> None:
        """What follows is an act of its own that shares the statement."""
        self._cause, self._job_id, self._operation = cause, job_id, self._book.last_id + 1

    def post(
        self, shelf: Shelf, kind: Kind, volume_pl: int = 0, reserve_pl: int = 0, *, step: str | None = None,
        cause: str | None = None, details: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """One movement, applied to its shelf; what evaporated meanwhile is written before a level changes."""
        if volume_pl and kind != "evaporation":
            self.settle(shelf)
        book = self._book
        book.last_id += 1
        shelf.ordinal += 1
        level_pl, reserved_pl = shelf.level_pl, shelf.reserved_pl
        shelf.level_pl += volume_pl
        shelf.reserved_pl += reserve_pl
        if volume_pl:
            shelf.updated_at = self._at
        self._rows.append((
            book.last_id, shelf.spec.key, shelf.ordinal, kind, self._at, self.now_s, volume_pl, level_pl,
            shelf.level_pl, reserve_pl, reserved_pl, shelf.reserved_pl, self._actor,
            self._cause if cause is None else cause, None if kind == "evaporation" else self._job_id, step,
            self._operation, "{}" if not details else _encode(details).decode(),
        ))  # fmt: skip

    def reserve(self, volumes_pl: Mapping[str, int]) -> None:
        """`post` of a reservation for each reservoir; of its own, as it makes up half of the price of admission."""
        book, staged = self._book, self._rows
        for key, pl in volumes_pl.items():
            shelf = book.shelves[key]
            book.last_id += 1
            shelf.ordinal += 1
            level_pl, reserved_pl = shelf.level_pl, shelf.reserved_pl
            shelf.reserved_pl = after_pl = reserved_pl + pl
            staged.append((
                book.last_id, key, shelf.ordinal, "reservation", self._at, self.now_s, 0, level_pl, level_pl, pl,
                reserved_pl, after_pl, self._actor, self._cause, self._job_id, None, self._operation, "{}",
            ))  # fmt: skip

    def settle(self, shelf: Shelf) -> None:
        """Write what has evaporated since the last time."""
        gone_pl, carried_pl = shelf.evaporated_pl(self.now_s)
        shelf.carried_pl, shelf.settled_s = carried_pl, self.now_s
        if gone_pl:
            details = {"rate_ul_per_hour": shelf.spec.rate_in_force_ul_per_hour, "lid": shelf.spec.lid}
            self.post(shelf, "evaporation", -gone_pl, cause="evaporation", details=details)

    def stage(self) -> list[tuple[Any, ...]]:
        """Hand everything posted to the journal; one event, in the same commit, tells which levels are different.

        Why none for what is only reserved or released: the event of the job, in that commit too, tells it already.

        Returns:
            The movements, each in the order of `Entry`.
        """
        if self._rows:
            self._book.journal.insert("inventory.movement", *self._rows)
            moved = [row for row in self._rows if row[6]]
            if moved:
                facts = {
                    "reservoirs": sorted({row[1] for row in moved}), "kinds": sorted({row[3] for row in moved}),
                    "operation": self._operation, "by": self._actor, "simulated": self._book.simulated,
                }  # fmt: skip
                self._book.tell("stock.moved", facts, self._job_id)
        return self._rows

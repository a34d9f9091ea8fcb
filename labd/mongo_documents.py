"""Movements of the ledger as the documents that a lab's readers of MongoDB know; values in, writes out, no I/O.

The collections are those of the OT-2 demo: `inventory` has one document a colour, which its readers let evaporate from
`last_updated` on, and `restock_log` one a restock. Beside the readers' fields a document carries the ledger it
came from and the movement, so that nothing arrives twice and nothing older replaces what is newer.

Why two writes a level: an upsert whose condition fails would add a second document. The first adds the document where
there is none, the second changes it where it is older; both may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

LEVELS, RESTOCKS = "inventory", "restock_log"
PICOLITRES_IN_UL = 1_000_000
LEVEL_KINDS = frozenset({"restock", "consumption", "evaporation", "adjustment"})
Document = dict[str, Any]


class Movement(msgspec.Struct, frozen=True):
    """A row of the outbox; volumes in picolitres, instants in seconds since 1970."""

    id: int
    reservoir: str
    kind: str
    at: float
    volume_pl: int
    before_pl: int
    after_pl: int
    actor: str
    cause: str
    operation: int
    details: dict[str, Any]


class Mirrored(msgspec.Struct, frozen=True):
    """What a document says of a reservoir beside its level."""

    color_key: str
    color: str
    position: str
    evaporation_rate_ul_per_hour: float


@dataclass(frozen=True, slots=True)
class Write:
    """One change of one document."""

    collection: str
    kind: Literal["insert", "change", "delete"]
    filter: Document
    values: Document


class Documents:
    """The documents of one ledger.

    Args:
        origin: Ten hexadecimal digits that no other ledger has; part of the identity of its restocks.
        ledger: As `origin`, until a backup was restored: levels of before and after are told apart by it.
        simulated: The stock is a simulator's: its collections have names of their own, so that they never show real
            stock, and its documents say so.
    """

    def __init__(self, origin: str, ledger: str, simulated: bool) -> None:
        self.origin = origin
        self.ledger = ledger
        self.simulated = simulated

    def collection(self, name: str) -> str:
        """The collection's name in the database."""
        return f"simulated_{name}" if self.simulated else name

    def writes(
        self, movements: Sequence[Movement], there: Mapping[str, Mirrored], names: Mapping[str, Mirrored]
    ) -> list[Write]:
        """What brings MongoDB from before the movements to after them; whole operations, in order.

        Args:
            there: Reservoirs that have a level to show.
            names: Those and the ones that were removed since, which only the log of restocks names.
        """
        newest: dict[str, Movement] = {}
        restocks: dict[int, list[Movement]] = {}
        for movement in movements:
            if movement.kind in LEVEL_KINDS and movement.reservoir in there:
                newest[movement.reservoir] = movement
            if movement.kind == "restock" and movement.volume_pl > 0:
                restocks.setdefault(movement.operation, [])
        for movement in movements:
            if movement.operation in restocks and movement.kind in LEVEL_KINDS:
                restocks[movement.operation].append(movement)
        found = [self._restock(operation, parts, names) for operation, parts in sorted(restocks.items())]
        for movement in sorted(newest.values(), key=lambda one: one.id):
            found += self.level(movement, there[movement.reservoir])
        return found

    def level(self, movement: Movement, reservoir: Mirrored) -> list[Write]:
        """The level after a movement."""
        name = self.collection(LEVELS)
        document = {
            **self._facts(reservoir),
            "volume_ul": _ul(movement.after_pl),
            "last_updated": instant(movement.at),
            **self._marks(self.ledger),
            "movement_id": movement.id,
        }
        same = {"color_key": reservoir.color_key}
        older = [
            {"movement_id": {"$exists": False}},
            {"ledger": {"$ne": self.ledger}},
            {"movement_id": {"$lt": movement.id}},
        ]
        return [Write(name, "insert", same, document), Write(name, "change", {**same, "$or": older}, document)]

    def facts(self, reservoir: Mirrored) -> Write:
        """Colour, place and rate of a reservoir whose level is there already."""
        own = {"color_key": reservoir.color_key, "ledger": self.ledger}
        return Write(self.collection(LEVELS), "change", own, self._facts(reservoir))

    def removal(self, color_key: str) -> Write:
        """A reservoir that is no more; what another program wrote stays."""
        return Write(self.collection(LEVELS), "delete", {"color_key": color_key, "ledger": self.ledger}, {})

    def _facts(self, reservoir: Mirrored) -> Document:
        return {
            "color": reservoir.color,
            "position": reservoir.position,
            "evaporation_rate_ul_per_hour": reservoir.evaporation_rate_ul_per_hour,
        }

    def _marks(self, ledger: str) -> Document:
        return {"ledger": ledger, **({"simulated": True} if self.simulated else {})}

    def _restock(self, operation: int, parts: Sequence[Movement], names: Mapping[str, Mirrored]) -> Write:
        first = next(part for part in parts if part.kind == "restock")
        evaporated: dict[str, int] = {}
        data: Document = {}
        for part in parts:
            if part.kind == "evaporation":
                evaporated[part.reservoir] = evaporated.get(part.reservoir, 0) - part.volume_pl
            elif part.kind == "restock":
                mirrored = names.get(part.reservoir)
                data[mirrored.color_key if mirrored else part.reservoir] = {
                    "color": mirrored.color if mirrored else part.reservoir,
                    "previous_volume_ul": _ul(part.before_pl),
                    "added_ul": _ul(part.volume_pl),
                    "new_volume_ul": _ul(part.after_pl),
                    "evaporation_ul": _ul(evaporated.get(part.reservoir, 0)),
                }
        document = {
            "timestamp": instant(first.at),
            "operator": first.actor,
            "restock_data": data,
            "operation_type": operation_type(first),
            **self._marks(self.origin),
            "movement_id": operation,
            **({"cause": first.cause} if first.cause else {}),
        }
        return Write(self.collection(RESTOCKS), "insert", {"_id": self.restock_id(operation, first.at)}, document)

    def restock_id(self, operation: int, at: float) -> bytes:
        """The twelve bytes of the document's ObjectId: its second, the origin, the end of the operation's number.

        Why made here: the same operation has the same id whoever sends it again, and it sorts by time as others do. A
        ledger that goes on from a backup uses lost numbers again, but not in the same second.
        """
        return int(at).to_bytes(4, "big") + bytes.fromhex(self.origin) + (operation % (1 << 24)).to_bytes(3, "big")


def operation_type(movement: Movement) -> str:
    """`manual_restock`, the one word that readers know, or `initialize` for the first filling."""
    return "initialize" if movement.details.get("initialize") else "manual_restock"


def instant(at: float) -> datetime:
    """An instant as the driver stores it, to the millisecond."""
    return datetime.fromtimestamp(round(at, 3), UTC)


def _ul(picolitres: int) -> float:
    return round(picolitres / PICOLITRES_IN_UL, 3)

"""An existing lab's collections as the beginning of the ledger: what is there, what it comes to, and the act.

The levels are those that the collections' own readers would compute now: the stored volume less what evaporated since
`last_updated` at the stored rate. The log of restocks goes into the ledger's history as it was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from labd.clock import iso
from labd.errors import BadRequest, Refused
from labd.mongo_documents import LEVELS, RESTOCKS, Document, Documents
from labd.mongo_server import MongoServer

DOCUMENTS_LIMIT = 1000
HISTORY_LIMIT = 1000


class Ledger(Protocol):
    """What the take-over asks of the stock's ledger; every act is staged, nothing is written here."""

    @property
    def simulated(self) -> bool:
        """Whether it counts a simulator's stock."""
        ...

    @property
    def last_movement(self) -> int:
        """The newest movement's number, on disk or on its way; 0 before the first."""
        ...

    def views(self) -> Sequence[Any]:
        """All reservoirs: `key`, `color`, `capacity_ul`, `evaporation_rate_ul_per_hour`."""
        ...

    def check_initialize(self, volumes_ul: Mapping[str, float], *, reset: bool = False, reason: str = "") -> None:
        """Raise what `initialize` would raise now."""
        ...

    def initialize(
        self, volumes_ul: Mapping[str, float], actor: str, *, reset: bool = False, reason: str = ""
    ) -> Sequence[Any]:
        """First levels, or with `reset` other ones."""
        ...

    def edit(self, name: str, changes: Mapping[str, Any], actor: str) -> Sequence[Any]:
        """Other facts of a reservoir."""
        ...


class MongoLevel(msgspec.Struct, frozen=True):
    """One document of `inventory`, and what it comes to now."""

    reservoir: str
    color_key: str
    color: str
    position: str
    volume_ul: float
    last_updated: str
    evaporation_rate_ul_per_hour: float
    level_ul: float


class MongoFound(msgspec.Struct, frozen=True):
    """What the collections hold."""

    source: str
    levels: list[MongoLevel]
    restocks: list[dict[str, Any]]
    restocks_total: int
    problems: list[str]


async def look(
    server: MongoServer, source: str, ledger: Ledger, color_key: Callable[[str], str], own: Documents, now: float
) -> MongoFound:
    """Read both collections.

    Args:
        color_key: Of a reservoir of the ledger.
        own: This ledger's documents; what it wrote itself is nothing to take over.

    Raises:
        MongoFault: They could not be read.
    """
    documents = await server.read(LEVELS, "color_key", DOCUMENTS_LIMIT)
    restocks = await server.read(RESTOCKS, "timestamp", HISTORY_LIMIT)
    total = await server.count(RESTOCKS)
    levels: list[MongoLevel] = []
    problems: list[str] = []
    for document in documents:
        try:
            levels.append(_level(document, ledger, color_key, own, now))
        except ValueError as fault:
            problems.append(f"{LEVELS} {str(document.get('color_key'))[:40]}: {fault}")
    doubles = {level.reservoir for level in levels if [other.reservoir for other in levels].count(level.reservoir) > 1}
    problems += [f"{LEVELS}: two documents are about the reservoir {name}" for name in sorted(doubles)]
    if not documents:
        problems.append(f"{source}: the collection {LEVELS} is empty or not there; check mongo.database")
    foreign = [_entry(one) for one in restocks if one.get("ledger") != own.origin]
    return MongoFound(source, levels, foreign, total - (len(restocks) - len(foreign)), problems)


def refuse(found: MongoFound, ledger: Ledger, *, reset: bool, reason: str) -> None:
    """Nothing, where `take` would be done now.

    Raises:
        BadRequest: A document cannot be read.
        Refused: The stock is a simulator's.
        LabdError: What the ledger says, such as that there is stock and nobody said to replace it.
    """
    if found.problems:
        raise BadRequest("import-mongo: " + "; ".join(found.problems), problems=found.problems)
    if ledger.simulated:
        raise Refused("import-mongo: the inventory is simulated; real levels are not taken into it")
    ledger.check_initialize(_volumes(found), reset=reset, reason=reason)


def take(found: MongoFound, ledger: Ledger, actor: str, *, reset: bool, reason: str) -> list[Any]:
    """Stage the levels and rates that were found; all or nothing, raises as `refuse`."""
    refuse(found, ledger, reset=reset, reason=reason)
    cause = f"taken over from MongoDB {found.source}" + (f": {reason.strip()}" if reason.strip() else "")
    rates = {one.key: one.evaporation_rate_ul_per_hour for one in ledger.views()}
    movements = [*ledger.initialize(_volumes(found), actor, reset=reset, reason=cause)]
    for level in found.levels:
        if level.evaporation_rate_ul_per_hour != rates[level.reservoir]:
            changes = {"evaporation_rate_ul_per_hour": level.evaporation_rate_ul_per_hour}
            movements += ledger.edit(level.reservoir, changes, actor)
    return movements


def _volumes(found: MongoFound) -> dict[str, float]:
    return {level.reservoir: level.level_ul for level in found.levels}


def _level(
    document: Document, ledger: Ledger, color_key: Callable[[str], str], own: Documents, now: float
) -> MongoLevel:
    if document.get("ledger") in (own.ledger, own.origin):
        raise ValueError("this labd wrote it itself; there is nothing to take over")
    key, color = str(document.get("color_key", "")), str(document.get("color", ""))
    names = [one for one in ledger.views() if color_key(one.key) == key]
    names = names or [one for one in ledger.views() if one.color.lower() == color.lower()]
    if len(names) != 1:
        raise ValueError(f"no one reservoir of the ledger is {color!r}; `labctl inventory reservoir add`")
    volume = _number(document, "volume_ul", None)
    rate = _number(document, "evaporation_rate_ul_per_hour", names[0].evaporation_rate_ul_per_hour)
    at = document.get("last_updated")
    if not isinstance(at, datetime):
        raise ValueError(f"last_updated is {type(at).__name__}, needs a date")
    evaporated = rate * max(0.0, now - at.timestamp()) / 3600.0
    level = round(max(0.0, volume - evaporated), 3)
    if level > names[0].capacity_ul:
        raise ValueError(f"{level:g} ul; reservoir {names[0].key} holds {names[0].capacity_ul:g} ul")
    position = str(document.get("position", ""))
    return MongoLevel(names[0].key, key, color, position, volume, iso(at.timestamp()) or "", rate, level)


def _number(document: Document, field: str, default: float | None) -> float:
    value = document.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{field} is {str(value)[:40]!r}, needs a number")
    return float(value)


def _entry(document: Document) -> dict[str, Any]:
    """A restock as JSON can say it."""
    return {name: _told(value) for name, value in document.items()}


def _told(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value.timestamp())
    if isinstance(value, Mapping):
        return {str(name): _told(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_told(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)

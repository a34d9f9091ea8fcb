"""The inventory as a document that another host, or the same one later, can take over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from labd.errors import BadRequest, BadVolume, Conflict
from labd.inventory import wells
from labd.inventory.reservoir import ReservoirSpec, ReservoirView

FORMAT = "labd-inventory"
VERSION = 1
SPEC_FIELDS = tuple(field.name for field in msgspec.structs.fields(ReservoirSpec))


class Transfer:
    """What a document asks for, read and checked in itself.

    Raises:
        BadRequest: Not an export of this kind and version, or a reservoir that is none; names the place.
        BadVolume: A level that the reservoir of the document could not have.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        if document.get("format") != FORMAT or document.get("version") != VERSION:
            told = f"{document.get('format')!r} version {document.get('version')!r}"
            raise BadRequest(f"import: {told} is no {FORMAT} version {VERSION}; `labctl inventory export` writes one")
        reservoirs = document.get("reservoirs")
        if not isinstance(reservoirs, list) or not reservoirs:
            raise BadRequest("import: the document has no reservoirs")
        self.exported_at = str(document.get("exported_at") or "an unknown time")[:40]
        self.simulated = bool(document.get("simulated"))
        self.specs: list[ReservoirSpec] = []
        self.levels: dict[str, float] = {}
        for place, one in enumerate(reservoirs):
            self._take(place, one)

    def _take(self, place: int, one: Any) -> None:
        if not isinstance(one, dict):
            raise BadRequest(f"import: reservoirs[{place}] is no object")
        try:
            spec = msgspec.convert({name: one[name] for name in SPEC_FIELDS if name in one}, ReservoirSpec)
        except msgspec.ValidationError as fault:
            raise BadRequest(f"import: reservoirs[{place}]: {fault}") from None
        if any(spec.key.lower() == other.key.lower() for other in self.specs):
            raise BadRequest(f"import: reservoir {spec.key} stands twice in the document")
        self.specs.append(spec)
        if not one.get("initialized"):
            return
        level = one.get("level_ul")
        if not isinstance(level, int | float) or isinstance(level, bool) or not math.isfinite(level) or level < 0:
            raise BadVolume(f"import: {spec.key}: level {level!r} ul; at least 0 ul", reservoir=spec.key)
        if level > spec.capacity_ul:
            raise _too_much(spec.key, level, spec.capacity_ul)
        self.levels[spec.key] = float(level)

    def check(
        self, known: Mapping[str, ReservoirView], simulated: bool
    ) -> tuple[list[ReservoirSpec], dict[str, float]]:
        """The reservoirs that are to be added, and the levels by the keys of those that are there or will be.

        Raises:
            BadRequest: Levels of a simulation for real stock, or the other way round.
            BadVolume: More than a reservoir that is there already holds.
            Conflict: A reservoir to add stands where another one does.
        """
        if self.simulated is not simulated:
            kinds = ("real", "simulated")
            raise BadRequest(
                f"import: levels of {kinds[self.simulated]} stock are not taken for {kinds[simulated]} stock"
            )
        there = {key.lower(): key for key in known}
        levels = {there.get(key.lower(), key): level for key, level in self.levels.items()}
        for key, level in levels.items():
            if key in known and level > known[key].capacity_ul:
                raise _too_much(key, level, known[key].capacity_ul)
        fresh = [spec for spec in self.specs if spec.key.lower() not in there]
        for spec in fresh:
            problem = wells.taken_by(spec, [*known.values(), *fresh])
            if problem is not None:
                raise Conflict(f"import: reservoir {problem}", reservoir=spec.key)
        return fresh, levels


def head(views: Sequence[ReservoirView], now: str, simulated: bool) -> dict[str, Any]:
    """An export without its movements."""
    return {
        "format": FORMAT, "version": VERSION, "exported_at": now, "simulated": simulated, "reservoirs": list(views),
    }  # fmt: skip


def _too_much(key: str, level: float, capacity_ul: float) -> BadVolume:
    return BadVolume(
        f"import: {key}: level {level:.1f} ul; it holds {capacity_ul:.1f} ul",
        reservoir=key,
        level_ul=level,
        capacity_ul=capacity_ul,
    )

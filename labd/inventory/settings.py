"""The `[inventory]` table of labd.toml: the rules of the stock, and a table for each reservoir, in the verbs' order.

Without any `[inventory.reservoir.NAME]` the wing has the three of the seed: red, yellow and blue in B1, B2 and B3 of
slot 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from labd.inventory import wells
from labd.inventory.reservoir import (
    DEFAULT_CLOSED_RATE_UL_PER_HOUR,
    DEFAULT_RATE_UL_PER_HOUR,
    KEY,
    Lid,
    ReservoirSpec,
)
from labd.settings import Problems, read_table

DEFAULT_COLOURS = (("red", "B1"), ("yellow", "B2"), ("blue", "B3"))
DEFAULT_SLOT = "3"
VolumeUl = Annotated[float, Meta(ge=0, le=1e9)]


class ReservoirSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reservoir; None takes the value of the wing, `color` the name of the table."""

    color: str = ""
    position: str = ""
    device: str = ""
    slot: str = ""
    well: str = ""
    location: str = ""
    capacity_ul: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    dead_volume_ul: VolumeUl | None = None
    evaporation_rate_ul_per_hour: VolumeUl | None = None
    closed_rate_ul_per_hour: VolumeUl | None = None
    lid: Lid = "open"
    lot: str = ""
    expires_at: str = ""
    threshold_ul: VolumeUl | None = None
    low_ul: VolumeUl | None = None


class InventorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The wing."""

    simulated: bool = False
    threshold_ul: VolumeUl = 100.0
    low_ul: VolumeUl = 5000.0
    tick_s: Annotated[float, Meta(ge=1, le=86400)] = 900.0
    capacity_ul: Annotated[float, Meta(gt=0, le=1e9)] = 15000.0
    dead_volume_ul: VolumeUl = 0.0
    evaporation_rate_ul_per_hour: VolumeUl = DEFAULT_RATE_UL_PER_HOUR
    closed_rate_ul_per_hour: VolumeUl = DEFAULT_CLOSED_RATE_UL_PER_HOUR
    drift_ul: VolumeUl = 500.0
    run_out_h: Annotated[float, Meta(ge=0, le=8760)] = 12.0
    reservoir: dict[str, ReservoirSettings] = {}

    def __post_init__(self) -> None:
        for name in self.reservoir:
            if not KEY.fullmatch(name):
                raise ValueError(f"reservoir: {name!r} is no name; letters, digits, _ . and -, at most 64")
        specs: list[ReservoirSpec] = []
        problems: list[str] = []
        for name, table in self._tables().items():
            try:
                spec = self._spec(name, table)
            except ValueError as fault:
                problems.append(str(fault))
                continue
            alike = [one.key for one in specs if one.key.lower() == name.lower()]
            problems += [f"{name} and {other} differ only in case" for other in alike]
            problems += filter(None, [wells.taken_by(spec, specs)])
            specs.append(spec)
        if problems:
            raise ValueError(f"reservoir: {'; '.join(problems)}")

    def reservoirs(self) -> list[ReservoirSpec]:
        """Every configured reservoir, in order."""
        return [self._spec(name, table) for name, table in self._tables().items()]

    def _tables(self) -> dict[str, ReservoirSettings]:
        return self.reservoir or {
            color: ReservoirSettings(position=well, slot=DEFAULT_SLOT, well=well) for color, well in DEFAULT_COLOURS
        }

    def _spec(self, name: str, table: ReservoirSettings) -> ReservoirSpec:
        return ReservoirSpec(
            key=name, color=table.color or name, position=table.position, device=table.device, slot=table.slot,
            well=table.well, location=table.location, capacity_ul=_or(table.capacity_ul, self.capacity_ul),
            dead_volume_ul=_or(table.dead_volume_ul, self.dead_volume_ul),
            evaporation_rate_ul_per_hour=_or(table.evaporation_rate_ul_per_hour, self.evaporation_rate_ul_per_hour),
            closed_rate_ul_per_hour=_or(table.closed_rate_ul_per_hour, self.closed_rate_ul_per_hour),
            lid=table.lid, lot=table.lot, expires_at=table.expires_at, threshold_ul=table.threshold_ul,
            low_ul=table.low_ul,
        )  # fmt: skip


def parse(table: Mapping[str, Any], where: str, problems: Problems) -> InventorySettings | None:
    """The settings of the wing; faults go into `problems`, none are raised."""
    return read_table(InventorySettings, table, where, "inventory", problems)


def _or(own: float | None, shared: float) -> float:
    return shared if own is None else own

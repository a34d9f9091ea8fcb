"""One reservoir in memory: its set-up, its running balance, and what is promised of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from labd.clock import iso
from labd.inventory.evaporation import evaporated_pl
from labd.inventory.reservoir import ReservoirSpec, ReservoirView
from labd.inventory.volumes import PL_PER_UL, to_ul


class Figures(NamedTuple):
    """A set-up in whole picolitres, and the set-up it was worked out from."""

    spec: ReservoirSpec
    rate_ul_per_hour: float
    dead_pl: int
    capacity_pl: int
    threshold_pl: int | None


@dataclass(slots=True)
class Shelf:
    """The balance after the last movement, and since when the rate has been at work on it.

    Args:
        reserved_pl: The sum of all claims.
        going_pl: The part of it that belongs to jobs under way.
        settled_s: The ledger's time up to which evaporation stands in `level_pl`.
        configured: As the settings file had it; None for one made by hand.
    """

    spec: ReservoirSpec
    place: int
    initialized: bool = False
    level_pl: int = 0
    reserved_pl: int = 0
    going_pl: int = 0
    ordinal: int = 0
    settled_s: float = 0.0
    carried_pl: float = 0.0
    updated_at: float | None = None
    configured: str | None = None
    removed_at: float | None = None
    _figures: Figures | None = field(default=None, repr=False, compare=False)

    @property
    def figures(self) -> Figures:
        """Rate in force, dead volume, capacity, threshold; worked out once for each set-up, every admission asks."""
        known, spec = self._figures, self.spec
        if known is None or known.spec is not spec:
            own_pl = None if spec.threshold_ul is None else round(spec.threshold_ul * PL_PER_UL)
            dead_pl, capacity_pl = round(spec.dead_volume_ul * PL_PER_UL), round(spec.capacity_ul * PL_PER_UL)
            known = self._figures = Figures(spec, spec.rate_in_force_ul_per_hour, dead_pl, capacity_pl, own_pl)
        return known

    @property
    def dead_pl(self) -> int:
        """What no tip reaches."""
        return self.figures.dead_pl

    @property
    def capacity_pl(self) -> int:
        """What it holds."""
        return self.figures.capacity_pl

    def evaporated_pl(self, now_s: float) -> tuple[int, float]:
        """What has evaporated and stands in no movement yet, and the fraction carried."""
        return evaporated_pl(self.level_pl, self.figures.rate_ul_per_hour, now_s - self.settled_s, self.carried_pl)

    def level_at(self, now_s: float) -> int:
        """The level at an instant, not before `settled_s`."""
        return self.level_pl - self.evaporated_pl(now_s)[0]

    def available_at(self, now_s: float) -> int:
        """What a new job could have: the level without the dead volume and without what is reserved."""
        figures = self.figures
        gone_pl, _ = evaporated_pl(self.level_pl, figures.rate_ul_per_hour, now_s - self.settled_s, self.carried_pl)
        return self.level_pl - gone_pl - figures.dead_pl - self.reserved_pl

    def view(self, now_s: float, threshold_ul: float, low_ul: float, *, simulated: bool) -> ReservoirView:
        """As shown to people.

        Args:
            threshold_ul, low_ul: Those of the wing, for a reservoir without its own.
        """
        spec, level_pl = self.spec, self.level_at(now_s)
        low_ul = low_ul if spec.low_ul is None else spec.low_ul
        return ReservoirView(
            key=spec.key, color=spec.color, position=spec.position, device=spec.device, slot=spec.slot, well=spec.well,
            location=spec.location, capacity_ul=spec.capacity_ul, dead_volume_ul=spec.dead_volume_ul,
            evaporation_rate_ul_per_hour=spec.evaporation_rate_ul_per_hour, lid=spec.lid,
            closed_rate_ul_per_hour=spec.closed_rate_ul_per_hour, lot=spec.lot, expires_at=spec.expires_at,
            threshold_ul=threshold_ul if spec.threshold_ul is None else spec.threshold_ul, low_ul=low_ul,
            initialized=self.initialized, level_ul=to_ul(level_pl), reserved_ul=to_ul(self.reserved_pl),
            available_ul=to_ul(level_pl - self.dead_pl - self.reserved_pl), deficit_ul=to_ul(max(0, -level_pl)),
            low=self.initialized and level_pl < low_ul * PL_PER_UL,
            evaporated_rate_in_force_ul_per_hour=spec.rate_in_force_ul_per_hour,
            last_updated=iso(self.updated_at) or "", simulated=simulated,
        )  # fmt: skip

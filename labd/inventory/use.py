"""How much of each reservoir is used lately, as running sums: a new movement costs the same however many there are.

Why a fading weight and not a window: nothing has to be taken out of a sum again, so the million movements behind it
need not be kept or read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labd.inventory.forecast import Rate, mean_use

FADES_IN_H = 7 * 24.0  # a take weighs 1/e after a week
# A mean over the first hour of a session would foretell nights full of mixing.
SHORTEST_H = 24.0


@dataclass(slots=True)
class Use:
    """Sums of one reservoir as of `at_h`: volumes, and their squares for the band."""

    since_h: float
    at_h: float
    sum_ul: float = 0.0
    squares_ul2: float = 0.0

    def fade(self, now_h: float) -> None:
        """Bring the sums to a later hour; an earlier one changes nothing."""
        if now_h > self.at_h:
            weight = math.exp((self.at_h - now_h) / FADES_IN_H)
            self.sum_ul *= weight
            self.squares_ul2 *= weight * weight
            self.at_h = now_h


class RecentUse:
    """The use of all reservoirs."""

    def __init__(self) -> None:
        self._uses: dict[str, Use] = {}

    def began(self, reservoir: str, at_h: float) -> None:
        """The reservoir has been there since this hour; the first call counts."""
        self._uses.setdefault(reservoir, Use(at_h, at_h))

    def take(self, reservoir: str, volume_ul: float, at_h: float, squares_ul2: float | None = None) -> None:
        """So much was used; a negative volume came back.

        Args:
            squares_ul2: Sum of the squares, where the volume is a sum of several takes.
        """
        self.began(reservoir, at_h)
        use = self._uses[reservoir]
        use.fade(at_h)
        use.sum_ul += volume_ul
        use.squares_ul2 += volume_ul * volume_ul if squares_ul2 is None else squares_ul2

    def rate(self, reservoir: str, now_h: float) -> Rate:
        """Microlitres an hour, with its band."""
        use = self._uses.get(reservoir)
        if use is None:
            return Rate(0.0, 0.0, 0.0, "none")
        use.fade(now_h)
        seen_h = max(SHORTEST_H, now_h - use.since_h)
        return mean_use(use.sum_ul, use.squares_ul2, FADES_IN_H * (1.0 - math.exp(-seen_h / FADES_IN_H)))

"""What evaporates: rules over whole picolitres and the ledger's own seconds, no I/O.

The level at an instant is the balance of the last movement less rate times time since it was settled, and never below
empty by evaporation. A balance below zero is a deficit: nothing of it evaporates, nothing of it heals by itself.
"""

from __future__ import annotations

from labd.inventory.volumes import PL_PER_UL

SECONDS_PER_HOUR = 3600.0


def evaporated_pl(
    level_pl: int, rate_ul_per_hour: float, elapsed_s: float, carried_pl: float = 0.0
) -> tuple[int, float]:
    """What left a reservoir in `elapsed_s`, as whole picolitres, and the fraction that is carried to the next time.

    Why a fraction is carried: the ticker settles a hundred times a day; each rounding alone is nothing, their sum would
    depend on how often it settled.

    Args:
        level_pl: The balance that was settled last; at or below 0 nothing evaporates.
        elapsed_s: Seconds of the ledger's clock since then; negative counts as 0.
    """
    if level_pl <= 0:
        return 0, 0.0
    exact = rate_ul_per_hour * PL_PER_UL / SECONDS_PER_HOUR * max(0.0, elapsed_s) + carried_pl
    if exact >= level_pl:
        return level_pl, 0.0
    whole = int(exact)
    return whole, exact - whole


def hours_to_empty(level_pl: int, rate_ul_per_hour: float) -> float | None:
    """Hours until evaporation alone has emptied it; None where nothing evaporates."""
    if level_pl <= 0:
        return 0.0
    return None if rate_ul_per_hour <= 0 else level_pl / (rate_ul_per_hour * PL_PER_UL)

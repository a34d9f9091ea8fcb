"""The evaporation rate that measured levels tell, by least squares: values and rules, no I/O.

What evaporated up to a measurement is what came in less what was taken, less the level that was read. Over the ledger's
hours these losses lie on a line whose slope is the rate; its place (the first reading, the tilt of the eye) is free.

Why one slope and several lines: a new filling, or another lid, begins a stretch whose place has nothing to do with the
one before, while the rate of an open reservoir is the same in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec

SECONDS_PER_HOUR = 3600.0
# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom; NIST/SEMATECH e-Handbook, section 1.3.6.7.2.
T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Measurement(Protocol):
    """What a fit needs to know of a measured level."""

    ledger_s: float
    level_ul: float
    computed_ul: float


class Reading(msgspec.Struct, frozen=True):
    """One measured level.

    Args:
        hours: The ledger's time.
        lost_ul: What had evaporated since the stretch began: everything in, less everything out, less the level read.
        drift_ul: The level read less the level that was computed for that moment.
    """

    hours: float
    lost_ul: float
    drift_ul: float = 0.0


class Evaporated(msgspec.Struct, frozen=True):
    """What the ledger has booked as evaporated, up to an instant of its time, and the lid meanwhile."""

    ledger_s: float
    volume_ul: float
    lid: str | None


class Fit(msgspec.Struct, frozen=True):
    """A rate in microlitres an hour; the errors are None where there are too few readings to tell."""

    readings: int
    rate_ul_per_hour: float | None = None
    error_ul_per_hour: float | None = None
    low_ul_per_hour: float | None = None
    high_ul_per_hour: float | None = None
    scatter_ul: float | None = None
    rate_in_force_ul_per_hour: float = 0.0
    drift_ul: float | None = None
    drift_ul_per_hour: float | None = None
    is_significant: bool = False


def fit(stretches: Sequence[Sequence[Reading]], rate_in_force_ul_per_hour: float) -> Fit:
    """The rate with its 95 % band, and how far the rate in force is from it.

    Two readings of one stretch give a rate without a band, fewer give none. The rate is never below zero: paint does
    not come out of the air, and a line that falls tells the error of the readings.

    Returns:
        `drift_ul` is what the newest reading missed the computed level by; `is_significant` tells that the rate in
        force lies outside of the band.
    """
    used = [stretch for stretch in stretches if len(stretch) >= 2]
    count = sum(map(len, stretches))
    newest = max((one for stretch in stretches for one in stretch), key=lambda one: one.hours, default=None)
    drift_ul = None if newest is None else round(newest.drift_ul, 3)
    spread = sum(_sum_of(stretch, "hours", "hours") for stretch in used)
    if spread <= 0.0:
        return Fit(count, rate_in_force_ul_per_hour=rate_in_force_ul_per_hour, drift_ul=drift_ul)
    slope = sum(_sum_of(stretch, "hours", "lost_ul") for stretch in used) / spread
    rate = max(0.0, slope)
    found = Fit(
        readings=count, rate_ul_per_hour=rate, rate_in_force_ul_per_hour=rate_in_force_ul_per_hour, drift_ul=drift_ul,
        drift_ul_per_hour=rate - rate_in_force_ul_per_hour,
    )  # fmt: skip
    freedom = sum(map(len, used)) - len(used) - 1
    if freedom < 1:
        return found
    left = sum(_sum_of(stretch, "lost_ul", "lost_ul") for stretch in used) - slope * slope * spread
    scatter_ul = math.sqrt(max(0.0, left) / freedom)
    error = scatter_ul / math.sqrt(spread)
    reach = quantile_95(freedom) * error
    low, high = max(0.0, slope - reach), max(0.0, slope + reach)
    return msgspec.structs.replace(
        found, error_ul_per_hour=error, low_ul_per_hour=low, high_ul_per_hour=high, scatter_ul=scatter_ul,
        is_significant=not low <= rate_in_force_ul_per_hour <= high,
    )  # fmt: skip


def stretches(measured: Sequence[Measurement], booked: Sequence[Evaporated], lid: str) -> list[list[Reading]]:
    """The readings of one reservoir under the present lid, oldest first, as stretches without a break.

    Between two readings the ledger knows everything but the evaporation, of which it has booked what the rate in force
    said: the loss is what it booked, and what the level then read was short of the computed one.

    A stretch ends where the lid was moved, and where the reservoir was empty: air tells no rate.
    """
    found: list[list[Reading]] = []
    place = 0
    for number, one in enumerate(measured):
        gone_ul, is_alike = 0.0, True
        while place < len(booked) and booked[place].ledger_s <= one.ledger_s:
            gone_ul += booked[place].volume_ul
            is_alike = is_alike and booked[place].lid in (lid, None)
            place += 1
        drift_ul = one.level_ul - one.computed_ul
        hours = one.ledger_s / SECONDS_PER_HOUR
        if number == 0 or not is_alike or min(one.level_ul, one.computed_ul, measured[number - 1].level_ul) <= 0.0:
            found.append([Reading(hours, 0.0, drift_ul)])
        else:
            found[-1].append(Reading(hours, found[-1][-1].lost_ul + gone_ul - drift_ul, drift_ul))
    return found


def quantile_95(freedom: int) -> float:
    """Student's t for a two-sided band of 95 %; beyond the table within 0.003 of it."""
    return T_95[freedom - 1] if freedom <= len(T_95) else 1.96 + 2.4 / freedom


def _sum_of(stretch: Sequence[Reading], one: str, other: str) -> float:
    """Sum of products of two columns about their means.

    Why the means are taken first: the ledger's hours are large beside the hours of a stretch.
    """
    ones = [getattr(reading, one) for reading in stretch]
    others = [getattr(reading, other) for reading in stretch]
    mean, mean_of_others = math.fsum(ones) / len(ones), math.fsum(others) / len(others)
    return math.fsum((a - mean) * (b - mean_of_others) for a, b in zip(ones, others, strict=True))

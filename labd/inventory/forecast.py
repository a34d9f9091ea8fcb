"""When a reservoir runs out, and during which queued job: values and rules, no I/O.

The queued jobs are taken in the order in which they will start, each with its share of every reservoir; behind them
the recent mean use goes on. Evaporation runs all the time. Each answer has a band: the same with the fastest and with
the slowest loss that the errors of the two rates allow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from labd.inventory.fit import Fit

ASSUMED_ERROR = 0.5  # a rate that nobody has measured may be off by half of itself
FAR_H = 10 * 365.25 * 24  # what lasts ten years is not foretold


class Rate(msgspec.Struct, frozen=True):
    """Microlitres an hour, with the ends of a 95 % band."""

    value: float
    low: float
    high: float
    basis: Literal["measured", "assumed", "recent", "none"]


class QueuedNeed(msgspec.Struct, frozen=True):
    """A job that takes from reservoirs; `starts_in_h` and `lasts_h` are estimates."""

    job_id: int
    task: str
    starts_in_h: float
    lasts_h: float
    needs_ul: Mapping[str, float]


class Stock(msgspec.Struct, frozen=True):
    """A reservoir as the forecast sees it; `usable_ul` is the level without the dead volume."""

    reservoir: str
    usable_ul: float
    evaporation: Rate
    use: Rate


class RunOut(msgspec.Struct, frozen=True):
    """When nothing usable is left, in hours from now; None: not within ten years, `job_id` None: during no job."""

    hours: float | None
    job_id: int | None = None
    task: str | None = None
    missing_ul: float = 0.0


class Forecast(msgspec.Struct, frozen=True):
    """Of one reservoir: most likely, soonest and latest."""

    reservoir: str
    expected: RunOut
    soonest: RunOut
    latest: RunOut


def evaporation_rate(rate_in_force: float, found: Fit | None) -> Rate:
    """The rate in force, with the fit's band where there is one.

    Why the rate in force stays the middle: it is what the ledger computes levels with, and a forecast that contradicts
    the level shown would be a second truth. A fit that disagrees widens the band to reach it.
    """
    if found is None or found.low_ul_per_hour is None or found.high_ul_per_hour is None:
        return Rate(rate_in_force, rate_in_force * (1 - ASSUMED_ERROR), rate_in_force * (1 + ASSUMED_ERROR), "assumed")
    low, high = min(rate_in_force, found.low_ul_per_hour), max(rate_in_force, found.high_ul_per_hour)
    return Rate(rate_in_force, low, high, "measured")


def mean_use(used_ul: float, sum_of_squares_ul2: float, hours: float) -> Rate:
    """Recent use as a rate; its band is that of a sum of independent takes: the root of the sum of their squares."""
    if hours <= 0.0 or used_ul <= 0.0:
        return Rate(0.0, 0.0, 0.0, "none")
    reach = 1.96 * math.sqrt(max(0.0, sum_of_squares_ul2))
    return Rate(used_ul / hours, max(0.0, used_ul - reach) / hours, (used_ul + reach) / hours, "recent")


def forecast(stock: Stock, queue: Sequence[QueuedNeed]) -> Forecast:
    """When this reservoir runs out; `queue` in the order of start."""
    mine = [job for job in queue if job.needs_ul.get(stock.reservoir, 0.0) > 0.0]
    busy_until_h = max((job.starts_in_h + job.lasts_h for job in queue), default=0.0)
    evaporation, use = stock.evaporation, stock.use
    return Forecast(
        stock.reservoir,
        run_out(stock, mine, busy_until_h, evaporation.value, use.value),
        run_out(stock, mine, busy_until_h, evaporation.high, use.high),
        run_out(stock, mine, busy_until_h, evaporation.low, use.low),
    )


def run_out(
    stock: Stock, queue: Sequence[QueuedNeed], busy_until_h: float, evaporation: float, use: float
) -> RunOut:  # fmt: skip
    """With these rates in microlitres an hour; a job takes evenly while it lasts, and is short if it finds too little.

    A job that would be short ends the forecast: what comes behind it depends on what a person does then.
    """
    left, now_h = stock.usable_ul, 0.0
    if left <= 0.0:
        first = next(iter(queue), None)
        if first is None:
            return RunOut(0.0)
        return RunOut(0.0, first.job_id, first.task, round(first.needs_ul[stock.reservoir] - left, 3))
    for job in queue:
        need, starts_h = job.needs_ul[stock.reservoir], max(now_h, job.starts_in_h)
        dry_h = now_h + left / evaporation if evaporation > 0.0 else math.inf
        if dry_h <= starts_h:  # dry before it starts: the job finds nothing
            return RunOut(dry_h, job.job_id, job.task, round(need, 3))
        left -= evaporation * (starts_h - now_h)
        whole = need + evaporation * job.lasts_h
        if left < whole:
            share = left / whole if whole > 0.0 else 0.0
            return RunOut(starts_h + share * job.lasts_h, job.job_id, job.task, round(whole - left, 3))
        left -= whole
        now_h = starts_h + job.lasts_h
    idle_h = max(0.0, busy_until_h - now_h)
    if evaporation > 0.0 and left < evaporation * idle_h:
        return _within(now_h + left / evaporation)
    left -= evaporation * idle_h
    if evaporation + use <= 0.0:
        return RunOut(None)
    return _within(now_h + idle_h + left / (evaporation + use))


def _within(hours: float) -> RunOut:
    return RunOut(hours if hours <= FAR_H else None)

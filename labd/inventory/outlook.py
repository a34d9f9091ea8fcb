"""What is to come: fits of the measured levels, recent use, the queue, and the forecast made of them.

Why it keeps what it has read: the forecast of a thousand reservoirs must not read a million movements. New ones and
measurements are read once, from where the last look ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal

import msgspec

from labd.clock import Clock, iso
from labd.engine.engine import Engine
from labd.engine.job import Job, JobState
from labd.engine.views import JobFilter
from labd.inventory.fit import SECONDS_PER_HOUR, Evaporated, Fit, Reading, fit, stretches
from labd.inventory.forecast import QueuedNeed, RunOut, Stock, evaporation_rate, forecast
from labd.inventory.ledger import StockLedger
from labd.inventory.reservoir import MeasurementView, ReservoirView
from labd.inventory.use import RecentUse
from labd.inventory.volumes import to_ul

READINGS = 200
PAGE = 20_000
QUEUE_AT_MOST = 2000
SAMPLE = 20
UNKNOWN_S = 300.0  # how long a job takes of which none has ended yet
GOING = (JobState.RUNNING, JobState.WAITING, JobState.CANCELLING)


class RunOutView(msgspec.Struct):
    """When a reservoir runs out; `at` is null where that is more than ten years off, `job_id` where no job is short."""

    at: str | None
    hours: float | None
    job_id: int | None
    task: str | None
    missing_ul: float


class ReservoirOutlook(msgspec.Struct):
    """The forecast of one reservoir; bands hold with 95 %, an assumed rate may be off by half of itself."""

    reservoir: str
    color: str
    usable_ul: float
    reserved_ul: float
    expected: RunOutView
    soonest: RunOutView
    latest: RunOutView
    evaporation_ul_per_hour: float
    evaporation_band_ul_per_hour: tuple[float, float]
    evaporation_basis: Literal["measured", "assumed", "recent", "none"]
    use_ul_per_hour: float
    use_band_ul_per_hour: tuple[float, float]


class ForecastView(msgspec.Struct):
    """Of every reservoir that is initialized."""

    at: str
    simulated: bool
    queued_jobs: int
    reservoirs: list[ReservoirOutlook]
    not_initialized: list[str]


class FitView(msgspec.Struct):
    """What the measured levels of a reservoir tell, and the readings."""

    reservoir: str
    fit: Fit
    measurements: list[MeasurementView]


class Outlook:
    """Looks ahead over one ledger."""

    def __init__(self, ledger: StockLedger, engine: Engine, clock: Clock) -> None:
        self._ledger = ledger
        self._engine = engine
        self._clock = clock
        self._reading = asyncio.Lock()
        self._use = RecentUse()
        self._seen_id = 0
        self._fits: dict[str, tuple[object, Fit]] = {}
        self._measured: dict[str, int] = {}

    async def forecast(self) -> ForecastView:
        """When each reservoir runs out, with its band, and during which queued job."""
        await self._read_use()
        await self._read_measured()
        queue = await self._queue()
        views = self._ledger.views()
        now, now_h = self._clock.wall(), self._ledger.book.clock.now_s() / SECONDS_PER_HOUR
        found = [await self._of(one, queue, now, now_h) for one in views if one.initialized]
        missing = [one.key for one in views if not one.initialized]
        return ForecastView(iso(now) or "", self._ledger.simulated, len(queue), found, missing)

    async def fit(self, name: str) -> FitView:
        """The rate that the measured levels of a reservoir tell, and the readings."""
        key = self._ledger.find(name)
        await self._engine.journal.settle()
        await self._read_measured()
        found = await self._fit_of(self._ledger.view(key))
        return FitView(key, found, await self._ledger.measurements(key))

    async def _of(self, one: ReservoirView, queue: Sequence[QueuedNeed], now: float, now_h: float) -> ReservoirOutlook:
        evaporation = evaporation_rate(one.evaporated_rate_in_force_ul_per_hour, await self._fit_of(one))
        use = self._use.rate(one.key, now_h)
        usable_ul = round(one.level_ul - one.dead_volume_ul, 3)
        told = forecast(Stock(one.key, usable_ul, evaporation, use), queue)
        return ReservoirOutlook(
            one.key, one.color, usable_ul, one.reserved_ul, _shown(told.expected, now), _shown(told.soonest, now),
            _shown(told.latest, now), evaporation.value, (evaporation.low, evaporation.high), evaporation.basis,
            round(use.value, 3), (round(use.low, 3), round(use.high, 3)),
        )  # fmt: skip

    async def warm(self) -> None:
        """Read what was used so far, so that the first who asks need not wait for it."""
        await self._read_use()

    async def _read_use(self) -> None:
        """Movements behind the last look.

        Race: two forecasts are asked for at once. Both would read the same movements and count them twice, so one
        waits for the other. `upto` is taken first: what is staged while this one reads is left to the next look.
        """
        async with self._reading:
            upto = self._ledger.book.last_id
            await self._engine.journal.settle()
            if self._seen_id == 0:
                await self._read_days(upto)
            while self._seen_id < upto:
                found = await self._engine.journal.read("inventory.taken_after", self._seen_id, PAGE)
                for movement_id, reservoir, kind, volume_pl, ledger_s in found:
                    self._seen_id = movement_id
                    if kind == "consumption":
                        self._use.take(reservoir, -to_ul(volume_pl), ledger_s / SECONDS_PER_HOUR)
                    else:
                        self._use.began(reservoir, ledger_s / SECONDS_PER_HOUR)
                if len(found) < PAGE:
                    self._seen_id = max(self._seen_id, upto)

    async def _read_days(self, upto: int) -> None:
        """The past by days, summed by the database: a day more or less makes no rate."""
        read = self._engine.journal.read
        for reservoir, ledger_s in await read("inventory.first_movements"):
            self._use.began(reservoir, ledger_s / SECONDS_PER_HOUR)
        for reservoir, ledger_s, sum_ul, squares_ul2 in await read("inventory.taken_by_day", upto):
            self._use.take(reservoir, sum_ul, ledger_s / SECONDS_PER_HOUR, squares_ul2)
        self._seen_id = upto

    async def _read_measured(self) -> None:
        """Which reservoirs were measured behind the last look."""
        seen = max(self._measured.values(), default=0)
        if seen < self._ledger.book.last_measurement_id:
            self._measured.update(await self._engine.journal.read("inventory.measured_after", seen))

    async def _queue(self) -> list[QueuedNeed]:
        """Jobs that will take from stock, in the order in which they will start, one after the other.

        Why one after the other: jobs that share a reservoir nearly always share the robot that draws from it.
        """
        going = await self._jobs([state.value for state in GOING])
        waiting = sorted(await self._jobs([JobState.QUEUED.value]), key=lambda job: (job.rank, job.id))
        lasts_h = {
            task: await self._lasts_s(task) / SECONDS_PER_HOUR for task in {job.task for job in (*going, *waiting)}
        }
        now, at_h = self._clock.wall(), 0.0
        queue: list[QueuedNeed] = []
        for job in (*going, *waiting):
            start_h = at_h if job in going else max(at_h, (job.run_at - now) / SECONDS_PER_HOUR)
            owner = self._ledger.book.claims.get(job.id)
            needs = {} if owner is None else {key: to_ul(one.remaining_pl) for key, one in owner.claims.items()}
            queue.append(QueuedNeed(job.id, job.task, start_h, lasts_h[job.task], needs))
            at_h = start_h + lasts_h[job.task]
        return queue

    async def _jobs(self, states: Iterable[str]) -> list[Job]:
        """Jobs in these states that need something, page by page."""
        found: list[Job] = []
        before: int | None = None
        while len(found) < QUEUE_AT_MOST:
            page = await self._engine.jobs(JobFilter(states=tuple(states), before_id=before, limit=1000))
            found += [job for job in page if job.needs]
            if len(page) < 1000:
                break
            before = page[-1].id
        return sorted(found, key=lambda job: job.id)[:QUEUE_AT_MOST]

    async def _lasts_s(self, task: str) -> float:
        """The median of the last runs of a task."""
        done = await self._engine.jobs(JobFilter(states=("succeeded",), task=task, limit=SAMPLE))
        spans = [job.finished_at - job.started_at for job in done if job.finished_at and job.started_at]
        return median(spans) if spans else UNKNOWN_S

    async def _fit_of(self, one: ReservoirView) -> Fit:
        """The fit of a reservoir, made anew when it was measured, or its rate or lid changed."""
        newest = self._measured.get(one.key)
        rate = one.evaporated_rate_in_force_ul_per_hour
        mark = (newest, rate, one.lid)
        kept = self._fits.get(one.key)
        if kept is not None and kept[0] == mark:
            return kept[1]
        found = Fit(0, rate_in_force_ul_per_hour=rate)
        if newest is not None:
            found = fit(await self._stretches(one), rate)
        self._fits[one.key] = (mark, found)
        return found

    async def _stretches(self, one: ReservoirView) -> list[list[Reading]]:
        measured = (await self._ledger.measurements(one.key))[-READINGS:]
        rows = await self._engine.journal.read("inventory.evaporated_after", one.key, measured[0].ledger_s)
        return stretches(measured, [Evaporated(row[0], -to_ul(row[1]), row[2]) for row in rows], one.lid)


def _shown(run_out: RunOut, now: float) -> RunOutView:
    at = None if run_out.hours is None else iso(now + run_out.hours * SECONDS_PER_HOUR)
    return RunOutView(at, run_out.hours, run_out.job_id, run_out.task, run_out.missing_ul)

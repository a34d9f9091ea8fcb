"""What may happen to a stock, drawn by hypothesis: bursts of operations that run at the same time.

On the real engine and real files. After each burst the books are replayed from zero and summed: what was stocked is
free, reserved, used, evaporated or adjusted; and every start is looked at in the turn in which it is staged.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from labd.engine.job import GOING, Job, JobState
from labd.errors import DeviceTimeout, LabdError
from labd.inventory.settings import InventorySettings, ReservoirSettings
from labd.inventory.volumes import PL_PER_UL
from tests.fakes.stock_rig import ANNA, StockHouse

A_RUN = 40
MEMORY = Path("/dev/shm")  # the order of writes is what counts here, not how long a disk takes for them
DEAD_UL = 200.0
COLOURS = ("red", "yellow")

volume = st.floats(0.0, 900.0).map(lambda ul: round(ul, 3))
which = st.integers(0, 1000)
colour = st.sampled_from(COLOURS)
submission = st.tuples(
    st.just("submit"),
    st.sampled_from(["lab.mix", "lab.mix", "lab.pour", "lab.swirl"]),
    volume,
    volume,
    st.sampled_from([None] * 9 + ["because"]),
)
operation = st.one_of(
    submission,
    submission,
    submission,
    st.tuples(st.just("take"), which, st.integers(0, 3), colour, st.floats(-20.0, 400.0).map(lambda ul: round(ul, 3))),
    st.tuples(st.just("take"), which, st.integers(0, 3), colour, volume),
    st.tuples(st.just("finish"), which),
    st.tuples(st.just("fail"), which),
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("retry"), which),
    st.tuples(st.just("restock"), colour, volume),
    st.tuples(st.just("measure"), colour, st.floats(0.0, 3000.0)),
    st.tuples(st.just("adjust"), colour, st.floats(-300.0, 300.0)),
    st.tuples(st.just("lid"), colour, st.sampled_from(["open", "closed"])),
    st.tuples(st.just("time"), st.floats(0.0, 6 * 3600.0)),
    st.tuples(st.just("clock step"), st.floats(-1e6, 1e6)),
    st.tuples(st.just("look")),
)  # fmt: skip
burst = st.one_of(
    *[st.lists(operation, min_size=1, max_size=4)] * 12, st.just([("restart",)]), st.just([("die and time", 7200.0)])
)


class Chances:
    """One daemon's life, and what it must have used."""

    def __init__(self, folder: Path) -> None:
        reservoirs = {name: ReservoirSettings(dead_volume_ul=DEAD_UL) for name in COLOURS}
        self.house = StockHouse(folder, InventorySettings(threshold_ul=50.0, reservoir=reservoirs), places=4)
        self.jobs: list[Job] = []
        self.told: dict[tuple[int, int, str], dict[str, int]] = {}
        self.operations = 0
        self.starts = 0

    def watch(self) -> None:
        """Look at every start in the very turn in which it is staged."""
        attendant = self.house.service.reservations
        inner = attendant.change

        def change(job: Job, before: JobState, after: JobState) -> None:
            inner(job, before, after)
            if (before, after) == (JobState.QUEUED, JobState.RUNNING) and job.override is None:
                self.starts += 1
                now_s = self.house.ledger.book.clock.now_s()
                for key in job.needs or {}:
                    shelf = self.house.ledger.book.shelves[key]
                    left_pl = shelf.level_at(now_s) - shelf.dead_pl - shelf.going_pl
                    if job.needs and attendant._book.claims[job.id].claims[key].remaining_pl:
                        assert left_pl >= 0, f"job {job.id} starts short of {key} by {-left_pl} pl"

        attendant.change = change  # type: ignore[method-assign]

    async def do(self, what: tuple[Any, ...]) -> None:
        self.operations += 1
        with contextlib.suppress(LabdError):  # a refusal is an answer; what it left behind, the proof shows
            await getattr(self, what[0].replace(" ", "_"))(*what[1:])

    def _one(self, number: int, *states: JobState) -> Job | None:
        found = [job for job in self.jobs if job.state in states]
        return found[number % len(found)] if found else None

    async def submit(self, task: str, red: float, yellow: float, override: str | None) -> None:
        self.jobs.append(await self.house.submit(task, override, red=red, yellow=yellow))

    async def take(self, number: int, step: int, key: str, volume_ul: float) -> None:
        job = self._one(number, JobState.RUNNING)
        if job is not None and job.task != "lab.pour":
            await self.house.engine.consume(job, f"{job.attempt}:{step}", {key: volume_ul})
            if volume_ul:
                self.told.setdefault((job.id, job.attempt, str(step)), {key: round(volume_ul * PL_PER_UL)})

    async def finish(self, number: int, fault: BaseException | None = None) -> None:
        job = self._one(number, JobState.RUNNING)
        if job is not None and job.id in self.house.orders:
            self.house.orders[job.id].put_nowait(("end", None) if fault is None else ("fail", fault))

    async def fail(self, number: int) -> None:
        await self.finish(number, DeviceTimeout("no answer"))

    async def cancel(self, number: int) -> None:
        job = self._one(number, JobState.QUEUED, JobState.INTERRUPTED, *GOING)
        if job is not None:
            await self.house.engine.cancel(job.id, ANNA)

    async def retry(self, number: int) -> None:
        job = self._one(number, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)
        if job is not None:
            await self.house.engine.retry(job.id, ANNA)

    async def restock(self, key: str, volume_ul: float) -> None:
        self.house.ledger.restock({key: volume_ul}, "anna")
        self.house.engine.wake()

    async def measure(self, key: str, level_ul: float) -> None:
        self.house.ledger.measure(key, level_ul, "anna")

    async def adjust(self, key: str, change_ul: float) -> None:
        self.house.ledger.adjust(key, change_ul, "anna", "spilt")

    async def lid(self, key: str, lid: str) -> None:
        self.house.ledger.set_lid(key, lid, "anna")

    async def look(self) -> None:
        self.house.ledger.views()
        self.house.service.status()

    async def time(self, by_s: float) -> None:
        self.house.clock.advance(by_s)

    async def clock_step(self, by_s: float) -> None:
        levels = [one.level_ul for one in self.house.ledger.views()]
        self.house.clock.step_wall(by_s)
        assert [one.level_ul for one in self.house.ledger.views()] == levels

    async def restart(self) -> None:
        before, newest = {one.key: one.level_ul for one in self.house.ledger.views()}, self.house.ledger.book.last_id
        self.house.ledger.book.save_clock()  # what the service does within seconds of a clock step
        await self.house.restart()
        await self._again()
        # A repeatable job that saw too many deaths fails at the start, and is charged for what it did not say.
        charged = dict(
            self.house.rows(
                "SELECT reservoir, sum(volume_pl) FROM inventory_movement WHERE kind = 'consumption' "
                f"AND id > {newest} GROUP BY reservoir"
            )
        )
        for one in self.house.ledger.views():
            missed = before[one.key] + charged.get(one.key, 0) / PL_PER_UL - one.level_ul
            last = self.house.rows("SELECT * FROM inventory_movement ORDER BY id DESC LIMIT 8") if missed else []
            assert abs(missed) < 0.002, (one.key, missed, before, charged, newest, last)

    async def die_and_time(self, by_s: float) -> None:
        self.house.ledger.book.save_clock()
        await self.house.die()
        self.house.clock.advance(by_s)
        await self.house.boot()
        await self._again()

    async def _again(self) -> None:
        self.watch()
        await self.house.engine.journal.commit()
        self.jobs = [await self.house.engine.job(job.id) for job in self.jobs]

    async def check(self) -> None:
        """The books, and what the jobs said beside what they were charged for."""
        for _ in range(6):  # let starts and ends happen
            await asyncio.sleep(0)
        await self.house.proof()
        said = dict.fromkeys(COLOURS, 0)
        for volumes in self.told.values():
            for key, pl in volumes.items():
                said[key] += pl
        charged = dict.fromkeys(COLOURS, 0)
        for key, pl in self.house.rows(
            "SELECT reservoir, sum(-volume_pl) FROM inventory_movement WHERE kind = 'consumption' "
            "AND step NOT LIKE '%end' GROUP BY reservoir"
        ):
            charged[key] = pl
        assert charged == said


async def live(bursts: list[list[tuple[Any, ...]]]) -> tuple[int, int]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder, capture_logs() as told:
        chances = Chances(Path(folder))
        async with chances.house.open():
            chances.watch()
            await chances.house.fill(red=3000.0, yellow=3000.0)
            for one in bursts:
                await asyncio.gather(*(chances.do(what) for what in one))
                await chances.check()
                # a row that the database refused is dropped and told: the balances alone would not show it
                assert [one for one in told if one["event"] == "journal.failed"] == []
                told.clear()
        return chances.operations, chances.starts


def run_operations(operations: int, number: int) -> tuple[int, int]:
    """Draw and do so many operations; the seed gives the same again. Returns how many were done, and jobs started."""
    done = starts = 0

    @seed(number)
    @settings(
        max_examples=10 + operations // 10, deadline=None, database=None, print_blob=True,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(burst, min_size=A_RUN // 2, max_size=A_RUN))
    def run(bursts: list[list[tuple[Any, ...]]]) -> None:
        nonlocal done, starts
        if done < operations:
            made = asyncio.run(live(bursts))
            done, starts = done + made[0], starts + made[1]

    run()
    return done, starts

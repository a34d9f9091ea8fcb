"""Jobs and the stock, on the real engine and real files: who is accepted, who may start, who is refused and how."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.engine.job import Caller, JobState, Submission
from labd.errors import BadVolume, InsufficientStock, InventoryNotInitialized, LabdError, StoreFull
from labd.inventory.settings import InventorySettings, ReservoirSettings
from tests.fakes.stock_rig import ANNA, StockHouse, still, until

OPERATOR = Caller("unix:otto", frozenset({"read", "operate"}))


async def admitted(house: StockHouse, count: int, **volumes_ul: float) -> int:
    """How many of so many jobs, submitted at the same time, are accepted."""
    answers = await asyncio.gather(
        *(house.submit("lab.mix", **volumes_ul) for _ in range(count)), return_exceptions=True
    )
    for answer in answers:
        assert not isinstance(answer, BaseException) or isinstance(answer, InsufficientStock), answer
    return sum(not isinstance(answer, BaseException) for answer in answers)


async def test_ten_jobs_of_2_ml_at_once_on_15_ml_with_1_ml_dead_volume_are_seven(state_dir: Path) -> None:
    async with StockHouse(state_dir, still(dead_volume_ul=1000.0)).open() as house:
        await house.fill(red=15000.0)
        assert await admitted(house, 10, red=2000.0) == 7
        assert house.ledger.view("red").available_ul == 0.0
        await house.proof()


async def test_with_the_default_threshold_and_evaporation_they_are_six(state_dir: Path) -> None:
    async with StockHouse(state_dir, InventorySettings(dead_volume_ul=1000.0)).open() as house:
        await house.fill(red=15000.0)
        assert await admitted(house, 10, red=2000.0) == 6
        await house.proof()


async def test_a_refusal_has_the_seeds_words_and_the_numbers(state_dir: Path) -> None:
    async with StockHouse(state_dir, still(threshold_ul=100.0)).open() as house:
        await house.fill(red=1000.0, yellow=45.0, blue=20.0)
        with pytest.raises(InsufficientStock) as caught:
            await house.submit(yellow=150.0)
        assert caught.value.message == (
            "Insufficient stock for: yellow (available: 45.0 ul, required: 150.0 ul). Please restock before proceeding."
        )
        assert caught.value.details["short"] == [
            {
                "reservoir": "yellow",
                "color": "yellow",
                "available_ul": 45.0,
                "required_ul": 150.0,
                "threshold_ul": 100.0,
                "missing_ul": 205.0,
            }
        ]
        with pytest.raises(
            InsufficientStock, match=r"for: yellow \(.*\), blue \(available: 20.0 ul, required: 30.0 ul\)"
        ):
            await house.submit(red=10.0, yellow=150.0, blue=30.0)
        assert house.kinds("red") == ["restock"]
        assert house.engine.counts()["queued"] == 0


async def test_a_reservoir_never_set_up_says_so(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        with pytest.raises(InventoryNotInitialized, match=r"^Inventory not initialized for color red$"):
            await house.submit(red=10.0)
        with pytest.raises(InventoryNotInitialized, match=r"^Inventory not initialized for color green$"):
            await house.submit("lab.any", volumes={"green": 10.0})
        assert (await house.submit("lab.any", volumes={})).needs is None


async def test_a_list_is_accepted_as_a_whole_or_not_at_all(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        items = [Submission("lab.mix", args={"red": 400.0}) for _ in range(3)]
        with pytest.raises(InsufficientStock, match=r"available: 200.0 ul, required: 400.0 ul"):
            await house.engine.submit(items, ANNA)
        assert house.reserved() == 0.0
        await house.engine.submit(items[:2], ANNA)
        assert house.reserved() == 800.0
        await house.proof()


async def test_an_operator_may_override_with_a_reason_that_is_kept(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=100.0)
        item = Submission("lab.mix", args={"red": 300.0}, override="the bottle is fuller than that")
        (job,) = await house.engine.submit([item], OPERATOR)
        await house.running(job)
        await house.tell(job, "1", red=300.0)
        await house.finish(job)
        red = house.ledger.view("red")
        assert (red.level_ul, red.deficit_ul) == (-200.0, 200.0)
        ((cause,),) = house.rows("SELECT cause FROM inventory_movement WHERE kind = 'reservation'")
        assert (
            cause
            == f"job {job.id} (lab.mix) was taken in spite of the stock by unix:otto: the bottle is fuller than that"
        )
        assert next(iter(house.service.status()["attention"]))["code"] == "deficit"
        await house.proof()


async def test_a_deficit_is_kept_over_a_restart_blocks_and_does_not_evaporate(state_dir: Path) -> None:
    house = StockHouse(state_dir, InventorySettings(threshold_ul=0.0))
    async with house.open():
        await house.fill(red=100.0)
        job = await house.submit("lab.mix", "I know", red=300.0)
        await house.tell(job, "1", red=300.0)
        await house.finish(job)
        house.clock.advance(86400.0)
        await house.restart()
        assert house.ledger.view("red").deficit_ul == 200.0
        with pytest.raises(InsufficientStock, match=r"red \(available: -200.0 ul, required: 1.0 ul\)"):
            await house.submit(red=1.0)
        house.ledger.measure("red", 4000.0, "anna")
        await house.submit(red=1.0)
        await house.proof()


async def test_wells_of_a_protocol_are_reservoirs_by_the_settings_and_others_are_left_alone(state_dir: Path) -> None:
    table = ReservoirSettings(slot="3", well="B1", device="left", position="B1")
    async with StockHouse(state_dir, still(reservoir={"red": table})).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit("lab.any", volumes={"left/3/B1": 120.0, "left/3/A1": 999.0, "right/3/B1": 5.0})
        assert job.needs == {"red": 120.0}
        assert (await house.submit("lab.any", volumes={"left/9/A1": 10.0})).needs is None


async def test_simulated_jobs_never_touch_real_stock(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=100.0)
        job = await house.submit("sim.mix", red=5000.0)
        assert job.needs is None
        await house.running(job)
        house.orders[job.id].put_nowait(("1", {"red": 50.0}))
        await house.finish(job)
        assert house.kinds() == ["restock"]


@pytest.mark.parametrize("volume", [-1.0, 2e9])
async def test_a_need_that_cannot_be_is_refused(state_dir: Path, volume: float) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=100.0)
        with pytest.raises(BadVolume, match="red"):
            await house.submit("lab.any", volumes={"red": volume})


async def test_what_evaporated_meanwhile_holds_a_job_at_its_start_and_a_restock_lets_it_go(state_dir: Path) -> None:
    house = StockHouse(state_dir, InventorySettings(threshold_ul=0.0))
    async with house.open():
        await house.fill(red=1000.0)
        await house.engine.pause_queue("standard", ANNA, "the bench is being cleaned")
        job = await house.submit(red=990.0)
        house.clock.advance(4 * 3600.0)  # 20 ul
        await house.engine.resume_queue("standard", ANNA)
        await until(lambda: not house.engine.queues()[0].paused_by)
        (cause,) = await house.engine.why(job.id)
        assert (cause.code, cause.details["usable_ul"], cause.details["required_ul"]) == ("stock_short", 980.0, 990.0)
        assert "red has 980.0 ul for it" in cause.message
        assert job.id not in house.begun
        house.ledger.restock({"red": 100.0}, "anna")
        house.engine.wake()
        await house.running(job)
        await house.proof()


async def test_of_two_jobs_that_no_longer_fit_both_only_one_starts(state_dir: Path) -> None:
    house = StockHouse(state_dir, InventorySettings(threshold_ul=0.0))
    async with house.open():
        await house.fill(red=1000.0)
        await house.engine.pause_queue("standard", ANNA, "")
        jobs = [await house.submit(red=500.0) for _ in range(2)]
        house.clock.advance(4 * 3600.0)
        await house.engine.resume_queue("standard", ANNA)
        await house.running(jobs[0])
        assert [cause.code for cause in await house.engine.why(jobs[1].id)] == ["stock_short"]
        await house.tell(jobs[0], "1", red=100.0)
        await house.finish(jobs[0])
        await house.running(jobs[1])  # the other said it took 100 of its 500: there is enough again
        await house.proof()


async def test_a_full_disk_refuses_the_job_and_gives_its_reservation_back(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.engine.journal.RETRY_S", 0.0)
    house = StockHouse(state_dir)
    async with house.open():
        await house.fill(red=10000.0)
        await house.engine.pause_queue("standard", ANNA, "")
        await _page_limit(house, 1)
        kept = 0
        while await _fits(house):
            kept += 1
        assert house.engine.store_full
        assert house.reserved() == kept
        await _page_limit(house, 1_000_000)
        await _until_writable(house)
        await house.proof()
        assert house.kinds().count("release") >= 1
        await house.restart()
        assert house.reserved() == kept
        await house.proof()


async def _fits(house: StockHouse) -> bool:
    try:
        await house.submit(red=1.0)
    except StoreFull:
        return False
    return True


async def _page_limit(house: StockHouse, pages: int) -> None:
    await house.engine.journal.write(lambda opened: opened.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def _until_writable(house: StockHouse) -> None:
    while house.engine.store_full:
        house.clock.advance(1.0)
        await asyncio.sleep(0)


async def test_the_other_kind_of_stock_in_the_same_folder_is_refused_and_nothing_goes_uncounted(
    state_dir: Path,
) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=100.0)
    other = StockHouse(state_dir, still(simulated=True))
    with pytest.raises(LabdError, match="counts real stock, the settings say simulated"):
        await other.boot()
    await other.engine.start()
    with pytest.raises(LabdError, match="nothing can be reserved"):
        await other.submit("sim.mix", red=1.0)
    await other.engine.close()


async def test_an_accepted_reservation_is_in_the_commit_of_its_job(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit(red=400.0)
        assert job.state in (JobState.QUEUED, JobState.RUNNING)
        rows = house.rows("SELECT job_id, reserve_pl, reserved_after_pl FROM inventory_movement WHERE reserve_pl <> 0")
        assert rows == [(job.id, 400_000_000, 400_000_000)]
        assert house.rows("SELECT job_id, remaining_pl FROM inventory_claim") == [(job.id, 400_000_000)]

"""The ledger through the life of jobs and daemons: what is debited, what is given back, what the database refuses."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from labd.engine.job import Job, JobState
from labd.errors import (
    BadRequest,
    BadVolume,
    Conflict,
    DeviceTimeout,
    EnvironmentOff,
    InsufficientStock,
    UnknownReservoir,
)
from labd.inventory.reservoir import MovementFilter, ReservoirSpec
from labd.inventory.settings import InventorySettings, ReservoirSettings
from tests.fakes.stock_rig import ANNA, StockHouse, still, until

HOUR_S = 3600.0


async def test_a_job_debits_step_by_step_and_a_failed_one_gives_the_rest_back(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit(red=400.0)
        await house.tell(job, "1", red=150.0)
        assert (house.level(), house.reserved()) == (850.0, 250.0)
        await house.finish(job, DeviceTimeout("the pipette does not answer"))
        assert (house.level(), house.reserved(), house.used_ul()) == (850.0, 0.0, 150.0)
        assert house.kinds() == ["restock", "reservation", "consumption", "release"]
        await house.proof()


async def test_the_same_step_again_changes_nothing_not_even_after_a_restart(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit("lab.swirl", red=400.0)
        await house.tell(job, "1", red=150.0)
        house.service.reservations.consume(job, "1", {"red": 150.0})
        assert house.level() == 850.0
        house.begun.clear()
        await house.restart()  # repeatable: it runs again from its first line
        await house.running(job)
        again = await house.engine.job(job.id)
        assert (again.attempt, house.reserved()) == (2, 400.0)
        house.service.reservations.consume(again, "1", {"red": 150.0})
        house.service.reservations.consume(again, "2", {"red": 50.0})
        await house.finish(job)
        assert (house.used_ul(), house.reserved()) == (200.0, 0.0)
        await house.proof()


async def test_what_comes_back_is_put_back_and_what_goes_beyond_the_claim_is_debited_too(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit(red=100.0)
        await house.tell(job, "1", red=130.0)
        await house.tell(job, "2", red=-20.0)
        await house.finish(job)
        assert (house.level(), house.reserved()) == (890.0, 0.0)
        (found,) = await house.ledger.history(MovementFilter(kind="consumption", job_id=job.id, before=4))
        assert found.details == {"beyond_claim_ul": 30.0}
        await house.proof()


@pytest.mark.parametrize(
    ("task", "end", "left_ul"),
    [
        ("lab.pour", "succeeded", 600.0),
        ("lab.pour", "failed", 600.0),
        ("lab.pour", "cancelled", 600.0),
        ("lab.mix", "cancelled", 1000.0),  # it says what it moves, and said 0
    ],
)
async def test_a_job_that_never_says_what_it_moved_has_moved_all_it_asked_for(
    state_dir: Path, task: str, end: str, left_ul: float
) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit(task, red=400.0)
        await house.running(job)
        if task == "lab.mix":
            house.service.reservations.consume(job, "0", {"red": 1.0})
            house.service.reservations.consume(job, "00", {"red": -1.0})
        if end == "cancelled":
            await house.engine.cancel(job.id, ANNA)
            await house.ended(job)
        else:
            await house.finish(job, DeviceTimeout("no answer") if end == "failed" else None)
        assert (await house.engine.job(job.id)).state == end
        assert (house.level(), house.reserved()) == (left_ul, 0.0)
        await house.proof()


@pytest.mark.parametrize(("begun", "left_ul"), [(False, 1000.0), (True, 600.0)])
async def test_a_job_whose_worker_never_came_up_has_moved_nothing_unless_it_had_begun(
    state_dir: Path, begun: bool, left_ul: float
) -> None:
    """Found by rounds of chaos: a worker that was killed while it started cost all the liquid of its job."""
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit("lab.pour", red=400.0)
        await house.running(job)
        await house.finish(job, EnvironmentOff("default was ended by SIGKILL", environment="default", begun=begun))
        assert (await house.engine.job(job.id)).state == "failed"
        assert (house.level(), house.reserved()) == (left_ul, 0.0)
        assert house.kinds() == ["restock", "reservation", "consumption" if begun else "release"]
        await house.proof()


async def test_a_job_cancelled_before_its_start_has_moved_nothing(state_dir: Path) -> None:
    async with StockHouse(state_dir, places=0).open() as house:
        await house.fill(red=1000.0)
        job = await house.submit("lab.pour", red=400.0)
        await house.engine.cancel(job.id, ANNA)
        assert house.kinds() == ["restock", "reservation", "release"]
        await house.proof()


async def test_a_killed_daemon_leaves_an_interrupted_job_its_reservation_until_a_person_decides(
    state_dir: Path,
) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        jobs = [await house.submit(red=300.0) for _ in range(2)]
        for job in jobs:
            await house.tell(job, "1", red=100.0)
        await house.restart()
        assert [(await house.engine.job(job.id)).state for job in jobs] == [JobState.INTERRUPTED] * 2
        assert (house.level(), house.reserved()) == (800.0, 400.0)
        with pytest.raises(InsufficientStock, match=r"available: 400.0 ul, required: 401.0 ul"):
            await house.submit(red=401.0)
        await house.engine.cancel(jobs[0].id, ANNA)
        assert house.reserved() == 200.0
        house.begun.clear()
        again = await house.engine.retry(jobs[1].id, ANNA)  # topped up to its whole need
        assert house.reserved() == 300.0
        await house.tell(again, "1", red=100.0)  # the same step once more: a person let it run again, it moves again
        await house.finish(again)
        assert (house.used_ul(), house.reserved()) == (300.0, 0.0)
        await house.proof()


async def test_a_retry_that_cannot_be_reserved_is_refused(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=500.0)
        job = await house.submit("lab.pour", red=300.0)
        await house.finish(job, DeviceTimeout("no answer"))
        with pytest.raises(InsufficientStock, match=r"available: 200.0 ul, required: 300.0 ul"):
            await house.engine.retry(job.id, ANNA)
        house.ledger.restock({"red": 100.0}, "anna")
        house.begun.clear()
        await house.engine.retry(job.id, ANNA)
        await house.finish(job)
        assert (house.level(), house.reserved()) == (0.0, 0.0)
        await house.proof()


async def test_a_failed_attempt_of_a_repeatable_job_is_topped_up_for_the_next(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=500.0)
        job = await house.submit("lab.swirl", red=300.0)
        await house.tell(job, "1", red=200.0)
        house.begun.clear()
        house.orders[job.id].put_nowait(("fail", DeviceTimeout("no answer")))
        await until(lambda: house.kinds().count("reservation") == 2)
        assert house.reserved() == 300.0
        await house.running(job)
        await house.finish(job)
        assert (house.level(), house.reserved()) == (300.0, 0.0)
        await house.proof()


async def test_a_job_that_never_asked_for_stock_may_still_take_some(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=500.0)
        job = await house.submit("lab.note")
        await house.tell(job, "1", red=50.0)
        house.service.reservations.consume(job, "1", {"red": 50.0})
        assert house.rows("SELECT needed_pl, remaining_pl FROM inventory_claim") == [(0, 0)]
        await house.finish(job)
        assert (house.level(), house.ledger.book.claims) == (450.0, {})
        await house.proof()


async def test_a_copy_of_the_files_of_a_working_daemon_opens_with_every_balance(
    state_dir: Path, tmp_path: Path
) -> None:
    house = StockHouse(state_dir, InventorySettings(threshold_ul=0.0))
    async with house.open():
        await house.fill(red=5000.0, yellow=4000.0)
        for step in range(4):
            job = await house.submit(red=300.0, yellow=100.0)
            await house.tell(job, "1", red=50.0 + step)
            house.clock.advance(HOUR_S)
        for file in state_dir.glob("labd.db*"):  # as kill -9 leaves them: with the log that was not folded in
            shutil.copy(file, tmp_path)
        shutil.copy(state_dir / "logbook.db", tmp_path)
        levels = (house.level(), house.reserved(), house.reserved("yellow"))
    other = StockHouse(tmp_path, house.settings)
    other.clock = house.clock
    async with other.open():
        assert (other.level(), other.reserved(), other.reserved("yellow")) == levels
        await other.proof()


async def test_evaporation_goes_on_while_the_daemon_is_away_and_never_below_empty(state_dir: Path) -> None:
    house = StockHouse(state_dir, InventorySettings())
    async with house.open():
        await house.fill(red=100.0, blue=1000.0)
        house.clock.advance(2 * HOUR_S)
        assert house.level() == 90.0
        await house.die()
        house.clock.advance(10 * HOUR_S)
        await house.boot()
        assert (house.level(), house.level("blue")) == (40.0, 940.0)
        assert house.kinds()[-1] == "evaporation"
        house.clock.advance(100 * HOUR_S)
        assert (house.level(), house.level("blue")) == (0.0, 440.0)
        await house.restart()
        assert house.ledger.view("red").deficit_ul == 0.0
        await house.proof()


@pytest.mark.parametrize("step_s", [-90 * 86400.0, 90 * 86400.0])
async def test_a_clock_step_changes_no_level_now_or_after_a_restart(state_dir: Path, step_s: float) -> None:
    house = StockHouse(state_dir, InventorySettings())
    async with house.open():
        await house.fill(red=1000.0)
        house.clock.advance(HOUR_S)
        before = house.level()
        house.clock.step_wall(step_s)
        assert house.level() == before
        (wall,) = house.rows("SELECT wall FROM inventory_clock")[0]
        house.clock.advance(5.0)  # the service looks
        await until(lambda: house.rows("SELECT wall FROM inventory_clock")[0][0] != wall)
        await house.restart()
        assert abs(house.level() - before) < 0.01  # the 5 s
        await house.proof()


async def test_the_ticker_writes_evaporation(state_dir: Path) -> None:
    house = StockHouse(state_dir, InventorySettings(tick_s=900.0))
    async with house.open():
        await house.fill(red=1000.0)
        began = house.clock.monotonic()
        while house.ledger.book.shelves["red"].ordinal < 4:  # the restock and three ticks
            house.clock.advance(5.0)
            await asyncio.sleep(0)
        await house.proof()
        assert house.kinds() == ["restock"] + ["evaporation"] * 3
        hours = (house.clock.monotonic() - began) / HOUR_S
        assert hours >= 0.75
        assert house.level() == pytest.approx(1000.0 - 5.0 * hours, abs=0.001)


async def test_a_closed_lid_evaporates_at_its_own_rate_from_that_moment(state_dir: Path) -> None:
    house = StockHouse(state_dir, InventorySettings())
    async with house.open():
        await house.fill(red=1000.0)
        house.clock.advance(HOUR_S)
        house.ledger.set_lid("red", "closed", "anna")
        house.clock.advance(10 * HOUR_S)
        assert house.level() == 990.0
        await house.restart()
        assert (house.ledger.view("red").lid, house.level()) == ("closed", 990.0)


async def test_a_reservation_between_does_not_lose_what_evaporated_before_it(state_dir: Path) -> None:
    house = StockHouse(state_dir, InventorySettings(), places=0)
    async with house.open():
        await house.fill(red=1000.0)
        house.clock.advance(HOUR_S)
        await house.submit(red=10.0)
        await house.restart()
        assert house.level() == 995.0


async def test_a_new_rate_counts_from_its_own_moment_even_if_nothing_evaporated_before(state_dir: Path) -> None:
    house = StockHouse(state_dir)
    async with house.open():
        await house.fill(red=1000.0)
        house.clock.advance(100 * HOUR_S)
        house.ledger.edit("red", {"evaporation_rate_ul_per_hour": 5.0}, "anna")
        house.clock.advance(HOUR_S)
        await house.restart()
        assert house.level() == 995.0


async def test_what_people_do_is_checked_first_and_all_or_nothing(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        ledger = house.ledger
        await house.fill(red=10000.0, yellow=100.0)
        faults = [
            (BadVolume, "red: 6000.0 ul on top of 10000.0 ul is more than its capacity of 15000.0 ul; 5000.0 ul fit",
             lambda: ledger.restock({"yellow": 5.0, "red": 6000.0}, "anna")),
            (BadVolume, "red: -5 ul is negative; give 0 or more", lambda: ledger.restock({"red": -5.0}, "anna")),
            (BadVolume, "red: nan is no volume", lambda: ledger.restock({"red": float("nan")}, "anna")),
            (BadVolume, "red: inf is no volume", lambda: ledger.measure("red", float("inf"), "anna")),
            (BadVolume, "every volume is 0 ul", lambda: ledger.restock({"red": 0.0}, "anna")),
            (BadRequest, "operator missing", lambda: ledger.restock({"red": 1.0}, " ")),
            (UnknownReservoir, "no reservoir is named rad, there are red, yellow, blue; did you mean red?",
             lambda: ledger.restock({"rad": 1.0}, "anna")),
            (BadVolume, "-10001 ul is more than the 10000.0 ul that are there",
             lambda: ledger.adjust("red", -10001.0, "anna", "spilt")),
            (BadRequest, "needs a reason", lambda: ledger.adjust("red", -1.0, "anna", "")),
            (Conflict, "there is stock already in red", lambda: ledger.initialize({"blue": 1.0, "red": 1.0}, "anna")),
            (BadRequest, "reset needs a reason", lambda: ledger.initialize({"red": 1.0}, "anna", reset=True)),
            (BadVolume, "more than a capacity of 5000.0 ul", lambda: ledger.edit("red", {"capacity_ul": 5000.0}, "a")),
            (BadRequest, "colour cannot be changed", lambda: ledger.edit("red", {"colour": "pink"}, "anna")),
        ]  # fmt: skip
        for kind, message, act in faults:
            with pytest.raises(kind) as caught:
                act()
            assert message in caught.value.message
        await house.proof()
        assert (house.kinds(), house.kinds("yellow"), house.kinds("blue")) == (["restock"], ["restock"], [])


async def test_a_reset_compensates_and_deletes_nothing(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
        moved = house.ledger.initialize({"red": 15000.0}, "anna", reset=True, reason="new bottle")
        assert [(one.kind, one.volume_ul, one.cause) for one in moved] == [
            ("adjustment", -1000.0, "reset: new bottle"),
            ("restock", 15000.0, "new bottle"),
        ]
        assert moved[0].operation == moved[1].operation == moved[0].id
        await house.proof()


async def test_verifying_while_things_move_finds_nothing_wrong(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=9000.0, yellow=9000.0)

        async def move() -> None:
            for _ in range(50):
                house.ledger.adjust("yellow", -1.0, "anna", "spilt")  # staged, on its way to the disk
                await asyncio.sleep(0)

        moving = asyncio.create_task(move())
        while not moving.done():
            assert (await house.ledger.verify())["problems"] == []
        await moving
        house.ledger.adjust("red", -1.0, "anna", "spilt")
        assert (await house.ledger.verify())["problems"] == []
        await house.proof()


async def test_what_runs_out_soon_is_told_until_it_is_filled_up(state_dir: Path) -> None:
    def told(house: StockHouse) -> list[str]:
        return [one["message"] for one in house.service.status()["attention"] if one["code"] == "run_out"]

    settings = still(evaporation_rate_ul_per_hour=100.0, run_out_h=6.0)
    async with StockHouse(state_dir, settings).open() as house:
        await house.fill(red=700.0, yellow=15000.0)
        house.clock.advance(5.0)
        await until(lambda: house.service._looked[1] == house.ledger.last_movement)
        assert told(house) == []
        house.clock.advance(2 * 3600.0)
        await until(lambda: told(house) != [])
        assert told(house)[0].startswith("red runs out in about 5.0 h; `labctl inventory restock red=VOLUME")
        house.ledger.restock({"red": 5000.0}, "anna")
        house.clock.advance(5.0)
        await until(lambda: told(house) == [])
        await house.proof()


async def test_a_measurement_corrects_the_level_and_is_kept(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(yellow=9000.0)
        (moved,) = house.ledger.measure("yellow", 8400.0, "anna")
        assert (moved.kind, moved.volume_ul) == ("adjustment", -600.0)
        (line,) = [one for one in house.service.status()["attention"] if one["code"] == "stock_drift"]
        assert line["message"].startswith("yellow: the last measurement found 600.0 ul less than computed")
        await house.restart()
        (kept,) = await house.ledger.measurements("yellow")
        assert (kept.level_ul, kept.computed_ul, kept.actor) == (8400.0, 9000.0, "anna")
        assert house.ledger.drift_ul == {"yellow": -600.0}


async def test_reservoirs_by_hand_and_by_the_file_live_together(state_dir: Path) -> None:
    house = StockHouse(state_dir, still(reservoir={"red": ReservoirSettings(), "blue": ReservoirSettings()}))
    async with house.open():
        house.ledger.add(ReservoirSpec(key="green", color="emerald"), "anna")
        house.ledger.edit("red", {"lot": "L7"}, "anna")
        await house.fill(green=100.0)
        job = await house.submit("lab.any", volumes={"emerald": 50.0})
        with pytest.raises(Conflict, match=f"50.0 ul are reserved by jobs {job.id}"):
            house.ledger.remove("green", "anna", "empty")
        house.settings = still(reservoir={"red": ReservoirSettings(location="fridge"), "blue": ReservoirSettings()})
        await house.restart()
        red = house.ledger.view("red")
        assert (red.lot, red.location) == ("L7", "fridge")
        assert [one.key for one in house.ledger.views()] == ["red", "blue", "green"]
        await house.engine.cancel(job.id, ANNA)
        house.ledger.remove("green", "anna", "empty")
        await house.restart()
        assert [one.key for one in house.ledger.views()] == ["red", "blue"]
        await house.proof()


async def test_the_database_refuses_what_is_not_a_ledger(state_dir: Path) -> None:
    async with StockHouse(state_dir).open() as house:
        await house.fill(red=1000.0)
    opened = sqlite3.connect(state_dir / "labd.db")
    columns = "id, reservoir, ordinal, kind, at, ledger_s, volume_pl, level_before_pl, level_after_pl, reserve_pl, "
    columns += "reserved_before_pl, reserved_after_pl, actor, cause, operation, details"
    level = 1_000_000_000
    for fault, row in [
        ("CHECK", (9, "red", 2, "restock", 0, 0, 5, level, level + 6, 0, 0, 0, "", "", 9, "{}")),
        ("CHECK", (9, "red", 2, "restock", 0, 0, -5, level, level - 5, 0, 0, 0, "", "", 9, "{}")),
        ("CHECK", (9, "red", 2, "refill", 0, 0, 5, level, level + 5, 0, 0, 0, "", "", 9, "{}")),
        ("CHECK", (9, "red", 2, "evaporation", 0, 0, -level - 1, level, -1, 0, 0, 0, "", "", 9, "{}")),
        ("CHECK", (9, "red", 2, "release", 0, 0, 0, level, level, -1, 0, -1, "", "", 9, "{}")),
        ("does not follow", (9, "red", 2, "restock", 0, 0, 5, level - 1, level + 4, 0, 0, 0, "", "", 9, "{}")),
        ("does not follow", (9, "red", 3, "restock", 0, 0, 5, level, level + 5, 0, 0, 0, "", "", 9, "{}")),
    ]:
        with pytest.raises(sqlite3.IntegrityError, match=fault):
            opened.execute(f"INSERT INTO inventory_movement ({columns}) VALUES ({','.join('?' * len(row))})", row)
    for statement in ("DELETE FROM inventory_movement", "UPDATE inventory_movement SET volume_pl = 1"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            opened.execute(statement)
    opened.close()


async def test_claims_of_jobs_that_are_gone_are_released_at_the_start(state_dir: Path) -> None:
    house = StockHouse(state_dir, places=0)
    async with house.open():
        await house.fill(red=1000.0)
        kept: list[Job] = [await house.submit(red=100.0) for _ in range(3)]
        await house.die()
        opened = sqlite3.connect(state_dir / "labd.db", isolation_level=None)
        opened.execute("DELETE FROM jobs WHERE id = ?", (kept[0].id,))
        opened.execute("UPDATE jobs SET state = 'cancelled', finished_at = 1 WHERE id = ?", (kept[1].id,))
        opened.close()
        await house.boot()
        assert house.reserved() == 100.0
        assert list(house.ledger.book.claims) == [kept[2].id]
        await house.proof()

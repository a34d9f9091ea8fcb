"""What a robot tells of a run when its job has ended already is debited once, however often it is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

from labd.engine.job import Job, JobState
from labd.ot2.own_run import OwnRunRecord
from labd.ot2.robot import RunView
from tests.fakes.ot2_rig import FAST, PAUSED, OT2Rig, until
from tests.fakes.stock_rig import StockHouse


async def taken(house: StockHouse) -> Job:
    """A job that took 10 ul of red in a step `a` and has ended."""
    await house.fill(red=1000.0, yellow=1000.0)
    job = await house.submit("lab.note")
    await house.tell(job, "a", red=10.0)
    return await house.finish(job)


async def level_on_disk(house: StockHouse) -> float:
    """After a restart, which knows nothing but the disk; and the ledger's own proof holds."""
    await house.restart()
    await house.proof()
    return house.level()


async def test_a_step_that_is_told_again_after_the_end_changes_nothing(state_dir: Path) -> None:
    house = StockHouse(state_dir)
    async with house.open():
        job = await taken(house)
        await house.engine.consume(job, "a", {"red": 10.0})
        assert house.level() == 990.0
        house.ledger.restock({"red": 5.0}, "anna", "", "", None)
        await house.engine.journal.commit()
        assert await level_on_disk(house) == 995.0


async def test_so_it_is_under_the_next_daemon(state_dir: Path) -> None:
    house = StockHouse(state_dir)
    async with house.open():
        job = await taken(house)
        await house.restart()
        again = await house.engine.job(job.id)
        await asyncio.gather(*(house.engine.consume(again, "a", {"red": 10.0}) for _ in range(3)))
        assert house.level() == 990.0
        assert await level_on_disk(house) == 990.0


async def test_a_step_that_nobody_saw_before_the_end_is_debited_once(state_dir: Path) -> None:
    house = StockHouse(state_dir)
    async with house.open():
        job = await taken(house)
        for _ in range(2):
            await house.engine.consume(job, "b", {"red": 20.0})
        assert house.level() == 970.0
        assert await level_on_disk(house) == 970.0
        again = await house.engine.job(job.id)
        await house.engine.consume(again, "b", {"red": 20.0})
        assert await level_on_disk(house) == 970.0


async def test_a_look_that_was_under_way_at_the_end_of_a_run_does_not_take_it_for_a_left_one(state_dir: Path) -> None:
    rig = await OT2Rig(state_dir, {"main": FAST}).start()
    looked, told = asyncio.Event(), asyncio.Event()
    ask = rig.device.robot.run

    async def late(run_id: str) -> RunView | None:
        """The watch has its answer before the job has, and comes to it after the job."""
        view = await ask(run_id)
        if view is not None and view.ended:
            task = asyncio.current_task()
            if task is not None and task.get_name() == "ot2 watch":
                looked.set()
                await told.wait()
            else:
                await looked.wait()
        return view

    try:
        job = await rig.submit(PAUSED)
        await until(lambda: rig.device.own_view is not None and rig.device.own_view.status == "paused")
        rig.device.robot.run = late  # type: ignore[method-assign]
        left: list[str] = []

        async def take_left(record: OwnRunRecord, view: RunView | None) -> None:
            left.append(str(record.run_id))

        rig.device._take_left = take_left  # type: ignore[method-assign]
        assert rig.device.own.run_id is not None
        await rig.robot.act(rig.device.own.run_id, "play")
        assert (await rig.engine.wait(job.id, 10)).state is JobState.SUCCEEDED
        looks = rig.device.watch._looking
        told.set()
        async with looks:
            assert left == []
        assert rig.device.watch.state == "ready"
    finally:
        told.set()
        await rig.stop()

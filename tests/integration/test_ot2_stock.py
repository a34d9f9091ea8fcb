"""What protocols draw from the wells: known before they run, debited as they run, once each, whatever is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from labd.engine.job import Cause, Job, JobState
from labd.errors import InsufficientStock, StoreFull
from labd.ot2.robot import Document, RunStatus
from labd.ot2.virtual_robot import Faults
from tests.fakes import opentrons_env
from tests.fakes.ot2_rig import ALICE, FAST, OT2Rig, until

pytestmark = [pytest.mark.timeout(1000)]  # the environment is made once
TAKING = """metadata = {"apiLevel": "LEVEL"}


def run(ctx):
    tips = ctx.load_labware("opentrons_96_tiprack_300ul", "1")
    plate = ctx.load_labware("corning_96_wellplate_360ul_flat", "2")
    trough = ctx.load_labware("nest_12_reservoir_15ml", "3")
    single = ctx.load_instrument("p300_single_gen2", "left", tip_racks=[tips])
    multi = ctx.load_instrument("p300_multi_gen2", "right", tip_racks=[tips])
    single.pick_up_tip()
    single.aspirate(50, trough["A1"])
    single.air_gap(5)
    single.dispense(55, plate["B1"])
    single.mix(2, 20, trough["A2"])
    MIDDLE
    single.aspirate(30, trough["A1"])
    single.dispense(10, trough["A1"])
    single.dispense(20, plate["B2"])
    single.drop_tip()
    multi.pick_up_tip(tips["A2"])
    multi.aspirate(30, trough["A3"])
    multi.dispense(30, plate["A3"])
    multi.return_tip()
"""
WHOLE = {"main/3/A1": 70.0, "main/3/A3": 240.0}
FIRST = {"main/3/A1": 50.0}


class Books:
    """An attendant that writes down what it is told; `stock_ul` is what it has, `full` makes its disk refuse."""

    def __init__(self, stock_ul: float = 1e9) -> None:
        self.stock_ul = stock_ul
        self.full = False
        self.admitted: dict[int, dict[str, float]] = {}
        self.taken: dict[tuple[int, str], dict[str, float]] = {}
        self.again = 0
        self.refused = 0
        self.ends: list[tuple[int, JobState]] = []

    def admit(self, jobs: list[Job]) -> None:
        for job in jobs:
            needs = dict(job.needs or {})
            if sum(needs.values()) > self.stock_ul:
                raise InsufficientStock("Insufficient stock")
            self.admitted[job.id] = needs

    def forget(self, job: Job) -> None:
        del self.admitted[job.id]

    def change(self, job: Job, before: JobState, after: JobState) -> None:
        self.ends.append((job.id, after))

    def check_retry(self, job: Job) -> None:
        pass

    def cause(self, job: Job) -> Cause | None:
        return None

    async def recall(self, job: Job) -> None:
        pass

    def consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        if self.full:
            self.refused += 1
            raise StoreFull("the disk is full")
        if (job.id, step) in self.taken:
            self.again += 1
            assert self.taken[job.id, step] == volumes_ul
        self.taken[job.id, step] = volumes_ul

    def of(self, job_id: int) -> dict[str, float]:
        """What a job took in all."""
        found: dict[str, float] = {}
        for (taker, _), volumes in self.taken.items():
            for well, volume in volumes.items() if taker == job_id else ():
                found[well] = round(found.get(well, 0.0) + volume, 6)
        return {well: volume for well, volume in found.items() if volume}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return opentrons_env.once(tmp_path_factory.mktemp("simulated"))


@pytest.fixture
async def rigs(state_dir: Path, python: Path) -> AsyncIterator[Callable[..., OT2Rig]]:
    """Makes daemons over one state folder; all are stopped in the end."""
    made: list[OT2Rig] = []

    def make(books: Books | None, **changes: Any) -> OT2Rig:
        table = {**FAST, "preflight": "required", "python": str(python), **changes}
        rig = OT2Rig(state_dir, {"main": table})
        if books is not None:
            rig.engine.attend(books)
        made.append(rig)
        return rig

    yield make
    for rig in made:
        if rig.engine.journal.is_open:
            await rig.stop()


def text(level: str = "2.20", middle: str = "pass") -> str:
    return TAKING.replace("LEVEL", level).replace("MIDDLE", middle)


async def paused(rig: OT2Rig) -> Job:
    """A run that is at its pause; simulated first, which takes longer than `until` waits where cores are short."""
    script = text(middle='ctx.pause("look")')
    await rig.robot._analyse([Document("p.py", script)], {})
    job = await rig.submit(script)
    await until(lambda: rig.device.own_view is not None and rig.device.own_view.status == "paused")
    return job


async def ended(rig: OT2Rig, job: Job) -> Job:
    return await rig.engine.wait(job.id, 60)


@pytest.mark.parametrize("level", ["2.13", "2.20", "2.28"])
async def test_a_run_needs_what_its_simulation_drew_and_debits_the_same(rigs: Any, level: str) -> None:
    books = Books()
    rig = await rigs(books).start()
    job = await ended(rig, await rig.submit(text(level)))
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)
    assert books.admitted == {job.id: WHOLE}
    assert books.of(job.id) == WHOLE
    assert books.again == 0
    assert len(books.taken) >= 6  # step by step, not in one sum


async def test_the_simulation_before_the_job_serves_the_job_too(rigs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from labd.ot2.analysis import Analyser

    names: list[str] = []
    analyze = Analyser.analyze

    async def counted(self: Analyser, documents: Any, parameters: Any, *, commands: bool = False) -> Any:
        names.append("robot" if commands else "labd")
        return await analyze(self, documents, parameters, commands=commands)

    monkeypatch.setattr(Analyser, "analyze", counted)
    rig = await rigs(Books()).start()
    assert (await ended(rig, await rig.submit(text()))).state is JobState.SUCCEEDED
    assert names.count("labd") == 1


async def test_a_run_that_would_be_short_is_refused_before_anything_moves(rigs: Any) -> None:
    rig = await rigs(Books(stock_ul=300.0)).start()
    with pytest.raises(InsufficientStock):
        await rig.submit(text())
    assert rig.robot.runs == {}


async def test_a_stopped_run_has_debited_what_it_moved_and_no_more(rigs: Any) -> None:
    books = Books()
    rig = await rigs(books).start()
    job = await paused(rig)
    await rig.service.emergency_stop(None, ALICE, "spill")
    job = await ended(rig, job)
    assert (job.state, job.error.code if job.error else None) == (JobState.CANCELLED, "stop_latched")
    assert books.of(job.id) == FIRST
    assert books.ends[-1] == (job.id, JobState.CANCELLED)  # after the debits: the rest can be released


async def test_a_lost_connection_debits_nothing_twice(rigs: Any) -> None:
    books = Books()
    rig = await rigs(books).start()
    job = await paused(rig)
    await rig.faults(starting=True)
    await until(lambda: rig.device.watch.state == "starting")
    await rig.faults()
    await until(lambda: rig.device.watch.state == "ready")
    await rig.device.resume(ALICE)
    job = await ended(rig, job)
    assert (job.state, books.of(job.id), books.again) == (JobState.SUCCEEDED, WHOLE, 0)


async def test_a_command_that_failed_debits_nothing(rigs: Any) -> None:
    books = Books()
    rig = await rigs(books).start()
    found = await rig.robot._analyse([Document("p.py", text())], {})
    last = max(number for number, one in enumerate(found["commands"]) if one["commandType"] == "aspirate")
    await rig.robot.change_faults(Faults(fail_at=last))
    job = await ended(rig, await rig.submit(text()))
    assert job.state is JobState.FAILED
    assert books.of(job.id) == {"main/3/A1": 70.0}


async def test_a_debit_that_the_disk_refuses_stops_no_run_and_is_made_up_for(rigs: Any) -> None:
    books = Books()
    rig = await rigs(books).start()
    books.full = True
    job = await paused(rig)
    await until(lambda: books.refused)
    assert books.taken == {}
    books.full = False
    await rig.device.resume(ALICE)
    job = await ended(rig, job)
    assert (job.state, books.of(job.id)) == (JobState.SUCCEEDED, WHOLE)
    lines = [line.text for line in await rig.engine.logs(job.id)]
    assert "what the run took is not debited: the disk is full" in lines


async def test_what_an_interrupted_run_moved_without_labd_is_debited_when_it_is_back(
    rigs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books()
    first = await rigs(books).start()
    job = await paused(first)
    await until(lambda: books.of(job.id) == FIRST)
    run_id = first.device.own.run_id
    robot = first.robot  # goes on by itself, as a real one does
    monkeypatch.setattr(robot, "close", _nothing)
    await first.engine.drain(0.0)
    await first.stop()
    await robot.act(run_id, "play")
    await until(lambda: robot.run(run_id).status is RunStatus.SUCCEEDED)
    second = rigs(books)
    monkeypatch.setattr("labd.ot2.service.VirtualRobot", lambda *_, **__: robot)
    await second.start()
    await until(lambda: second.device.own.record is None)
    assert (await second.engine.job(job.id)).state is JobState.INTERRUPTED
    assert books.of(job.id) == WHOLE
    assert len(robot.runs) == 1
    [line] = [line for line in second.service.status()["attention"] if line["code"] == "run_left_ended"]
    assert f"run {run_id} of job {job.id}, which no job followed, is succeeded" in line["message"]


async def _nothing() -> None:
    pass


async def test_where_the_volumes_are_not_known_before_they_are_debited_all_the_same(rigs: Any) -> None:
    books = Books()
    rig = await rigs(books, preflight="robot").start()
    job = await ended(rig, await rig.submit(text()))
    assert (job.state, job.needs, books.admitted) == (JobState.SUCCEEDED, None, {})
    assert books.of(job.id) == WHOLE
    lines = [line.text for line in await rig.engine.logs(job.id)]
    assert any("what it will take from stock is not known" in line for line in lines)


async def test_a_faulty_protocol_is_its_jobs_own_error_not_the_submissions(rigs: Any) -> None:
    books = Books()
    rig = await rigs(books).start()
    job = await ended(rig, await rig.submit(text().replace("nest_12", "no_such")))
    assert job.error is not None
    assert (job.error.code, books.admitted, books.taken) == ("protocol_refused", {}, {})


async def test_without_an_inventory_no_details_are_asked_for(rigs: Any) -> None:
    rig = await rigs(None).start()
    asked: list[str] = []

    async def step(run_id: str, command_id: str) -> Any:
        asked.append(command_id)

    rig.device.robot.step = step
    assert (await ended(rig, await rig.submit(text()))).state is JobState.SUCCEEDED
    assert asked == []

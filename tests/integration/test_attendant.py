"""What an attendant of the jobs is told, and that what it stages lands with them or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from labd.clock import SystemClock
from labd.engine import store
from labd.engine.engine import Engine
from labd.engine.job import Caller, Job, JobState, Submission
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.errors import BadRequest, Draining, InsufficientStock, Refused, ScopeMissing, StoreFull, StoreNewer
from tests.fakes.pantry import SCHEMA, Pantry

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))
READER = Caller("unix:rob", frozenset({"read"}))


class House:
    """An engine whose tasks draw from a pantry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = asyncio.Event()
        self.looking = asyncio.Event()
        self.looked = asyncio.Event()
        self.engine: Engine
        self.pantry: Pantry

    def registry(self) -> Registry:
        registry = Registry()

        async def mix(ctx: JobContext, R: float = 10.0, blue_ml: float = 0.0) -> str:  # noqa: N803 as in the seed
            await ctx.consume({"red": R / 2}, "half")
            await self.gate.wait()
            return "mixed"

        async def protocol(ctx: JobContext, name: str) -> None:
            await self.gate.wait()

        async def analysis(args: dict[str, Any]) -> dict[str, float] | None:
            await asyncio.sleep(0)
            if args["name"] == "slow":
                self.looking.set()
                await self.looked.wait()
            if args["name"] == "unknown":
                return None
            if args["name"] == "faulty":
                raise InsufficientStock("no such well")
            return {"main/3/B1": 25.0}

        registry.add(TaskSpec("test.mix", mix, consumes={"red": "R", "blue": "blue_ml", "glue": 2}))
        registry.add(TaskSpec("test.run", protocol, needs=analysis, effect="physical", resources=("arm",)))
        registry.add(TaskSpec("test.cached", mix, consumes={"red": "R"}, cached=True, code={"sha256": "a"}))
        return registry

    @asynccontextmanager
    async def open(self, stock_ul: float = 100.0) -> AsyncIterator[House]:
        registry = self.registry()
        self.engine = Engine(self.folder, registry, SystemClock(), Random(3), schemas=[SCHEMA])
        await self.engine.open()
        try:
            self.pantry = Pantry(self.engine, stock_ul)
            self.engine.attend(self.pantry)
            await self.engine.start()
            yield self
        finally:
            await self.engine.close()

    async def submit(self, task: str = "test.mix", caller: Caller = ANNA, /, **fields: Any) -> Job:
        return (await self.engine.submit([Submission(task, **fields)], caller))[0]

    async def fill_up(self) -> None:
        """Submit until the allocator needs another page."""
        for _ in range(2000):
            await self.submit(args={"R": 0.01}, tags=["x" * 60] * 20, delay_s=600)

    async def notes(self) -> list[tuple[str, int]]:
        await self.engine.journal.commit()
        return [tuple(row) for row in await self.engine.journal.read("pantry.notes")]


@pytest.fixture
def house(state_dir: Path) -> House:
    return House(state_dir)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 it is the loop's own turns that are counted
            await asyncio.sleep(0)


async def test_needs_are_read_from_the_arguments_with_their_defaults_and_units(house: House) -> None:
    async with house.open():
        assert (await house.submit()).needs == {"red": 10.0, "glue": 2.0}
        assert (await house.submit(args={"R": 0, "blue_ml": 0.5})).needs == {"blue": 500.0, "glue": 2.0}


async def test_the_attendant_is_told_of_every_move_of_a_job_in_the_jobs_own_commits(house: House) -> None:
    async with house.open():
        job = await house.submit()
        await until(lambda: job.state is JobState.RUNNING)
        house.gate.set()
        await house.engine.wait(job.id, 5)
        told = [("admit", 1), ("queued-running", 1), ("consume half {'red': 5.0}", 1), ("running-succeeded", 1)]
        assert house.pantry.seen == told == await house.notes()


async def test_a_refusal_takes_the_whole_list_and_stages_nothing(house: House) -> None:
    async with house.open(stock_ul=15.0):
        with pytest.raises(InsufficientStock, match=r"15\.0 ul free, 20\.0 ul wanted"):
            await house.engine.submit([Submission("test.mix"), Submission("test.mix")], ANNA)
        assert await house.notes() == []
        assert house.engine.counts()["queued"] == 0
        assert (await house.submit()).id == 1


async def test_a_known_key_gives_its_job_back_however_short_the_stock_is(house: House) -> None:
    async with house.open(stock_ul=10.0):
        first = await house.submit(idempotency_key="once")
        again = await house.submit(idempotency_key="once")
        assert again.id == first.id
        assert [what for what, _ in house.pantry.seen].count("admit") == 1


async def test_an_override_needs_a_reason_and_an_operator_and_is_in_the_audit(house: House) -> None:
    async with house.open(stock_ul=0.0):
        with pytest.raises(BadRequest, match="1 to 500 characters"):
            await house.submit(override="  ")
        with pytest.raises(ScopeMissing, match="unix:rob may not override"):
            await house.submit("test.mix", READER, override="because")
        job = await house.submit(override="the tube was filled by hand")
        assert job.override == "the tube was filled by hand"
        entries = await house.engine.audit_page(None, 10)
        noted = next(entry for entry in entries if entry.action == "stock.override")
        assert (noted.actor, noted.subject) == ("unix:anna", "job 1")
        assert noted.details["needs_ul"] == {"red": 10.0, "glue": 2.0}


async def test_an_analysis_says_what_a_job_needs_or_refuses_it_or_does_not_know(house: House) -> None:
    async with house.open():
        assert (await house.submit("test.run", args={"name": "known"})).needs == {"main/3/B1": 25.0}
        assert (await house.submit("test.run", args={"name": "unknown"})).needs is None
        with pytest.raises(InsufficientStock, match="no such well"):
            await house.submit("test.run", args={"name": "faulty"})


async def test_a_request_from_before_a_stop_is_not_accepted_after_it_however_long_its_analysis_takes(
    house: House,
) -> None:
    async with house.open():
        asked = asyncio.create_task(house.submit("test.run", args={"name": "slow"}))
        await house.looking.wait()
        house.engine.cancel_holding("arm", ANNA, "stop", "stop_latched")
        house.looked.set()
        with pytest.raises(Refused, match="arm was stopped or lost while the request was being looked at"):
            await asked
        assert await house.notes() == []
        assert (await house.submit("test.run", args={"name": "slow"})).needs == {"main/3/B1": 25.0}


async def test_a_request_whose_analysis_ends_while_labd_ends_is_refused(house: House) -> None:
    async with house.open():
        asked = asyncio.create_task(house.submit("test.run", args={"name": "slow"}))
        await house.looking.wait()
        await house.engine.drain(0.0)
        house.looked.set()
        with pytest.raises(Draining):
            await asked


async def test_short_stock_holds_a_queued_job_says_so_and_lets_it_go_when_woken(house: House) -> None:
    async with house.open():
        house.pantry.is_short = True
        job = await house.submit()
        passing = await house.submit(override="by hand")
        await until(lambda: passing.state is JobState.RUNNING)
        assert job.state is JobState.QUEUED
        assert [cause.code for cause in await house.engine.why(job.id)] == ["stock_short"]
        house.pantry.is_short = False
        house.engine.wake()
        await until(lambda: job.state is JobState.RUNNING)


async def test_a_retry_is_refused_where_it_cannot_be_reserved(house: House) -> None:
    async with house.open():
        job = await house.submit(delay_s=60)
        await house.engine.cancel(job.id, ANNA)
        house.pantry.is_short = True
        with pytest.raises(InsufficientStock):
            await house.engine.retry(job.id, ANNA)
        house.pantry.is_short = False
        await house.engine.retry(job.id, ANNA)
        assert ("cancelled-queued", job.id) in house.pantry.seen


async def test_a_recorded_result_takes_nothing(house: House) -> None:
    async with house.open():
        house.gate.set()
        first = await house.submit("test.cached")
        await house.engine.wait(first.id, 5)
        hit = await house.submit("test.cached")
        assert (hit.cached_from, hit.needs) == (first.id, None)
        assert all(job_id == first.id for _, job_id in house.pantry.seen)


async def test_a_job_that_the_disk_refuses_leaves_nothing_reserved(house: House) -> None:
    async with house.open():
        await house.engine.journal.write(lambda c: c.execute("PRAGMA max_page_count = 1").fetchall())
        with pytest.raises(StoreFull):
            await house.fill_up()
        refused = [job_id for what, job_id in house.pantry.seen if what == "forget"]
        assert refused
        await house.engine.journal.write(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())
        await until(lambda: not house.engine.store_full)
        notes = await house.notes()
        for job_id in refused:
            assert {what for what, noted in notes if noted == job_id} in ({"admit", "forget"}, {"forget"}, set())
        orphans = {job_id for _, job_id in await house.engine.journal.read("pantry.orphans")}
        assert orphans <= set(refused)


async def test_a_jobs_needs_outlive_the_daemon(house: House) -> None:
    async with house.open():
        job = await house.submit(delay_s=600, override="by hand")
    again = House(house.folder)
    async with again.open():
        found = await again.engine.job(job.id)
        assert (found.needs, found.override) == ({"red": 10.0, "glue": 2.0}, "by hand")


def test_tables_of_a_wing_are_brought_up_and_a_newer_one_is_refused(state_dir: Path) -> None:
    path = state_dir / "labd.db"
    store.prepare(path, "journal")
    store.prepare(path, "journal", [SCHEMA])
    store.prepare(path, "journal", [SCHEMA])
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        assert opened.execute("SELECT * FROM schemas").fetchall() == [("pantry", 1)]
        assert opened.execute("SELECT count(*) FROM pantry_notes").fetchone() == (0,)
        opened.execute("UPDATE schemas SET version = 7")
    with pytest.raises(StoreNewer, match="has schema 7 of pantry, this labd knows up to 1"):
        store.prepare(path, "journal", [SCHEMA])

"""The wall clock is set while jobs wait: none is lost, none waits for an hour that has been, none moves too late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from labd.clock import iso
from labd.engine.engine import Engine
from labd.engine.job import Caller, Job, JobState, Submission
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.engine.schedules import ScheduleSpec
from labd.errors import DeviceTimeout
from tests.fakes.broker import until
from tests.fakes.clock import FakeClock

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))
HOUR_S = 3600.0


class Bench:
    """A task that fails as often as it is told to, one that moves, and a queue that can be paused.

    It outlives its daemons: each `open` is another one on the same files, and `ran` is of all of them.
    """

    def __init__(self, state_dir: Path, clock: FakeClock) -> None:
        self.ran: list[int] = []
        self.failures = 0
        self.clock = clock
        self.state_dir = state_dir
        self.registry = Registry()
        self.engine: Engine

        async def echo(ctx: JobContext) -> None:
            if self.failures:
                self.failures -= 1
                raise DeviceTimeout("no answer")
            self.ran.append(ctx.job.id)

        async def move(ctx: JobContext) -> None:
            self.ran.append(ctx.job.id)

        self.registry.add(TaskSpec("test.echo", echo, "Echo.", max_attempts=3, retry_delay_s=60.0))
        self.registry.add(TaskSpec("test.move", move, "Move.", effect="physical"))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Engine]:
        """The engine of one daemon, closed on the way out."""
        self.engine = Engine(self.state_dir, self.registry, self.clock, Random(1))
        await self.engine.open()
        try:
            await self.engine.start()
            yield self.engine
        finally:
            await self.engine.close()

    async def submit(self, task: str = "test.echo", **more: object) -> Job:
        job, _ = await self.engine.submit_one(Submission(task, **more), ANNA)  # type: ignore[arg-type]
        return job

    async def state(self, job: Job) -> Job:
        return await self.engine.job(job.id)

    async def clock_is_looked_at(self) -> None:
        """The upkeep has seen the clock as it is now, and what it decided is on disk."""
        self.clock.advance(6.0)
        await until(lambda: self.engine.clock_watch.steps > 0)
        await self.engine.journal.commit()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bench(tmp_path: Path, clock: FakeClock) -> Bench:
    return Bench(tmp_path, clock)


async def test_jobs_that_waited_for_nothing_run_in_a_daemon_that_comes_up_in_the_past(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        await bench.engine.pause_queue("standard", ANNA, "not yet")
        jobs = [await bench.submit() for _ in range(3)]
    clock.step_wall(-3 * HOUR_S)
    async with bench.open():
        await bench.engine.resume_queue("standard", ANNA)
        await until(lambda: len(bench.ran) == 3)
        assert bench.ran == [job.id for job in jobs]


async def test_a_pause_between_two_attempts_ends_when_the_clock_is_set_back_behind_the_job(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        bench.failures = 1
        job = await bench.submit()
        await until(lambda: job.state is JobState.QUEUED and job.attempt == 1)
        clock.step_wall(-3 * HOUR_S)
        await bench.clock_is_looked_at()
        await until(lambda: bench.ran == [job.id])


async def test_a_pause_between_two_attempts_is_as_long_as_it_was_when_the_clock_is_set_back_a_little(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        bench.failures = 2
        job = await bench.submit()
        await until(lambda: job.state is JobState.QUEUED and job.attempt == 1)
        clock.advance(300.0)
        bench.engine.wake()
        await until(lambda: job.state is JobState.QUEUED and job.attempt == 2)
        left_s = job.run_at - clock.wall()
        clock.step_wall(-200.0)
        await bench.clock_is_looked_at()
        assert (await bench.state(job)).run_at - clock.wall() == pytest.approx(left_s - 6.0, abs=0.1)
        assert bench.ran == []


async def test_a_pause_between_two_attempts_ends_for_a_daemon_that_comes_up_in_the_past(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        bench.failures = 1
        job = await bench.submit()
        await until(lambda: job.state is JobState.QUEUED and job.attempt == 1)
    clock.step_wall(-3 * HOUR_S)
    async with bench.open():
        await until(lambda: bench.ran == [job.id])
        kinds = [event.kind for event in await bench.engine.job_events(job.id)]
        assert "job.rescheduled" in kinds


async def test_a_daemon_that_dies_between_a_step_and_its_look_leaves_no_job_in_the_future(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        bench.failures = 1
        job = await bench.submit()
        await until(lambda: job.state is JobState.QUEUED and job.attempt == 1)
        clock.step_wall(-26 * HOUR_S)
        bench.engine.publish("daemon.started", {})  # a last event by the right clock
        await bench.engine.journal.commit()
    async with bench.open():
        await until(lambda: bench.ran == [job.id])


async def test_a_motion_asked_for_after_a_step_back_and_before_the_look_is_not_taken_for_an_old_one(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        clock.step_wall(-26 * HOUR_S)
        job = await bench.submit("test.move")
        await until(lambda: job.state in (JobState.SUCCEEDED, JobState.CANCELLED))
        assert job.state is JobState.SUCCEEDED


async def test_a_motion_waits_no_longer_than_its_expiry_when_the_clock_is_set_back(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        await bench.engine.pause_queue("standard", ANNA, "not yet")
        job = await bench.submit("test.move")
        clock.step_wall(-3 * HOUR_S)
        await bench.clock_is_looked_at()
        clock.advance(11 * 60.0)
        await bench.engine.resume_queue("standard", ANNA)
        await until(lambda: job.state is JobState.CANCELLED)
        assert bench.ran == []
        assert job.error is not None
        assert job.error.code == "job_expired"
        assert "has waited since before the clock was set back, past its expires_at" in job.error.message


async def test_a_motion_that_waited_for_a_second_is_not_cancelled_when_the_clock_is_set_forward(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        await bench.engine.pause_queue("standard", ANNA, "not yet")
        asked = iso(clock.wall() + 300.0)
        unsaid, said = await bench.submit("test.move"), await bench.submit("test.move", expires_at=asked)
        clock.step_wall(3 * HOUR_S)
        await bench.engine.resume_queue("standard", ANNA)
        await until(lambda: sorted(bench.ran) == [unsaid.id, said.id])  # by the clock of the last look


async def test_the_expiry_of_a_motion_goes_with_the_clock_and_that_of_a_new_one_is_its_own(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        await bench.engine.pause_queue("standard", ANNA, "not yet")
        old = await bench.submit("test.move")
        clock.step_wall(3 * HOUR_S)
        new = await bench.submit("test.move")
        await bench.clock_is_looked_at()
        for job in (old, new):
            expires_at = (await bench.state(job)).expires_at
            assert expires_at is not None
            assert expires_at - clock.wall() == pytest.approx(594.0, abs=0.1)


async def test_an_instant_that_somebody_asked_for_is_past_once_the_clock_says_so(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        await bench.engine.pause_queue("standard", ANNA, "not yet")
        unsaid = await bench.submit("test.move")
        said = await bench.submit("test.move", expires_at=iso(clock.wall() + 300.0))
        clock.step_wall(3 * HOUR_S)
        await bench.clock_is_looked_at()
        await bench.engine.resume_queue("standard", ANNA)
        await until(lambda: bench.ran == [unsaid.id] and said.state is JobState.CANCELLED)


async def test_a_schedule_goes_on_as_soon_as_the_clock_is_seen_to_be_right_again(
    bench: Bench, clock: FakeClock
) -> None:
    async with bench.open():
        await bench.engine.put_schedule(ScheduleSpec(name="beat", task="test.echo", interval_s=3600.0), ANNA)
        clock.step_wall(-26 * HOUR_S)
        await bench.clock_is_looked_at()
        assert bench.ran == []  # hours that have been before
        clock.step_wall(28 * HOUR_S)
        clock.advance(6.0)
        await until(lambda: len(bench.ran) == 1)


async def test_an_instant_that_somebody_asked_for_stays_that_instant(bench: Bench, clock: FakeClock) -> None:
    async with bench.open():
        job = await bench.submit(delay_s=60.0)
        wanted = job.run_at
        clock.step_wall(-HOUR_S)
        await bench.clock_is_looked_at()
        assert (await bench.state(job)).run_at == wanted

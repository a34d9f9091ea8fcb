"""Runs that are sent to a worker before its last one has ended: each begins once or not at all, whatever happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from labd.engine import workers
from labd.engine.job import INTERNAL, Job, JobState, Submission
from labd.engine.worker_process import WorkerProcess
from labd.settings_types import EnvironmentSettings
from tests.fakes.broker import until
from tests.fakes.task_house import TaskHouse, task_house

TASKS = """
def note(path, number):
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, b"%d\\n" % number)
    os.close(file)

@task
def notes(path: str, number: int):
    note(path, number)
    return number

@task
def dies(path: str, number: int):
    note(path, number)
    os._exit(3)

@task
def says(number: int, how: str):
    if how == "print":
        print(f"line of {number}")
        print(f"and its end {number}", end="")
    elif how == "write":
        os.write(1, b"line of %d\\n" % number)
        os.write(2, b"and its end %d\\n" % number)
    elif how == "child":
        os.system(f"echo line of {number}; echo and its end {number}")
    return number

@task
def meets(mine: str, other: str):
    open(mine, "w").close()
    until = time.monotonic() + 15
    while not os.path.exists(other):
        if time.monotonic() > until:
            raise TimeoutError(other)
        time.sleep(0.005)

@task
def holds(path: str, number: int, other: str):
    note(path, number)
    meets(f"{path}.{number}", other)

@task(effect="physical")
def moves(path: str, number: int):
    note(path, number)

@task
def version():
    return 1
"""
FIRST = 1000
FEW = EnvironmentSettings(size=2, warm=2, grace_s=0.3, start_timeout_s=15.0)


class Spy:
    """How often runs were sent ahead, and how many came back; `depth` is what a worker gets on a host of any speed."""

    def __init__(self) -> None:
        self.depth = 1
        self.ahead = 0
        self.back = 0


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    pace = workers.Pool._pace
    send, take_back = WorkerProcess._send_soon, WorkerProcess.take_back

    def counted(self: WorkerProcess, sent: Any) -> None:
        spy.ahead += sent.is_ahead
        send(self, sent)

    def counted_back(self: WorkerProcess) -> None:
        before = self.jobs
        take_back(self)
        spy.back += before - self.jobs

    monkeypatch.setattr(WorkerProcess, "_send_soon", counted)
    monkeypatch.setattr(WorkerProcess, "take_back", counted_back)

    def paced(self: workers.Pool) -> None:
        pace(self)
        for worker in self._all.values():
            worker.depth = max(worker.depth, spy.depth)

    monkeypatch.setattr(workers.Pool, "_pace", paced)
    monkeypatch.setattr(workers, "PACE_S", 0.1)  # a busy host does less in a moment
    return spy


@pytest.fixture
async def house(state_dir: Path, spy: Spy) -> AsyncIterator[TaskHouse]:
    async with task_house(state_dir, TASKS, {"default": FEW}) as house:
        house.engine.add_queue("wide", 2, 200)
        yield house


@pytest.fixture
async def narrow_house(state_dir: Path, spy: Spy) -> AsyncIterator[TaskHouse]:
    """With one worker: what is behind its run waits."""
    async with task_house(state_dir, TASKS, {"default": replace(FEW, size=1, warm=1)}) as house:
        house.engine.add_queue("wide", 2, 200)
        yield house


def asked(task: str, **args: Any) -> Submission:
    return Submission(task, args, queue="wide")


async def hurried(house: TaskHouse, spy: Spy, items: list[Submission]) -> list[Job]:
    """Submit in one piece, while all workers have been quick enough to get runs ahead of their turn, and remain so."""
    pool = house.workers.pool("default")
    spy.depth = 8
    await until(lambda: pool.workers == pool.outfit.settings.size)
    for worker in pool.all_workers():
        worker.depth = spy.depth
    return await house.engine.submit(items, INTERNAL)


async def hurried_in_line(house: TaskHouse, spy: Spy, path: Path, items: list[Submission]) -> list[Job]:
    """As `hurried`, behind a run that ends only when all of them wait for the worker, however quick it is."""
    gate = path.with_suffix(".first")
    first = asked("holds", path=str(path), number=FIRST, other=str(gate))
    jobs = await hurried(house, spy, [first, *items])
    waiting = house.workers.pool("default")._waiting
    await until(lambda: path.exists() and len(waiting) == len(items))
    gate.touch()
    return jobs


async def all_ended(house: TaskHouse, jobs: list[Job]) -> list[Job]:
    return list(await asyncio.gather(*(house.ended(job) for job in jobs)))


def counted(path: Path) -> Counter[int]:
    return Counter(int(line) for line in path.read_text().split())


async def test_short_runs_are_sent_ahead_and_each_runs_once(house: TaskHouse, spy: Spy, state_dir: Path) -> None:
    path = state_dir / "notes"
    count = 0
    while spy.ahead < 100:  # the pool finds out by itself that they are short
        numbers = range(count, count + 400)
        jobs = await house.engine.submit([asked("notes", path=str(path), number=n) for n in numbers], INTERNAL)
        assert [job.result for job in await all_ended(house, jobs)] == list(numbers)
        count += 400
        assert count < 10_000, "no worker was quick enough"
    assert counted(path) == Counter(range(count))


async def test_a_worker_that_dies_fails_the_run_that_it_was_at_and_no_other(
    house: TaskHouse, spy: Spy, state_dir: Path
) -> None:
    path = state_dir / "notes"
    deadly = {30, 31, 90, 200}
    items = [asked("dies" if n in deadly else "notes", path=str(path), number=n) for n in range(300)]
    ended = await all_ended(house, await hurried(house, spy, items))
    assert {n for n, job in enumerate(ended) if job.state is not JobState.SUCCEEDED} == deadly
    assert {ended[n].error.code for n in deadly if ended[n].error} == {"worker_died"}  # type: ignore[union-attr]
    assert counted(path) == Counter(range(300))
    assert spy.back > 0


@pytest.mark.parametrize("how", ["print", "write", "child"])
async def test_what_a_run_prints_is_in_its_own_log(house: TaskHouse, spy: Spy, how: str) -> None:
    items = [asked("says", number=n, how=how if n % 7 == 5 else "not") for n in range(60)]
    jobs = await hurried(house, spy, items)
    await all_ended(house, jobs)
    said = [[line for line in await house.lines(job) if "waits for a worker" not in line] for job in jobs]
    expected = [[f"line of {n}", f"and its end {n}"] if n % 7 == 5 else [] for n in range(60)]
    assert [sorted(lines) for lines in said] == [sorted(lines) for lines in expected]
    assert spy.ahead > 0


async def test_runs_behind_a_long_one_are_taken_back_and_run_elsewhere(
    house: TaskHouse, spy: Spy, state_dir: Path
) -> None:
    one, other = str(state_dir / "one"), str(state_dir / "other")
    quick = [asked("notes", path=str(state_dir / "notes"), number=n) for n in range(40)]
    meeting = [asked("meets", mine=one, other=other), asked("meets", mine=other, other=one)]
    jobs = await hurried(house, spy, [*quick[:20], *meeting, *quick[20:]])
    ended = await all_ended(house, jobs)
    assert [job.error for job in ended if job.error is not None] == []
    assert counted(state_dir / "notes") == Counter(range(40))


async def test_a_cancelled_job_that_was_sent_ahead_never_begins(
    narrow_house: TaskHouse, spy: Spy, state_dir: Path
) -> None:
    house, gate, path = narrow_house, state_dir / "gate", state_dir / "notes"
    quick = [asked("notes", path=str(path), number=n) for n in range(80)]
    hold = asked("holds", path=str(path), number=100, other=str(gate))
    jobs = await hurried_in_line(house, spy, path, [hold, *quick])
    await until(lambda: spy.ahead > 4 and path.exists() and len(counted(path)) == 2)
    behind = jobs[2:]
    for job in behind[::2]:
        await house.engine.cancel(job.id, INTERNAL, "test")
    cancelled = await all_ended(house, behind[::2])  # while the worker is held
    assert {job.state for job in cancelled} == {JobState.CANCELLED}
    gate.touch()
    await all_ended(house, jobs)
    left = {job.args["number"] for job in jobs} - {job.args["number"] for job in cancelled}
    assert counted(path) == Counter(left)


async def test_a_physical_job_is_never_sent_ahead(
    house: TaskHouse, spy: Spy, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = WorkerProcess._send_soon

    def seen(self: WorkerProcess, one: Any) -> None:
        sent.extend([one.request] if one.is_ahead else [])
        send(self, one)

    monkeypatch.setattr(WorkerProcess, "_send_soon", seen)
    path = state_dir / "notes"
    items = [asked("moves" if n % 10 == 9 else "notes", path=str(path), number=n) for n in range(200)]
    ended = await all_ended(house, await hurried(house, spy, items))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert counted(path) == Counter(range(200))
    assert sent
    assert not [request for request in sent if b'"moves"' in request]


async def test_a_job_that_begins_after_a_reload_runs_the_new_code(
    narrow_house: TaskHouse, spy: Spy, state_dir: Path
) -> None:
    house, gate, path = narrow_house, state_dir / "gate", state_dir / "notes"
    hold = asked("holds", path=str(path), number=2, other=str(gate))
    jobs = await hurried_in_line(house, spy, path, [hold, *(asked("version") for _ in range(80))])
    await until(lambda: spy.ahead > 4 and path.exists() and len(counted(path)) == 2)
    await house.load(TASKS.replace("return 1", "return 2"))
    gate.touch()
    assert [job.result for job in await all_ended(house, jobs[2:])] == [2] * 80
    assert spy.back > 0

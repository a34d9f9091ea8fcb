"""`consume` in real workers: a body goes on when its debit is on disk, ends where stock is short, debits once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.engine.job import INTERNAL, Job, JobState
from labd.settings_types import EnvironmentSettings
from tests.fakes.ssh_host import ssh_host
from tests.fakes.task_house import TaskHouse, task_house
from tests.fakes.task_store import TaskStore

TASKS = """
import threading
import labd
from labd import consume

@task(effect="physical", consumes={"red": "R"})
def mixes(R: float):
    consume(red=R)
    progress(1, text="moved")
    consume({"blue": 5.0, "red": -1})
    return "mixed"

@task
async def mixes_async(R: float):
    import asyncio
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)
    ticker = asyncio.ensure_future(tick())
    await consume.awaited(red=R)
    ticker.cancel()
    consume(blue=5.0)
    return ticks

@task
def mixes_in_threads(count: int):
    threads = [threading.Thread(target=consume, kwargs={"red": float(n)}) for n in range(1, count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "mixed"

@task
def mixes_in_a_fork():
    child = os.fork()
    if child == 0:
        try:
            consume(red=1.0)
        except RuntimeError as fault:
            os._exit(7 if "forked" in str(fault) else 8)
        os._exit(9)
    return os.waitpid(child, 0)[1] >> 8

@task
def mixes_then_asks():
    consume(red=10.0)
    answer = ask("loaded?", choices=["yes", "no"])
    consume(red=20.0)
    return answer

@task(retries=1, retry_delay_s=0.0)
def fails_once():
    consume(red=3.0)
    if not os.path.exists("tried"):
        open("tried", "w").close()
        raise OSError("the motor lost steps")

@task
def puts_back_when_cancelled():
    is_in = False
    try:
        consume(red=50.0)
        is_in = True
        progress(1, text="sucked in")
        time.sleep(100)
    finally:
        if is_in:
            consume(red=-50.0)

@task
def pid():
    return os.getpid()
"""


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[TaskHouse]:
    async with task_house(state_dir, TASKS) as one:
        yield one


@pytest.fixture
def store(house: TaskHouse) -> TaskStore:
    return TaskStore(house.engine)


async def asked(house: TaskHouse, job: Job) -> None:
    async with asyncio.timeout(20):
        async for event in house.engine.events.subscribe(0):
            if event.kind == "job.asked" and event.job_id == job.id:
                return


async def test_debits_of_a_body_arrive_in_order_with_attempt_and_ordinal(house: TaskHouse, store: TaskStore) -> None:
    assert await house.result("mixes", R=120.0) == "mixed"
    assert store.debits == [("1:1", {"red": 120.0}), ("1:2", {"blue": 5.0, "red": -1.0})]


async def test_an_async_body_keeps_its_loop_going_where_it_awaits(house: TaskHouse, store: TaskStore) -> None:
    assert await house.result("mixes_async", R=120.0) > 0
    assert store.debits == [("1:1", {"red": 120.0}), ("1:2", {"blue": 5.0})]


async def test_threads_of_a_body_debit_side_by_side_and_the_next_run_starts(house: TaskHouse, store: TaskStore) -> None:
    assert await house.result("mixes_in_threads", count=20) == "mixed"
    assert sorted(volumes["red"] for _, volumes in store.debits) == [float(n) for n in range(1, 21)]
    assert len({step for step, _ in store.debits}) == 20
    assert isinstance(await house.result("pid"), int)


async def test_a_refusal_ends_the_body_where_it_stands_and_is_not_tried_again(
    house: TaskHouse, store: TaskStore
) -> None:
    store.refuse = "red"
    job = await house.run("mixes", R=9.0)
    assert job.error is not None
    assert job.error.type == "StockRefused"
    assert job.error.message.endswith("Insufficient stock for: red (available: 1.0 ul, required: 9.0 ul).")
    assert job.error.retryable is False
    assert store.debits == []


async def test_a_copy_that_a_body_forked_cannot_debit(house: TaskHouse, store: TaskStore) -> None:
    assert await house.result("mixes_in_a_fork") == 7
    assert store.debits == []


async def test_a_body_that_runs_again_after_an_answer_repeats_its_step_and_a_retry_has_its_own(
    house: TaskHouse, store: TaskStore
) -> None:
    job = await house.submit("mixes_then_asks")
    await asked(house, job)
    await house.engine.answer(job.id, "yes", INTERNAL)
    assert (await house.ended(job)).result == "yes"
    assert store.debits == [("1:1", {"red": 10.0}), ("1:2", {"red": 20.0})]
    store.debits.clear()
    await house.result("fails_once")
    assert store.debits == [("1:1", {"red": 3.0}), ("2:1", {"red": 3.0})]


async def test_a_cancel_that_comes_with_a_debit_takes_it_back(house: TaskHouse, store: TaskStore) -> None:
    cancels: list[asyncio.Task[object]] = []

    def cancel(job: Job) -> None:
        if not cancels:
            cancels.append(asyncio.get_running_loop().create_task(house.engine.cancel(job.id, INTERNAL)))

    store.on_debit = cancel
    job = await house.run("puts_back_when_cancelled")
    await cancels[0]
    assert job.state is JobState.CANCELLED
    # Whichever was first, the answer to the debit or the cancel: labd takes it back, or the body that went on does.
    assert sum(volumes["red"] for _, volumes in store.debits) == 0.0


async def test_what_a_cancelled_body_puts_back_is_booked(house: TaskHouse, store: TaskStore) -> None:
    job = await house.submit("puts_back_when_cancelled")
    await house.reached(job, "sucked in")
    await house.engine.cancel(job.id, INTERNAL)
    assert (await house.ended(job)).state is JobState.CANCELLED
    assert store.debits == [("1:1", {"red": 50.0}), ("1:2", {"red": -50.0})]


async def test_a_worker_killed_in_a_debit_leaves_the_others_alone(house: TaskHouse, store: TaskStore) -> None:
    def kill(job: Job) -> None:
        store.on_debit = lambda job: None
        for worker in house.workers.pool("default").all_workers():
            worker.process.kill(signal.SIGKILL)

    store.on_debit = kill
    job = await house.submit("mixes", R=120.0)
    assert (await house.engine.wait(job.id, 20.0)).state is JobState.INTERRUPTED
    assert store.debits == [("1:1", {"red": 120.0})]
    assert await house.result("mixes", R=7.0) == "mixed"


async def test_over_ssh_debits_arrive_as_from_here(state_dir: Path, tmp_path: Path) -> None:
    with ssh_host(tmp_path / "host") as host:
        text = "ROBOT = 'robot'\n" + TASKS.replace("@task\n", "@task(env=ROBOT)\n").replace(
            "@task(", "@task(env=ROBOT, ", 1
        )
        settings: dict[str, EnvironmentSettings] = {"robot": host.environment()}
        async with task_house(state_dir, text, settings) as house:
            assert house.workers.faults == []
            store = TaskStore(house.engine)
            assert await house.result("mixes", R=120.0) == "mixed"
            assert await house.result("mixes_in_threads", count=5) == "mixed"
            job = await house.submit("puts_back_when_cancelled")
            await house.reached(job, "sucked in")
            await house.engine.cancel(job.id, INTERNAL)
            assert (await house.ended(job)).state is JobState.CANCELLED
    assert store.debits[:2] == [("1:1", {"red": 120.0}), ("1:2", {"blue": 5.0, "red": -1.0})]
    assert store.debits[-2:] == [("1:1", {"red": 50.0}), ("1:2", {"red": -50.0})]

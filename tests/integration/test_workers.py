"""Jobs in real worker processes: whatever a task does ends its own job, and leaves engine, siblings and pool intact."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from labd.engine.job import INTERNAL, JobState, Submission
from labd.engine.worker_process import WorkerProcess
from labd.engine.worker_start import Outfit, Worker, start_worker
from labd.errors import InvalidArguments
from labd.settings_types import EnvironmentSettings
from tests.fakes.broker import until
from tests.fakes.task_house import TaskHouse, task_house

TASKS = """
@task
def pid():
    return os.getpid()

@task
def raises():
    raise KeyError("no plate")

@task
def exits():
    print("the last word")
    os._exit(3)

@task
def leaves():
    sys.exit("enough")

@task
def segfaults():
    import ctypes
    print("before the crash")
    ctypes.string_at(0)

@task
def prints(megabytes: int):
    line = "x" * 1023 + "\\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)
    print("the end")
    return "done"

@task
def forks():
    child = os.fork()
    if child == 0:
        while True:
            time.sleep(100)
    return child

@task
def forked_copy_returns():
    os.fork()
    return os.getpid()

@task
def eats():
    held = []
    while True:
        held.append(bytearray(16 * 2**20))

@task
def deaf():
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    progress(1, text="deaf")
    while True:
        try:
            time.sleep(100)
        except BaseException:
            pass

@task
def unspeakable():
    return {"lock": object()}

@task
def not_a_number():
    return float("nan")

@task
def huge():
    return "x" * (17 * 2**20)

@task
def waits():
    progress(1, text="waiting")
    try:
        time.sleep(100)
    finally:
        log("brought to rest")

@task
async def async_waits():
    import asyncio
    progress(1, text="waiting")
    await asyncio.sleep(100)

@task(timeout_s=0.2)
async def blocks_its_loop():
    progress(1, text="blocking")
    while True:
        time.sleep(100)

@task(effect="physical")
def moves():
    progress(1, text="moving")
    time.sleep(100)

@task
def meets(mine: str, other: str):
    open(mine, "w").close()
    until = time.monotonic() + 10
    while not os.path.exists(other):
        if time.monotonic() > until:
            raise TimeoutError(other)
        time.sleep(0.005)
    return os.getpid()

count = 0

@task(affinity="robot")
def counts():
    global count
    count += 1
    return [count, os.getpid()]
"""
SMALL = EnvironmentSettings(size=2, grace_s=0.3, start_timeout_s=15.0)


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[TaskHouse]:
    async with task_house(state_dir, TASKS, {"default": SMALL}) as house:
        yield house


async def test_an_exception_fails_its_job_with_type_message_and_traceback(house: TaskHouse) -> None:
    before = await house.result("pid")
    job = await house.run("raises")
    assert job.state is JobState.FAILED and job.error is not None
    assert (job.error.code, job.error.type) == ("task_failed", "KeyError")
    assert job.error.message == f"raises (job {job.id}) raised KeyError: 'no plate'"
    assert 'raise KeyError("no plate")' in job.error.traceback
    assert await house.result("pid") == before


async def test_sys_exit_fails_its_job_and_nothing_else(house: TaskHouse) -> None:
    before = await house.result("pid")
    job = await house.run("leaves")
    assert job.error is not None and "sys.exit('enough')" in job.error.message
    assert await house.result("pid") == before


@pytest.mark.parametrize(
    ("task", "ending", "word"),
    [("exits", "ended with exit code 3", "the last word"), ("segfaults", "was ended by SIGSEGV", "before the crash")],
)
async def test_a_worker_that_dies_says_how_and_its_last_lines(
    house: TaskHouse, task: str, ending: str, word: str
) -> None:
    before = await house.result("pid")
    job = await house.run(task)
    assert job.state is JobState.FAILED and job.error is not None
    assert (job.error.code, job.error.details["ending"]) == ("worker_died", ending)
    assert ending in job.error.message and word in await house.lines(job)
    assert job.error.retryable
    assert await house.result("pid") != before


async def test_a_worker_killed_from_outside_fails_its_job_and_is_replaced(house: TaskHouse) -> None:
    sibling, victim = await house.submit("waits"), await house.submit("waits")
    await house.reached(sibling)
    await house.reached(victim)
    pool = house.workers.pool("default")
    killed = next(worker.process for worker in pool.all_workers() if worker.process.job == victim.id)
    os.kill(killed.pid, signal.SIGKILL)
    job = await house.ended(victim)
    assert job.error is not None and "was ended by SIGKILL; something outside of labd ended it" in job.error.message
    assert (await house.engine.job(sibling.id)).state is JobState.RUNNING
    assert await house.result("pid") > 0


async def test_a_worker_killed_while_it_starts_costs_a_try_and_not_the_job(state_dir: Path) -> None:
    """Found by rounds of chaos: the job failed for good, as if its environment were not there."""
    kills = state_dir / "kills"
    text = f"import os\n\nif os.path.exists({str(kills)!r}):\n    os.kill(os.getpid(), 9)\n" + TASKS
    async with task_house(state_dir, text, {"default": SMALL}) as house:
        assert await house.result("pid") > 0
        kills.touch()
        for worker in house.workers.pool("default").all_workers():
            os.kill(worker.process.pid, signal.SIGKILL)
        await until(lambda: not house.workers.pool("default").all_workers())
        job = await house.run("pid")
        assert job.error is not None and job.error.code == "worker_died" and job.error.retryable
        assert "its worker did not start: " in job.error.message and "was ended by SIGKILL" in job.error.message
        kills.unlink()
        assert await house.result("pid") > 0


async def test_a_physical_job_that_loses_its_worker_waits_for_a_person(house: TaskHouse) -> None:
    job = await house.submit("moves")
    await house.reached(job)
    [worker] = [one for one in house.workers.pool("default").all_workers() if one.process.job == job.id]
    os.kill(worker.process.pid, signal.SIGKILL)
    job = await house.ended(job)
    assert job.state is JobState.INTERRUPTED
    assert job.error is not None and job.error.code == "worker_died"


async def test_output_without_bounds_neither_blocks_nor_fills_the_log(house: TaskHouse) -> None:
    job = await house.run("prints", megabytes=100)
    assert job.result == "done"
    lines = await house.lines(job)
    assert len(lines) < 400
    assert lines[-1] == "the end"
    assert any(line.startswith("... 104") and "bytes in about 102" in line for line in lines)


async def test_a_forked_child_ends_with_its_worker_at_the_latest(state_dir: Path) -> None:
    async with task_house(state_dir, TASKS) as house:
        child = await house.result("forks")
        assert await house.result("pid") > 0
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


async def test_a_forked_copy_that_returns_has_no_say(house: TaskHouse) -> None:
    first = await house.result("forked_copy_returns")
    assert first == await house.result("pid")
    assert await house.result("pid") == first


async def test_memory_is_limited_and_siblings_go_on(state_dir: Path) -> None:
    limited = EnvironmentSettings(size=2, memory_mib=256, grace_s=0.3)
    async with task_house(state_dir, TASKS, {"default": limited}) as house:
        sibling = await house.submit("waits")
        await house.reached(sibling)
        job = await house.run("eats")
        assert job.error is not None
        assert job.error.type == "MemoryError" or job.error.code == "worker_died"
        assert (await house.engine.job(sibling.id)).state is JobState.RUNNING
        assert await house.result("pid") > 0


@pytest.mark.parametrize("task", ["unspeakable", "not_a_number", "huge"])
async def test_a_result_that_cannot_be_kept_fails_its_job(house: TaskHouse, task: str) -> None:
    before = await house.result("pid")
    job = await house.run(task)
    assert job.error is not None and job.error.code in ("result_invalid", "result_too_large")
    assert f"{task} (job {job.id}) returned" in job.error.message
    assert await house.result("pid") == before


@pytest.mark.parametrize("task", ["waits", "async_waits"])
async def test_a_cancelled_body_ends_and_its_worker_goes_on(house: TaskHouse, task: str) -> None:
    before = await house.result("pid")
    job = await house.submit(task)
    await house.reached(job, "waiting")
    await house.engine.cancel(job.id, INTERNAL, "enough")
    job = await house.ended(job)
    assert job.state is JobState.CANCELLED
    assert task != "waits" or "brought to rest" in await house.lines(job)
    assert await house.result("pid") == before


async def test_a_cancel_at_any_moment_of_a_run_is_heard_without_force(state_dir: Path) -> None:
    """Each cancel comes some turns of the loop later than the one before: into the start, the body and the print."""
    naps = "@task\ndef naps():\n    print('now')\n    time.sleep(100)\n"
    patient = EnvironmentSettings(size=1, warm=1, grace_s=120.0)
    async with task_house(state_dir, naps + TASKS, {"default": patient}) as house:
        before = await house.result("pid")
        for turns in range(0, 400, 8):
            job = await house.submit("naps")
            for _ in range(turns):
                await asyncio.sleep(0)
            await house.engine.cancel(job.id, INTERNAL)
            assert (await house.ended(job)).state is JobState.CANCELLED
        assert await house.result("pid") == before


async def test_a_body_that_ignores_everything_is_killed(house: TaskHouse) -> None:
    job = await house.submit("deaf")
    await house.reached(job, "deaf")
    await house.engine.cancel(job.id, INTERNAL, "enough")
    assert (await house.ended(job)).state is JobState.CANCELLED
    assert await house.result("pid") > 0


async def test_a_body_that_blocks_its_loop_ends_at_its_timeout(house: TaskHouse) -> None:
    job = await house.run("blocks_its_loop")
    assert job.state is JobState.FAILED and job.error is not None
    assert job.error.code == "task_timeout"
    assert await house.result("pid") > 0


async def test_jobs_of_one_environment_run_side_by_side(house: TaskHouse, state_dir: Path) -> None:
    one, other = str(state_dir / "one"), str(state_dir / "other")
    jobs = [await house.submit("meets", mine=one, other=other), await house.submit("meets", mine=other, other=one)]
    pids = [(await house.ended(job)).result for job in jobs]
    assert len(set(pids)) == 2


async def test_more_jobs_than_workers_wait_for_one_and_say_so(state_dir: Path) -> None:
    async with task_house(state_dir, TASKS, {"default": EnvironmentSettings(size=1, grace_s=0.3)}) as house:
        first = await house.submit("waits")
        await house.reached(first)
        second = await house.submit("pid")
        third = await house.submit("pid")
        async with asyncio.timeout(10.0):
            while not await house.lines(second):  # noqa: ASYNC110 a log line is no event
                await asyncio.sleep(0)
        await house.engine.cancel(first.id, INTERNAL)
        assert (await house.ended(second)).result == (await house.ended(third)).result
        [line] = await house.lines(second)
        assert line == "waits for a worker: all 1 of environment default are busy or starting"


async def test_jobs_of_an_affinity_share_a_worker_that_keeps_its_globals(house: TaskHouse) -> None:
    jobs = [await house.submit("counts") for _ in range(4)]
    results = [(await house.ended(job)).result for job in jobs]
    assert [count for count, _ in results] == [1, 2, 3, 4]
    assert len({pid for _, pid in results}) == 1


async def test_a_sticky_worker_outlives_a_change_of_another_file_and_ends_with_its_own(house: TaskHouse) -> None:
    await house.run("counts")
    await house.load("@task\ndef other():\n    return 1\n", "other.py")
    assert (await house.result("counts"))[0] == 2
    await house.load(TASKS + "\n# changed\n")
    assert (await house.result("counts"))[0] == 1


async def test_a_worker_is_replaced_after_its_number_of_jobs(state_dir: Path) -> None:
    recycled = EnvironmentSettings(size=1, recycle_jobs=2, grace_s=0.3)
    async with task_house(state_dir, TASKS, {"default": recycled}) as house:
        pids = [await house.result("pid") for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_a_job_keeps_the_code_that_its_worker_found(state_dir: Path) -> None:
    recycled = EnvironmentSettings(size=1, recycle_jobs=1, grace_s=0.3)
    async with task_house(state_dir, TASKS, {"default": recycled}) as house:
        old = await house.run("pid")
        path = house.write(TASKS + "\n# changed, and not yet looked at\n")
        new = await house.run("pid")
        await house.engine.journal.commit()
        kept = [(await house.engine.job(job.id)).code for job in (old, new)]
        assert kept[0] is not None
        assert kept[1] is not None
        assert kept[0]["sha256"] != kept[1]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        stored = await house.engine.journal.read("job", new.id)
        assert kept[1]["sha256"] in stored[0][23]


async def test_a_worker_that_holds_too_much_is_replaced(state_dir: Path) -> None:
    recycled = EnvironmentSettings(size=1, recycle_mib=60, grace_s=0.3)
    hoard = "held = []\n@task\ndef hoards():\n    held.append(b'x' * (80 * 2**20))\n    return os.getpid()\n"
    async with task_house(state_dir, TASKS + hoard, {"default": recycled}) as house:
        first = await house.result("pid")
        assert await house.result("pid") == first
        assert await house.result("hoards") == first
        assert await house.result("pid") != first


async def test_idle_workers_end_but_for_the_warm_ones(state_dir: Path) -> None:
    settings = EnvironmentSettings(size=3, warm=1, idle_s=0.5, grace_s=0.3)
    async with task_house(state_dir, TASKS, {"default": settings}) as house:
        one, other = str(state_dir / "one"), str(state_dir / "other")
        jobs = [await house.submit("meets", mine=one, other=other), await house.submit("meets", mine=other, other=one)]
        for job in jobs:
            await house.ended(job)
        pool = house.workers.pool("default")
        ends = [asyncio.create_task(worker.process.gone()) for worker in pool.all_workers()]
        done, left = await asyncio.wait(ends, timeout=10.0, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        assert len(ends) == 2 and done
        assert pool.workers == 1


async def test_warm_workers_that_nobody_waits_for_are_started_one_after_the_other(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most_at_once = 0, 0

    async def counted(outfit: Outfit, on_end: Callable[[WorkerProcess], None]) -> Worker:
        nonlocal under_way, most_at_once
        under_way += 1
        most_at_once = max(most_at_once, under_way)
        try:
            return await start_worker(outfit, on_end)
        finally:
            under_way -= 1

    monkeypatch.setattr("labd.engine.workers.start_worker", counted)
    warm = EnvironmentSettings(size=4, warm=4, grace_s=0.3)
    async with task_house(state_dir, TASKS, {"default": warm}) as house:
        await until(lambda: house.workers.pool("default").workers == 4)
        assert most_at_once == 1


async def test_warm_workers_that_end_at_once_are_not_started_without_end(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    async def ended_at_once(outfit: Outfit, on_end: Callable[[WorkerProcess], None]) -> Worker:
        worker = await start_worker(outfit, on_end)
        pids.append(worker.process.pid)
        os.kill(worker.process.pid, signal.SIGKILL)
        await worker.process.gone()
        return worker

    monkeypatch.setattr("labd.engine.workers.start_worker", ended_at_once)
    warm = EnvironmentSettings(size=4, warm=3, grace_s=0.3)
    async with task_house(state_dir, TASKS, {"default": warm}) as house:
        pool = house.workers.pool("default")
        await until(lambda: len(pids) == 2 and not pool._starting)  # beside the one that has read the task file
        await asyncio.gather(*pool._starts)
        assert len(pids) == 2 and not pool._starts


async def test_arguments_are_refused_at_submission(house: TaskHouse) -> None:
    with pytest.raises(InvalidArguments, match=r"prints: argument megabytes = 'many': Expected `int`, got `str`"):
        await house.engine.submit([Submission("prints", {"megabytes": "many"})], INTERNAL)


@pytest.mark.parametrize("asks_first", [False, True])
async def test_a_worker_that_does_not_start_says_whether_the_body_had_begun(state_dir: Path, asks_first: bool) -> None:
    ends = state_dir / "ends"
    text = f"import os\n\nif os.path.exists({str(ends)!r}):\n    os._exit(3)\n" + TASKS
    text += '\n@task\ndef asks():\n    return ask("loaded?", choices=["yes"])\n'
    async with task_house(state_dir, text, {"default": SMALL}) as house:
        [job] = await house.engine.submit([Submission("asks" if asks_first else "pid")], INTERNAL)
        async with asyncio.timeout(10):
            while (await house.engine.job(job.id)).state in (JobState.QUEUED, JobState.RUNNING):
                await house.engine.wait(job.id, 0.01)
        ends.touch()
        for worker in house.workers.pool("default").all_workers():
            os.kill(worker.process.pid, signal.SIGKILL)
        await until(lambda: not house.workers.pool("default").all_workers())
        if asks_first:
            await house.engine.answer(job.id, "yes", INTERNAL)
        else:
            [job] = await house.engine.submit([Submission("asks")], INTERNAL)
        ended = await house.ended(job)
        assert ended.error is not None and ended.error.code == "environment_off"
        assert ended.error.details["begun"] is asks_first

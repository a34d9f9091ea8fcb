"""Tasks in worker processes: how many a second, how soon, and what everybody else feels of them.

`throughput`: no-op jobs through warm workers in process, from the first submission to the last result on disk, against
the same calls through `concurrent.futures.ProcessPoolExecutor`, which keeps nothing, in turns. `latency`: from the
client's send to the first line of the body in a warm worker of a real daemon, in commits of the floor. `status`: 100
calls beside a task that blocks for a minute, and beside one that burns its processor. `cold`: the first result of an
environment that is made and has no worker, less what its interpreter needs to start and do nothing.

Why labd's side has the pool of an environment without settings, and the executor the better of that size and its own
(the number of cores): each is measured as it comes, and the peer never worse than that.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sqlite3
import statistics
import subprocess
import sys
import time
import venv
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import structlog

from labd import process
from labd.clock import SystemClock
from labd.engine.engine import Engine, EngineOptions
from labd.engine.job import INTERNAL, Submission
from labd.engine.registry import Registry
from labd.engine.worker_tasks import WorkerTasks
from labd.settings_types import EnvironmentSettings, TasksSettings
from tests.bench.daemon import Daemon
from tests.bench.floor import CommitMeter
from tests.bench.raw_http import JOBS_PATH, Caller, request
from tests.bench.report import Report, arguments, percentile, say, spread, summary, work_folder

JOBS = 5_000
ROUNDS = 5
CALLERS = 4
LIST = 250
CONCURRENCY = 256
PROCESSES = EnvironmentSettings().size
STATUS_CALLS = 100
WARM_UP = 20
PAUSE_S = 0.005
STATUS = request("GET", "/api/v1/status")
STAMP = request("POST", JOBS_PATH, b'{"task":"stamp"}')
INLINE = request("POST", JOBS_PATH, b'{"task":"test.stamp"}')
TASKS = """
import time
from labd import progress, task

@task
def noop():
    return None

@task
def stamp():
    return time.monotonic_ns()

@task
def blocks():
    progress(1, text="blocking")
    time.sleep(60)

@task
def burns():
    progress(1, text="burning")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        pass

@task(env="cold")
def first():
    return time.monotonic_ns()
"""


def call() -> None:
    """What the executor's processes run."""


def task_folder(folder: Path) -> Path:
    """The folder with the tasks."""
    made = folder / "tasks.d"
    made.mkdir(exist_ok=True)
    tasks = TASKS if folder.name == "cold" else TASKS.replace('@task(env="cold")', "@task")
    (made / "bench.py").write_text(tasks)
    return made


async def run_jobs(folder: Path, jobs: int) -> float:
    """Jobs a second through warm workers of an engine with a new database; checks in the file that all succeeded."""
    clock = SystemClock()
    engine = Engine(folder, Registry(), clock, Random(1), EngineOptions(queues={"standard": (2, CONCURRENCY)}))
    settings = {"default": EnvironmentSettings(size=PROCESSES, warm=PROCESSES)}
    tasks = TasksSettings(folders=(str(task_folder(folder)),), poll_s=0)
    workers = WorkerTasks(engine, folder, settings, tasks, clock, dict(os.environ))
    await engine.open()
    await workers.start()
    await engine.start()
    await submit(engine, 2 * CONCURRENCY)
    begin = time.monotonic()
    left = [LIST] * (jobs // LIST)

    async def caller() -> None:
        while left:
            await engine.submit([Submission("noop") for _ in range(left.pop())], INTERNAL)

    done = engine.counts()["succeeded"] + jobs // LIST * LIST
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await until_succeeded(engine, done)
    took_s = time.monotonic() - begin
    await engine.drain(0.0)
    await workers.close()
    await engine.close()
    with sqlite3.connect(folder / "labd.db") as opened:
        ended = opened.execute("SELECT count(*) FROM jobs WHERE state = 'succeeded'").fetchone()[0]
    opened.close()
    if ended != done:
        raise RuntimeError(f"{ended} of {done} jobs have succeeded on disk")
    return jobs / took_s


async def submit(engine: Engine, count: int) -> None:
    """Jobs that warm everything up."""
    await engine.submit([Submission("noop") for _ in range(count)], INTERNAL)
    await until_succeeded(engine, count)


async def until_succeeded(engine: Engine, count: int) -> None:
    """Wait until so many have succeeded and that is on disk."""
    while engine.counts()["succeeded"] < count:  # noqa: ASYNC110 - it has no event for this
        await asyncio.sleep(0.002)
    await engine.journal.commit()


def executor_calls_per_s(calls: int) -> float:
    """Calls a second of the standard library's pool, warm, one future a call; the better of two sizes."""
    return max(_executor_calls_per_s(calls, size) for size in {os.cpu_count() or 1, PROCESSES})


def _executor_calls_per_s(calls: int, processes: int) -> float:
    with ProcessPoolExecutor(processes) as pool:
        for future in [pool.submit(call) for _ in range(2 * CONCURRENCY)]:
            future.result()
        begin = time.monotonic()
        for future in [pool.submit(call) for _ in range(calls)]:
            future.result()
        return calls / (time.monotonic() - begin)


def throughput(report: Report, folder: Path, jobs: int, rounds: int) -> None:
    """Executor, labd, executor, labd, ..., executor; the medians."""
    sys.setswitchinterval(process.SWITCH_INTERVAL_S)  # as the daemon sets them
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    executor = [executor_calls_per_s(jobs)]
    found: list[float] = []
    for number in range(rounds):
        state = folder / f"workers-{number}"
        state.mkdir()
        found.append(asyncio.run(run_jobs(state, jobs)))
        executor.append(executor_calls_per_s(jobs))
        say(f"workers {found[-1]:.0f} jobs/s, executor {executor[-1]:.0f} calls/s")
    rate = statistics.median(found)
    report.figures |= {
        "jobs": jobs, "workers_of_the_pool": PROCESSES, "concurrency": CONCURRENCY,
        "workers": {"jobs_per_s": rate, "spread": spread(found), "all": found},
        "executor": {"calls_per_s": statistics.median(executor), "spread": spread(executor), "all": executor},
    }  # fmt: skip
    report.ratios["workers_to_executor"] = rate / statistics.median(executor)
    report.goal("jobs_per_s", rate, at_least=4000)
    report.goal("workers_to_executor", report.ratios["workers_to_executor"], at_least=0.3)


def started_after_s(caller: Caller, raw: bytes) -> tuple[float, float]:
    """Seconds from the send to the body's first line, and to the result in the client's hands."""
    begin = time.monotonic_ns()
    caller.send(raw)
    status, body = caller.receive()
    if status != 201:
        raise RuntimeError(f"a submission was answered {status}: {body.decode()}")
    job = caller.get(f"{JOBS_PATH}/{json.loads(body)['id']}?wait=30")
    if job["state"] != "succeeded":
        raise RuntimeError(f"the job ended as {job['state']}: {job['error']}")
    return (job["result"] - begin) / 1e9, (time.monotonic_ns() - begin) / 1e9


def latency(report: Report, folder: Path, caller: Caller, count: int) -> None:
    """Commits of the floor and jobs in turns, as `tests.bench.latency` does; and the same task inside the daemon."""
    meter = CommitMeter(folder)
    commits: list[float] = []
    starts: list[float] = []
    inline: list[float] = []
    results: list[float] = []
    for number in range(WARM_UP + count):
        time.sleep(PAUSE_S)
        commit_s = meter.commit_s()
        time.sleep(PAUSE_S)
        start_s, result_s = started_after_s(caller, STAMP)
        time.sleep(PAUSE_S)
        inline_s, _ = started_after_s(caller, INLINE)
        if number >= WARM_UP:
            commits.append(commit_s)
            starts.append(start_s)
            inline.append(inline_s)
            results.append(result_s)
    meter.close()
    measured = {
        "commit_ms": commits, "submit_to_start_ms": starts, "submit_to_inline_start_ms": inline,
        "submit_to_result_ms": results,
    }  # fmt: skip
    for name, values in measured.items():
        report.figures[name] = summary([value * 1000 for value in values])
    ratio = percentile(starts, 50) / percentile(commits, 50)
    say(f"warm submit to start p50 {percentile(starts, 50) * 1000:.2f} ms, {ratio:.2f} commits")
    report.ratios["warm_submit_to_start_p50_commits"] = ratio
    report.ratios["inline_submit_to_start_p50_commits"] = percentile(inline, 50) / percentile(commits, 50)
    report.goal("warm_submit_to_start_p50_commits", ratio, at_most=3.0)


def status_beside(caller: Caller, task: str) -> list[float]:
    """Milliseconds of each status call while a job of this task runs, which is cancelled afterwards."""
    job = caller.post(JOBS_PATH, {"task": task})["id"]
    while caller.get(f"{JOBS_PATH}/{job}")["progress"] is None:
        time.sleep(0.01)
    took_ms = []
    for _ in range(STATUS_CALLS):
        begin = time.monotonic()
        caller.send(STATUS)
        status, _body = caller.receive()
        took_ms.append((time.monotonic() - begin) * 1000)
        if status != 200:
            raise RuntimeError(f"the status was answered {status}")
    if caller.get(f"{JOBS_PATH}/{job}")["state"] != "running":
        raise RuntimeError(f"{task} did not run while the status was asked for")
    caller.post(f"{JOBS_PATH}/{job}/cancel")
    caller.get(f"{JOBS_PATH}/{job}?wait=30")
    return took_ms


def status(report: Report, caller: Caller) -> None:
    """Calls beside a task that blocks, and beside one that burns."""
    for task in ("blocks", "burns"):
        took_ms = status_beside(caller, task)
        report.figures[f"status_beside_{task}_ms"] = summary(took_ms)
        say(f"{STATUS_CALLS} status calls beside a task that {task}: at most {max(took_ms):.1f} ms")
        report.goal(f"status_beside_{task}_max_ms", max(took_ms), at_most=50.0)


def bare_start_s(python: Path) -> float:
    """Start and end of the interpreter with nothing to do."""
    begin = time.monotonic()
    subprocess.run([python, "-X", "utf8", "-c", "pass"], check=True)
    return time.monotonic() - begin


def cold(report: Report, folder: Path, rounds: int) -> None:
    """First results of an environment without a worker, each after its idle worker has ended."""
    folder = folder / "cold"
    folder.mkdir()
    venv.create(folder / "made", with_pip=False)
    python = folder / "made" / "bin" / "python"
    settings = f'[tasks]\nfolders = ["{task_folder(folder)}"]\n[env.cold]\npython = "{python}"\nidle_s = 0.2\n'
    bare: list[float] = []
    firsts: list[float] = []
    with Daemon(folder, settings) as daemon, Caller(daemon.socket) as caller:
        for _ in range(rounds):
            until_no_worker(caller)
            bare.append(bare_start_s(python))
            firsts.append(started_after_s(caller, request("POST", JOBS_PATH, b'{"task":"first"}'))[1])
    more_s = percentile(firsts, 50) - percentile(bare, 50)
    say(f"cold: first result {percentile(firsts, 50) * 1000:.0f} ms, interpreter {percentile(bare, 50) * 1000:.0f} ms")
    report.figures["cold_first_result_ms"] = summary([value * 1000 for value in firsts])
    report.figures["interpreter_start_ms"] = summary([value * 1000 for value in bare])
    report.figures["cold_first_result_less_interpreter_ms"] = more_s * 1000
    report.goal("cold_first_result_less_interpreter_s", more_s, at_most=0.5)


def until_no_worker(caller: Caller) -> None:
    """Wait until the idle worker of the cold environment has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        views: list[dict[str, Any]] = caller.get("/api/v1/environments")["environments"]
        if not next(view for view in views if view["name"] == "cold")["workers"]:
            return
        time.sleep(0.05)
    raise RuntimeError("the idle worker did not end within 30 s")


def main() -> None:
    """Print the report."""
    given = arguments("workers", jobs=0)
    report = Report("workers", given.short)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with work_folder(given.folder) as folder:
        throughput(report, folder, given.jobs or JOBS, 1 if given.short else ROUNDS)
    with work_folder(given.folder) as folder:
        with (
            Daemon(folder, f'[tasks]\nfolders = ["{task_folder(folder)}"]\n') as daemon,
            Caller(daemon.socket) as caller,
        ):
            latency(report, folder, caller, 200 if given.short else 1000)
            status(report, caller)
        cold(report, folder, 3 if given.short else 10)
    report.print()


if __name__ == "__main__":
    main()

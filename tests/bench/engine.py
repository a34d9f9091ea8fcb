"""How much of the disk's own speed the engine keeps, and how fast the doors take work in.

`engine_to_floor`: 20,000 durable no-op inline jobs in process, from the first submission to the last result on disk,
against the floor measured before and after. `doors`: the same daemon's Unix socket with a process of its own as the
client: single submissions with 64 in flight, and lists of 100, each answered after its fsync.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import statistics
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from labd import process
from labd.clock import SystemClock
from labd.engine.engine import Engine, EngineOptions
from labd.engine.job import INTERNAL, Submission
from labd.engine.registry import Registry, TaskSpec
from tests.bench import floor
from tests.bench.daemon import Daemon
from tests.bench.load import run_flood
from tests.bench.raw_http import NOOP, Caller
from tests.bench.report import Report, arguments, say, spread, work_folder
from tests.fakes.bench_wing import TestWing

JOBS = 20_000
CALLERS = 4
LIST = 250
FLOOD_LIST = 500
CONCURRENCY = 1000
IN_FLIGHT = 64
PER_LIST = 100
SETTINGS = f"[queue.standard]\nconcurrency = {CONCURRENCY}\n"


async def run_jobs(folder: Path, jobs: int, per_list: int = LIST) -> tuple[float, float]:
    """Jobs a second, and microseconds of processor time a job, of an engine with a new database.

    Why four callers: each waits for the commit of its own list, as callers do, and the journal is never idle. With
    lists of 250 as many jobs come in as the queue runs at once; with longer ones they pile up behind it, and a job's
    start can no longer share the commit of its submission. Checks in the file that all have succeeded.
    """
    registry = Registry()
    for spec in TestWing(None).tasks():
        if isinstance(spec, TaskSpec):
            registry.add(spec)
    engine = Engine(folder, registry, SystemClock(), Random(1), EngineOptions(queues={"standard": (2, CONCURRENCY)}))
    await engine.open()
    await engine.start()
    left = jobs

    async def caller() -> None:
        nonlocal left
        while left > 0:
            count = min(per_list, left)
            left -= count
            await engine.submit([Submission("test.noop") for _ in range(count)], INTERNAL)

    begin, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    while engine.counts()["succeeded"] < jobs:  # noqa: ASYNC110 - it has no event for this
        await asyncio.sleep(0.002)
    await engine.journal.commit()
    took_s, cpu_s = time.monotonic() - begin, time.process_time() - cpu
    await engine.close()
    with sqlite3.connect(folder / "labd.db") as opened:
        ended = opened.execute("SELECT count(*) FROM jobs WHERE state = 'succeeded'").fetchone()[0]
    opened.close()
    if ended != jobs:
        raise RuntimeError(f"{ended} of {jobs} jobs have succeeded on disk")
    return jobs / took_s, cpu_s / jobs * 1e6


def engine_to_floor(report: Report, folder: Path, jobs: int, rounds: int) -> None:
    """Floor, engine, floor, engine, ..., floor; the medians."""
    sys.setswitchinterval(process.SWITCH_INTERVAL_S)  # as the daemon sets them
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    floors = [floor.jobs_per_s(folder, jobs)]
    engines: list[tuple[float, float]] = []
    flooded: list[tuple[float, float]] = []
    for number in range(rounds):
        for per_list, found in ((LIST, engines), (FLOOD_LIST, flooded)):
            state = folder / f"engine-{number}-{per_list}"
            state.mkdir()
            found.append(asyncio.run(run_jobs(state, jobs, per_list)))
            floors.append(floor.jobs_per_s(folder, jobs))
            say(f"lists of {per_list}: engine {found[-1][0]:.0f} jobs/s, floor {floors[-1][0]:.0f} jobs/s")
    figures = {"floor": _both(floors), "engine": _both(engines), "engine_flooded": _both(flooded)}
    ratio = figures["engine"]["jobs_per_s"] / figures["floor"]["jobs_per_s"]
    report.figures |= {"jobs": jobs, **figures}
    report.ratios["engine_to_floor"] = ratio
    report.ratios["engine_flooded_to_floor"] = figures["engine_flooded"]["jobs_per_s"] / figures["floor"]["jobs_per_s"]
    report.ratios["engine_to_floor_by_processor_time"] = (
        figures["floor"]["cpu_us_per_job"] / figures["engine"]["cpu_us_per_job"]
    )
    report.goal("engine_to_floor", ratio, at_least=0.25)


def _both(runs: list[tuple[float, float]]) -> dict[str, Any]:
    """Medians of both figures, and how far the rates lie apart."""
    rates = [rate for rate, _ in runs]
    return {
        "jobs_per_s": statistics.median(rates), "spread": spread(rates), "all": rates,
        "cpu_us_per_job": statistics.median(cpu for _, cpu in runs),
    }  # fmt: skip


def doors(report: Report, folder: Path, singles: int, lists: int) -> None:
    """Submissions a second over the socket, with the queue paused and with it running."""
    listed = json.dumps([{"task": "test.noop"}] * PER_LIST)
    figures: dict[str, Any] = {}
    with Daemon(folder, SETTINGS) as daemon, Caller(daemon.socket) as caller:
        run_flood(daemon.socket, NOOP, 200, 8)
        for state in ("paused", "running"):
            caller.post(
                f"/api/v1/queues/standard/{'pause' if state == 'paused' else 'resume'}",
                {"reason": "bench"} if state == "paused" else None,
            )
            _until_idle(caller, may_queue=state == "paused")
            single = run_flood(daemon.socket, NOOP, singles, IN_FLIGHT)
            _until_idle(caller, may_queue=state == "paused")
            many = run_flood(daemon.socket, listed, lists, 4)
            many["jobs_per_s"] = many["requests_per_s"] * PER_LIST
            figures[state] = {"single": single, "list": many}
            say(f"queue {state}: {single['requests_per_s']:.0f} single/s, {many['jobs_per_s']:.0f} jobs/s in lists")
            for found in (single, many):
                if set(found["statuses"]) != {"201"}:
                    raise RuntimeError(f"not every submission was accepted: {found['statuses']}")
    report.figures["doors"] = figures
    report.goal("single_submissions_per_s", figures["paused"]["single"]["requests_per_s"], at_least=3500)
    report.goal("list_jobs_per_s", figures["paused"]["list"]["jobs_per_s"], at_least=20_000)


def _until_idle(caller: Caller, *, may_queue: bool) -> None:
    """Wait until nothing runs (and nothing waits)."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        counts = caller.get("/api/v1/status")["jobs"]
        if not counts["running"] and (may_queue or not counts["queued"]):
            return
        time.sleep(0.1)
    raise RuntimeError("the daemon did not get through its jobs within 120 s")


def main() -> None:
    """Print the report."""
    given = arguments("engine", jobs=0)
    jobs = given.jobs or (5_000 if given.short else JOBS)
    report = Report("engine", given.short)
    with work_folder(given.folder) as folder:
        engine_to_floor(report, folder, jobs, 1 if given.short else 3)
    with work_folder(given.folder) as folder:
        doors(report, folder, 3_000 if given.short else 20_000, 100 if given.short else 500)
    report.print()


if __name__ == "__main__":
    main()

"""A million waiting jobs: how soon the daemon serves, what it holds in memory, and whether it still runs jobs as fast.

The database is made with the project's own rows, in the order a daemon would have written them (jobs with their
`job.submitted` events), so that start, memory and claim rate see what a real backlog looks like. Claim rate is taken
from the database: jobs run, divided by the time from the first start to the last end.

Why a concurrency of 100: 1,000 jobs then run in ten waves, as a million does in many; with 1,000 at once the small
measurement would be one wave, whose last commit lies outside of what is timed. Both kinds alternate, and both find
their jobs in the database; the ratio of the goal is over the first 1,000 of either, so that only the number that
waits differs. The sustained rate of the million goes on over several windows and checkpoints, which a thousand never
reaches; its ratio is told beside it.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import time
from pathlib import Path

import msgspec

from labd.engine import rows, store
from labd.engine.job import Job, JobState
from tests.bench.daemon import Daemon
from tests.bench.raw_http import JOBS_PATH, Caller
from tests.bench.report import Report, arguments, say, spread, work_folder

CONCURRENCY = 100
SMALL = 1000
LONG_RUN = 5000  # more than a window of the dispatcher: reading on is part of the rate
SETTINGS = f"[queue.standard]\nconcurrency = {CONCURRENCY}\n[queue.high-priority]\nconcurrency = {CONCURRENCY}\n"
QUEUE = "/api/v1/queues/standard"
RUN_S = 120.0
MIB = 1024 * 1024
CREATED_AT = rows.COLUMNS.index("created_at")
RAN_SINCE = (
    "SELECT started_at, finished_at FROM jobs WHERE state = 'succeeded' AND started_at >= ? ORDER BY finished_at"
)


def make_backlog(path: Path, jobs: int, seed: int) -> None:
    """A journal with so many queued no-ops, submitted over the last hours, in a paused queue."""
    store.prepare(path, "journal")
    opened = sqlite3.connect(path, isolation_level=None)
    opened.execute("PRAGMA synchronous = OFF")  # for the making only
    dice = random.Random(seed)
    now = time.time()
    event = msgspec.json.encode({"task": "test.noop", "queue": "standard", "attempt": 0}).decode()
    insert = f"INSERT INTO jobs ({', '.join(rows.COLUMNS)}) VALUES ({','.join('?' * len(rows.COLUMNS))})"
    for first in range(1, jobs + 1, 10_000):
        numbers = range(first, min(first + 10_000, jobs + 1))
        made = []
        for number in numbers:
            at = now - 3 * 3600 + number * 3 * 3600 / jobs
            priority = dice.choice((1, 2, 2, 2, 3))
            made.append(rows.to_row(_job(number, at, priority)))
        opened.execute("BEGIN")
        opened.executemany(insert, made)
        opened.executemany(
            "INSERT INTO events (seq, at, kind, job_id, data) VALUES (?, ?, 'job.submitted', ?, ?)",
            [(row[0], row[CREATED_AT], row[0], event) for row in made],
        )
        opened.execute("COMMIT")
    opened.execute("INSERT INTO queues VALUES ('standard', 2, ?, 'bench', 'bench', ?)", (CONCURRENCY, now))
    opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    opened.close()


def _job(number: int, at: float, priority: int) -> Job:
    return Job(
        id=number, task="test.noop", args={}, queue="standard", priority=priority, state=JobState.QUEUED, attempt=0,
        max_attempts=3, rank=at + priority * 60.0, run_at=at, created_at=at, submitted_by="unix:bench",
        effect="repeatable", seq=number,
    )  # fmt: skip


def claim_rates(daemon: Daemon, caller: Caller, jobs: int) -> tuple[float, float]:
    """Resume the queue until so many jobs have run; no-op jobs a second over the first 1,000, and over all."""
    before = caller.get("/api/v1/status")["jobs"]
    resumed_at = time.time()
    caller.post(f"{QUEUE}/resume")
    deadline = time.monotonic() + RUN_S
    while caller.get("/api/v1/status")["jobs"]["succeeded"] < before["succeeded"] + jobs:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{jobs} jobs did not run within {RUN_S:.0f} s")
        time.sleep(0.05)
    caller.post(f"{QUEUE}/pause", {"reason": "bench"})
    while any(queue["running"] for queue in caller.get("/api/v1/status")["queues"]):
        time.sleep(0.01)
    with sqlite3.connect(f"file:{daemon.database}?mode=ro", uri=True) as opened:
        ran = opened.execute(RAN_SINCE, (resumed_at,)).fetchall()
    opened.close()
    begin = min(started for started, _ in ran)
    first, whole = (float(count / (ran[count - 1][1] - begin)) for count in (SMALL, jobs))
    return first, whole


def warm_rates(daemon: Daemon, jobs: int) -> tuple[float, float]:
    """Claim rates of jobs found in the database, on a daemon that has run 1,000 of another queue before."""
    with Caller(daemon.socket) as caller:
        caller.post(JOBS_PATH, [{"task": "test.noop", "queue": "high-priority"}] * SMALL)
        while caller.get("/api/v1/status")["jobs"]["succeeded"] < SMALL:
            time.sleep(0.02)
        return claim_rates(daemon, caller, jobs)


def small_rates(where: Path | None, rounds: int, seed: int) -> list[float]:
    """Claim rates with 1,000 waiting jobs, each on a daemon and a database of its own."""
    rates = []
    for _ in range(rounds):
        with work_folder(where) as folder:
            daemon = _with_backlog(folder, SMALL, seed)
            with daemon:
                rates.append(warm_rates(daemon, SMALL)[0])
    return rates


def _with_backlog(folder: Path, jobs: int, seed: int) -> Daemon:
    daemon = Daemon(folder, SETTINGS)
    daemon.state.mkdir(mode=0o700)
    make_backlog(daemon.database, jobs, seed)
    return daemon


def main() -> None:
    """Print the report."""
    given = arguments("backlog", jobs=0, seed=1)
    jobs = given.jobs or (100_000 if given.short else 1_000_000)
    rounds = 3 if given.short else 6
    report = Report("backlog", given.short)
    small: list[float] = []
    large: list[float] = []
    sustained: list[float] = []
    ready: list[float] = []
    memory: dict[str, list[int]] = {"start": [], "running": []}
    with work_folder(given.folder) as folder:
        begin = time.monotonic()
        daemon = _with_backlog(folder, jobs, given.seed)
        size = daemon.database.stat().st_size
        say(f"{jobs} jobs made in {time.monotonic() - begin:.0f} s, {size / MIB:.0f} MiB")
        for number in range(rounds):
            small += small_rates(given.folder, 1, given.seed)
            with daemon:
                ready.append(daemon.ready_s)
                memory["start"].append(daemon.usage().memory_info().rss)
                if not number:
                    _check_count(daemon, jobs)
                first, whole = warm_rates(daemon, LONG_RUN)
                large.append(first)
                sustained.append(whole)
                memory["running"].append(daemon.usage().memory_info().rss)
            say(f"claim rate {first:.0f} jobs/s of {jobs} waiting ({whole:.0f} sustained), {small[-1]:.0f} of {SMALL}")
    rate, small_rate, rss = statistics.median(large), statistics.median(small), max(map(max, memory.values()))
    report.figures |= {
        "jobs": jobs, "seed": given.seed, "database_mib": size / MIB,
        "start_to_ready_s": max(ready), "start_to_ready_all_s": ready,
        "rss_after_start_mb": max(memory["start"]) / 1e6, "rss_after_running_mb": max(memory["running"]) / 1e6,
        "claim_jobs_per_s": rate, "claim_spread": spread(large), "claim_all": large,
        "claim_of_1000_jobs_per_s": small_rate, "claim_of_1000_spread": spread(small), "claim_of_1000_all": small,
    }  # fmt: skip
    report.figures |= {"claim_sustained_jobs_per_s": statistics.median(sustained), "claim_sustained_all": sustained}
    report.ratios["claim_to_1000"] = rate / small_rate
    report.ratios["claim_sustained_to_1000"] = statistics.median(sustained) / small_rate
    report.goal("start_to_ready_s", max(ready), at_most=3.0)
    report.goal("rss_mb", rss / 1e6, at_most=200.0)
    report.goal("claim_to_1000", report.ratios["claim_to_1000"], at_least=0.8)
    report.print()


def _check_count(daemon: Daemon, jobs: int) -> None:
    with Caller(daemon.socket) as caller:
        waiting = caller.get("/api/v1/status")["jobs"]["queued"]
    if waiting != jobs:
        raise RuntimeError(f"the daemon counts {waiting} of {jobs} queued jobs")


if __name__ == "__main__":
    main()

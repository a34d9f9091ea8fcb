"""The floor: what stdlib sqlite3 alone can do on this disk, one thread, WAL, synchronous=FULL.

Why a ratio to it: durable jobs a second say more about a disk than about an engine; how much of the floor is left
after states, events, priorities and retries are on top says something about the engine on every machine.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

GROUP = 500
SCHEMA = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, task TEXT, state TEXT, created_at REAL, started_at REAL, finished_at REAL)"


def _open(path: Path) -> sqlite3.Connection:
    opened = sqlite3.connect(path, isolation_level=None)
    opened.execute("PRAGMA journal_mode = WAL")
    opened.execute("PRAGMA synchronous = FULL")
    opened.execute(SCHEMA)
    return opened


def _remove(path: Path) -> None:
    for name in (path.name, path.name + "-wal", path.name + "-shm"):
        path.with_name(name).unlink(missing_ok=True)


def jobs_per_s(folder: Path, jobs: int) -> float:
    """Jobs a second: insert, start and finish of each, in transactions of 500 jobs, on a plain narrow table."""
    path = folder / "floor.db"
    opened = _open(path)
    try:
        begin = time.monotonic()
        for first in range(1, jobs + 1, GROUP):
            numbers = range(first, min(first + GROUP, jobs + 1))
            now = time.time()
            opened.execute("BEGIN IMMEDIATE")
            opened.executemany(
                "INSERT INTO jobs (id, task, state, created_at) VALUES (?, ?, 'queued', ?)", [(n, "test.noop", now) for n in numbers]
            )
            opened.executemany("UPDATE jobs SET state = 'running', started_at = ? WHERE id = ?", [(now, n) for n in numbers])
            opened.executemany("UPDATE jobs SET state = 'succeeded', finished_at = ? WHERE id = ?", [(now, n) for n in numbers])
            opened.execute("COMMIT")
        return jobs / (time.monotonic() - begin)
    finally:
        opened.close()
        _remove(path)


def commits_s(folder: Path, commits: int, pause_s: float) -> list[float]:
    """How long each of so many commits of one job took, seconds, with a pause before each.

    Why the pause: a disk and a processor that were idle answer later than busy ones, and the daemon this is compared
    with is idle before each request.
    """
    path = folder / "floor.db"
    opened = _open(path)
    found: list[float] = []
    try:
        for number in range(1, commits + 1):
            time.sleep(pause_s)
            begin = time.monotonic()
            opened.execute("BEGIN IMMEDIATE")
            opened.execute("INSERT INTO jobs (id, task, state, created_at) VALUES (?, 'test.noop', 'queued', ?)", (number, begin))
            opened.execute("COMMIT")
            found.append(time.monotonic() - begin)
        return found
    finally:
        opened.close()
        _remove(path)

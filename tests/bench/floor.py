"""The floor: what stdlib sqlite3 alone can do on this disk, one thread, WAL, synchronous=FULL.

Why a ratio to it: durable jobs a second say more about a disk than about an engine; how much of the floor is left
after states, events, priorities and retries are on top says something about the engine on every machine.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

GROUP = 500
SCHEMA = (
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, task TEXT, state TEXT, "
    "created_at REAL, started_at REAL, finished_at REAL)"
)
INSERT = "INSERT INTO jobs (id, task, state, created_at) VALUES (?, ?, 'queued', ?)"


def _open(path: Path) -> sqlite3.Connection:
    opened = sqlite3.connect(path, isolation_level=None)
    opened.execute("PRAGMA journal_mode = WAL")
    opened.execute("PRAGMA synchronous = FULL")
    opened.execute(SCHEMA)
    return opened


def _remove(path: Path) -> None:
    for name in (path.name, path.name + "-wal", path.name + "-shm"):
        path.with_name(name).unlink(missing_ok=True)


def jobs_per_s(folder: Path, jobs: int) -> tuple[float, float]:
    """Jobs a second, and microseconds of processor time a job: insert, start and finish of each on a narrow table.

    One job after the other, in transactions of 500 jobs; nothing is kept in memory, nothing is told to anybody.
    """
    path = folder / "floor.db"
    opened = _open(path)
    try:
        begin, cpu = time.monotonic(), time.process_time()
        for first in range(1, jobs + 1, GROUP):
            _group(opened, first, min(first + GROUP - 1, jobs))
        return jobs / (time.monotonic() - begin), (time.process_time() - cpu) / jobs * 1e6
    finally:
        opened.close()
        _remove(path)


def _group(opened: sqlite3.Connection, first: int, last: int) -> int:
    """One transaction of the floor; the last job's number."""
    opened.execute("BEGIN IMMEDIATE")
    for number in range(first, last + 1):
        now = time.time()
        opened.execute(INSERT, (number, "test.noop", now))
        opened.execute("UPDATE jobs SET state = 'running', started_at = ? WHERE id = ?", (now, number))
        opened.execute("UPDATE jobs SET state = 'succeeded', finished_at = ? WHERE id = ?", (now, number))
    opened.execute("COMMIT")
    return last


class CommitMeter:
    """Measures single commits of one job, one by one, so that they can alternate with what is compared with them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "floor.db"
        self._opened = _open(self._path)
        self._number = 0

    def commit_s(self) -> float:
        """How long one commit of one row took, seconds."""
        self._number += 1
        begin = time.monotonic()
        self._opened.execute("BEGIN IMMEDIATE")
        self._opened.execute(INSERT, (self._number, "test.noop", begin))
        self._opened.execute("COMMIT")
        return time.monotonic() - begin

    def group_s(self) -> float:
        """How long one transaction of 500 jobs took, insert, start and finish of each, seconds."""
        begin = time.monotonic()
        self._number = _group(self._opened, self._number + 1, self._number + GROUP)
        return time.monotonic() - begin

    def close(self) -> None:
        """Remove the file."""
        self._opened.close()
        _remove(self._path)

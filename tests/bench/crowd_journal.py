"""A journal with a history, for benches that must not begin in an empty house; made once and copied for each try.

Why by SQL and not by a crowd: half a million jobs take a crowd ten minutes and this a quarter of one. The rows are
those of ended no-op jobs with keys, tags and three events each, as ten minutes of the crowd's first phase leave them.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from labd.engine import store

CALLERS = 100
_JOBS = """
INSERT INTO jobs (id, task, args, queue, priority, state, attempt, max_attempts, rank, run_at, created_at, started_at,
    finished_at, submitted_by, effect, idempotency_key, tags, seq, result, more)
SELECT value, 'test.noop', '{}', 'standard', 2, 'succeeded', 1, 1, :at + value * 0.001, :at + value * 0.001,
    :at + value * 0.001, :at + value * 0.001, :at + value * 0.001, 'root', 'repeatable',
    'before-' || (value * 7919 % :callers) || '-' || value,
    ' closed-' || iif(value % 2 = 0, 'unix', 'tls') || '-' || (value / 2 % 50) || ' ', value * 3, NULL, '{}'
FROM generated
"""
_EVENTS = """
INSERT INTO events (seq, at, kind, job_id, data)
SELECT value, :at + value * 0.0003,
    iif(value % 3 = 1, 'job.submitted', iif(value % 3 = 2, 'job.started', 'job.succeeded')),
    (value + 2) / 3, '{"task":"test.noop","queue":"standard","attempt":1}'
FROM generated
"""
_UP_TO = "WITH RECURSIVE generated (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM generated WHERE value < :count)"


def lay(path: Path, jobs: int) -> Path:
    """The file with so many ended jobs; made where it is not there yet, else left as it is."""
    if path.exists():
        return path
    making = path.with_name(path.name + ".making")
    making.unlink(missing_ok=True)
    store.prepare(making, "journal")
    at = time.time() - 86_400.0
    with closing(sqlite3.connect(making, isolation_level=None)) as opened:
        opened.execute("PRAGMA synchronous = OFF")
        opened.execute("BEGIN")
        for text, count in ((_JOBS, jobs), (_EVENTS, jobs * 3)):
            head, _, rest = text.partition("SELECT")
            given = {"at": at, "count": count, "callers": CALLERS}
            opened.execute(f"{head} {_UP_TO} SELECT{rest}", given)
        opened.execute("COMMIT")
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return making.replace(path)


def put(path: Path, state: Path) -> None:
    """A copy of it as the journal of a daemon that has not been started yet."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(path, state / "labd.db")
    (state / "labd.db").chmod(0o600)

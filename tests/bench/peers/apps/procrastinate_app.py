"""Procrastinate on PostgreSQL: `procrastinate --app procrastinate_app.app worker`."""

from __future__ import annotations

import os

import bodies
import procrastinate
import psycopg

URL = os.environ["PEERS_URL"]
ENDED = ("succeeded",)
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL))
_is_open = False
_reader = None


@app.task(name="noop")
async def noop() -> None:
    """Nothing."""


@app.task(name="stamp")
async def stamp() -> None:
    """When it began."""
    bodies.stamp()


@app.task(name="hold")
def hold(seconds: float) -> None:
    """Takes its time, in a thread."""
    bodies.hold(seconds)


@app.periodic(cron="* * * * *")
@app.task(name="retry_stalled", queueing_lock="retry_stalled", pass_context=True)
async def retry_stalled(context, timestamp: int) -> None:
    """What its documents tell to add for jobs whose worker was killed; they run it every ten minutes."""
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)


def _opened():
    """The client's side, blocking."""
    global _is_open
    if not _is_open:
        app.open()
        _is_open = True
    return app


def _value(statement, *values):
    global _reader
    if _reader is None:
        _reader = psycopg.connect(URL, autocommit=True)
    row = _reader.execute(statement, values).fetchone()
    return row[0] if row else None


def enqueue(count):
    """1,000 in one statement each."""
    for first in range(0, count, 1000):
        _opened().configure_task("noop").batch_defer(*({} for _ in range(min(1000, count - first))))


def enqueue_one():
    """One."""
    _opened().configure_task("noop").defer()


def done():
    """Jobs whose success is recorded; it keeps no results."""
    return _value("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'noop'")


def submit_stamp():
    """One stamp."""
    return _opened().configure_task("stamp").defer()


def submit_hold(seconds):
    """One long one."""
    return _opened().configure_task("hold").defer(seconds=seconds)


def state(handle):
    """As recorded."""
    return _value("SELECT status::text FROM procrastinate_jobs WHERE id = %s", handle)

"""Huey on SQLite with fsync: `huey_consumer huey_app.huey -w 4`."""

from __future__ import annotations

import os
import sqlite3

import bodies
from huey import SqliteHuey

PATH = f"{os.environ['PEERS_FOLDER']}/huey.db"
ENDED = ("done",)
huey = SqliteHuey("peers", filename=PATH, fsync=True, journal_mode="wal", store_none=True)
_reader = sqlite3.connect(PATH, isolation_level=None)


@huey.task()
def noop():
    """Nothing."""


@huey.task()
def stamp():
    """When it began."""
    bodies.stamp()


@huey.task()
def hold(seconds):
    """Takes its time."""
    bodies.hold(seconds)


def enqueue(count):
    """One by one: it has no call for many."""
    for _ in range(count):
        noop()


def enqueue_one():
    """One."""
    noop()


def done():
    """Results that are kept."""
    return _reader.execute("SELECT count(*) FROM kv").fetchone()[0]


def submit_stamp():
    """One stamp."""
    return stamp().id


def submit_hold(seconds):
    """One long one."""
    return hold(seconds).id


def state(handle):
    """Whether it has a result; it knows no more."""
    if _reader.execute("SELECT count(*) FROM kv WHERE key = ?", (handle,)).fetchone()[0]:
        return "done"
    queued = any(handle.encode() in row[0] for row in _reader.execute("SELECT data FROM task"))
    return "queued" if queued else "not queued, no result"

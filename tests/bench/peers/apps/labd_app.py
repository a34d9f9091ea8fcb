"""labd over its Unix socket, by `labctl.Client`, as a user has it."""

from __future__ import annotations

import os
import sqlite3

from labctl import Client

ENDED = ("succeeded", "failed", "interrupted", "cancelled")
PREFIX = os.environ.get("PEERS_TASKS", "")
LIST = 500
_client = Client(f"unix:{os.environ['PEERS_SOCKET']}")
_database = f"{os.environ['PEERS_FOLDER']}/state/labd.db"
_reader = None


def enqueue(count):
    """Lists of 500, one commit each."""
    for first in range(0, count, LIST):
        _client.submit_many([{"task": f"{PREFIX}noop"} for _ in range(min(LIST, count - first))])


def enqueue_one():
    """One."""
    _client.submit(f"{PREFIX}noop")


def done():
    """Jobs whose success is in the file, looked up beside the daemon."""
    global _reader
    if _reader is None:
        _reader = sqlite3.connect(f"file:{_database}?mode=ro", uri=True, isolation_level=None)
    return _reader.execute("SELECT count(*) FROM jobs WHERE state = 'succeeded'").fetchone()[0]


def submit_stamp():
    """One stamp."""
    return _client.submit(f"{PREFIX}stamp")["id"]


def submit_hold(seconds):
    """One long one."""
    return _client.submit("hold", {"seconds": seconds})["id"]


def state(handle):
    """As the daemon says."""
    return _client.job(handle)["state"]


if PREFIX:

    def began_ns(handle):
        """A task inside the daemon answers the instant itself."""
        return _client.wait(handle, 60)["result"]

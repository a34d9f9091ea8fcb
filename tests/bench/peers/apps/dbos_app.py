"""DBOS on SQLite or PostgreSQL: `python -c 'import dbos_app; dbos_app.serve()'`."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import bodies
import sqlalchemy as sa
from dbos import DBOS, DBOSClient

URL = os.environ["PEERS_URL"]
ENDED = ("SUCCESS",)
TABLE = "workflow_status" if URL.startswith("sqlite") else "dbos.workflow_status"
QUEUE = "work"
_client = None
_engine = sa.create_engine(URL)


@DBOS.workflow()
def noop() -> None:
    """Nothing."""


@DBOS.workflow()
def stamp() -> None:
    """When it began."""
    bodies.stamp()


@DBOS.workflow()
def hold(seconds: float) -> None:
    """Takes its time."""
    bodies.hold(seconds)


def serve() -> None:
    """Run what is queued."""
    DBOS(config={"name": "peers", "system_database_url": URL, "log_level": "WARNING"})
    DBOS.launch()
    DBOS.register_queue(QUEUE)
    Path(os.environ["PEERS_FOLDER"], "launched").touch()
    threading.Event().wait()


def _asked() -> DBOSClient:
    global _client
    if _client is None:
        _client = DBOSClient(system_database_url=URL)
    return _client


def enqueue(count):
    """100 in one transaction each."""
    for first in range(0, count, 100):
        with _engine.begin() as opened:
            for _ in range(min(100, count - first)):
                _asked().enqueue_in_transaction(opened, {"workflow_name": "noop", "queue_name": QUEUE})


def enqueue_one():
    """One."""
    _asked().enqueue({"workflow_name": "noop", "queue_name": QUEUE})


def done():
    """Workflows whose success is recorded."""
    with _engine.connect() as opened:
        return opened.execute(sa.text(f"SELECT count(*) FROM {TABLE} WHERE status = 'SUCCESS'")).scalar_one()


def submit_stamp():
    """One stamp."""
    return _asked().enqueue({"workflow_name": "stamp", "queue_name": QUEUE}).get_workflow_id()


def submit_hold(seconds):
    """One long one."""
    return _asked().enqueue({"workflow_name": "hold", "queue_name": QUEUE}, seconds).get_workflow_id()


def state(handle):
    """As recorded."""
    with _engine.connect() as opened:
        asked = sa.text(f"SELECT status FROM {TABLE} WHERE workflow_uuid = :id")
        return opened.execute(asked, {"id": handle}).scalar_one_or_none()

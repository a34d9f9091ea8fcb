"""An import through Arrow as one awaitable: the threads' work, their progress, and their end when it is cancelled.

Nothing of it blocks the event loop. Whoever cancels waits until the threads have ended and the server has taken back
what was begun: a stream that goes on writing after its job is told as cancelled would fill the next try's database.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import structlog

from labd.errors import GraphRefused, LabdError
from labd.snapshots.neo4j_bolt import Address
from labd.snapshots.port import Dataset, Progress

PROGRESS_INTERVAL_S = 0.25
log = structlog.get_logger(__name__)


async def run(
    address: Address, database: str, dataset: Dataset, progress: Callable[[Progress], None], *,
    streams: int, call_timeout_s: float, replace: bool,
) -> None:  # fmt: skip
    """Import the dataset; the database's store files are there when it returns.

    Raises:
        DatasetRefused, GraphRefused, GraphUnreachable: See `neo4j_flight.py`; what was begun is taken back.
    """
    try:
        from labd.snapshots import neo4j_columns, neo4j_flight
    except ImportError as fault:
        raise GraphRefused(f"pyarrow with Flight is missing ({fault}); pip install 'labd[neo4j]'") from fault
    plan = await asyncio.to_thread(neo4j_columns.plan, dataset)
    stop = threading.Event()
    whole = neo4j_flight.FlightImport(
        address, database, plan, streams=streams, stop=stop, call_timeout_s=call_timeout_s,
        stream_timeout_s=4 * call_timeout_s,
    )  # fmt: skip
    total = dataset.nodes + dataset.relationships

    def tell() -> None:
        progress(Progress(min(whole.rows, total), total, min(whole.size_bytes, dataset.size_bytes), whole.table))

    def work() -> None:
        whole.abort()  # what a daemon that died has left under this name
        whole.create(replace=replace)
        whole.send()

    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while not (await asyncio.wait({task}, timeout=PROGRESS_INTERVAL_S))[0]:
            tell()
        await task
        tell()
    except BaseException:
        stop.set()
        await _ended(asyncio.ensure_future(asyncio.to_thread(_abort, whole, database)), task)
        # Once more: a thread that was in CREATE_DATABASE when the first abort came has begun behind it.
        await _ended(asyncio.ensure_future(asyncio.to_thread(_abort, whole, database)))
        raise


def _abort(whole: Any, database: str) -> None:
    """While the streams still write: a server that aborts ends them, which no deadline does as soon."""
    try:
        whole.abort()
    except LabdError as fault:  # the next try aborts again, and the server does so by itself after ten minutes
        log.warning("snapshot.half_made_stays", database=database, why=fault.message)


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    """All are done, whoever cancels meanwhile."""
    while waiting := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            continue
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains; the first fault is on its way already

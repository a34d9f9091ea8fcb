"""Brings what the write-ahead log holds into the journal's file, beside the writer.

Why not by the writer, as SQLite does by itself: with half a million jobs the 2,000 pages of a checkpoint lie all over
the file, and while they are written and the disk is waited for, no submission is answered. SQLite lets another
connection do it while the writer goes on; only what came meanwhile is left to the writer, once the log is long, for the
log begins anew only when all of it has been brought over.

Nothing of the promise changes: a commit is in the log, and the log on disk, before anybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from labd.engine import store

ROWS_A_PASS = 500  # some 2,000 pages of jobs, events and their indexes
LONG_LOG_PAGES = 4_000
LAST_RESORT_PAGES = 8_000  # where the writer does it by itself after all: changes that nobody counted


class Checkpointer:
    """Passes over the log, one at a time.

    Args:
        path: The journal's file.
        write: Runs a function on the writer's connection, between two groups.
    """

    def __init__(self, path: Path, write: Callable[[Callable[[sqlite3.Connection], int]], Awaitable[int]]) -> None:
        self._path = path
        self._write = write
        self._rows = 0
        self._task: asyncio.Task[None] | None = None
        self._connection: store.StoreConnection | None = None

    def note(self, rows: int) -> None:
        """So many rows have been committed; begins a pass where that is enough and none is under way."""
        self._rows += rows
        if self._rows >= ROWS_A_PASS and (self._task is None or self._task.done()):
            self._rows = 0
            self._task = asyncio.get_running_loop().create_task(self._pass(), name="checkpoint")

    async def close(self) -> None:
        """Wait for the pass that is under way; no other must begin."""
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _pass(self) -> None:
        # A disk that takes no more is the writer's to tell; the log keeps what is not brought over.
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._connection is None:
                opened = store.connection(self._path, synchronous="FULL")
                await opened
                self._connection = opened
            if await self._connection.run(bring_over) >= LONG_LOG_PAGES:
                await self._connection.run(bring_over)  # what came during the first, so that little is left
                await self._write(bring_over)


def bring_over(opened: sqlite3.Connection) -> int:
    """Copy as much of the log as no reader needs where it is; how many pages the log has."""
    _, pages, _ = opened.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)

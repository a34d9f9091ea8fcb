"""Job logs and readings, in a file of their own so that chatter never delays a promise.

Lines are collected for a moment and written together with `synchronous=NORMAL`; a power cut may take the last ones, a
killed daemon loses what came within `FLUSH_S`. On a full disk lines are dropped and counted, the work goes on.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import structlog

from labd.engine import sql, store
from labd.engine.storable import mended
from labd.engine.views import LogLine

log = structlog.get_logger()
FLUSH_S = 0.1
LINE_LIMIT = 8_192
BUFFER_LIMIT = 20_000
FORGET_AT_ONCE = 50_000

_write_lines = store.insert_writer("lines", ("job_id", "at", "attempt", "level", "text"))
_write_readings = store.insert_writer("readings", ("at", "subject", "name", "value"))


class Logbook:
    """The database of chatter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._queries = sql.queries()
        self._lines: list[tuple[Any, ...]] = []
        self._readings: list[tuple[Any, ...]] = []
        self._connection: store.StoreConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make or migrate the file and open it; raises as `store.prepare`."""
        await asyncio.to_thread(store.prepare, self.path, "logbook")
        self._connection = store.connection(self.path, synchronous="NORMAL")
        await self._connection

    async def close(self) -> None:
        """Write what is left and close."""
        if self._connection is not None:
            if self._timer is not None:
                self._timer.cancel()
            await self.flush()
            await self._connection.close()
            self._connection = None

    def add_line(self, job_id: int, at: float, attempt: int, level: str, text: str) -> None:
        """One line of a job's log; longer ones are cut at 8,192 characters."""
        self._add(self._lines, (job_id, at, attempt, mended(level), mended(text[:LINE_LIMIT])))

    def add_reading(self, at: float, subject: str, name: str, value: float) -> None:
        """One measured value, such as a motor's temperature; what is no number is left out."""
        if not math.isfinite(value):
            return  # SQLite takes it for NULL, and the row would take all that are written with it along
        self._add(self._readings, (at, subject, name, value))

    def _add(self, buffer: list[tuple[Any, ...]], row: tuple[Any, ...]) -> None:
        if len(buffer) >= BUFFER_LIMIT:
            self.dropped += 1
            return
        buffer.append(row)
        if self._timer is None and self._connection is not None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush_soon)

    def _flush_soon(self) -> None:
        self._timer = None
        self._flushing = asyncio.get_running_loop().create_task(self.flush())

    async def flush(self) -> None:
        """Write what has been collected."""
        lines, self._lines = self._lines, []
        readings, self._readings = self._readings, []
        if self._connection is None or not (lines or readings):
            return
        try:
            await self._connection.run(_apply, lines, readings)
        except sqlite3.Error as fault:
            self.dropped += len(lines) + len(readings)
            log.warning("logbook.dropped", path=str(self.path), problem=str(fault), dropped=self.dropped)

    async def lines(self, job_id: int, after: int, limit: int) -> list[LogLine]:
        """Lines of a job behind a line's id, oldest first."""
        await self.flush()
        return [LogLine(*row) for row in await self.read("lines_of_job", job_id, after, limit)]

    async def read(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a named query."""
        if self._connection is None:
            raise RuntimeError("the logbook is not open")
        statement = self._queries[name]
        return await self._connection.run(lambda c: c.execute(statement, parameters).fetchall())

    async def delete_lines(self, job_ids: list[int]) -> None:
        """Forget the lines of jobs that are gone."""
        if self._connection is not None:
            statement, listed = self._queries["delete_lines"], msgspec.json.encode(job_ids).decode()
            await self._connection.run(lambda c: c.execute(statement, (listed,)).fetchall())

    async def forget_before(self, instant: float) -> None:
        """Forget lines and readings from before an instant, a bounded number of each; the file gives back its space."""
        if self._connection is None:
            return
        statements = [self._queries["delete_lines_before"], self._queries["delete_readings_before"]]

        def forget(opened: sqlite3.Connection) -> None:
            for statement in statements:
                opened.execute(statement, (instant, FORGET_AT_ONCE))
            store.free_pages(opened)

        try:
            await self._connection.run(forget)
        except sqlite3.Error as fault:
            log.warning("logbook.dropped", path=str(self.path), problem=str(fault), dropped=self.dropped)

    async def copy(self, target: Path) -> None:
        """A consistent copy of the file."""
        await self.flush()
        if self._connection is not None:
            await self._connection.run(lambda c: c.execute("VACUUM INTO ?", (str(target),)).fetchall())


def _apply(opened: sqlite3.Connection, lines: list[tuple[Any, ...]], readings: list[tuple[Any, ...]]) -> None:
    opened.execute("BEGIN IMMEDIATE")
    try:
        _write_lines(opened, lines)
        _write_readings(opened, readings)
        opened.execute("COMMIT")
    except BaseException:
        if opened.in_transaction:
            opened.execute("ROLLBACK")
        raise

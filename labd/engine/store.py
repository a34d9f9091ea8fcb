"""The two SQLite files of the state folder: opening, refusing, migrating, and the connection that writes.

Why a check with a deadline: a full `quick_check` of a large file takes minutes, none at all overlooks torn pages. The
check at start is cut off after `CHECK_DEADLINE_S`; most laboratories' files pass whole within it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from labd.engine import sql
from labd.errors import LabdError, StoreDamaged, StoreFull, StoreNewer

T = TypeVar("T")
CHECK_DEADLINE_S = 0.5
FREE_PAGES_PER_BITE = 2000
HEADER = b"SQLite format 3\x00"


class StoreConnection(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function on its thread in one hop.

    Why: a group commit of eight statements would otherwise cross between the threads eight times, 0.05 ms each.
    """

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """`work(sqlite3_connection, *args)` on the connection's own thread."""
        execute: Callable[[Callable[[], T]], Awaitable[T]] = self._execute
        return await execute(lambda: work(self._conn, *args))


def connection(path: Path, *, synchronous: str, read_only: bool = False) -> StoreConnection:
    """A connection, not yet opened; await it.

    Args:
        path: The database file; it must have been prepared with `prepare`.
        synchronous: `FULL` (an fsync at every commit) or `NORMAL`.
        read_only: Refuse every write.
    """

    def connect() -> sqlite3.Connection:
        opened = sqlite3.connect(path, isolation_level=None, timeout=5.0, cached_statements=256)
        opened.execute(f"PRAGMA synchronous = {synchronous}")
        opened.execute("PRAGMA foreign_keys = ON")
        opened.execute("PRAGMA cache_size = -8192")
        if read_only:
            opened.execute("PRAGMA query_only = ON")
        return opened

    return StoreConnection(connect, iter_chunk_size=64)


def prepare(path: Path, database: str) -> None:
    """Make the file or bring it to the present schema; blocking, before the loop serves.

    Raises:
        StoreDamaged: Not a database, or its check fails; the file is not touched.
        StoreNewer: Written by a later labd; the file is not touched.
        StoreFull: No space to make or migrate it.
    """
    scripts = sql.migrations(database)
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(len(HEADER)) != HEADER:
                raise StoreDamaged(
                    f"{path} is not an SQLite database; move it away or restore a backup", path=str(path)
                )
    try:
        opened = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            _bring_up(opened, path, scripts)
        finally:
            opened.close()
    except LabdError:
        raise
    except sqlite3.OperationalError as fault:
        raise StoreFull(
            f"{path} cannot be opened: {fault}; free space or mend its permissions", path=str(path)
        ) from fault
    except sqlite3.DatabaseError as fault:
        raise StoreDamaged(
            f"{path} is damaged: {fault}; it is left as it is, restore a backup with `labd restore`", path=str(path)
        ) from fault


def _bring_up(opened: sqlite3.Connection, path: Path, scripts: list[str]) -> None:
    version = int(opened.execute("PRAGMA user_version").fetchone()[0])
    if version > len(scripts):
        raise StoreNewer(
            f"{path} has schema {version}, this labd knows up to {len(scripts)}; install the newer labd again",
            path=str(path),
            schema=version,
            known=len(scripts),
        )
    if version == 0:
        opened.execute("PRAGMA auto_vacuum = INCREMENTAL")
    else:
        _check(opened, path)
    opened.execute("PRAGMA journal_mode = WAL")
    opened.execute("PRAGMA synchronous = FULL")
    for number, script in enumerate(scripts[version:], start=version + 1):
        opened.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def _check(opened: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + CHECK_DEADLINE_S
    opened.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        findings = [row[0] for row in opened.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as fault:
        if "interrupt" not in str(fault):
            raise
        return
    finally:
        opened.set_progress_handler(None, 0)
    if findings != ["ok"]:
        raise StoreDamaged(
            f"{path} is damaged: {findings[0].splitlines()[-1]}; it is left as it is, restore a backup with "
            "`labd restore`",
            path=str(path),
            findings=findings,
        )


def chunks(head: str, width: int, tail: str = "") -> Callable[[sqlite3.Connection, list[tuple[Any, ...]]], None]:
    """A writer of many rows with few statements.

    Why not `executemany`: it gives the interpreter lock away for every row, and while the event loop is busy each
    return costs a whole switch interval, so 500 rows took half a second. A statement of up to 256 rows gives it away
    once.
    """
    row = "(" + ",".join("?" * width) + ")"
    statements = {size: f"{head} {','.join([row] * size)} {tail}" for size in (256, 64, 16, 4, 1)}

    def write(opened: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        start, left = 0, len(rows)
        for size, statement in statements.items():
            while left >= size:
                opened.execute(statement, [value for row in rows[start : start + size] for value in row])
                start += size
                left -= size

    return write


def free_pages(opened: sqlite3.Connection) -> None:
    """Give free pages back to the file system, a bounded number at a time."""
    opened.execute(f"PRAGMA incremental_vacuum({FREE_PAGES_PER_BITE})").fetchall()

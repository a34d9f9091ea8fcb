"""The two SQLite files of the state folder: opening, refusing, migrating, and the connection that writes.

Why a check with a deadline: a full `quick_check` of a large file takes minutes, none at all overlooks torn pages. The
check at start is cut off after `CHECK_DEADLINE_S`; most laboratories' files pass whole within it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from labd.engine import sql
from labd.engine.schema import Schema
from labd.errors import LabdError, StoreDamaged, StoreFull, StoreNewer

T = TypeVar("T")
CHECK_DEADLINE_S = 0.5
FREE_PAGES_PER_BITE = 2000
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024)  # 24 columns x 1024 < 32,766 parameters
PIECES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # as above
RowWriter = Callable[[sqlite3.Connection, list[tuple[Any, ...]]], None]
HEADER = b"SQLite format 3\x00"


class StoreConnection(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function on its thread in one hop.

    Why: a group commit of eight statements would otherwise cross between the threads eight times, 0.05 ms each.
    """

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """`work(sqlite3_connection, *args)` on the connection's own thread."""
        execute: Callable[[Callable[[], T]], Awaitable[T]] = self._execute
        return await execute(lambda: work(self._conn, *args))

    def start(self, work: Callable[[sqlite3.Connection], None], done: Callable[[BaseException | None], None]) -> None:
        """Run `work` on the thread, and `done` on the loop with what it raised, or None.

        Why past `_execute`: as a coroutine it begins, and ends, a turn of the loop later; a commit of one job takes
        0.2 ms, and each turn 0.03.
        """
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        loop, connection = asyncio.get_running_loop(), self._conn

        def job() -> None:
            fault: BaseException | None = None
            try:
                work(connection)
            except BaseException as raised:  # noqa: BLE001 it is handed to the loop, whatever it is
                fault = raised
            loop.call_soon_threadsafe(done, fault)

        self._tx.put_nowait((None, job))


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


def prepare(path: Path, database: str, schemas: Sequence[Schema] = ()) -> None:
    """Make the file or bring it to the present schema; blocking, before the loop serves.

    Args:
        schemas: Tables of wings that live in the same file.

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
        _for_the_owner(path)
        opened = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            _bring_up(opened, path, scripts)
            for schema in schemas:
                _bring_up_schema(opened, path, schema)
        finally:
            opened.close()
    except LabdError:
        raise
    except (sqlite3.OperationalError, OSError) as fault:
        raise StoreFull(
            f"{path} cannot be opened: {fault}; free space or mend its permissions", path=str(path)
        ) from fault
    except sqlite3.DatabaseError as fault:
        raise StoreDamaged(
            f"{path} is damaged: {fault}; it is left as it is, restore a backup with `labd restore`", path=str(path)
        ) from fault


def _for_the_owner(path: Path) -> None:
    """Nobody but the owner reads a new file, whatever the umask; its log and index take its mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


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


def _bring_up_schema(opened: sqlite3.Connection, path: Path, schema: Schema) -> None:
    found = opened.execute("SELECT version FROM schemas WHERE name = ?", (schema.name,)).fetchone()
    version, scripts = found[0] if found else 0, schema.migrations()
    if version > len(scripts):
        raise StoreNewer(
            f"{path} has schema {version} of {schema.name}, this labd knows up to {len(scripts)}; install the newer "
            "labd again",
            path=str(path),
            schema=version,
            known=len(scripts),
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        noted = f"INSERT OR REPLACE INTO schemas (name, version) VALUES ('{schema.name}', {number})"  # noqa: S608 a literal
        opened.executescript(f"BEGIN IMMEDIATE;\n{script}\n{noted};\nCOMMIT;")


def remedy(reason: str) -> str:
    """What to do about a disk that takes no writes, by SQLite's word for it."""
    return "free space" if "full" in reason else "the disk fails or is read-only, see `dmesg`"


def standing_problem(reason: str) -> str:
    """What people are told as long as the disk takes no writes."""
    if "full" in reason:
        return "the disk is full: no job is accepted; free some space"
    return f"the disk takes no writes ({reason}): no job is accepted; {remedy(reason)}"


def problems(path: Path) -> list[str]:
    """What a full check of a file finds; empty where it is whole. Blocks, reads everything, changes nothing."""
    try:
        opened = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            opened.execute("PRAGMA query_only = ON")
            found = [str(row[0]) for row in opened.execute("PRAGMA quick_check(10)")]
        finally:
            opened.close()
    except sqlite3.Error as fault:
        return [str(fault)]
    return [] if found == ["ok"] else found


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


def row_writer(before: str, width: int, after: str) -> RowWriter:
    """A writer of many rows with one statement: `before (VALUES ...) after`, padded with rows of NULL.

    Why not `executemany`: it gives the interpreter lock away for every row, and while the event loop is busy each
    return of it costs a switch interval; 500 rows took half a second. One statement gives it away once. Why padded: a
    statement of a few fixed sizes is parsed once and kept; `after` must leave out rows whose first column is NULL.
    """
    row = "(" + ",".join("?" * width) + ")"
    statements = {size: f"{before} (VALUES {','.join([row] * size)}) {after}" for size in SIZES}

    def write(opened: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), SIZES[-1]):
            part = rows[start : start + SIZES[-1]]
            size = next(size for size in SIZES if size >= len(part))
            values = [value for row in part for value in row]
            values += [None] * (width * (size - len(part)))
            opened.execute(statements[size], values)

    return write


def insert_writer(table: str, columns: tuple[str, ...]) -> RowWriter:
    """A writer of new rows, with a few statements of fixed sizes.

    Why not padded as `row_writer` does: a list of values that is inserted as it stands costs half of one that is
    selected from first, and most groups are made of two or three pieces.
    """
    row = "(" + ",".join("?" * len(columns)) + ")"
    before = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 names of the schema
    statements = {size: before + ",".join([row] * size) for size in PIECES}

    def write(opened: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        start = 0
        while start < len(rows):
            size = PIECES[bisect_right(PIECES, len(rows) - start) - 1]
            opened.execute(statements[size], [*chain.from_iterable(rows[start : start + size])])
            start += size

    return write


def free_pages(opened: sqlite3.Connection) -> None:
    """Give free pages back to the file system, a bounded number at a time."""
    opened.execute(f"PRAGMA incremental_vacuum({FREE_PAGES_PER_BITE})").fetchall()

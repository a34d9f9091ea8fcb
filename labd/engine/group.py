"""What one transaction of the journal holds, and how it is written.

Why whole rows: a job that changes three times while one commit is on its way is written once, as it stands when the
group is closed, so a start shares the commit of its submission and a retry of the write needs no history.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from labd.engine import rows, storable, store
from labd.engine.job import Job
from labd.engine.store import RowWriter


class Event(msgspec.Struct):
    """Something that happened; `seq` is the one global number of changes."""

    seq: int
    at: float
    kind: str
    job_id: int | None
    data: dict[str, Any]
    encoded: str | None = None


class Statement(msgspec.Struct):
    """Any other write: a named statement of queries.sql and its parameters."""

    name: str
    parameters: tuple[Any, ...]


class Group:
    """What one transaction will hold."""

    __slots__ = (
        "admitted", "admitted_starts", "dirty", "events", "landed", "launches", "refusal", "rows", "salvaged",
        "started", "starts", "statements", "waiters",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.admitted: dict[int, Job] = {}
        self.dirty: dict[int, Job] = {}
        self.started: set[int] = set()
        self.starts: list[Callable[[bool], None]] = []
        self.launches: dict[int, Callable[[bool], None]] = {}  # those of `starts`, by job
        self.admitted_starts: list[Callable[[bool], None]] = []
        self.events: list[Event] = []
        self.salvaged: list[Event] = []  # on disk already, one by one
        self.rows: dict[str, list[tuple[Any, ...]]] = {}
        self.statements: list[Statement] = []
        self.landed: asyncio.Future[None] = loop.create_future()
        self.refusal: asyncio.Future[None] = loop.create_future()
        self.waiters: list[asyncio.Future[None]] = []  # follow `refusal`, each of one who waits

    def is_empty(self) -> bool:
        """True if there is nothing to write."""
        return not (self.admitted or self.dirty or self.events or self.rows or self.statements)


_insert_jobs = store.insert_writer("jobs", rows.COLUMNS)
_change_jobs = store.row_writer(rows.UPDATE, len(rows.CHANGING) + 1, rows.OF_JOB)
_start_jobs = store.row_writer(rows.START, 4, rows.OF_JOB)
_start_jobs_of_code = store.row_writer(rows.START_OF_CODE, 5, rows.OF_JOB)
_succeed_jobs = store.row_writer(rows.SUCCEED, 4, rows.OF_JOB)
_write_events = store.insert_writer("events", ("seq", "at", "kind", "job_id", "data"))
_encode = storable.encoded


def single(
    loop: asyncio.AbstractEventLoop, job: Job | None = None, statement: Statement | None = None,
    row: tuple[str, tuple[Any, ...]] | None = None, event: Event | None = None,
) -> Group:  # fmt: skip
    """A group of one row."""
    group = Group(loop)
    if row is not None:
        group.rows[row[0]] = [row[1]]
    if job is not None:
        group.dirty[job.id] = job
    if statement is not None:
        group.statements.append(statement)
    if event is not None:
        group.events.append(event)
    return group


class Batch:
    """The rows of a group, taken on the event loop, written on the writer's thread.

    Why taken first: jobs go on changing while the transaction is written; what they become belongs to the next group.
    """

    def __init__(self, group: Group, queries: dict[str, str], writers: Mapping[str, RowWriter]) -> None:
        self._new = [rows.to_row(job) for job in group.admitted.values()]
        self._successes: list[tuple[Any, ...]] = []
        self._starts: list[tuple[Any, ...]] = []
        self._starts_of_code: list[tuple[Any, ...]] = []
        self._changes: list[tuple[Any, ...]] = []
        for job in group.dirty.values():
            if rows.is_plain_success(job):
                self._successes.append(rows.to_success(job))
            elif job.id in group.started and rows.is_plain_start(job):
                if job.code is None:
                    self._starts.append(rows.to_start(job))
                else:
                    self._starts_of_code.append(rows.to_start_of_code(job))
            else:
                self._changes.append(rows.to_change(job))
        self._events = [(e.seq, e.at, e.kind, e.job_id, e.encoded or _encode(e.data).decode()) for e in group.events]
        self._rows = [(writers[table], rows) for table, rows in group.rows.items()]
        self._statements = [(queries[s.name], s.parameters) for s in group.statements]

    def write(self, opened: sqlite3.Connection) -> None:
        """One transaction."""
        opened.execute("BEGIN IMMEDIATE")
        try:
            _insert_jobs(opened, self._new)
            _change_jobs(opened, self._changes)
            _start_jobs(opened, self._starts)
            _start_jobs_of_code(opened, self._starts_of_code)
            _succeed_jobs(opened, self._successes)
            _write_events(opened, self._events)
            for write, of_table in self._rows:
                write(opened, of_table)
            for statement, parameters in self._statements:
                opened.execute(statement, parameters)
            opened.execute("COMMIT")
        except BaseException:
            if opened.in_transaction:
                opened.execute("ROLLBACK")
            raise

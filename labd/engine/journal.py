"""The one writer: collects what comes in while a commit is on its way, and commits it as one transaction.

Two kinds of work come in. What is *admitted* (new jobs) may be refused: if the disk takes no more, the caller hears
`store_full` and nothing is kept. What is *recorded* (a start, an end, a stock movement, an audit entry) has happened
already and is kept in memory and written again until it lands.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from labd.clock import Clock
from labd.engine import checkpoint, rows, sql, store
from labd.engine.group import Batch, Event, Group, Statement, single
from labd.engine.job import Job
from labd.engine.schema import Schema
from labd.errors import Conflict, Draining, LabdError, StoreFull

log = structlog.get_logger()
RETRY_S = 0.5
PROBE_SIZE_BYTES = 65_536
PATIENCE_S = 0.004
LONG_GROUP = 1000
# Rows that no second try makes writable. Why more than what the database refuses: a text or a number that cannot be
# bound or encoded fails before it gets there, and must not take the writer, and with it every promise, along.
UNWRITABLE = (sqlite3.IntegrityError, sqlite3.DataError, ArithmeticError, RecursionError, TypeError, ValueError)


class Journal:
    """The database of promises.

    Args:
        path: The file; `open` makes or migrates it.
        clock: For the retry of failed commits and the figures.
        schemas: Tables of wings in the same file; their statements are named `wing.statement`.
    """

    def __init__(self, path: Path, clock: Clock, schemas: Sequence[Schema] = ()) -> None:
        self.path = path
        self._clock = clock
        self._schemas = tuple(schemas)
        self._queries = sql.queries()
        self._writers: dict[str, store.RowWriter] = {}
        for schema in self._schemas:
            self._queries.update(schema.queries())
            for table, columns in schema.tables.items():
                self._writers[f"{schema.name}.{table}"] = store.insert_writer(f"{schema.name}_{table}", columns)
        self._writer: store.StoreConnection | None = None
        self._reader: store.StoreConnection | None = None
        self._browser: store.StoreConnection | None = None
        self._opening_browser = asyncio.Lock()
        self._checkpointer: checkpoint.Checkpointer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: Group | None = None
        self._mending: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._filling_up: asyncio.Future[None]
        self._is_open = False
        self._closing = False
        self._busy = False
        self._scheduled = False
        self._waits_for = 0  # starts, for which the next commit waits a little
        self._hurried = False
        self._pushed_at = float("-inf")
        self._seq = 0
        self.durable_seq = 0
        self.full_reason: str | None = None
        self.on_committed: Callable[[list[Event]], None] = lambda events: None
        self.crowd: Callable[[], int] = lambda: 0
        self.on_full: Callable[[str | None], None] = lambda reason: None
        self.commits = 0
        self.commit_s_total = 0.0
        self.last_commit_s = 0.0

    async def open(self) -> None:
        """Open the file; raises as `store.prepare`."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(store.prepare, self.path, "journal", self._schemas)
        self._writer = store.connection(self.path, synchronous="FULL")
        await self._writer
        self._reader = store.connection(self.path, synchronous="FULL", read_only=True)
        await self._reader
        last_resort = f"PRAGMA wal_autocheckpoint = {checkpoint.LAST_RESORT_PAGES}"
        await self._writer.run(lambda c: c.execute(last_resort).fetchall())
        self._checkpointer = checkpoint.Checkpointer(self.path, self.write)
        self._group = Group(self._loop)
        self._filling_up = self._loop.create_future()
        highest = await self.read("highest_ids")
        self._seq = self.durable_seq = int(await self.fact("seq_floor") or 0)
        self._seq = self.durable_seq = max(self._seq, highest[0][1] or 0)
        self._idle.set()
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """True between `open` and `close`."""
        return self._is_open

    async def close(self) -> None:
        """Write what is left and close; gives up on a full disk after one last try."""
        if not self._is_open:
            return
        self._closing = True
        self.push()
        await self._idle.wait()
        self._is_open = False
        await self._checkpointer.close()
        async with self._opening_browser:
            for opened in (self._browser, self._reader, self._writer):
                if opened is not None:
                    await opened.close()
            self._browser = None

    def _refuse_closed(self) -> None:
        """Why not a defect: a request that outlived its door asks the journal when it is closed."""
        if self._closing and not self._is_open:
            raise Draining("labd is ending; ask again when it is back")

    def next_seq(self) -> int:
        """The number of the next change."""
        self._seq += 1
        return self._seq

    @property
    def last_seq(self) -> int:
        """The number of the last change that was staged."""
        return self._seq

    async def room(self) -> None:
        """Wait until the next commit is short enough for a long list to join it.

        Why: the rows of a commit are made in one turn of the loop, and everybody waits for all that it writes; lists of
        a thousand that come faster than the disk takes them would grow it without end.
        """
        while self._group is not None and len(self._group.admitted) >= LONG_GROUP and self.full_reason is None:
            await asyncio.wait({self._group.refusal})

    def admit(self, job: Job, event: Event) -> None:
        """A new job, refusable; `admitted()` tells when it is on disk."""
        group = self._open_group()
        group.admitted[job.id] = job
        group.events.append(event)

    def admitted(self) -> asyncio.Future[None]:
        """Resolves when the jobs admitted so far are on disk; `StoreFull` when they were refused."""
        return self._open_group().refusal

    def admission(self) -> asyncio.Future[None]:
        """As `admitted`, for one alone, who may be cancelled and takes nobody else along.

        Why not a shield around the one of all: it comes a turn of the event loop later, behind everything else that the
        commit has woken, and whoever submits one job after the other waits for each of those turns.
        """
        group = self._open_group()
        waiter: asyncio.Future[None] = group.refusal.get_loop().create_future()
        group.waiters.append(waiter)
        return waiter

    def record(self, job: Job, event: Event | None = None) -> None:
        """A change of a job that has happened; written until it lands."""
        group = self._open_group()
        if job.id not in group.admitted:
            group.dirty[job.id] = job
        if event is not None:
            group.events.append(event)

    def when_started(self, job: Job, launch: Callable[[bool], None]) -> None:
        """Call `launch(True)` once a staged start is on disk, `launch(False)` if the job's own admission is refused.

        Called at once when the commit lands, before anybody who waits for it: a start is what they wait for.
        """
        group = self._open_group()
        if job.id in group.admitted:
            group.admitted_starts.append(launch)
        group.starts.append(launch)
        group.launches[job.id] = launch
        if 0 < self._waits_for <= len(group.starts):
            self._waits_for = 0
            assert self._loop is not None
            self._loop.call_soon(self.push)

    def expect_start(self, job: Job) -> None:
        """Say before a job's first start is recorded that it is nothing but a start; a shorter row does for it.

        Where the group holds another change of the job already, the whole row is written.
        """
        group = self._open_group()
        if job.id not in group.dirty:
            group.started.add(job.id)

    def add_event(self, event: Event) -> None:
        """An event of its own."""
        self._open_group().events.append(event)

    def execute(self, name: str, *parameters: Any) -> None:
        """A named statement, in the order of the calls; written until it lands."""
        self._open_group().statements.append(Statement(name, parameters))

    def insert(self, table: str, *new: tuple[Any, ...]) -> None:
        """Rows for a table of a wing, `wing.table`; written until they land, before the statements of their group.

        Why beside `execute`: the rows of a group go in with one statement, which hundreds of single ones on the
        writer's thread would not bear beside a busy loop.
        """
        self._open_group().rows.setdefault(table, []).extend(new)

    def landed(self) -> asyncio.Future[None]:
        """Resolves when everything staged so far is on disk; on a full disk that may take until there is space."""
        return self._open_group().landed

    async def commit(self) -> None:
        """Wait until everything staged so far is on disk.

        Raises:
            StoreFull: The disk takes no more; what was staged is in force and is written when there is space.
        """
        if self._group is not None and self._group.is_empty() and not self._busy:
            return
        landed = self.landed()
        self.push()
        while not landed.done():
            if self.full_reason is not None:
                raise StoreFull(
                    f"{self.path} takes no more writes: {self.full_reason}; what was asked is in force, it is on disk "
                    "only when there is space again",
                    path=str(self.path),
                )
            await asyncio.wait({landed, self._filling_up}, return_when=asyncio.FIRST_COMPLETED)

    async def settle(self) -> None:
        """As `commit`, for readers: on a full disk they see what is there."""
        with contextlib.suppress(StoreFull):
            await self.commit()

    def _open_group(self) -> Group:
        self._refuse_closed()
        group, loop = self._group, self._loop
        if group is None or loop is None or not self._is_open:
            raise RuntimeError("the journal is not open")
        if not self._scheduled and not self._busy:
            self._scheduled = True
            loop.call_soon(self._push_when_due)
        return group

    def _push_when_due(self) -> None:
        """Write what is staged, a little later where many jobs are going and the last commit has just begun.

        Why wait: jobs that end one by one would otherwise make a commit of two rows each, at the price of one of
        forty. Nobody notices: the jobs behind them are waiting anyhow, and who waits for a commit pushes it himself.
        Why not longer than until a part of the crowd stands ready to start: those behind them would run dry.
        """
        crowd = 0 if self._closing or self._hurried else self.crowd()
        if crowd > 0 and self._group is not None and len(self._group.starts) < crowd:
            left_s = self._pushed_at + PATIENCE_S - self._clock.monotonic()
            if left_s > 0:
                self._scheduled = True
                self._waits_for = crowd
                asyncio.get_running_loop().call_later(left_s, self.push)
                return
        self.push()

    def push(self) -> None:
        """Write what is staged now, if the writer is free; otherwise as soon as it is.

        Why callers push: a caller that has staged a whole list lets the writer work while the loop goes on to the next
        caller; left to the end of the loop's turn, loop and writer would only ever take turns.
        """
        self._scheduled = False
        self._waits_for = 0
        self._hurried = self._busy
        group, writer, loop = self._group, self._writer, self._loop
        if self._busy or group is None or writer is None or loop is None or group.is_empty():
            if group is not None and not self._busy and not group.landed.done() and group.is_empty():
                self._land(group)
                self._group = Group(loop) if loop is not None else None
            return
        self._group = Group(loop)
        self._busy = True
        self._idle.clear()
        started = self._pushed_at = self._clock.monotonic()
        try:
            batch = Batch(group, self._queries, self._writers)
        except UNWRITABLE as fault:
            self._written(group, fault, started)
            return
        writer.start(batch.write, lambda fault: self._written(group, fault, started))

    def _written(self, group: Group, fault: BaseException | None, started: float) -> None:
        if fault is not None:
            self._mending = asyncio.get_running_loop().create_task(self._mend(group, fault), name="journal")
            return
        self._measure(started)
        self._next()
        self._landed(group)
        self._checkpointer.note(len(group.events) + sum(map(len, group.rows.values())) + len(group.statements))

    def _next(self) -> None:
        """The writer is free."""
        self._busy = False
        self._push_when_due()
        if not self._busy:
            self._idle.set()

    def _measure(self, started: float) -> None:
        self.last_commit_s = self._clock.monotonic() - started
        self.commit_s_total += self.last_commit_s
        self.commits += 1

    def _landed(self, group: Group) -> None:
        events = [*group.salvaged, *group.events] if group.salvaged else group.events
        if events:
            self.durable_seq = max(self.durable_seq, events[-1].seq)
        for launch in group.starts:
            launch(True)
        self.on_committed(events)
        self._land(group)

    @staticmethod
    def _land(group: Group) -> None:
        for future in (group.refusal, *group.waiters, group.landed):
            if not future.done():
                future.set_result(None)

    async def read(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a named query; sees commits only."""
        return await self.read_sql(self._queries[name], parameters)

    async def read_sql(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a statement composed by a reader of this package, never of text from outside."""
        self._refuse_closed()
        if self._reader is None:
            raise RuntimeError("the journal is not open")
        return await self._reader.run(lambda c: c.execute(statement, parameters).fetchall())

    async def look_sql(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        """As `read_sql`, for what may take long; it has a thread and a connection of its own.

        Why: each submission with a key, and each job that is asked for, is one quick look of the reader. A list may
        take a second where its filter finds little among a million jobs, and they would stand behind it.
        """
        self._refuse_closed()
        browser = self._browser
        if browser is None:
            browser = await asyncio.shield(self._open_browser())
        return await browser.run(lambda c: c.execute(statement, parameters).fetchall())

    async def _open_browser(self) -> store.StoreConnection:
        """Not at the start, for a daemon that nobody looks at has no need of it; and to its end, whoever gives up."""
        async with self._opening_browser:
            self._refuse_closed()
            if not self._is_open:
                raise RuntimeError("the journal is not open")
            if self._browser is None:
                opened = store.connection(self.path, synchronous="FULL", read_only=True)
                await opened
                self._browser = opened
            return self._browser

    def statement(self, name: str) -> str:
        """A named query, for who makes more of it."""
        return self._queries[name]

    async def look(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """As `read`, by `look_sql`."""
        return await self.look_sql(self._queries[name], parameters)

    async def fact(self, key: str) -> Any:
        """A small stored value, None if there is none."""
        found = await self.read("fact", key)
        return msgspec.json.decode(found[0][0]) if found else None

    def put_fact(self, key: str, value: Any) -> None:
        """Stage a small value; None removes it."""
        if value is None:
            self.execute("delete_fact", key)
        else:
            self.execute("put_fact", key, rows.encode(value))

    async def _mend(self, group: Group, fault: BaseException) -> None:
        """Land a group that failed: refuse what may be refused, and keep the rest until there is room for it."""
        writer = self._writer
        assert writer is not None
        while True:
            if isinstance(fault, UNWRITABLE):
                log.critical("journal.failed", problem=str(fault), exc_info=fault)
                self._refuse(group, Conflict(f"the database refused a row: {fault}; this is a defect of labd"))
                try:
                    await self._salvage(group)
                except (sqlite3.Error, OSError) as again:
                    fault = again
                    continue
            elif isinstance(fault, sqlite3.Error | OSError):
                self._became_full(fault)
                self._refuse(group, self._store_full())
                if self._closing:
                    group.landed.cancel()
                    for launch in group.starts:
                        launch(False)
                    self._next()
                    return
                await self._pause()
                self._absorb(group)
                self._probe(group)
            else:
                raise fault
            started = self._clock.monotonic()
            try:
                await writer.run(Batch(group, self._queries, self._writers).write)
            except (sqlite3.Error, OSError, *UNWRITABLE) as again:
                fault = again
                continue
            self._measure(started)
            self._became_writable()
            self._next()
            self._landed(group)
            return

    def _refuse(self, group: Group, error: LabdError) -> None:
        """The jobs of a group never were; those that were started already are told so.

        Why they are told after those who wait for the admission: a start taken back frees a slot, and what waited
        behind it in the same list must have been withdrawn by then.
        """
        taken_back, group.admitted_starts = group.admitted_starts, []
        for launch in taken_back:
            group.starts.remove(launch)
        if group.admitted:
            gone = group.admitted
            group.events = [event for event in group.events if event.job_id not in gone]
            group.admitted = {}
            if self._group is not None and self._group is not group:
                taken_back += self._take_back(self._group, gone)
        if not group.refusal.done():
            group.refusal.set_exception(error)
            group.refusal.exception()  # nobody may be waiting: mark it as seen
            for waiter in group.waiters:
                if not waiter.done():
                    waiter.set_exception(error)
                    waiter.exception()
        for launch in taken_back:
            asyncio.get_running_loop().call_soon(launch, False)

    @staticmethod
    def _take_back(later: Group, gone: Mapping[int, Job]) -> list[Callable[[bool], None]]:
        """Starts of refused jobs that are staged for the next commit.

        Race: a job is admitted, its commit hangs on a slow disk; another job ends, and the new one takes its place,
        which is staged for the next commit; then the disk takes no more. Without this the next commit that lands would
        start a job that its client was told to be refused, and of which the database knows nothing.
        """
        launches = []
        for job_id in gone.keys() & later.dirty.keys():
            del later.dirty[job_id]
            later.started.discard(job_id)
            launch = later.launches.pop(job_id, None)
            if launch is not None:
                later.starts.remove(launch)
                launches.append(launch)
        later.events = [event for event in later.events if event.job_id not in gone]
        return launches

    def _absorb(self, group: Group) -> None:
        """Take what came in meanwhile into the group that is still to land; new jobs among it are refused."""
        assert self._loop is not None
        later = self._group
        if later is None or later.is_empty():
            return
        self._group = Group(self._loop)
        self._refuse(later, self._store_full())
        group.started.clear()  # what was a plain start may have been changed by the later group
        group.dirty.update(later.dirty)
        group.events.extend(later.events)
        for table, rows_of_table in later.rows.items():
            group.rows.setdefault(table, []).extend(rows_of_table)
        group.statements.extend(later.statements)
        group.starts.extend(later.starts)
        group.landed.add_done_callback(lambda done: _follow(later.landed, done))

    def _probe(self, group: Group) -> None:
        """Make sure that a group which lands proves there is room again: allocate some pages, and free them."""
        if not any(s.name == "put_fact" and s.parameters[0] == "probe" for s in group.statements):
            group.statements.append(Statement("put_fact", ("probe", f'"{"." * PROBE_SIZE_BYTES}"')))
            group.statements.append(Statement("delete_fact", ("probe",)))

    async def _salvage(self, group: Group) -> None:
        """After a refused row: write each row alone and drop, loudly, what cannot be written.

        What is written leaves the group, so a disk that fills up meanwhile loses and doubles nothing.
        """
        loop = self._loop
        assert loop is not None
        while group.dirty:
            job = next(iter(group.dirty.values()))
            await self._write_alone(single(loop, job=job), job_id=job.id, state=job.state)
            del group.dirty[job.id]
        while group.rows:
            table, rows_of_table = next(iter(group.rows.items()))
            while rows_of_table:
                await self._write_alone(single(loop, row=(table, rows_of_table[0])), table=table)
                del rows_of_table[0]
            del group.rows[table]
        while group.statements:
            statement = group.statements[0]
            await self._write_alone(single(loop, statement=statement), statement=statement.name)
            del group.statements[0]
        while group.events:
            event = group.events[0]
            await self._write_alone(single(loop, event=event), kind=event.kind, seq=event.seq)
            group.salvaged.append(group.events.pop(0))

    async def _write_alone(self, group: Group, **facts: Any) -> None:
        assert self._writer is not None
        try:
            await self._writer.run(Batch(group, self._queries, self._writers).write)
        except UNWRITABLE as fault:
            log.critical("journal.failed", problem=str(fault), **facts)

    async def _pause(self) -> None:
        """Wait out the retry time; staged work does not shorten it."""
        await self._clock.sleep(RETRY_S)

    def _store_full(self) -> StoreFull:
        return StoreFull(
            f"{self.path} takes no more writes: {self.full_reason}; "
            f"{store.remedy(self.full_reason or '')}, nothing was accepted",
            path=str(self.path),
        )

    def refuse_if_full(self) -> None:
        """Raise `StoreFull` while the disk takes no more."""
        if self.full_reason is not None:
            raise self._store_full()

    def _became_full(self, fault: BaseException) -> None:
        if self.full_reason is None:
            self.full_reason = str(fault)
            log.error("journal.full", path=str(self.path), problem=str(fault))
            self.on_full(self.full_reason)
            self._filling_up.set_result(None)

    def _became_writable(self) -> None:
        if self.full_reason is not None:
            self.full_reason = None
            self._filling_up = asyncio.get_running_loop().create_future()
            log.warning("journal.recovered", path=str(self.path))
            self.on_full(None)

    async def write(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a bounded piece of upkeep (retention, vacuum, checkpoint) between two groups."""
        if self._writer is None:
            raise RuntimeError("the journal is not open")
        return await self._writer.run(work, *args)

    async def copy(self, target: Path) -> None:
        """A consistent copy of the file as it stands, while writes go on."""
        if self._reader is None:
            raise RuntimeError("the journal is not open")
        await self._reader.run(_copy, str(target))


def _copy(opened: sqlite3.Connection, target: str) -> None:
    opened.execute("PRAGMA query_only = OFF")  # VACUUM INTO writes the copy, and counts as a write
    try:
        opened.execute("VACUUM INTO ?", (target,)).fetchall()
    finally:
        opened.execute("PRAGMA query_only = ON")


def _follow(later: asyncio.Future[None], done: asyncio.Future[None]) -> None:
    if not later.done():
        if done.cancelled():
            later.cancel()
        else:
            later.set_result(None)

"""The steps of a snapshot: load, verify, switch, watch, go back, clean up.

Every step looks at the record first and does what is left of it, so a step that is killed at any point and done again
ends the same. The order in each: what is about to happen is on disk, then it happens, then what has happened is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from labd.clock import Clock
from labd.engine.registry import JobContext
from labd.errors import BadRequest, DatasetChanged, DatasetRefused, GraphRefused, LabdError, Refused
from labd.snapshots import layout, names, verification
from labd.snapshots.book import SnapshotBook
from labd.snapshots.pace import Pace
from labd.snapshots.port import Dataset, GraphStore
from labd.snapshots.record import WHOLE, Record, State
from labd.snapshots.retention import Verdict, Version, plan
from labd.snapshots.scan import sight
from labd.snapshots.settings import Assertion, SnapshotSettings
from labd.snapshots.verification import Answer


class Pipeline:
    """What jobs and people do to snapshots.

    Args:
        settings: Read anew at each step, so that a reload is in force for the next one.
    """

    def __init__(self, store: GraphStore, book: SnapshotBook, settings: SnapshotSettings, clock: Clock) -> None:
        self.store = store
        self.book = book
        self.settings = settings
        self._clock = clock

    async def load(self, ctx: JobContext, customer: str, timestamp: str) -> dict[str, Any]:
        """Make the database of a snapshot.

        Raises:
            DatasetRefused: Its files cannot be loaded; it is quarantined.
            DatasetChanged: Somebody writes to it; retryable.
            GraphRefused: A database of its name is there that labd has not made.
        """
        record = await self.book.find(customer, timestamp)
        if record.state in WHOLE and record.database is not None:
            return {"database": record.database, "state": record.state, "loaded": False}
        newest = self._overtaker(ctx, record)
        if newest is not None:
            record.body.problem = (
                f"{newest} was ready before its turn came; `labctl snapshot load` loads it all the same"
            )
            self.book.move(record, State.SUPERSEDED, newest=newest)
            await self.book.commit()
            ctx.log(f"not loaded: {record.body.problem}")
            return {"database": None, "state": record.state, "loaded": False, "newest": newest}
        dataset = await self._read(record)
        database = names.database_of(customer, timestamp)
        is_ours = record.database is not None
        if not is_ours and any(there.name.casefold() == database for there in await self.store.databases()):
            text = f"database {database} is there already and labd has not made it; drop or rename it"
            raise GraphRefused(text, database=database)
        record.database, record.body.tries, record.body.problem = database, record.body.tries + 1, None
        self.book.move(record, State.LOADING, rows=dataset.nodes + dataset.relationships, database=database)
        await self.book.commit()
        ctx.log(f"loading {dataset.nodes} nodes and {dataset.relationships} relationships into {database}")
        pace = Pace(ctx, dataset, self._clock)
        began = self._clock.monotonic()
        counts = await self.store.load(database, dataset, pace.tell, replace=is_ours)
        await self._unchanged(record)
        body = record.body
        body.nodes, body.relationships = counts.nodes, counts.relationships
        body.labels, body.types = dict(counts.labels), dict(counts.types)
        body.load_s, body.loaded_bytes = round(self._clock.monotonic() - began, 3), dataset.size_bytes
        self.book.move(record, State.LOADED, load_s=body.load_s)
        await self.book.commit()
        return {"database": database, "state": record.state, "loaded": True, "nodes": counts.nodes,
                "relationships": counts.relationships, "load_s": body.load_s}  # fmt: skip

    def _overtaker(self, ctx: JobContext, record: Record) -> str | None:
        """The newer version for which this one, which came by itself, is not loaded any more.

        Not where a person named it or no switch is wanted, and not over a half-made database: whatever is superseded
        and has one has a whole one.
        """
        came_by_itself = ctx.job.parent_id is not None and ctx.job.parent_id == record.body.job_id
        if not came_by_itself or record.body.wished or record.body.no_switch or record.database is not None:
            return None
        newer = self.book.overtaker(record)
        return None if newer is None else newer.timestamp

    async def _read(self, record: Record) -> Dataset:
        await self._unchanged(record)
        try:
            return await asyncio.to_thread(layout.read, record.path, self._roles())
        except DatasetRefused as fault:
            if record.database is None:
                record.body.problem = fault.message
                self.book.move(record, State.QUARANTINED, problem=fault.message)
                await self.book.commit()
            raise

    def _roles(self) -> layout.Roles:
        """The roles of the settings in the words of `snapshot.toml`."""
        given = self.settings.dataset.roles
        parts = {"nodes": ("id", "labels"), "relationships": ("source", "target", "type")}
        return {part: {role: given[role] for role in roles if role in given} for part, roles in parts.items()}

    async def _unchanged(self, record: Record) -> None:
        """Refuse a snapshot that is not as it was when it was found to be complete."""
        markers = frozenset(self.settings.dataset.markers)
        try:
            seen = await asyncio.to_thread(sight, record.key, record.path, markers)
        except OSError as fault:
            raise DatasetChanged(f"{record.path} cannot be read: {fault.strerror or fault}") from fault
        if seen.fingerprint == record.fingerprint:
            return
        record.fingerprint, record.body.files, record.body.size_bytes = seen.fingerprint, seen.files, seen.size_bytes
        self.book.put(record)
        await self.book.commit()
        raise DatasetChanged(f"{record.path} has changed since it was found complete; it is looked at again later")

    async def verify(self, ctx: JobContext, customer: str, timestamp: str) -> dict[str, Any]:
        """Hold a loaded database that is not what it should be; `held` in the answer tells."""
        record = await self.book.find(customer, timestamp)
        if record.state is State.HELD:
            return _verdict(record)
        if record.state not in WHOLE or record.database is None:
            raise Refused(f"{customer}/{timestamp} is {record.state}; only a loaded snapshot can be verified")
        dataset = await asyncio.to_thread(layout.read, record.path, self._roles())
        loaded = await self.store.counts(record.database)
        active = await self._active(record)
        before = None if active is None or active.database is None else await self.store.counts(active.database)
        answers = await self._ask(self.settings.assertions, record)
        band = self.settings.orchestrator.band_percent
        record.body.differences = verification.differences(dataset, loaded, before, band, answers)
        for difference in record.body.differences:
            ctx.log(difference.told(), "warning")
        if record.body.differences and record.body.approved_by is None and record.state is not State.ACTIVE:
            self.book.move(record, State.HELD, differences=[found.told() for found in record.body.differences])
        elif record.state is State.LOADED:
            self.book.move(record, State.VERIFIED)
        else:
            self.book.put(record)
        await self.book.commit()
        return _verdict(record)

    async def _active(self, record: Record) -> Record | None:
        """The version that serves the record's customer, if it is another one."""
        serving = self.book.customer(record.customer).active
        if serving is None or serving == record.timestamp:
            return None
        return await self.book.find(record.customer, serving)

    async def _ask(self, assertions: tuple[Assertion, ...], record: Record) -> list[Answer]:
        answers = []
        for assertion in assertions:
            if assertion.customer not in (None, record.customer):
                continue
            found, problem = await self._answer(record.database or "", assertion.cypher)
            answers.append(Answer(assertion.cypher, assertion.equals, found, problem))
        return answers

    async def _answer(self, database: str, cypher: str) -> tuple[Any, str]:
        limits = self.settings.query
        try:
            rows = await self.store.query(database, cypher, {}, timeout_s=limits.timeout_s, limit=1)
        except (GraphRefused, BadRequest) as fault:
            return None, fault.message
        if not rows.rows or not rows.rows[0]:
            return None, "no row"
        return rows.rows[0][0], ""

    async def is_latest(self, customer: str, timestamp: str) -> dict[str, Any]:
        """Whether no newer snapshot of the customer is there."""
        record = await self.book.find(customer, timestamp)
        newest = self.book.newest(customer) or timestamp
        return {"latest": int(newest) <= record.number, "newest": newest, "timestamp": timestamp}

    async def switch(self, ctx: JobContext, customer: str, timestamp: str, forced: bool = False) -> dict[str, Any]:
        """Let the customer's alias point at a verified version, and watch it for the canary time.

        Args:
            forced: A person wants this version, whether it is the newest or not.
        """
        record = await self.book.find(customer, timestamp)
        if record.state not in (State.VERIFIED, State.ACTIVE, State.SUPERSEDED) or record.database is None:
            raise Refused(
                f"{customer}/{timestamp} is {record.state}; only a verified snapshot with a database can be switched to"
            )
        serving = self.book.customer(customer)
        newest = self.book.newest(customer)
        if not forced and newest is not None and int(newest) > record.number:
            if record.state is State.VERIFIED:
                self.book.move(record, State.SUPERSEDED, newest=newest)
                await self.book.commit()
            return {"switched": False, "reason": f"{newest} is newer", "alias": serving.alias}
        before = await self._active(record)
        if serving.active != timestamp:
            record.body.way_back = serving.previous  # of the version that serves now, should it serve again
        await self.store.switch(serving.alias, record.database)
        await self._now_serves(record, before)
        ctx.log(f"alias {serving.alias} points at {record.database}")
        if before is None and serving.previous is not None:  # a daemon before this one switched, and was killed
            before = await self.book.find(customer, serving.previous)
        back = await self._watch(ctx, record, before)
        if back is not None:
            return back
        return {"switched": True, "alias": serving.alias, "database": record.database,
                "previous": None if before is None else before.database}  # fmt: skip

    async def _now_serves(self, record: Record, before: Record | None, problem: str | None = None) -> None:
        """Write down who serves; the alias points there already."""
        serving = self.book.customer(record.customer)
        if before is not None:
            before.body.problem = problem
            if before.state is State.ACTIVE:
                self.book.move(before, State.SUPERSEDED)
        if serving.active != record.timestamp:
            serving.previous, serving.active = serving.active, record.timestamp
            serving.switched_at = self._clock.wall()
        self.book.put_customer(serving)
        self.book.move(record, State.ACTIVE, alias=serving.alias, database=record.database)
        await self.book.commit()

    async def _watch(self, ctx: JobContext, record: Record, before: Record | None) -> dict[str, Any] | None:
        """Ask the canaries until their time is over; on the first wrong answer the alias goes back at once."""
        rules = self.settings.orchestrator
        until = self._clock.monotonic() + rules.canary_s
        while rules.canary_s and self._clock.monotonic() < until:
            try:
                approved = record.body.approved_canaries
                asked = tuple(one for one in self.settings.canaries if one.cypher not in approved)
                answers = await self._ask(asked, record)
            except LabdError as fault:
                answers = [Answer("canary", True, None, fault.message)]
            sang = [
                verification.Difference(
                    "canary", answer.cypher, repr(answer.expected), answer.problem or repr(answer.found)
                )
                for answer in answers
                if answer.problem or answer.found != answer.expected
            ]
            if sang:
                return await self._go_back(ctx, record, before, sang)
            left_s = until - self._clock.monotonic()
            ctx.progress(round(rules.canary_s - left_s, 1), rules.canary_s, "canaries are asked")
            await self._clock.sleep(max(0.0, min(rules.canary_interval_s, left_s)))
        return None

    async def _go_back(
        self, ctx: JobContext, record: Record, before: Record | None, sang: list[verification.Difference]
    ) -> dict[str, Any]:
        serving = self.book.customer(record.customer)
        told = "; ".join(found.told() for found in sang)
        record.body.differences = [*record.body.differences, *sang]
        if before is None or before.database is None:
            ctx.log(f"a canary failed and there is no version to go back to: {told}", "error")
            record.body.problem = f"a canary failed, and there is nothing to go back to: {told}"
            self.book.put(record, "snapshot.canary_failed", differences=[found.told() for found in sang])
            await self.book.commit()
            raise Refused(f"{record.customer}/{record.timestamp}: {record.body.problem}")
        await self.store.switch(serving.alias, before.database)
        ctx.log(f"a canary failed, alias {serving.alias} points at {before.database} again: {told}", "error")
        self.book.move(record, State.HELD, differences=[found.told() for found in sang])
        serving.active, serving.previous = before.timestamp, await self._still_there(record)
        serving.switched_at = self._clock.wall()
        self.book.put_customer(serving)
        self.book.move(before, State.ACTIVE, alias=serving.alias, database=before.database)
        await self.book.commit()
        return {"switched": False, "reason": f"a canary failed: {told}", "alias": serving.alias, "held": True}

    async def _still_there(self, record: Record) -> str | None:
        """What a rollback went to before this version was switched to, if its database has not gone since."""
        older = record.body.way_back
        if older is None or (await self.book.find(record.customer, older)).database is None:
            return None
        return older

    async def rollback(self, customer: str, by: str, reason: str) -> dict[str, Any]:
        """Let the alias point at the version before.

        Raises:
            Refused: There is none.
        """
        names.check_customer(customer)
        serving = self.book.customers.get(customer)
        if serving is None or serving.previous is None:
            text = f"{customer} has no version to go back to; `labctl snapshot list {customer}` shows all"
            raise Refused(text, customer=customer)
        record = await self.book.find(customer, serving.previous)
        if record.database is None or record.state not in (State.SUPERSEDED, State.VERIFIED):
            raise Refused(f"{customer}/{record.timestamp} is {record.state}; it cannot serve")
        before = await self._active(record)
        await self.store.switch(serving.alias, record.database)
        because = f": {reason}" if reason else ""
        await self._now_serves(record, before, f"rolled back by {by}{because}")
        return {"customer": customer, "alias": serving.alias, "active": record.timestamp,
                "previous": None if before is None else before.timestamp}  # fmt: skip

    async def plan_cleanup(self, customer: str | None = None) -> list[Verdict]:
        """What a cleanup would drop and keep, each with its reason."""
        aliases = await self.store.aliases()
        versions = []
        for record in self.book.live.values():
            if record.database is None or customer not in (None, record.customer):
                continue
            count = await self.store.transactions(record.database)
            versions.append(
                Version(
                    record.customer,
                    record.timestamp,
                    record.number,
                    record.database,
                    record.state,
                    record.pinned,
                    count,
                )
            )
        previous = {
            serving.customer: names.database_of(serving.customer, serving.previous)
            for serving in self.book.customers.values()
            if serving.previous is not None
        }
        return plan(versions, aliases, previous, self.settings.orchestrator.keep)

    async def cleanup(self, customer: str | None = None) -> list[Verdict]:
        """Drop what the plan says."""
        verdicts = await self.plan_cleanup(customer)
        for verdict in verdicts:
            if verdict.drop:
                await self.drop(await self.book.find(verdict.customer, verdict.timestamp))
        return verdicts

    async def drop(self, record: Record) -> None:
        """Drop a database that may go; the record says so before and after."""
        if record.database is None:
            return
        ended = record.state if record.state in (State.REJECTED, State.FAILED) else State.DROPPED
        self.book.move(record, State.DROPPING if ended is State.DROPPED else ended)
        await self.book.commit()
        await self.store.drop(record.database)
        gone, record.database = record.database, None
        serving = self.book.customer(record.customer)
        if serving.previous == record.timestamp:
            serving.previous = None
            self.book.put_customer(serving)
        self.book.move(record, ended, dropped=gone)
        await self.book.commit()


def _version(record: Record, database: str, transactions: int) -> Version:
    return Version(
        record.customer, record.timestamp, record.number, database, record.state, record.pinned, transactions
    )  # fmt: skip


def _verdict(record: Record) -> dict[str, Any]:
    told = [difference.told() for difference in record.body.differences]
    return {"held": record.state is State.HELD, "state": record.state, "differences": told}

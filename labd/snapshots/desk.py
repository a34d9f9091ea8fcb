"""Everything people ask of the snapshots beside their life itself: who serves, queries, verbs as jobs, demo data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from labd.clock import iso
from labd.engine.job import Caller, Job, Submission
from labd.errors import BadRequest, GraphRefused, Refused, UnknownSnapshot
from labd.snapshots import demo_data, names
from labd.snapshots.record import WANTED, Record, SnapshotView, State
from labd.snapshots.views import Cleanup, CustomerView, HealthView, Laid, QueryAnswer, ScanView, Skipped
from labd.wing import Host

if TYPE_CHECKING:
    from labd.snapshots.service import SnapshotService

RESOLVE_TRIES = 5
TIMESTAMP_TRIES = 100
DEMO_PEOPLE = 1000
MOST_PEOPLE = 1_000_000


class SnapshotDesk:
    """What the routes use of the wing."""

    def __init__(self, service: SnapshotService, host: Host) -> None:
        self._service = service
        self._clock = host.clock
        self._random = host.random
        self._may_make_up = service.settings.allow_simulate

    # looks

    async def page(self, customer: str | None, state: State | None, limit: int, offset: int) -> list[SnapshotView]:
        """By customer, newest first."""
        if customer is not None:
            names.check_customer(customer)
        service = self._service
        await service.engine.journal.settle()
        return [service.view(record) for record in await service.book.page(customer, state, limit, offset)]

    async def one(self, customer: str, timestamp: str) -> SnapshotView:
        """One snapshot."""
        return self._service.view(await self._service.book.find(customer, timestamp))

    def customers(self) -> list[CustomerView]:
        """All that serve, or have a snapshot that something may still happen to, by name."""
        book = self._service.book
        known = {record.customer for record in book.live.values()}
        known |= {one.customer for one in book.customers.values() if one.active is not None}
        return [self.customer(name) for name in sorted(known)]

    def customer(self, name: str) -> CustomerView:
        """One customer.

        Raises:
            BadRequest, UnknownSnapshot
        """
        book, alias = self._service.book, names.alias_of(name)
        versions, serving = book.versions(name), book.customers.get(name)
        if not versions and (serving is None or serving.active is None):
            raise UnknownSnapshot(f"customer {name} has no snapshot; `labctl snapshot scan` looks for new ones")
        stored = {record.timestamp: record.database for record in versions if record.database is not None}
        if serving is None or serving.active is None:
            return CustomerView(name, alias, None, None, None, None, list(stored))
        return CustomerView(
            name, alias, serving.active, stored.get(serving.active), serving.previous, iso(serving.switched_at),
            list(stored),
        )  # fmt: skip

    async def health(self) -> HealthView:
        """Asked now; what waits for the store is looked at again."""
        service = self._service
        health = await service.ask_health()
        rules, waits = service.settings.orchestrator, [reason.message for reason in service.reasons()]
        return HealthView(
            engine=service.settings.engine, simulated=service.store.simulated, ok=not waits, waits_for=waits,
            reachable=health.reachable, problem=health.problem, version=health.version, edition=health.edition,
            heap_percent=health.heap_percent, heap_threshold_percent=rules.heap_threshold_percent,
            page_cache_percent=health.page_cache_percent, page_cache_ratio=health.page_cache_ratio,
            pagecache_threshold_percent=rules.pagecache_threshold_percent, databases=health.databases,
            max_databases=rules.max_databases, disk_free_bytes=health.disk_free_bytes, unknown=list(health.unknown),
            base_path=service.base_path, scanned_at=iso(service.scanned_at), scan_problem=service.scan_problem,
            skipped=self._skipped(),
        )  # fmt: skip

    def _skipped(self) -> list[Skipped]:
        return [Skipped(oddity.path, oddity.reason) for oddity in self._service.oddities]

    async def plan_cleanup(self, customer: str | None) -> Cleanup:
        """What a cleanup would do now."""
        if customer is not None:
            names.check_customer(customer)
        verdicts = await self._service.pipeline.plan_cleanup(customer)
        return Cleanup([verdict.database for verdict in verdicts if verdict.drop], verdicts)

    async def query(
        self, customer: str, cypher: str, parameters: Mapping[str, Any], timeout_s: float | None, limit: int | None,
        database: str | None,
    ) -> QueryAnswer:  # fmt: skip
        """Ask the version that serves, or another one of the customer; read only.

        Why it may ask twice: between resolving the alias and reading, the alias can go on and the version behind it be
        dropped. The next try resolves anew, so the answer is of one version in any case.

        Raises:
            BadRequest: A limit above the settings', or a database of somebody else.
            Refused: Nothing serves.
            GraphRefused: The statement is wrong, would write, or took too long.
        """
        rules, alias = self._service.settings.query, names.alias_of(customer)
        wait_s = _within("timeout_s", timeout_s, rules.timeout_s, "s")
        rows = int(_within("limit", limit, rules.row_limit, "rows"))
        began, asked = self._clock.monotonic(), ""
        for _ in range(RESOLVE_TRIES):
            before, asked = asked, await self._resolve(customer, alias, database)
            try:
                found = await self._service.store.query(asked, cypher, parameters, timeout_s=wait_s, limit=rows)
            except GraphRefused:
                if database is not None or asked == before or await self._resolve(customer, alias, None) == asked:
                    raise
                continue
            took_s = round(self._clock.monotonic() - began, 6)
            plain = [list(row) for row in found.rows]
            return QueryAnswer(customer, alias, asked, list(found.columns), plain, found.more, took_s)
        raise Refused(f"{customer}: its alias moved {RESOLVE_TRIES} times while it was asked; ask again")

    async def _resolve(self, customer: str, alias: str, database: str | None) -> str:
        if database is not None:
            wanted = names.database_of(customer, database) if names.timestamp_fault(database) is None else database
            if not names.belongs(wanted.lower(), customer):
                raise BadRequest(f"{database[:80]!r} is no version of {customer}; `labctl snapshot list {customer}`")
            return wanted.lower()
        found = (await self._service.store.aliases()).get(alias)
        if found is None:
            raise Refused(f"{customer} serves nothing yet; `labctl snapshot list {customer}` shows what there is")
        return found

    # verbs

    async def scan(self) -> ScanView:
        """Look for new snapshots now."""
        found, service = await self._service.scan(), self._service
        return ScanView(
            service.base_path, [f"{seen.key.customer}/{seen.key.timestamp}" for seen in found.complete],
            {f"{key.customer}/{key.timestamp}": round(quiet_s, 3) for key, quiet_s in found.unsettled.items()},
            self._skipped(), found.customers, found.listed, service.scan_problem,
        )  # fmt: skip

    async def load_new(self, caller: Caller, switch: bool | None) -> list[Job]:
        """Scan, and the jobs of all that is on its way to being served.

        Raises:
            Refused: The folder cannot be scanned.
        """
        service = self._service
        await service.scan(caller, switch)
        if service.scan_problem:
            raise Refused(service.scan_problem)
        wanted = [one for one in service.book.live.values() if one.state in WANTED and one.body.job_id is not None]
        jobs = [await service.engine.job(one.body.job_id) for one in sorted(wanted, key=_order) if one.body.job_id]
        return [job for job in jobs if job.finished_at is None]

    async def verify(self, caller: Caller, customer: str, timestamp: str) -> Job:
        """Compare a database with its snapshot again."""
        return await self._task("snapshots.verify_database", caller, await self._known(customer, timestamp))

    async def switch(self, caller: Caller, customer: str, timestamp: str) -> Job:
        """Let a verified version serve because a person says so, the newest or not."""
        which = await self._known(customer, timestamp)
        return await self._task("snapshots.switch_alias", caller, {**which, "forced": True})

    async def rollback(self, caller: Caller, customer: str, reason: str) -> Job:
        """One version back."""
        if self.customer(customer).previous is None:
            text = f"{customer} has no version to go back to; `labctl snapshot list {customer}` shows all"
            raise Refused(text, customer=customer)
        args = {"customer": customer, "by": caller.name, "reason": reason}
        return await self._task("snapshots.rollback", caller, args)

    async def cleanup(self, caller: Caller, customer: str | None) -> Job:
        """Drop what nobody needs any more."""
        if customer is not None:
            names.check_customer(customer)
        return await self._task("snapshots.cleanup_old_databases", caller, {"customer": customer})

    async def _known(self, customer: str, timestamp: str) -> dict[str, Any]:
        await self._service.book.find(customer, timestamp)
        return {"customer": customer, "timestamp": timestamp}

    async def _task(self, task: str, caller: Caller, args: dict[str, Any]) -> Job:
        return (await self._service.engine.submit([Submission(task, args, tags=["snapshot"])], caller))[0]

    # demo

    async def simulate(
        self, caller: Caller, customer: str, rows: int | None, damage: Literal["cut", "dangling"] | None
    ) -> Laid:
        """Lay down a new snapshot with a timestamp of now, as a producer would, and let it be found.

        Args:
            rows: People; about as many as serve unless given, so that it is taken for the next version of them.

        Raises:
            Refused: The settings do not allow it.
        """
        base = self._demo_base()
        names.check_customer(customer)
        newest = max((record.number for record in self._service.book.versions(customer)), default=0)
        first = max(int(self._clock.wall()), newest + 1)
        random = Random(self._random.random())
        people = rows or await self._people(customer, random)
        for timestamp in map(str, range(first, first + TIMESTAMP_TRIES)):
            try:
                await asyncio.to_thread(
                    demo_data.write_snapshot, base, customer, timestamp, people, random, damage=damage
                )
            except FileExistsError:
                continue
            return await self._found(caller, [(customer, timestamp)])
        raise Refused(f"{customer} has a snapshot for each of the {TIMESTAMP_TRIES} seconds from {first} on")

    async def _people(self, customer: str, random: Random) -> int:
        serving = self._service.book.customers.get(customer)
        if serving is None or serving.active is None:
            return DEMO_PEOPLE
        body = (await self._service.book.find(customer, serving.active)).body
        people = body.labels.get("Person") or body.nodes or DEMO_PEOPLE
        return min(MOST_PEOPLE, max(1, round(people * random.uniform(0.95, 1.05))))

    async def demo_data(self, caller: Caller, rows: int, damaged: bool) -> Laid:
        """A first snapshot for each customer of the demo that has none; and on request one that is damaged.

        Raises:
            Refused: The settings do not allow it.
        """
        base = self._demo_base()
        now, random = int(self._clock.wall()), Random(self._random.random())
        folders = await asyncio.to_thread(demo_data.write_demo, base, now, rows, random, damaged=damaged)
        return await self._found(caller, [(folder.parent.name, folder.name) for folder in folders])

    def _demo_base(self) -> Path:
        if not self._may_make_up:
            raise Refused(
                f"made-up snapshots are not written to {self._service.base_path}: [snapshots] allow_simulate is false; "
                "set it to true, and restart labd, only where the folder is for demos"
            )
        return Path(self._service.base_path)

    async def _found(self, caller: Caller, laid: list[tuple[str, str]]) -> Laid:
        await self._service.scan(caller)
        records = [await self._service.book.find(*which) for which in laid]
        jobs = [record.body.job_id for record in records if record.body.job_id is not None]
        return Laid(self._service.base_path, [self._service.view(record) for record in records], jobs)


def _within(what: str, asked: float | None, most: float, unit: str) -> float:
    if asked is not None and asked > most:
        raise BadRequest(f"{what} {asked:g} {unit} is more than the {most:g} {unit} of [snapshots.query]")
    return most if asked is None else asked


def _order(record: Record) -> tuple[str, int]:
    return record.customer, record.number

"""A house with a stock: the real engine, the real inventory service and real SQLite files, under a clock in the hand.

Tasks: `lab.mix` says each step that it moves, `lab.pour` says nothing, `lab.swirl` is repeatable and says nothing,
`lab.note` never asks for stock and takes some all the same. Each waits for orders: `tell(job)` lets it take one more
step, `finish(job)` lets it end.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from labd.engine.engine import Engine, EngineOptions
from labd.engine.job import Caller, Job, Submission
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.inventory.ledger import StockLedger
from labd.inventory.service import InventoryService
from labd.inventory.settings import InventorySettings
from labd.inventory.volumes import PL_PER_UL
from labd.inventory.wing import wing
from labd.wing import Host
from tests.fakes.clock import FakeClock

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))
COLOURS = {"red": "red", "yellow": "yellow", "blue": "blue"}
Order = tuple[str, dict[str, float] | BaseException | None]


def still(**changes: Any) -> InventorySettings:
    """Settings without evaporation and threshold, unless said."""
    return InventorySettings(**{"threshold_ul": 0.0, "evaporation_rate_ul_per_hour": 0.0, **changes})


class StockHouse:
    """One daemon after the other on one state folder.

    Args:
        places: How many jobs run at once.
    """

    def __init__(self, folder: Path, settings: InventorySettings | None = None, places: int = 100) -> None:
        self.folder = folder
        self.settings = settings or still()
        self.clock = FakeClock()
        self.places = places
        self.orders: dict[int, asyncio.Queue[Order]] = {}
        self.begun: list[int] = []
        self.on_begin: Callable[[Job], None] = lambda job: None
        self.engine: Engine
        self.service: InventoryService

    @property
    def ledger(self) -> StockLedger:
        return self.service.ledger

    def _registry(self) -> Registry:
        registry = Registry()

        async def obey(ctx: JobContext) -> str:
            self.begun.append(ctx.job.id)
            self.on_begin(ctx.job)
            orders = self.orders.setdefault(ctx.job.id, asyncio.Queue())
            while True:
                what, detail = await orders.get()
                if what == "end":
                    return "done"
                if isinstance(detail, BaseException):
                    raise detail
                await ctx.consume(detail or {}, step=what)

        async def mix(ctx: JobContext, red: float = 0, yellow: float = 0, blue: float = 0) -> str:
            return await obey(ctx)

        async def any_of(ctx: JobContext, volumes: dict[str, float]) -> str:
            return await obey(ctx)

        async def note(ctx: JobContext) -> str:
            return await obey(ctx)

        async def wanted(args: dict[str, Any]) -> dict[str, float] | None:
            return args["volumes"] or None

        for name in ("lab.mix", "lab.pour"):
            registry.add(TaskSpec(name, mix, effect="physical", consumes=COLOURS, expires_in_s=1e9))
        registry.add(TaskSpec("lab.swirl", mix, consumes=COLOURS, max_attempts=2, retry_delay_s=0.0))
        registry.add(TaskSpec("lab.any", any_of, effect="physical", needs=wanted, expires_in_s=1e9))
        registry.add(TaskSpec("lab.note", note, effect="physical", expires_in_s=1e9))
        registry.add(TaskSpec("sim.mix", mix, effect="physical", consumes=COLOURS, simulated=lambda args: True))
        return registry

    @asynccontextmanager
    async def open(self) -> AsyncIterator[StockHouse]:
        """A daemon; leaving ends it as kill -9 would, as far as jobs under way are concerned."""
        await self.boot()
        try:
            yield self
        finally:
            await self.die()

    async def boot(self) -> None:
        assert wing.schema is not None
        options = EngineOptions(queues={"standard": (2, self.places)})
        self.engine = Engine(self.folder, self._registry(), self.clock, Random(3), options, (wing.schema,))
        self.orders = {}
        await self.engine.open()
        self.service = InventoryService(
            self.settings, Host(self.engine, self.folder, self.folder, self.clock, Random(4))
        )
        await self.service.start()
        await self.engine.start()

    async def die(self) -> None:
        """The ticker goes without its last word, as it would in a kill."""
        if self.service._ticker is not None:
            self.service._ticker.cancel()
            await asyncio.gather(self.service._ticker, return_exceptions=True)
        await self.engine.close()

    async def restart(self) -> None:
        await self.die()
        await self.boot()

    # verbs

    async def fill(self, **volumes_ul: float) -> None:
        self.ledger.initialize(volumes_ul, "anna")
        await self.engine.journal.commit()

    async def submit(self, task: str = "lab.mix", override: str | None = None, /, **volumes_ul: Any) -> Job:
        item = Submission(task, args=volumes_ul, override=override)
        return (await self.engine.submit([item], ANNA))[0]

    async def running(self, job: Job) -> None:
        await until(lambda: job.id in self.begun)

    async def tell(self, job: Job, step: str, **volumes_ul: float) -> None:
        """Let a running job take so much, and wait until it stands on disk."""
        await self.running(job)
        queue = self.orders[job.id]
        before = self.ledger.book.last_id
        queue.put_nowait((step, volumes_ul))
        await until(lambda: self.ledger.book.last_id > before)
        await self.engine.journal.commit()

    async def finish(self, job: Job, fault: BaseException | None = None) -> Job:
        await self.running(job)
        self.orders[job.id].put_nowait(("end", None) if fault is None else ("fail", fault))
        return await self.ended(job)

    async def ended(self, job: Job) -> Job:
        return await self.engine.wait(job.id, 30)

    # looks

    def level(self, name: str = "red") -> float:
        return self.ledger.view(name).level_ul

    def reserved(self, name: str = "red") -> float:
        return self.ledger.view(name).reserved_ul

    async def proof(self) -> None:
        """Replay makes every balance, and what came in is what is there and what went."""
        newest = -1
        while newest != self.ledger.last_movement:  # the ticker may write between the look at the disk and at memory
            newest = self.ledger.last_movement
            await self.engine.journal.commit()
            found = await self.ledger.verify()
            assert found["problems"] == []
        for key, sums in self.sums().items():
            shelf = self.ledger.book.shelves[key]
            free_pl = shelf.level_pl - shelf.reserved_pl
            gone_pl = sums.get("consumption", 0) + sums.get("evaporation", 0) + sums.get("adjustment", 0)
            assert sums.get("restock", 0) + gone_pl == free_pl + shelf.reserved_pl, key
            claims = [one.claims[key].remaining_pl for one in self.ledger.book.claims.values() if key in one.claims]
            assert sum(claims) == shelf.reserved_pl, key
            going = [
                one.claims[key].remaining_pl
                for one in self.ledger.book.claims.values()
                if key in one.claims and one.is_going
            ]
            assert sum(going) == shelf.going_pl, key

    def sums(self) -> dict[str, dict[str, int]]:
        """Picolitres by reservoir and kind, from the file."""
        found: dict[str, dict[str, int]] = {key: {} for key in self.ledger.book.shelves}
        for key, kind, volume_pl in self.rows(
            "SELECT reservoir, kind, sum(volume_pl) FROM inventory_movement GROUP BY reservoir, kind"
        ):
            found[key][kind] = volume_pl
        return found

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        opened = sqlite3.connect(f"file:{self.folder / 'labd.db'}?mode=ro", uri=True)
        try:
            return opened.execute(statement).fetchall()
        finally:
            opened.close()

    def used_ul(self, name: str = "red") -> float:
        return -self.sums()[name].get("consumption", 0) / PL_PER_UL

    def kinds(self, name: str = "red") -> list[str]:
        return [
            row[0] for row in self.rows(f"SELECT kind FROM inventory_movement WHERE reservoir = '{name}' ORDER BY id")
        ]


async def until(claim: Callable[[], bool]) -> None:
    """Let the loop turn until a claim holds; the test's own time limit bounds it."""
    while not claim():  # noqa: ASYNC110 the claims are about many parts; none has an event of its own
        await asyncio.sleep(0)

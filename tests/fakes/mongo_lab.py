"""A labd with a stock ledger's tables and a MongoDB outlet, over one folder; may be closed and opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.engine.registry import Registry
from labd.inventory.tables import SCHEMA
from labd.mongo import MongoOutlet
from labd.mongo_documents import PICOLITRES_IN_UL
from labd.settings_types import MongoSettings
from tests.fakes.broker import until
from tests.fakes.mongo_server import MongoTestServer

COLORS = {"red": "B1", "yellow": "B2", "blue": "B3"}


class BareLedger:
    """What the outlet asks of a ledger before anything is taken over."""

    def __init__(self, simulated: bool = False) -> None:
        self.simulated = simulated
        self.last_movement = 0  # the tests stage their movements past it

    def views(self) -> list[Any]:
        return []

    def check_initialize(self, volumes_ul: Any, *, reset: bool = False, reason: str = "") -> None:
        raise AssertionError("not asked here")

    def initialize(self, volumes_ul: Any, actor: str, *, reset: bool = False, reason: str = "") -> list[Any]:
        raise AssertionError("not asked here")

    def edit(self, name: str, changes: Any, actor: str) -> list[Any]:
        raise AssertionError("not asked here")


class Lab:
    """One daemon's share in it."""

    def __init__(self, folder: Path, server: MongoTestServer, clock: Clock, make: Callable[..., Any] | None) -> None:
        self.folder = folder / "state"
        self.folder.mkdir(exist_ok=True)
        self.server = server
        self.clock = clock
        self.make = make
        self.environ = dict(server.environ)
        self.settings: dict[str, Any] = {
            "database": server.database, "poll_s": 0.05, "reconnect_s": 0.05, "answer_timeout_s": 3.0,
        }  # fmt: skip
        self.simulated = False
        self.levels: dict[str, tuple[int, int]] = {}
        self.last = 0
        self.engine: Engine
        self.ledger: BareLedger
        self.outlet: MongoOutlet

    async def open(self) -> None:
        self.engine = Engine(self.folder, Registry(), self.clock, Random(1), schemas=[SCHEMA])
        await self.engine.open()
        self.ledger = BareLedger(self.simulated)
        self.outlet = MongoOutlet(
            msgspec.convert(self.settings, MongoSettings), self.engine, self.ledger, self.clock,
            Random(len(self.levels)), self.environ, self.make,
        )  # fmt: skip
        await self.outlet.start()

    async def close(self) -> None:
        await self.outlet.stop()
        await self.engine.close()

    async def reservoir(self, key: str, rate: float = 5.0, *, removed_at: float | None = None) -> None:
        body = {
            "key": key, "color": key, "position": COLORS.get(key, ""), "lid": "open",
            "evaporation_rate_ul_per_hour": rate, "closed_rate_ul_per_hour": 0.5,
        }  # fmt: skip
        text = msgspec.json.encode(body).decode()
        self.engine.journal.execute("inventory.put_reservoir", key, 0, text, None, 1, removed_at, 0.0)
        await self.engine.journal.commit()

    async def act(self, kind: str, volumes_ul: dict[str, float], actor: str = "ann", **details: Any) -> int:
        """One act over reservoirs, in one commit; its number."""
        operation = self.last + 1
        rows = []
        for key, volume_ul in volumes_ul.items():
            ordinal, level = self.levels.get(key, (0, 0))
            volume = 0 if kind == "reservation" else round(volume_ul * PICOLITRES_IN_UL)
            promised = 1 if kind == "reservation" else 0
            self.last += 1
            self.levels[key] = (ordinal + 1, level + volume)
            rows.append([
                self.last, key, ordinal + 1, kind, self.clock.wall(), 0.0, volume, level, level + volume, promised, 0,
                promised, actor, "", 1 if promised else None, None, operation, msgspec.json.encode(details).decode(),
            ])  # fmt: skip
        for row in rows:
            self.engine.journal.insert("inventory.movement", tuple(row))
        await self.engine.journal.commit()
        return operation

    async def delivered(self) -> None:
        """Return when MongoDB has everything."""
        await until(lambda: self.outlet.status()["sent"] == self.last and self.outlet.status()["connected"])

    def seen(self, collection: str, order: str) -> list[dict[str, Any]]:
        """All documents, as a lab's program reads them."""
        with self.server.client() as client:
            return [*client[self.server.database][collection].find({}).sort(order)]

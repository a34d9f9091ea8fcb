"""What MongoDB has still to get: the ledger's movements behind a cursor, in bounded batches.

The table of movements is truth and queue in one. The cursor says up to which movement everything has arrived; it is
kept after the arrival, so a crash in between sends a batch again, and every write of it finds itself done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import structlog

from labd.engine.engine import Engine
from labd.errors import LabdError
from labd.mongo_documents import LEVELS, Document, Documents, Mirrored, Movement, Write
from labd.settings_types import MongoSettings

log = structlog.get_logger()
CURSOR = "mongo.sent"
LEDGER_BYTES = 5
RESERVOIRS_LIMIT = 10_000
FOREIGN_TOLD = 20
SHORTER = 4


class Batch(msgspec.Struct, frozen=True):
    """Writes, and how far MongoDB is after them."""

    writes: list[Write]
    upto: int
    shown: dict[str, Mirrored | str]


class Outbox:
    """One ledger's way to MongoDB.

    Args:
        random: Gives the ledger its number once.
        simulated: The ledger counts a simulator's stock.
    """

    def __init__(self, engine: Engine, settings: MongoSettings, random: Random, simulated: bool) -> None:
        self.documents: Documents
        self.sent = 0
        self.pending = 0
        self._engine = engine
        self._settings = settings
        self._random = random
        self._simulated = simulated
        self._limit = settings.batch
        self._told: dict[str, Mirrored | str] = {}  # a reservoir that was removed has its color_key here

    async def open(self) -> None:
        """Take up the cursor; a ledger that never sent anything gets its number.

        Raises:
            StoreFull: The number cannot be kept.
        """
        kept = await self._engine.stored_value(CURSOR)
        if kept is None:
            number = self._new_number()
            kept = {"origin": number, "ledger": number, "movement": 0}
            await self._engine.store_value(CURSOR, kept)
        self.documents = Documents(kept["origin"], kept["ledger"], self._simulated)
        self.sent = kept["movement"]
        await self.count()

    def _new_number(self) -> str:
        return self._random.randbytes(LEDGER_BYTES).hex()

    async def count(self) -> None:
        """Look how many movements wait."""
        try:
            self.pending = max(0, await self._top() - self.sent)
        except sqlite3.Error:
            pass  # the figure is for people; whoever reads the movements themselves hears of it

    async def _top(self) -> int:
        return int((await self._engine.journal.read("inventory.outbox_top"))[0][0] or 0)

    async def next(self) -> Batch | None:
        """The next writes; None where MongoDB has everything."""
        top = await self._top()
        self.pending = max(0, top - self.sent)
        there, gone = await self._reservoirs()
        movements = await self._movements() if self.pending else []
        shown: dict[str, Mirrored | str] = {**there, **{key: facts.color_key for key, facts in gone.items()}}
        writes = self.documents.writes(movements, there, {**gone, **there})
        for key, facts in shown.items():
            if self._told.get(key) == facts:
                continue
            writes.append(self.documents.removal(facts) if isinstance(facts, str) else self.documents.facts(facts))
        if not movements and shown == self._told:
            return None
        return Batch(writes, movements[-1].id if movements else self.sent, shown)

    def shorten(self) -> None:
        """The last batch did not arrive: the next ones are shorter, down to one operation.

        Why: where a batch takes the server longer than it has to answer, the same one again would never arrive.
        """
        self._limit = max(1, self._limit // SHORTER)

    async def arrived(self, batch: Batch) -> None:
        """MongoDB has the batch; keep that."""
        self._limit = min(self._settings.batch, self._limit * 2)
        self._told = batch.shown
        if batch.upto != self.sent:
            await self._move(batch.upto)

    async def _move(self, upto: int) -> None:
        self.pending = max(0, self.pending - (upto - self.sent))
        self.sent = upto
        kept = {"origin": self.documents.origin, "ledger": self.documents.ledger, "movement": upto}
        try:
            await self._engine.store_value(CURSOR, kept)
        except LabdError as fault:  # a full disk: what is sent again after a restart changes nothing
            log.warning("mongo.note_stays", movement=upto, problem=fault.message)

    async def meet(self, there: Sequence[Document]) -> list[Write]:
        """Compare what a fresh connection shows with what it was told.

        Why: after a backup of labd is restored the ledger goes on under numbers that MongoDB has seen already, and
        nothing would replace the levels of the lost ones; so the levels get a new number. After a backup of MongoDB is
        restored, or a document is lost, its level has to be told again.

        Returns:
            Writes that have to arrive first.
        """
        self._told = {}
        foreign = [doc for doc in there if "ledger" not in doc]
        if foreign and self.pending:  # whoever meant to take them over first finds them in the log
            levels = {str(doc.get("color_key")): doc.get("volume_ul") for doc in foreign[:FOREIGN_TOLD]}
            log.warning("mongo.levels_replaced", volumes_ul=levels)
        if await self._knows_more(there):
            self.documents = Documents(self.documents.origin, self._new_number(), self._simulated)
            await self._move(min(self.sent, await self._top()))
        shown = {doc.get("color_key"): (doc.get("ledger"), doc.get("movement_id")) for doc in there}
        mirrored, _ = await self._reservoirs()
        writes: list[Write] = []
        for movement in map(_movement, await self._engine.journal.read("inventory.outbox_latest")):
            facts = mirrored.get(movement.reservoir)
            if facts is None or movement.id > self.sent:  # gone, or on its way
                continue
            if shown.get(facts.color_key) != (self.documents.ledger, movement.id):
                writes += self.documents.level(movement, facts)
        return writes

    async def _knows_more(self, there: Sequence[Document]) -> bool:
        """Whether MongoDB has levels under this ledger's number that this ledger never had."""
        own = {doc["movement_id"]: doc for doc in there if doc.get("ledger") == self.documents.ledger}
        rows = await self._engine.journal.read("inventory.outbox_named", msgspec.json.encode([*own]).decode())
        known = {number: _milliseconds(at) for number, at in rows}
        lost = [n for n, doc in own.items() if known.get(n) != _milliseconds(doc["last_updated"].timestamp())]
        if lost:
            log.warning("mongo.ledger_changed", movements_there=lost[:FOREIGN_TOLD], sent=self.sent)
        return bool(lost)

    @property
    def levels(self) -> str:
        """Name of the collection of levels."""
        return self.documents.collection(LEVELS)

    async def _movements(self) -> list[Movement]:
        """The next movements, with the whole of every operation that they touch."""
        limit = self._limit
        while True:
            rows = await self._engine.journal.read("inventory.outbox_movements", self.sent, limit)
            found = [_movement(row) for row in rows]
            if len(found) < limit:
                return found
            whole = [movement for movement in found if movement.operation != found[-1].operation]
            if whole:
                return whole
            limit *= 2  # one operation alone fills the batch: it is one document and cannot be cut

    async def _reservoirs(self) -> tuple[dict[str, Mirrored], dict[str, Mirrored]]:
        """Those that are there, and those that were removed."""
        there: dict[str, Mirrored] = {}
        gone: dict[str, Mirrored] = {}
        for key, body, removed_at in await self._engine.journal.read("inventory.outbox_reservoirs", RESERVOIRS_LIMIT):
            facts = _mirrored(self.color_key(key), msgspec.json.decode(body))
            (there if removed_at is None else gone)[key] = facts
        return there, gone

    def color_key(self, reservoir: str) -> str:
        """The name of a reservoir in MongoDB, where a dot would part a path."""
        return self._settings.color_keys.get(reservoir.lower(), reservoir.replace(".", "_"))


def _mirrored(color_key: str, body: dict[str, Any]) -> Mirrored:
    closed = body.get("lid", "open") == "closed"
    rate = body["closed_rate_ul_per_hour" if closed else "evaporation_rate_ul_per_hour"]
    return Mirrored(color_key, body["color"], body.get("position", ""), rate)


def _movement(row: Sequence[Any]) -> Movement:
    number, reservoir, kind, at, volume, before, after, actor, cause, operation, details = row
    return Movement(
        number, reservoir, kind, at, volume, before, after, actor, cause or "", operation,
        msgspec.json.decode(details) if details else {},
    )  # fmt: skip


def _milliseconds(at: float) -> int:
    return round(at * 1000)

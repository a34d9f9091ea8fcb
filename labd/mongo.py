"""The MongoDB outlet: the inventory in the collections that a lab's programs read, and the way out of them into labd.

SQLite is the truth. What MongoDB has not got yet stands in the table of movements; it may be away for days and gets
everything once and in order when it is back. Nothing here is in the way of a job.

Why motor is imported here only, and only calls are made that pymongo's asynchronous client has too: motor is maintained
until May 2027; the swap is the import in `_client`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from random import Random
from typing import Annotated, Any

import msgspec
import structlog
from msgspec import Meta

from labd import mongo_takeover
from labd.api.endpoint import Call, Endpoint
from labd.clock import Clock, iso
from labd.engine.engine import Engine
from labd.engine.job import Caller
from labd.errors import LabdError, Unavailable
from labd.mongo_connection import MongoConnection
from labd.mongo_documents import Write
from labd.mongo_outbox import Outbox
from labd.mongo_server import MongoFault, MongoServer
from labd.mongo_takeover import Ledger, MongoFound
from labd.settings_types import MongoSettings

log = structlog.get_logger()
SIGN_OF_LIFE_S = 30.0
LEVELS_LIMIT = 10_000
WRITES_AT_ONCE = 1000
NEXT_STEPS = {
    "away": "nothing is lost, it gets everything when it is back",
    "not_authenticated": "nothing is lost, it gets everything when labd is let in",
    "refused": "nothing is lost, it gets everything when it takes it",
}


class ImportMongoBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`dry_run` only looks; `reset` with a reason replaces stock that is in the ledger already."""

    dry_run: bool = False
    operator: Annotated[str, Meta(max_length=200)] = ""
    reset: bool = False
    reason: Annotated[str, Meta(max_length=1000)] = ""


class ImportMongoAnswer(msgspec.Struct):
    """What the collections hold, and what was made of it; after a dry run, what it would be refused with."""

    dry_run: bool
    found: MongoFound
    refusal: str | None
    movements: list[Any]


class MongoOutlet:
    """One ledger's place at a MongoDB.

    Args:
        ledger: The stock; None where the inventory wing is off.
        random: For the ledger's number and the pauses between tries.
        environ: Where the variables of the settings are; the process's own unless said.
        make_client: Makes the driver's client; motor's unless said.
    """

    def __init__(
        self, settings: MongoSettings, engine: Engine, ledger: Ledger | None, clock: Clock, random: Random,
        environ: Mapping[str, str] | None = None, make_client: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._engine = engine
        self._ledger = ledger
        self._clock = clock
        self._outbox = Outbox(engine, settings, random, ledger is not None and ledger.simulated)
        self.connection = MongoConnection(
            settings, make_client or _client, self._serve, self._outbox.count, clock, random,
            os.environ if environ is None else environ,
        )  # fmt: skip

    async def start(self) -> None:
        """Take up where the last daemon was, and begin to connect; a MongoDB that is away is no error.

        Raises:
            LabdError: motor is not installed, or there is no inventory to show.
        """
        if importlib.util.find_spec("motor") is None:
            raise LabdError("mongo: motor is not installed; pip install 'labd[mongo]'")
        if self._ledger is None:
            raise LabdError("mongo: there is no inventory to show; put the table [inventory] in the settings")
        await self._outbox.open()
        self.connection.start()

    async def stop(self) -> None:
        """Leave MongoDB; what it has not got stays on disk. A second call does nothing."""
        await self.connection.stop()

    def status(self) -> dict[str, Any]:
        """Connection, its last error, and how many movements wait."""
        connection = self.connection
        return {
            "server": connection.address,
            "database": self._settings.database,
            "state": connection.state,
            "connected": connection.connected.is_set(),
            "since": iso(connection.since),
            "last_error": connection.last_error,
            "sent": self._outbox.sent,
            "pending": self._pending(),
        }

    def _pending(self) -> int:
        """How many movements wait: as the outbox counted, or more where the ledger has moved since."""
        newest = 0 if self._ledger is None else self._ledger.last_movement
        return max(self._outbox.pending, newest - self._outbox.sent)

    def attention(self) -> list[dict[str, Any]]:
        """What needs a person: a MongoDB that is away, or turns labd away."""
        connection = self.connection
        if connection.last_error is None:
            return []
        code = "not_connected" if connection.state == "away" else connection.state
        waiting = f"{self._pending()} movements wait; {NEXT_STEPS[connection.state]}"
        return [{"code": code, "message": f"{connection.last_error}; {waiting}", "subject": "mongo"}]

    def endpoints(self) -> list[Endpoint]:
        """The take-over of an existing lab's collections."""
        errors = ("unavailable", "refused", "bad_request", "conflict", "bad_volume", "store_full")
        return [
            Endpoint("POST", "/api/v1/inventory/import-mongo", self._import, "operate",
                     "Take the levels of an existing lab's MongoDB into the ledger",
                     body=ImportMongoBody, answer=ImportMongoAnswer, tags=("inventory",), errors=errors)
        ]  # fmt: skip

    async def _serve(self, server: MongoServer) -> None:
        """Bring MongoDB up to date and keep it so, until the connection faults."""
        there = await server.read(self._outbox.levels, "movement_id", LEVELS_LIMIT)
        await self._send(server, await self._outbox.meet(there))
        heard_at = self._clock.monotonic()
        while True:
            batch = await self._outbox.next()
            if batch is not None:
                try:
                    await self._send(server, batch.writes)
                except MongoFault:
                    self._outbox.shorten()
                    raise
                await self._outbox.arrived(batch)
            elif self._clock.monotonic() - heard_at >= SIGN_OF_LIFE_S:
                await server.ping()
            else:
                self.connection.thrives()
                await self._clock.sleep(self._settings.poll_s)
                continue
            heard_at = self._clock.monotonic()
            self.connection.thrives()

    @staticmethod
    async def _send(server: MongoServer, writes: list[Write]) -> None:
        """In order, so many at once that one message stays small."""
        for start in range(0, len(writes), WRITES_AT_ONCE):
            await server.write(writes[start : start + WRITES_AT_ONCE])

    async def _import(self, call: Call) -> ImportMongoAnswer:
        body = call.body or ImportMongoBody()
        return await self.take_over(
            call.caller, operator=body.operator, dry_run=body.dry_run, reset=body.reset, reason=body.reason
        )

    async def take_over(
        self, caller: Caller, *, operator: str = "", dry_run: bool = False, reset: bool = False, reason: str = ""
    ) -> ImportMongoAnswer:
        """Begin the ledger with an existing lab's levels, or look what that would be.

        Raises:
            Unavailable: MongoDB is away.
            BadRequest: A document cannot be read; nothing is changed.
            LabdError: What the ledger says, such as that there is stock and nobody said to replace it.
        """
        server, ledger = self.connection.server, self._ledger
        if server is None or ledger is None or not self.connection.connected.is_set():
            raise Unavailable(f"import-mongo: {self.connection.last_error or 'MongoDB is not connected yet'}")
        source = f"{self.connection.address}/{self._settings.database}"
        try:
            found = await mongo_takeover.look(
                server, source, ledger, self._outbox.color_key, self._outbox.documents, self._clock.wall()
            )
        except MongoFault as fault:
            raise Unavailable(f"import-mongo: {fault}") from None
        if dry_run:
            try:
                mongo_takeover.refuse(found, ledger, reset=reset, reason=reason)
            except LabdError as refusal:
                return ImportMongoAnswer(True, found, refusal.message, [])
            return ImportMongoAnswer(True, found, None, [])
        actor = operator.strip() or caller.name
        self._engine.journal.refuse_if_full()
        movements = mongo_takeover.take(found, ledger, actor, reset=reset, reason=reason)
        facts = {"by": actor, "source": source, "reset": reset, "reason": reason, "restock_log": found.restocks}
        self._engine.audit(caller, "inventory.import-mongo", source, facts)
        await self._engine.journal.commit()
        self._engine.wake()
        log.info("mongo.imported", source=source, reservoirs=len(found.levels), restocks=len(found.restocks))
        return ImportMongoAnswer(False, found, None, movements)


def _client(url: str, **options: Any) -> Any:
    from motor.motor_asyncio import (
        AsyncIOMotorClient as Client,
    )  # the swap: `from pymongo import AsyncMongoClient as ...`

    return Client(url, **options)

"""One open connection to a MongoDB: the few calls of the outlet, each with its deadline, faults in labd's words.

Only calls are used that motor's client and pymongo's asynchronous one both have. Why faults are raised `from None`: the
driver's own texts repeat addresses, and what hangs behind an exception ends in the log with it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from labd.mongo_address import Address
from labd.mongo_documents import Document, Write
from labd.settings_types import MongoSettings

T = TypeVar("T")
MakeClient = Callable[..., Any]
WRONG_PASSWORD = frozenset({18, 8000})  # AuthenticationFailed; Atlas' own
NOT_ALLOWED = 13  # Unauthorized
GRACE_S = 1.0  # the driver's own deadline comes first: it knows more of the reason


class MongoFault(Exception):
    """Why MongoDB did not do what was asked.

    Args:
        code: `away`, `not_authenticated` or `refused`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class MongoServer:
    """An open client.

    Args:
        client: motor's or pymongo's.
    """

    def __init__(self, client: Any, address: Address, settings: MongoSettings) -> None:
        self._client = client
        self._address = address
        self._timeout_s = settings.answer_timeout_s
        self._name = settings.database
        self._database = client[settings.database]

    @staticmethod
    async def open(make: MakeClient, address: Address, settings: MongoSettings) -> MongoServer:
        """Connect, and be known there.

        Raises:
            MongoFault: It is not there, does not know labd's user, or the address is none.
        """
        timeout_ms = int(settings.answer_timeout_s * 1000)
        options: dict[str, Any] = {
            "appname": "labd", "serverSelectionTimeoutMS": timeout_ms, "connectTimeoutMS": timeout_ms,
            "socketTimeoutMS": timeout_ms, "w": "majority", "maxPoolSize": 4, "tz_aware": True,
        }  # fmt: skip
        if settings.tls:
            options["tls"] = True
        if settings.ca_file is not None:
            options["tlsCAFile"] = settings.ca_file
        if address.username is not None:
            options |= {"username": address.username, "password": address.password}
        try:  # in a thread: the name of mongodb+srv:// is looked up before the client is there
            async with asyncio.timeout(settings.answer_timeout_s + GRACE_S):
                client = await asyncio.to_thread(make, address.url, **options)
        except TimeoutError:
            raise MongoFault("away", f"MongoDB {address.shown}: no answer about its name") from None
        except Exception as fault:  # noqa: BLE001 - whatever the driver finds wrong with an address, its text may repeat it
            kind = type(fault).__name__
            raise MongoFault(
                "refused", f"MongoDB {address.shown}: the driver takes no such address ({kind}); check mongo.url"
            ) from None
        server = MongoServer(client, address, settings)
        try:
            await server.ping()
        except BaseException:
            await server.close()
            raise
        return server

    async def close(self) -> None:
        """Let the connections go; a second call does nothing."""
        closing = await asyncio.to_thread(self._client.close)
        if inspect.isawaitable(closing):
            await closing

    async def ping(self) -> None:
        """Ask for a sign of life that needs the user's rights."""
        await self._within(self._database["inventory"].find_one({"color_key": ""}))

    async def write(self, writes: Sequence[Write]) -> None:
        """Do them in order; each can be done again to no effect.

        Raises:
            MongoFault: Some may be done, some not; nobody knows which.
        """
        from pymongo import DeleteOne, UpdateOne

        def request(write: Write) -> Any:
            if write.kind == "delete":
                return DeleteOne(write.filter)
            operator = "$setOnInsert" if write.kind == "insert" else "$set"
            return UpdateOne(_with_id(write.filter), {operator: write.values}, upsert=write.kind == "insert")

        for collection, part in groupby(writes, key=lambda write: write.collection):
            requests = [request(write) for write in part]
            await self._within(self._database[collection].bulk_write(requests, ordered=True))

    async def read(self, collection: str, order: str, limit: int) -> list[Document]:
        """The last documents of a collection in the order of a field, without their `_id`."""
        cursor = self._database[collection].find({}, {"_id": 0}, sort=[(order, -1)], limit=limit)
        found: list[Document] = await self._within(cursor.to_list(limit))
        return found[::-1]

    async def count(self, collection: str) -> int:
        """How many documents a collection has."""
        return int(await self._within(self._database[collection].count_documents({})))

    async def _within(self, asked: Awaitable[T]) -> T:
        from pymongo import errors

        try:
            async with asyncio.timeout(2 * self._timeout_s + GRACE_S):
                return await asked
        except TimeoutError:
            text = f"no answer within {2 * self._timeout_s + GRACE_S:g} s"
            raise MongoFault("away", f"MongoDB {self._address.shown}: {text}") from None
        except errors.BulkWriteError as fault:
            problems = (fault.details or {}).get("writeErrors") or [{}]
            raise self._refused(str(problems[0].get("errmsg", "a write failed"))) from None
        except errors.OperationFailure as fault:
            if fault.code in WRONG_PASSWORD:
                raise MongoFault(
                    "not_authenticated",
                    f"MongoDB {self._address.shown} turned labd away: wrong user name or password, or the wrong "
                    "authSource in the address; check mongo.username and mongo.password",
                ) from None
            if fault.code == NOT_ALLOWED:
                raise MongoFault(
                    "not_authenticated",
                    f"MongoDB {self._address.shown}: labd's user may not read and write the database {self._name}; "
                    "give it the role readWrite there, or a user name in the settings",
                ) from None
            raise self._refused(str(fault)) from None
        except errors.ConfigurationError as fault:
            raise self._refused(str(fault)) from None
        except (errors.PyMongoError, OSError) as fault:
            # pymongo repeats its settings and the whole topology behind the reason
            reason = str(fault).partition(" (configured timeouts")[0].partition(", Timeout:")[0]
            reason = reason.removeprefix(f"{self._address.shown}: ")
            raise MongoFault("away", self._address.clean(f"MongoDB {self._address.shown} is away: {reason}")) from None

    def _refused(self, reason: str) -> MongoFault:
        reason = reason.partition(", full error:")[0][:500]
        return MongoFault("refused", self._address.clean(f"MongoDB {self._address.shown} refuses: {reason}"))


def _with_id(found: Document) -> Document:
    """The same filter with the driver's kind of `_id`."""
    from bson import ObjectId

    return {**found, "_id": ObjectId(found["_id"])} if "_id" in found else found

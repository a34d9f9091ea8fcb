"""A Neo4j server's Bolt port, as far as labd speaks to one: Bolt 5.4 framing and states, and just its statements.

A statement that labd does not send is a syntax error, so that a changed statement fails here and not at a customer's.
The PackStream codec is the driver's own; the states and messages are of the Bolt manual ("Server state", 5.x).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from typing import Any

from neo4j._codec.packstream import Structure
from neo4j._codec.packstream.v1 import PackableBuffer, Packer, UnpackableBuffer, Unpacker

from tests.fakes.bolt_statements import Statements
from tests.fakes.neo4j_catalogue import Catalogue, Refusal

VERSION = bytes((0, 0, 4, 5))
HELLO, LOGON, LOGOFF, GOODBYE, RESET, RUN, DISCARD, PULL = 0x01, 0x6A, 0x6B, 0x02, 0x0F, 0x10, 0x2F, 0x3F
BEGIN, COMMIT, ROLLBACK, ROUTE, TELEMETRY = 0x11, 0x12, 0x13, 0x66, 0x54
SUCCESS, RECORD, IGNORED, FAILURE = b"\x70", b"\x71", b"\x7e", b"\x7f"


class Hangup(Exception):
    """The connection ends now."""


class BoltServer:
    """Listens on a free port of the loopback, in a thread with a loop of its own: tests may block theirs."""

    def __init__(self, catalogue: Catalogue, tls: ssl.SSLContext | None = None) -> None:
        self.catalogue = catalogue
        self.port = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="bolt-server", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> BoltServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _main(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, Hangup):
                await Connection(self.catalogue, reader, writer, self.port).serve()
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


class Connection:
    """One client's states: ready, streaming, in a transaction, failed."""

    def __init__(
        self, catalogue: Catalogue, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        self.catalogue, self.reader, self.writer, self.port = catalogue, reader, writer, port
        self.failed = False
        self.rows: list[list[Any]] = []
        self.kind = "r"
        self.database = "neo4j"
        self.mode = "w"
        self.limit_s: float | None = None
        self.in_transaction = False

    async def serve(self) -> None:
        await self.reader.readexactly(20)
        self.writer.write(VERSION)
        while True:
            await self.writer.drain()
            tag, fields = await self._message()
            if tag == GOODBYE:
                return
            if tag == RESET:
                self.failed, self.rows, self.in_transaction = False, [], False
                self._send(SUCCESS, {})
            elif self.failed:
                self._send(IGNORED)
            else:
                await self._answer(tag, fields)

    async def _answer(self, tag: int, fields: list[Any]) -> None:
        try:
            if tag == HELLO:
                self._send(
                    SUCCESS, {"server": f"Neo4j/{self.catalogue.version}", "connection_id": "bolt-1", "hints": {}}
                )
            elif tag == LOGON:
                self._log_on(fields[0])
            elif tag == RUN:
                await self._run(fields[0], fields[1], fields[2])
            elif tag in (PULL, DISCARD):
                self._pull(int(fields[0].get("n", -1)), tag == PULL)
            elif tag == BEGIN:
                self._take(fields[0])
                self.in_transaction = True
                self._send(SUCCESS, {})
            elif tag in (COMMIT, ROLLBACK):
                self.in_transaction = False
                self._send(SUCCESS, {"bookmark": "b:1"} if tag == COMMIT else {})
            elif tag == ROUTE:
                self._route(fields[2])
            else:
                self._send(SUCCESS, {})
        except Refusal as refusal:
            self.failed = True
            self._send(FAILURE, {"code": refusal.code, "message": refusal.message})
            if refusal.code.startswith("Neo.ClientError.Security.Unauth"):
                await self.writer.drain()
                raise Hangup from refusal

    def _log_on(self, token: dict[str, Any]) -> None:
        if (token.get("principal"), token.get("credentials")) != (self.catalogue.user, self.catalogue.password):
            raise Refusal("Neo.ClientError.Security.Unauthorized", "The client is unauthorized.")
        self._send(SUCCESS, {})

    def _take(self, extra: dict[str, Any]) -> None:
        self.database, self.mode = extra.get("db") or "neo4j", extra.get("mode", "w")
        self.limit_s = float(extra["tx_timeout"]) / 1000 if extra.get("tx_timeout") else None

    async def _run(self, statement: str, parameters: dict[str, Any], extra: dict[str, Any]) -> None:
        if not self.in_transaction:
            self._take(extra)
        catalogue = self.catalogue
        catalogue.statements.append(statement)
        if catalogue.faults.takes(catalogue.faults.drop_at, statement):
            raise Hangup
        for part, wait_s in catalogue.faults.slow_s.items():
            if part in statement and not statement.startswith("EXPLAIN"):
                await self._linger(wait_s)
        with catalogue.lock:
            self.kind, columns, self.rows = Statements(catalogue, self.database, self.mode == "r").run(
                statement, parameters
            )
        if catalogue.faults.takes(catalogue.faults.drop_after, statement):
            raise Hangup
        self._send(SUCCESS, {"fields": columns, "t_first": 0})

    async def _linger(self, wait_s: float) -> None:
        if self.limit_s is None or wait_s <= self.limit_s:
            await asyncio.sleep(wait_s)
            return
        await asyncio.sleep(self.limit_s)
        raise Refusal(
            "Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", "The transaction has been terminated."
        )

    def _pull(self, number: int, wanted: bool) -> None:
        part = self.rows if number < 0 else self.rows[:number]
        self.rows = self.rows[len(part) :]
        for row in part if wanted else ():
            self._send(RECORD, row)
        if self.rows:
            self._send(SUCCESS, {"has_more": True})
        else:
            self._send(SUCCESS, {"bookmark": "b:1", "t_last": 0, "type": self.kind, "db": self.database})

    def _route(self, extra: dict[str, Any]) -> None:
        name = extra.get("db") or "neo4j"
        if name != "system":
            self.catalogue.resolve(name)
        here = [f"127.0.0.1:{self.port}"]
        servers = [{"role": role, "addresses": here} for role in ("ROUTE", "READ", "WRITE")]
        self._send(SUCCESS, {"rt": {"ttl": 300, "db": name, "servers": servers}})

    async def _message(self) -> tuple[int, list[Any]]:
        data = bytearray()
        while True:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            if size:
                data += await self.reader.readexactly(size)
            elif data:
                break
        unpacker = Unpacker(UnpackableBuffer(data))
        size, tag = unpacker.unpack_structure_header()
        return tag[0], [unpacker.unpack() for _ in range(size)]

    def _send(self, tag: bytes, *fields: Any) -> None:
        buffer = PackableBuffer()
        Packer(buffer).pack_struct(tag, list(fields))
        data = bytes(buffer.data)
        for first in range(0, len(data), 0xFFFF):
            part = data[first : first + 0xFFFF]
            self.writer.write(struct.pack(">H", len(part)) + part)
        self.writer.write(b"\0\0")


def node(number: int, labels: list[str], properties: dict[str, Any]) -> Structure:
    """A node as Bolt 5 sends it."""
    return Structure(b"N", number, labels, properties, f"4:emulated:{number}")

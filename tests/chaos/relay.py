"""A cable between the daemon and a server: TCP connections go through it until it is pulled or falls silent.

Why not only kills of the server: a robot or a graph server goes on while nobody reaches it, and what it did meanwhile
is exactly what must not be done twice. A cut is told at once (reset, then refused); silence is not, a time limit of the
caller's has to find it, and what was sent into it arrives when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from random import Random
from typing import Any

PORTS = range(18_000, 30_000)  # below those that systems give to outgoing connections, which might take a dead one's
CHUNK_BYTES = 65_536
ANSWER_S = 10.0
TURNS = 3


def free_port(dice: Random | None = None) -> int:
    """A loopback port that stays free while its server is dead."""
    dice = dice or Random()
    while True:
        port = dice.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Relay:
    """Listens on `port` of the loopback, in a thread with a loop of its own.

    Args:
        target: Port of the server behind it.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._flows = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._kept: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> Relay:
        """Connected."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"relay-{self.port}", daemon=True)
        self._thread.start()
        self._do(self._join())
        return self

    def cut(self) -> None:
        """Connections are reset and new ones refused."""
        self._do(self._cut())

    def hush(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        self._do(self._hush())

    def join(self) -> None:
        """Everything gets through again, also what waited in the silence."""
        self._do(self._join())

    def end(self) -> None:
        """Close it; a second call does nothing."""
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            self._do(self._cut())
            loop.call_soon_threadsafe(loop.stop)
            thread.join(ANSWER_S)
            loop.close()
            self._loop = self._thread = None
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _do(self, change: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None, "the relay has not started"
        asyncio.run_coroutine_threadsafe(change, self._loop).result(ANSWER_S)

    async def _hush(self) -> None:
        self._flows.clear()

    async def _join(self) -> None:
        self._flows.set()
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port, reuse_address=True)

    async def _cut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(TURNS):
            await asyncio.sleep(0)  # an aborted transport closes its socket in one of the next turns of the loop
        if self._kept is None:  # bound and not listening: connections are refused, and nobody else gets the port
            self._kept = socket.socket()
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._kept.bind(("127.0.0.1", self.port))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        try:
            await self._flows.wait()
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                ends.append(far_writer)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, far_writer))
                    both.create_task(self._pump(far_reader, writer))
        except (asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._tasks.discard(task)
            for end in ends:
                _reset(end)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._flows.wait()
            sink.write(data)
            await sink.drain()
        await self._flows.wait()
        if sink.can_write_eof():
            sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side hears a reset and no port is held for minutes."""
    end = writer.get_extra_info("socket")
    if end is not None:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

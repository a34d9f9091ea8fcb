"""The connection to MongoDB: made, watched, made again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import structlog

from labd.clock import Clock
from labd.errors import LabdError
from labd.mongo_address import address_of
from labd.mongo_server import MakeClient, MongoFault, MongoServer
from labd.settings_types import MongoSettings

log = structlog.get_logger()
FIRST_WAIT_S = 1.0
FAREWELL_S = 5.0


class MongoConnection:
    """One place at a MongoDB.

    Args:
        make: Makes the driver's client.
        work: What is done with each connection, until it faults; calls `thrives` after each success.
        lost: Called after each fault.
    """

    def __init__(
        self, settings: MongoSettings, make: MakeClient, work: Callable[[MongoServer], Awaitable[None]],
        lost: Callable[[], Awaitable[None]], clock: Clock, random: Random, environ: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.settings = settings
        self.server: MongoServer | None = None
        self.connected = asyncio.Event()
        self.address = "not looked up yet"
        self.state = "connecting"
        self.last_error: str | None = None
        self.since = clock.wall()
        self._make = make
        self._work = work
        self._after_loss = lost
        self._clock = clock
        self._random = random
        self._environ = environ
        self._wait_s = FIRST_WAIT_S
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect; returns at once, whether or not MongoDB is there."""
        self._task = asyncio.create_task(self._keep_connected(), name="mongo")

    async def stop(self) -> None:
        """Leave; a second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def thrives(self) -> None:
        """The connection did what it is for: the next loss is tried again soon.

        Why not at the greeting already: a server that greets and then refuses every write would be asked each second.
        """
        self._wait_s = FIRST_WAIT_S

    async def _keep_connected(self) -> None:
        while True:
            try:
                address = address_of(self.settings, self._environ)
                self.address = address.shown
                self.server = await MongoServer.open(self._make, address, self.settings)
                self._found()
                await self._work(self.server)
            except MongoFault as fault:
                self._lost(fault.code, str(fault))
            except LabdError as fault:
                self._lost("refused", fault.message)
            except Exception as fault:  # the connection supervisor connects again; the log has the traceback
                log.error("mongo.connection_failed", exc_info=fault)
                self._lost("away", f"{type(fault).__name__}; see the log")
            finally:
                self.connected.clear()
                await self._leave()
            await self._after_loss()
            await self._clock.sleep(self._wait_s * (0.5 + 0.5 * self._random.random()))
            self._wait_s = min(self._wait_s * 2, max(self.settings.reconnect_s, FIRST_WAIT_S))

    async def _leave(self) -> None:
        server, self.server = self.server, None
        if server is None:
            return
        try:
            async with asyncio.timeout(FAREWELL_S):
                await server.close()
        except TimeoutError:
            pass  # its thread goes on to close alone

    def _found(self) -> None:
        self.state, self.since, self.last_error = "connected", self._clock.wall(), None
        self.connected.set()
        log.info("mongo.connected", server=self.address, database=self.settings.database)

    def _lost(self, state: str, reason: str) -> None:
        if state != self.state or reason != self.last_error:
            log.warning("mongo.disconnected", server=self.address, state=state, reason=reason)
        if state != self.state:
            self.since = self._clock.wall()
        self.state, self.last_error = state, reason

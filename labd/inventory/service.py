"""The inventory wing at work: the ledger, the jobs' reservations, and the ticker that writes evaporation."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
from typing import Any

import structlog

from labd.clock import iso
from labd.engine.registry import StopSpec, TaskSpec
from labd.errors import LabdError, StoreFull
from labd.inventory import attention, run_out
from labd.inventory.desk import StockDesk
from labd.inventory.ledger import StockLedger
from labd.inventory.opening import open_book
from labd.inventory.reservations import Reservations
from labd.inventory.routes import inventory_endpoints
from labd.inventory.settings import InventorySettings
from labd.inventory.tasks import inventory_tasks
from labd.wing import Host

LOOK_S = 5.0
LOOK_AHEAD_S = 60.0
LIVE = frozenset({"threshold_ul", "low_ul", "tick_s", "drift_ul", "run_out_h"})

log = structlog.get_logger("inventory")


class InventoryService:
    """Owns the stock; satisfies `labd.wing.Wing`."""

    def __init__(self, settings: InventorySettings, host: Host) -> None:
        self._host = host
        self._settings = settings
        self._ticker: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self.ledger = StockLedger(settings, host.engine.journal, host.clock)
        self.ledger.book.tell = host.engine.publish
        self.reservations = Reservations(self.ledger, host.engine.wake)
        self.desk = StockDesk(self.ledger, host)
        self.started_at: float | None = None
        self._run_out: list[dict[str, Any]] = []
        self._looked = (-math.inf, -1)

    # Wing

    async def start(self) -> None:
        """Read the ledger, write what evaporated while the daemon was away, and keep account of the jobs from now on.

        Why the engine is told first: a ledger that cannot be opened must not let jobs through uncounted.

        Raises:
            Refused: The state folder holds the ledger of the other kind of stock, simulated or real.
        """
        engine = self._host.engine
        engine.attend(self.reservations)
        try:
            found = await open_book(self.ledger.book, self._settings.reservoirs())
        except LabdError as fault:
            self.reservations.fault = fault.message
            raise
        self.reservations.fault = None
        self.desk.reservoirs_changed()
        self.started_at = self._host.clock.wall()
        with contextlib.suppress(StoreFull):
            await engine.journal.commit()
        log.info("stock.opened", reservoirs=len(self.ledger.book.shelves), simulated=self.ledger.simulated, **found)
        self._ticker = asyncio.create_task(self._tick(), name="inventory")
        self._warming = asyncio.create_task(self.desk.outlook.warm(), name="inventory outlook")

    async def drain(self) -> None:
        """Nothing moves here."""

    async def stop(self) -> None:
        """Save where the ledger's time stands; a second call does nothing."""
        ticker, self._ticker = self._ticker, None
        if ticker is None:
            return
        for task in (ticker, self._warming):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._host.engine.journal.is_open:
            self.ledger.settle()
            with contextlib.suppress(StoreFull):
                await self._host.engine.journal.commit()

    def tasks(self) -> list[TaskSpec | StopSpec]:
        """The verbs as tasks."""
        return inventory_tasks(self)

    def endpoints(self) -> list[Any]:
        """The routes of the wing."""
        return inventory_endpoints(self)

    def status(self) -> dict[str, Any]:
        """One line for the stock, and what a person should see to."""
        if self.started_at is None:
            return {"devices": [], "attention": []}
        return {
            "devices": [
                {
                    "name": "stock", "state": "open", "since": iso(self.started_at),
                    "simulated": self.ledger.simulated, "reservoirs": len(self.ledger.book.there()),
                }
            ],
            "attention": [
                *attention.of(self.ledger.views(), self.ledger.drift_ul, self._settings.drift_ul,
                              self._host.clock.wall()),
                *self._run_out,
            ],
        }  # fmt: skip

    def change(self, settings: InventorySettings) -> list[str]:
        """Thresholds and intervals are in force at once; reservoirs of the file and `simulated` after a restart."""
        restart = [
            f"inventory.{name}"
            for name in settings.__struct_fields__
            if name not in LIVE and getattr(settings, name) != getattr(self._settings, name)
        ]
        self._settings = settings
        self.ledger.settings = settings
        self._host.engine.wake()
        return restart

    # time

    async def _look_ahead(self) -> None:
        """See what runs out soon: each minute, and at once when something has moved."""
        now_s, newest = self._host.clock.monotonic(), self.ledger.last_movement
        is_fresh = now_s - self._looked[0] < LOOK_AHEAD_S and newest == self._looked[1]
        if is_fresh or self._host.engine.store_full:
            return
        self._looked = (now_s, newest)
        try:
            found = await self.desk.outlook.forecast()
        except (LabdError, sqlite3.Error) as fault:
            log.warning("stock.forecast_failed", problem=str(fault))
            return
        warned = {str(line["reservoir"]) for line in self._run_out}
        self._run_out = run_out.warnings(found, self._settings.run_out_h, warned)

    async def _tick(self) -> None:
        """Write evaporation every `tick_s`; save the ledger's time at once when the wall clock has jumped.

        Why at once: after a restart the ledger goes on by the wall clock, so an instant saved before the jump would
        count the jump as time that passed.
        """
        clock, since = self._host.clock, self._host.clock.monotonic()
        while True:
            await clock.sleep(min(LOOK_S, self._settings.tick_s))
            stepped_s = self.ledger.book.clock.stepped_by_s()
            if stepped_s:
                log.info("stock.clock_stepped", by_s=round(stepped_s, 3))
            is_due = clock.monotonic() - since >= self._settings.tick_s
            if (stepped_s or is_due) and not self._host.engine.store_full:
                if is_due:
                    since = clock.monotonic()
                    self.ledger.settle()
                else:
                    self.ledger.book.save_clock()
                with contextlib.suppress(StoreFull):
                    await self._host.engine.journal.commit()
            await self._look_ahead()

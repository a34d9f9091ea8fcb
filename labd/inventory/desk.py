"""Everything people ask of the stock, in one place for the tasks and the HTTP: acts, looks, and the outlook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from labd.clock import iso
from labd.errors import InsufficientStock, InventoryNotInitialized, LabdError
from labd.inventory import report
from labd.inventory.ledger import StockLedger
from labd.inventory.outlook import Outlook
from labd.inventory.tasks import ORIGIN, stock_tasks
from labd.inventory.transfer import head
from labd.inventory.verbs import InventoryVerbs
from labd.inventory.volumes import to_ul
from labd.wing import Host


class Availability(msgspec.Struct):
    """Whether a job with these volumes would be accepted; `refusal` is the error it would get.

    `reservoirs` has all of them, `availability` the same in the seed's shape.
    """

    is_sufficient: bool
    reservoirs: list[dict[str, Any]]
    availability: dict[str, dict[str, Any]]
    refusal: dict[str, Any] | None


class Answer(NamedTuple):
    """An availability as it is shown, and the error that a job would get."""

    view: Availability
    fault: LabdError | None


class StockDesk:
    """What tasks and routes use of the inventory."""

    def __init__(self, ledger: StockLedger, host: Host) -> None:
        self.ledger = ledger
        self.engine = host.engine
        self.verbs = InventoryVerbs(ledger, host.engine, self.reservoirs_changed)
        self.outlook = Outlook(ledger, host.engine, host.clock)
        self._clock = host.clock

    def reservoirs_changed(self) -> None:
        """Give the tasks an argument for every reservoir that there is now."""
        self.engine.registry.replace_origin(ORIGIN, stock_tasks(self))

    def now(self) -> str:
        """The instant, ISO 8601."""
        return iso(self._clock.wall()) or ""

    def overview(self) -> dict[str, Any]:
        """All reservoirs."""
        return {
            "simulated": self.ledger.simulated,
            "threshold_ul": self.ledger.threshold_ul,
            "reservoirs": self.ledger.views(),
        }

    def check(self, low_threshold_ul: float | None) -> dict[str, Any]:
        """What is low."""
        views = self.ledger.views()
        return report.check(views, low_threshold_ul, self.now(), self.ledger.simulated, self._evaporated_ul())

    def current(self) -> dict[str, dict[str, Any]]:
        """Levels in the seed's shape."""
        return report.current(self.ledger.views(), self._evaporated_ul())

    def _evaporated_ul(self) -> dict[str, float]:
        book = self.ledger.book
        now_s = book.clock.now_s()
        return {shelf.spec.key: to_ul(shelf.evaporated_pl(now_s)[0]) for shelf in book.there()}

    def availability(self, required_ul: Mapping[str, float], threshold_ul: float | None) -> Answer:
        """Whether a job with these volumes would be accepted now.

        Raises:
            BadVolume, UnknownReservoir: The question is wrong.
        """
        required: dict[str, float] = {}
        for name, volume_ul in required_ul.items():
            key = self.ledger.find(name)
            required[key] = required.get(key, 0.0) + volume_ul
        fault: LabdError | None = None
        try:
            self.ledger.require(required, threshold_ul)
        except (InsufficientStock, InventoryNotInitialized) as refusal:
            fault = refusal
        asked = {one.key: required.get(one.key, 0.0) for one in self.ledger.views()}
        lines = self.ledger.check_stock(asked, threshold_ul)
        told = None if fault is None else fault.to_wire()
        return Answer(Availability(fault is None, lines, report.availability(lines), told), fault)

    def export_head(self) -> dict[str, Any]:
        """The reservoirs of an export."""
        return head(self.ledger.views(), self.now(), self.ledger.simulated)

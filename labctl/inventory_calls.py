"""The inventory in the blocking client."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from labctl import stock_requests as stock
from labctl.routes import Request, get

Json = dict[str, Any]
WHOLE_LEDGER_S = 600.0


class InventoryCalls:
    """What a client asks of the inventory; volumes are microlitres.

    Raises:
        BadVolume, UnknownReservoir, InventoryNotInitialized, WingOff: Nothing was changed.
    """

    @abstractmethod
    def _object(self, request: Request, timeout_s: float | None = None) -> Json: ...

    def inventory(self) -> Json:
        """All reservoirs: `{"simulated", "threshold_ul", "low_ul", "reservoirs": [...]}`; volumes in ul."""
        return self._object(stock.overview())

    def initialize_inventory(
        self,
        volumes_ul: Mapping[str, float],
        operator: str | None = None,
        reset: bool = False,
        reason: str = "",
        evaporation_rate_ul_per_hour: float | None = None,
    ) -> Json:
        """First filling in ul by reservoir or colour; on stock that exists only with `reset` and a reason."""
        return self._object(stock.initialize(volumes_ul, operator, reset, reason, evaporation_rate_ul_per_hour))

    def restock_inventory(self, volumes_ul: Mapping[str, float], operator: str, cause: str = "", lot: str = "") -> Json:
        """Add ul by reservoir or colour, all or none of them."""
        return self._object(stock.restock(volumes_ul, operator, cause, lot))

    def measure_reservoir(self, reservoir: str, level_ul: float, operator: str | None = None) -> Json:
        """Tell a level that was read; the computed one is corrected to it and the fit learns."""
        return self._object(stock.measure(reservoir, level_ul, operator))

    def adjust_reservoir(self, reservoir: str, change_ul: float, reason: str, operator: str | None = None) -> Json:
        """Correct a level by so many ul, with a reason."""
        return self._object(stock.adjust(reservoir, change_ul, reason, operator))

    def set_lid(self, reservoir: str, lid: str, operator: str | None = None) -> Json:
        """Tell that a lid is `open` or `closed`."""
        return self._object(stock.lid(reservoir, lid, operator))

    def check_inventory(self, low_threshold_ul: float | None = None) -> Json:
        """What is low, with warnings and recommendations."""
        return self._object(stock.check(low_threshold_ul))

    def stock_availability(self, required_ul: Mapping[str, float], threshold_ul: float | None = None) -> Json:
        """Whether a job with these volumes would be accepted; `is_sufficient` for each and for all."""
        return self._object(stock.availability(required_ul, threshold_ul))

    def inventory_history(
        self,
        reservoir: str | None = None,
        kind: str | None = None,
        job: int | None = None,
        since: str | None = None,
        until: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> Json:
        """One page of movements, newest first: `{"movements": [...], "next": id or None}`."""
        return self._object(stock.history(reservoir, kind, job, since, until, before, limit))

    def inventory_forecast(self) -> Json:
        """When each reservoir runs out, and during which queued job, with its band."""
        return self._object(get("/inventory/forecast"))

    def evaporation_fit(self, reservoir: str) -> Json:
        """The rate that the measured levels tell, with its error and the drift."""
        return self._object(stock.fit(reservoir))

    def add_reservoir(self, spec: Mapping[str, Any]) -> Json:
        """A new reservoir; fields as in the answer of `inventory`."""
        return self._object(stock.add_reservoir(spec))

    def edit_reservoir(self, reservoir: str, changes: Mapping[str, Any]) -> Json:
        """Other facts of a reservoir; what is left out stays."""
        return self._object(stock.edit_reservoir(reservoir, changes))

    def remove_reservoir(self, reservoir: str, reason: str, operator: str | None = None) -> Json:
        """Take a reservoir out of use; its movements stay."""
        return self._object(stock.remove_reservoir(reservoir, reason, operator))

    def export_inventory(self) -> Json:
        """All reservoirs and movements as one document."""
        return self._object(get("/inventory/export"), WHOLE_LEDGER_S)

    def import_inventory(self, document: Mapping[str, Any], operator: str, reason: str) -> Json:
        """Bring all reservoirs to the levels of an export, all or none."""
        return self._object(stock.import_document(document, operator, reason), WHOLE_LEDGER_S)

    def verify_inventory(self) -> Json:
        """Replay all movements from zero and compare with the balances."""
        return self._object(get("/inventory/verify"), WHOLE_LEDGER_S)

    def get_current_inventory(self) -> Json:
        """Levels now by colour key (R, Y, B, else the reservoir's own), as the inventory before labd gave them."""
        current: Json = (self._object(stock.check(None)))["inventory"]
        return current

    def check_stock_availability(self, threshold: float | None = None, **volumes: float) -> Json:
        """As the inventory before labd: `check_stock_availability(red_volume=100, threshold=200)`, in ul.

        Raises:
            InsufficientStock: With the words that a refused job gets.
            InventoryNotInitialized: Nobody ever said how much is there.
        """
        answer = self._object(stock.availability(stock.required(volumes), threshold))
        stock.refuse_if_short(answer)
        found: Json = answer["availability"]
        return found

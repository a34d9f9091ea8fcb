"""The functions of the inventory before labd, under their names and in their shapes, on labd's ledger.

    from labctl.inventory_utils import check_stock_availability, get_current_inventory

    for key, data in get_current_inventory().items():
        print(f"{data['color']}: {data['volume_ul'] / 1000:.2f} ml")

Volumes are microlitres, keys are R, Y, B for red, yellow, blue and a reservoir's own key for every other; any further
reservoir is an argument `<color>_volume`. The daemon is found as `labctl` finds it.

Why the refusals are also a `ValueError`: scripts written for the functions before catch that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from labctl import orchestrator
from labctl import stock_requests as stock
from labd.errors import InsufficientStock, InventoryNotInitialized

Json = dict[str, Any]
DEFAULT_EVAPORATION_RATE = 5.0


class StockShort(InsufficientStock, ValueError):
    """Not enough; the message names each colour with what is there and what is required."""


class NotInitialized(InventoryNotInitialized, ValueError):
    """Nobody ever said how much is there."""


def get_current_inventory() -> Json:
    """Levels now, evaporation taken off; empty where nobody ever said how much is there."""
    with _seed_errors():
        return orchestrator.client().get_current_inventory()


def check_stock_availability(
    red_volume: float = 0, yellow_volume: float = 0, blue_volume: float = 0, threshold: float = 100, **volumes: float
) -> Json:
    """By colour key: `required_ul`, `available_ul`, `is_sufficient`, `remaining_after_use_ul`.

    Raises:
        StockShort: With the words that a refused job gets.
        NotInitialized: Nobody ever said how much is there.
    """
    asked = {"red_volume": red_volume, "yellow_volume": yellow_volume, "blue_volume": blue_volume, **volumes}
    with _seed_errors():
        return orchestrator.client().check_stock_availability(threshold, **asked)


def initialize_inventory(
    red_volume: float = 15000,
    yellow_volume: float = 15000,
    blue_volume: float = 15000,
    evaporation_rate: float = DEFAULT_EVAPORATION_RATE,
    *,
    operator: str | None = None,
    reset: bool = False,
    reason: str = "",
    **volumes: float,
) -> Json:
    """Say how much is there; on stock that exists only with `reset` and a reason. Returns the inventory now."""
    asked = {"red_volume": red_volume, "yellow_volume": yellow_volume, "blue_volume": blue_volume, **volumes}
    client = orchestrator.client()
    client.initialize_inventory(stock.by_color(asked), operator, reset, reason, evaporation_rate)
    return client.get_current_inventory()


def restock_inventory(
    red_volume: float = 0, yellow_volume: float = 0, blue_volume: float = 0, operator: str = "", **volumes: float
) -> Json:
    """Add to the stock; by colour key: `previous_volume_ul`, `added_ul`, `new_volume_ul`, `evaporation_ul`.

    Raises:
        NotInitialized: Nobody ever said how much is there.
        BadRequest: No operator is named.
    """
    asked = {"red_volume": red_volume, "yellow_volume": yellow_volume, "blue_volume": blue_volume, **volumes}
    with _seed_errors():
        answer = orchestrator.client().restock_inventory(stock.required(asked), operator)
    found: Json = {}
    for one in answer["movements"]:
        entry = found.setdefault(
            stock.color_key(one["reservoir"]),
            {"color": one["color"], "previous_volume_ul": one["before_ul"], "added_ul": 0.0, "evaporation_ul": 0.0},
        )
        if one["kind"] == "evaporation":
            entry["evaporation_ul"] -= one["volume_ul"]
        else:
            entry["previous_volume_ul"] = one["before_ul"]
            entry["added_ul"] += one["volume_ul"]
        entry["new_volume_ul"] = one["after_ul"]
    return found


@contextmanager
def _seed_errors() -> Iterator[None]:
    try:
        yield
    except InsufficientStock as fault:
        raise StockShort(fault.message, **fault.details) from fault
    except InventoryNotInitialized as fault:
        raise NotInitialized(fault.message, **fault.details) from fault

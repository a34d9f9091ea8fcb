"""Where reservoirs stand: two in one well would be charged for each other's liquid."""

from __future__ import annotations

from collections.abc import Iterable

from labd.inventory.reservoir import ReservoirSpec, ReservoirView

Placed = ReservoirSpec | ReservoirView


def taken_by(one: Placed, others: Iterable[Placed]) -> str | None:
    """What is wrong with the place of a reservoir: another one stands there already; None if nothing is.

    A reservoir without a device stands in that well of any device, so it meets all of them.
    """
    if not (one.slot and one.well):
        return None
    for other in others:
        if other.key.lower() == one.key.lower() or not (other.slot and other.well):
            continue
        same = (one.slot.lower(), one.well.lower()) == (other.slot.lower(), other.well.lower())
        devices = {one.device.lower(), other.device.lower()}
        if same and (len(devices) == 1 or "" in devices):
            on = f" of {one.device or other.device}" if one.device or other.device else ""
            return f"{one.key} and {other.key} both stand in slot {one.slot}, well {one.well}{on}; give each its own"
    return None

"""What people and protocols call a reservoir: its key, its colour, or the well it stands in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from labd.errors import InventoryNotInitialized, UnknownReservoir
from labd.inventory.shelf import Shelf


def find(shelves: Iterable[Shelf], name: str) -> Shelf:
    """The reservoir of this key or, where only one has it, this colour; case does not matter.

    Raises:
        UnknownReservoir: With the names that are near, or those that share the colour.
    """
    there, wanted = list(shelves), name.strip().lower()
    for shelf in there:
        if shelf.spec.key.lower() == wanted:
            return shelf
    alike = [shelf for shelf in there if shelf.spec.color.lower() == wanted]
    if len(alike) == 1:
        return alike[0]
    keys = [shelf.spec.key for shelf in there]
    if alike:
        same = ", ".join(shelf.spec.key for shelf in alike)
        raise UnknownReservoir(f"colour {name} is in several reservoirs: {same}; name one of them", known=keys)
    near = difflib.get_close_matches(wanted, [key.lower() for key in keys], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    listed = ", ".join(keys) or "none, `labctl inventory reservoir add` makes one"
    raise UnknownReservoir(f"no reservoir is named {name}, there are {listed}{hint}", known=keys)


def find_for_job(shelves: Iterable[Shelf], name: str) -> Shelf | None:
    """The reservoir a job means; None for a well that is no reservoir.

    Raises:
        InventoryNotInitialized: A colour that nobody ever set up.
    """
    there = list(shelves)
    if "/" in name:
        wanted = name.strip().lower()
        device_less = "/" + wanted.partition("/")[2]
        for shelf in there:
            if wanted in shelf.spec.wells or device_less in shelf.spec.wells:
                return shelf
        return None
    try:
        return find(there, name)
    except UnknownReservoir as fault:
        if "several" in fault.message:
            raise
        raise not_initialized(name, is_there=False) from None


def not_initialized(name: str, is_there: bool = True) -> InventoryNotInitialized:
    """In the seed's words; the next step is another one where there is no such reservoir."""
    step = f"labctl inventory init {name}=VOLUME"
    if not is_there:
        step = f"labctl inventory reservoir add {name}, then {step}"
    return InventoryNotInitialized(f"Inventory not initialized for color {name}", color=name, next=step)


def label(shelf: Shelf, shelves: Iterable[Shelf]) -> str:
    """The colour where it says which reservoir is meant, else the key."""
    color = shelf.spec.color.lower()
    alike = sum(one.spec.color.lower() == color for one in shelves if one.removed_at is None)
    return shelf.spec.color if alike == 1 else shelf.spec.key

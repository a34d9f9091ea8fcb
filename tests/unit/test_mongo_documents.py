"""Movements as documents, and documents as levels: rules over values, without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from labd import mongo_takeover
from labd.mongo_documents import Documents, Mirrored, Movement, instant, operation_type

RED = Mirrored("R", "red", "B1", 5.0)
YELLOW = Mirrored("Y", "yellow", "B2", 5.0)
UL = 1_000_000


def movement(number: int, kind: str, volume_ul: float, before_ul: float, **more: Any) -> Movement:
    volume, before = round(volume_ul * UL), round(before_ul * UL)
    values: dict[str, Any] = {
        "id": number, "reservoir": "red", "kind": kind, "at": 1_800_000_000.0 + number, "volume_pl": volume,
        "before_pl": before, "after_pl": before + volume, "actor": "ann", "cause": "", "operation": number,
        "details": {}, **more,
    }  # fmt: skip
    return Movement(**values)


def documents() -> Documents:
    return Documents("00112233aa", "ff00ff00ff", simulated=False)


def test_a_restock_says_what_evaporated_before_it() -> None:
    parts = [
        movement(7, "evaporation", -2.5, 100, operation=7),
        movement(8, "restock", 50, 97.5, operation=7),
        movement(9, "restock", 5, 0, operation=7, reservoir="yellow"),
    ]
    log = documents().writes(parts, {"red": RED, "yellow": YELLOW}, {"red": RED, "yellow": YELLOW})[0]
    assert log.collection == "restock_log"
    assert log.values["restock_data"] == {
        "R": {
            "color": "red", "previous_volume_ul": 97.5, "added_ul": 50.0, "new_volume_ul": 147.5, "evaporation_ul": 2.5,
        },
        "Y": {
            "color": "yellow", "previous_volume_ul": 0.0, "added_ul": 5.0, "new_volume_ul": 5.0, "evaporation_ul": 0.0,
        },
    }  # fmt: skip


def test_of_many_movements_the_last_is_the_level() -> None:
    parts = [movement(n, "consumption", -1, 100 - n) for n in range(1, 50)]
    insert, change = documents().writes(parts, {"red": RED}, {})
    assert (insert.kind, change.kind) == ("insert", "change")
    assert (change.values["movement_id"], change.values["volume_ul"]) == (49, 50.0)
    assert change.values["last_updated"] == instant(1_800_000_049.0)
    assert {"movement_id": {"$lt": 49}} in change.filter["$or"]


@pytest.mark.parametrize("kind", ["reservation", "release"])
def test_what_moves_no_liquid_is_no_level(kind: str) -> None:
    assert documents().writes([movement(1, kind, 0, 5)], {"red": RED}, {"red": RED}) == []


def test_a_reservoir_that_was_removed_has_its_restocks_and_no_level() -> None:
    (log,) = documents().writes([movement(1, "restock", 5, 0)], {}, {"red": RED})
    assert (log.collection, sorted(log.values["restock_data"])) == ("restock_log", ["R"])


def test_an_operations_id_is_an_object_id_of_its_second() -> None:
    number = documents().restock_id(0x0203040506, 1_800_000_000.9)
    assert (len(number), number[:4], number[4:9].hex(), number[9:].hex()) == (
        12, (1_800_000_000).to_bytes(4, "big"), "00112233aa", "040506",
    )  # fmt: skip


def test_a_first_filling_is_no_manual_restock() -> None:
    assert operation_type(movement(1, "restock", 5, 0)) == "manual_restock"
    assert operation_type(movement(1, "restock", 5, 0, details={"initialize": True})) == "initialize"


class Shelf:
    """Two collections as lists."""

    def __init__(self, levels: list[dict[str, Any]], restocks: list[dict[str, Any]]) -> None:
        self.found = {"inventory": levels, "restock_log": restocks}

    async def read(self, collection: str, order: str, limit: int) -> list[dict[str, Any]]:
        return self.found[collection]

    async def count(self, collection: str) -> int:
        return 5000


@pytest.mark.parametrize("volume", [float("nan"), float("inf"), None, "9", True])
async def test_a_volume_that_is_no_number_is_a_problem(volume: Any) -> None:
    red = SimpleNamespace(key="red", color="red", capacity_ul=15000.0, evaporation_rate_ul_per_hour=5.0)
    ledger: Any = SimpleNamespace(views=lambda: [red])
    at = datetime(2026, 1, 1, tzinfo=UTC)
    there: Any = Shelf([{"color_key": "R", "color": "red", "volume_ul": volume, "last_updated": at}], [])
    found = await mongo_takeover.look(there, "lab", ledger, lambda key: "R", documents(), at.timestamp())
    assert found.levels == []
    assert found.problems == [f"inventory R: volume_ul is '{volume}', needs a number"]


async def test_a_level_is_what_the_readers_would_compute_and_never_below_empty() -> None:
    red = SimpleNamespace(key="red", color="red", capacity_ul=15000.0, evaporation_rate_ul_per_hour=5.0)
    ledger: Any = SimpleNamespace(views=lambda: [red])
    at = datetime(2026, 1, 1, tzinfo=UTC)
    document = {"color_key": "R", "color": "red", "volume_ul": 100, "last_updated": at}
    levels = []
    for hours in (-1.0, 0.0, 2.0, 50.0):  # a document of the future has not evaporated
        now = at.timestamp() + hours * 3600
        own = {"ledger": "00112233aa", "timestamp": at}
        there: Any = Shelf([document], [own, {"timestamp": at, "restock_data": {"R": {"added_ul": 3}}, "x": b"1"}])
        found = await mongo_takeover.look(there, "lab", ledger, lambda key: "R", documents(), now)
        levels.append(found.levels[0].level_ul)
        assert found.restocks == [
            {"timestamp": "2026-01-01T00:00:00.000000Z", "restock_data": {"R": {"added_ul": 3}}, "x": "b'1'"}
        ]
        assert found.restocks_total == 4999
    assert levels == [100.0, 100.0, 90.0, 0.0]

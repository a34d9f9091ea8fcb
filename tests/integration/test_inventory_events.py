"""Whoever changes the stock, the feed tells it, in the same commit: who shows levels need not ask again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd.inventory.tables import MOVEMENT
from tests.fakes.inventory_house import InventoryHouse, open_inventory

OF_STOCK = "SELECT kind, job_id, data FROM events WHERE kind LIKE 'stock.%' AND seq > ? ORDER BY seq"


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[InventoryHouse]:
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 0.0}) as opened:
        await opened.post("/initialize", {"volumes_ul": {"red": 9000.0, "yellow": 500.0}, "operator": "Ada"})
        yield opened


async def told(house: InventoryHouse, after: int = 0) -> list[tuple[str, int | None, dict[str, Any]]]:
    """What the feed has of the stock on disk, oldest first."""
    rows = await house.engine.journal.read_sql(OF_STOCK, (after,))
    return [(kind, job_id, msgspec.json.decode(data)) for kind, job_id, data in rows]


async def test_people_and_jobs_that_change_a_level_are_told_once_each(house: InventoryHouse) -> None:
    assert MOVEMENT[3] == "kind" and MOVEMENT[6] == "volume_pl"
    first = (await told(house))[0]
    assert first == (
        "stock.moved", None,
        {"reservoirs": ["red", "yellow"], "kinds": ["restock"], "operation": 1, "by": "Ada", "simulated": False},
    )  # fmt: skip
    after = house.engine.journal.last_seq
    await house.post("/restock", {"volumes_ul": {"red": 100.0}, "operator": "Bo"})
    answer = await house.client.ask("POST", "/api/v1/jobs", {"task": "test.mix", "args": {"R": 120.0, "Y": 50.0}})
    job = answer.json["id"]
    await house.client.ask("GET", f"/api/v1/jobs/{job}?wait=10")
    restock, consumption = await told(house, after)
    assert (restock[1], restock[2]["kinds"], restock[2]["by"]) == (None, ["restock"], "Bo")
    assert (consumption[1], consumption[2]["kinds"]) == (job, ["consumption"])
    assert consumption[2]["reservoirs"] == ["red", "yellow"]
    movements = (await house.get(f"/history?job={job}"))["movements"]
    assert consumption[2]["operation"] in {one["operation"] for one in movements}


async def test_what_is_only_reserved_is_told_by_the_job_alone(house: InventoryHouse) -> None:
    after = house.engine.journal.last_seq
    body = {"task": "test.mix", "args": {"R": 120.0}, "delay_s": 3600}
    job = (await house.client.ask("POST", "/api/v1/jobs", body)).json["id"]
    assert (await house.get(""))["reservoirs"][0]["reserved_ul"] == 120.0
    await house.client.ask("POST", f"/api/v1/jobs/{job}/cancel", {})
    assert (await house.get(""))["reservoirs"][0]["reserved_ul"] == 0.0
    assert await told(house, after) == []
    kinds = await house.engine.journal.read_sql("SELECT kind FROM events WHERE job_id = ? ORDER BY seq", (job,))
    assert [kind for (kind,) in kinds] == ["job.submitted", "job.cancelled"]


async def test_a_reservoir_that_is_set_up_otherwise_is_told_too(house: InventoryHouse) -> None:
    after = house.engine.journal.last_seq
    await house.post("/lid", {"reservoir": "red", "lid": "closed", "operator": "Ada"})
    await house.post("/measure", {"reservoir": "yellow", "level_ul": 500.0, "operator": "Ada"})
    assert [(kind, facts["verb"], facts["reservoirs"]) for kind, _, facts in await told(house, after)] == [
        ("stock.changed", "lid", ["red"]), ("stock.changed", "measure", ["yellow"]),
    ]  # fmt: skip


async def test_what_evaporates_is_told_when_it_is_written(state_dir: Path) -> None:
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 5000.0}) as house:
        await house.post("/initialize", {"volumes_ul": {"red": 9000.0}, "operator": "Ada"})
        after = house.engine.journal.last_seq
        assert house.service.ledger.settle() == 1
        await house.engine.journal.commit()
        ((_, job, facts),) = await told(house, after)
        assert (job, facts["kinds"], facts["reservoirs"], facts["by"]) == (None, ["evaporation"], ["red"], "labd")

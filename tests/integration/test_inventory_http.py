"""The inventory over HTTP, against the real engine and ledger."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from labd.engine.job import INTERNAL
from labd.engine.schedule_spec import ScheduleSpec
from tests.fakes.clock import FakeClock
from tests.fakes.inventory_house import InventoryHouse, open_inventory

FULL = {"red": 15000.0, "yellow": 15000.0, "blue": 15000.0}


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[InventoryHouse]:
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 0.0}) as opened:
        yield opened


@pytest.fixture
async def stocked(house: InventoryHouse) -> InventoryHouse:
    await house.post("/initialize", {"volumes_ul": FULL, "operator": "anna"})
    return house


def levels(overview: dict[str, Any]) -> dict[str, float]:
    return {one["key"]: one["level_ul"] for one in overview["reservoirs"]}


async def test_a_first_filling_a_restock_and_what_there_is_then(house: InventoryHouse) -> None:
    before = await house.get("")
    assert [one["initialized"] for one in before["reservoirs"]] == [False, False, False]
    done = await house.post("/initialize", {"volumes_ul": {"red": 1000.0, "yellow": 0.0}, "operator": "anna"})
    assert [(one["kind"], one["volume_ul"], one["actor"]) for one in done["movements"]] == [
        ("restock", 1000.0, "anna"), ("restock", 0.0, "anna"),
    ]  # fmt: skip
    await house.post("/restock", {"volumes_ul": {"red": 500.0, "yellow": 250.5}, "operator": "ben", "lot": "L1"})
    after = await house.get("")
    assert levels(after) == {"red": 1500.0, "yellow": 250.5, "blue": 0.0}
    assert after["reservoirs"][0]["lot"] == "L1"
    assert (await house.get("/verify"))["ok"] is True


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        ("/restock", {"volumes_ul": {"red": -1.0}, "operator": "a"}, 422, "bad_volume",
         "red: -1 ul is negative; give 0 or more"),
        ("/restock", {"volumes_ul": {"red": 1.0}, "operator": "a"}, 422, "bad_volume",
         "red: 1.0 ul on top of 15000.0 ul is more than its capacity of 15000.0 ul; 0.0 ul fit"),
        ("/restock", {"volumes_ul": {"red": 1.0}, "operator": " "}, 400, "bad_request",
         "restock: operator missing; say who fills it in: --operator NAME"),
        ("/restock", {"volumes_ul": {"red": 1.0}}, 400, "bad_request",
         "restock: operator missing; say who fills it in: --operator NAME"),
        ("/restock", {"volumes_ul": {"gren": 1.0}, "operator": "a"}, 404, "unknown_reservoir",
         "no reservoir is named gren, there are red, yellow, blue"),
        ("/restock", {"volumes_ul": {"red": 0.0}, "operator": "a"}, 422, "bad_volume",
         "restock: every volume is 0 ul; give more than 0 ul for one reservoir at least"),
        ("/restock", {"volumes_ul": {"red": "1ml"}, "operator": "a"}, 400, "bad_request",
         "body, field volumes_ul[...]: Expected `float`, got `str`"),
        ("/adjust", {"reservoir": "red", "change_ul": -15001.0, "reason": "r"}, 422, "bad_volume",
         "adjust red: -15001 ul is more than the 15000.0 ul that are there; to say what is really there, "
         "`labctl inventory measure`"),
        ("/measure", {"reservoir": "red", "level_ul": 15001.0}, 422, "bad_volume",
         "red: 15001.0 ul is more than its capacity of 15000.0 ul"),
        ("/initialize", {"volumes_ul": FULL}, 409, "conflict",
         "initialize: there is stock already in red, yellow, blue; add to it with `labctl inventory restock`, or start "
         "anew with --reset --reason TEXT"),
        ("/initialize", {"volumes_ul": FULL, "reset": True}, 400, "bad_request",
         "initialize: reset needs a reason, it stands in every movement: --reason TEXT"),
        ("/lid", {"reservoir": "red", "lid": "ajar"}, 400, "bad_request", "lid 'ajar' is neither open nor closed"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_with_number_and_limit_and_changes_nothing(
    stocked: InventoryHouse, path: str, body: Any, status: int, code: str, message: str
) -> None:
    before = await stocked.get("/history?limit=1000")
    told = await stocked.post(path, body, status)
    assert (told["code"], told["message"]) == (code, message)
    assert await stocked.get("/history?limit=1000") == before


async def test_numbers_that_are_none_never_reach_the_ledger(stocked: InventoryHouse) -> None:
    for number in (b"NaN", b"Infinity", b"1e999"):
        raw = b'{"volumes_ul": {"red": ' + number + b'}, "operator": "a"}'
        answer = await stocked.client.ask("POST", "/api/v1/inventory/restock", raw)
        assert answer.status == 400, number
    assert levels(await stocked.get("")) == FULL


async def test_a_reset_compensates_and_deletes_nothing(stocked: InventoryHouse) -> None:
    await stocked.post("/initialize", {"volumes_ul": {"red": 9000.0}, "reset": True, "reason": "new bottle"})
    found = (await stocked.get("/history?reservoir=red"))["movements"]
    assert [(one["kind"], one["volume_ul"], one["after_ul"]) for one in found] == [
        ("restock", 9000.0, 9000.0), ("adjustment", -15000.0, 0.0), ("restock", 15000.0, 15000.0),
    ]  # fmt: skip
    assert found[1]["cause"] == "reset: new bottle" and found[0]["operation"] == found[1]["operation"]


async def test_a_check_counts_what_is_below_the_limit(stocked: InventoryHouse) -> None:
    assert (await stocked.get("/check"))["warnings"] == []
    await stocked.post("/measure", {"reservoir": "yellow", "level_ul": 1200.0})
    assert (await stocked.get("/check?low_threshold_ul=1000"))["warnings"] == []
    found = await stocked.get("/check?low_threshold_ul=2000")
    assert found["warnings"] == ["Yellow is LOW (1.20 ml) - restock recommended"]
    assert found["inventory"]["Y"]["volume_ul"] == 1200.0


async def test_availability_says_what_a_job_would_be_told(stocked: InventoryHouse) -> None:
    await stocked.post("/measure", {"reservoir": "yellow", "level_ul": 45.0})
    asked = {"required_ul": {"red": 120.0, "yellow": 150.0}}
    told = await stocked.post("/availability", asked)
    assert not told["is_sufficient"]
    assert told["refusal"]["message"] == (
        "Insufficient stock for: yellow (available: 45.0 ul, required: 150.0 ul). Please restock before proceeding."
    )
    assert told["availability"]["R"] == {
        "color": "red", "required_ul": 120.0, "available_ul": 15000.0, "is_sufficient": True,
        "remaining_after_use_ul": 14880.0,
    }  # fmt: skip
    assert list(told["availability"]) == ["R", "Y", "B"]
    refused = await stocked.client.ask("POST", "/api/v1/jobs", {"task": "test.mix", "args": {"R": 120, "Y": 150}})
    assert refused.json["message"] == told["refusal"]["message"]


async def test_history_is_filtered_and_paged(stocked: InventoryHouse) -> None:
    job = (await stocked.client.ask("POST", "/api/v1/jobs", {"task": "test.mix", "args": {"R": 120}})).json
    await stocked.engine.wait(job["id"], 10.0)
    of_job = (await stocked.get(f"/history?job={job['id']}"))["movements"]
    assert [(one["kind"], one["volume_ul"], one["step"]) for one in of_job][:1] == [("consumption", -120.0, "1")]
    assert {one["reservoir"] for one in of_job} == {"red"}
    assert len((await stocked.get("/history?kind=restock"))["movements"]) == 3
    first = await stocked.get("/history?limit=2")
    second = await stocked.get(f"/history?limit=1000&before={first['next']}")
    every = await stocked.get("/history?limit=1000")
    assert first["movements"] + second["movements"] == every["movements"]
    assert (await stocked.get("/history?since=2999-01-01T00:00:00Z"))["movements"] == []
    for query in ("kind=theft", "since=yesterday", "limit=0", "reservoir=pink"):
        answer = await stocked.client.ask("GET", f"/api/v1/inventory/history?{query}")
        assert answer.status in (400, 404), query


async def test_an_export_taken_elsewhere_gives_the_same_levels(stocked: InventoryHouse, tmp_path: Path) -> None:
    await stocked.post("/reservoirs", {"key": "green", "color": "green", "capacity_ul": 2000.0}, 201)
    await stocked.post("/measure", {"reservoir": "red", "level_ul": 1234.567})
    document = await stocked.get("/export")
    assert [one["id"] for one in document["movements"]] == sorted(
        (one["id"] for one in document["movements"]), reverse=True
    )
    bare = {key: value for key, value in document.items() if key != "movements"}
    other = tmp_path / "other"
    other.mkdir()
    async with open_inventory(other, {"evaporation_rate_ul_per_hour": 0.0}) as house:
        await house.post("/initialize", {"volumes_ul": {"red": 3.0}})
        body = {"document": bare, "operator": "anna", "reason": "moved to the new bench"}
        await house.post("/import", body)
        assert levels(await house.get("")) == levels(await stocked.get(""))
        found = (await house.get("/history?reservoir=red"))["movements"]
        assert [one["volume_ul"] for one in found] == [1234.567, -3.0, 3.0]
        assert (await house.get("/verify"))["ok"] is True
        broken = {**bare, "reservoirs": [*bare["reservoirs"][:1], {**bare["reservoirs"][1], "level_ul": -1.0}]}
        before = await house.get("/history?limit=1000")
        told = await house.post("/import", {**body, "document": broken}, 422)
        assert told["message"] == "import: yellow: level -1.0 ul; at least 0 ul"
        assert await house.get("/history?limit=1000") == before


async def test_two_reservoirs_never_stand_in_one_well(stocked: InventoryHouse) -> None:
    taken = "green and red both stand in slot 3, well B1; give each its own"
    place = {"slot": "3", "well": "B1"}
    told = await stocked.post("/reservoirs", {"key": "green", "color": "green", **place}, 409)
    assert told["message"] == f"reservoir {taken}"
    await stocked.post("/reservoirs", {"key": "green", "color": "green"}, 201)
    put = await stocked.client.ask("PUT", "/api/v1/inventory/reservoirs/green", place)
    assert (put.status, put.json["message"]) == (409, f"reservoir {taken}")
    document = {key: value for key, value in (await stocked.get("/export")).items() if key != "movements"}
    document["reservoirs"][-1].update(key="cyan", **place)
    body = {"document": document, "operator": "anna", "reason": "moved"}
    told = await stocked.post("/import", body, 409)
    assert told["message"] == "import: reservoir cyan and red both stand in slot 3, well B1; give each its own"
    assert [one["key"] for one in (await stocked.get(""))["reservoirs"]] == ["red", "yellow", "blue", "green"]


async def test_a_reservoir_that_is_added_is_an_argument_of_the_tasks(stocked: InventoryHouse) -> None:
    await stocked.post("/reservoirs", {"key": "dark-green", "color": "dark green", "capacity_ul": 2000.0}, 201)
    schema = (await stocked.client.ask("GET", "/api/v1/tasks/restock-maintenance")).json["schema"]
    assert "dark_green_volume" in schema["properties"]
    await stocked.post("/initialize", {"volumes_ul": {"dark-green": 100.0}})
    args = {"dark_green_volume": 50, "operator": "anna"}
    answer = (await stocked.client.ask("POST", "/execute/restock-maintenance", args)).json
    assert answer["result"]["inventory_after"]["dark-green"]["volume_ul"] == 150.0
    put = await stocked.client.ask("PUT", "/api/v1/inventory/reservoirs/dark-green", {"lot": "L9"})
    assert put.json["reservoir"]["lot"] == "L9"
    await stocked.post("/reservoirs/dark-green/remove", {"reason": "not used"})
    assert [one["key"] for one in (await stocked.get(""))["reservoirs"]] == ["red", "yellow", "blue"]
    schema = (await stocked.client.ask("GET", "/api/v1/tasks/restock-maintenance")).json["schema"]
    assert "dark_green_volume" not in schema["properties"]


async def test_a_name_that_is_no_argument_goes_into_volumes(stocked: InventoryHouse) -> None:
    await stocked.post("/reservoirs", {"key": "2-propanol", "color": "2-propanol"}, 201)
    await stocked.post("/initialize", {"volumes_ul": {"2-propanol": 100.0}})
    args = {"volumes": {"2-propanol": 50.0}, "red_volume": 0, "operator": "anna"}
    answer = (await stocked.client.ask("POST", "/execute/restock-maintenance", args)).json
    assert answer["result"]["inventory_after"]["2-propanol"]["volume_ul"] == 150.0


async def test_a_forecast_names_the_job_that_will_be_short(stocked: InventoryHouse) -> None:
    stocked.mixer.go_on.clear()
    for _ in range(2):
        await stocked.client.ask("POST", "/api/v1/jobs", {"task": "test.mix", "args": {"Y": 7000}})
    found = await stocked.get("/forecast")
    yellow = found["reservoirs"][1]
    assert (found["queued_jobs"], yellow["expected"]["job_id"], yellow["expected"]["at"]) == (2, None, None)
    assert yellow["reserved_ul"] == 14000.0
    override = {"task": "test.mix", "args": {"Y": 7000}, "override": "class is waiting"}
    third = (await stocked.client.ask("POST", "/api/v1/jobs", override)).json
    yellow = (await stocked.get("/forecast"))["reservoirs"][1]
    assert (yellow["expected"]["job_id"], yellow["expected"]["missing_ul"]) == (third["id"], 6000.0)
    assert yellow["soonest"]["at"] <= yellow["expected"]["at"]
    await stocked.post("/lid", {"reservoir": "red", "lid": "closed"})
    assert (await stocked.get("/forecast"))["reservoirs"][0]["evaporation_ul_per_hour"] == 0.5


async def test_every_act_is_in_the_audit_with_the_caller(stocked: InventoryHouse) -> None:
    await stocked.post("/restock", {"volumes_ul": {"red": 0.0}, "operator": "ben"}, 422)
    await stocked.post("/adjust", {"reservoir": "red", "change_ul": -10.5, "reason": "spilled", "operator": "ben"})
    page = await stocked.engine.audit_page(None, 10)
    assert [(one.action, one.subject) for one in page[:2]] == [
        ("inventory.adjust", "red"), ("inventory.initialize", "blue, red, yellow"),
    ]  # fmt: skip
    assert page[0].details == {"by": "ben", "reason": "spilled", "volumes_ul": {"red": -10.5}}


async def test_a_restock_job_that_runs_again_after_a_crash_fills_in_once(stocked: InventoryHouse) -> None:
    await stocked.post("/measure", {"reservoir": "red", "level_ul": 1000.0})
    args = {"red_volume": 500, "operator": "anna"}
    job = (await stocked.client.ask("POST", "/api/v1/jobs", {"task": "restock-maintenance", "args": args})).json
    ended = await stocked.engine.wait(job["id"], 10.0)
    again = await stocked.service.desk.verbs.restock({"red": 500.0}, "anna", INTERNAL, job_id=ended.id)
    assert [one.volume_ul for one in again["movements"]] == [500.0]
    assert levels(await stocked.get(""))["red"] == 1500.0
    assert ended.result["log_id"] == again["movements"][0].id


async def test_the_seeds_flows_have_their_queues_and_answers(house: InventoryHouse) -> None:
    flows = {
        "initialize-inventory/initialize-inventory": ({"red_volume": 15000, "yellow_volume": 1200, "blue_volume": 9000,
                                                       "evaporation_rate": 0.0}, "maintenance", 4),
        "restock-maintenance/restock-maintenance": ({"yellow_volume": 300, "operator": "lab_tech_1"}, "maintenance", 4),
        "check-inventory-status/check-inventory-status": ({"low_threshold_ml": 2.0}, "monitoring", 5),
    }  # fmt: skip
    results = {}
    for flow, (args, queue, priority) in flows.items():
        job = (await house.client.ask("POST", "/api/v1/jobs", {"task": flow, "args": args})).json
        assert (job["queue"], job["priority"]) == (queue, priority)
        ended = await house.engine.wait(job["id"], 10.0)
        assert ended.state == "succeeded", ended.error
        results[flow.partition("/")[0]] = ended.result
    assert results["initialize-inventory"]["B"]["volume_ul"] == 9000.0
    restocked = results["restock-maintenance"]
    assert (restocked["status"], restocked["operator"]) == ("success", "lab_tech_1")
    assert restocked["volumes_added"] == {"yellow_ul": 300.0}
    assert restocked["inventory_before"]["Y"]["volume_ul"] == 1200.0
    assert restocked["inventory_after"]["Y"]["volume_ul"] == 1500.0
    status = results["check-inventory-status"]
    assert status["warnings"] == ["Yellow is LOW (1.50 ml) - restock recommended"]
    assert status["overall_status"] == "Action required"


@pytest.mark.parametrize(
    ("task", "args", "code", "part"),
    [
        ("restock-maintenance", {"red_volume": 10}, "invalid_arguments", "operator"),
        ("restock-maintenance", {"red_volume": 10, "operator": ""}, "bad_request", "operator missing"),
        ("restock-maintenance", {"red_volume": -10, "operator": "a"}, "invalid_arguments", ">= 0"),
        ("restock-maintenance", {"pink_volume": 10, "operator": "a"}, "invalid_arguments", "pink_volume"),
        ("restock-maintenance", {"red_volume": 10, "operator": "a"}, "bad_volume", "capacity of 15000.0 ul"),
        (
            "restock-maintenance",
            {"volumes": {"red": 1.0}, "red_volume": 2, "operator": "a"},
            "bad_volume",
            "given twice",
        ),
        ("initialize-inventory", {}, "conflict", "there is stock already"),
        ("check-inventory-status", {"low_threshold_ml": -1}, "invalid_arguments", ">= 0"),
        ("check-stock-availability", {"volumes": {"pink": 1.0}}, "unknown_reservoir", "pink"),
        ("check-stock-availability", {"red_volume": 14901}, "insufficient_stock", "red (available: 15000.0 ul"),
    ],
)
async def test_a_task_with_bad_arguments_is_refused(
    stocked: InventoryHouse, task: str, args: Any, code: str, part: str
) -> None:
    before = await stocked.get("/history")
    told = (await stocked.client.ask("POST", f"/execute/{task}", args)).json
    assert told["code"] == code, told
    assert part in told["message"]
    assert await stocked.get("/history") == before


async def test_every_route_is_in_openapi_with_its_answer_and_errors(house: InventoryHouse) -> None:
    document = (await house.client.ask("GET", "/api/v1/openapi.json")).json
    told = {path: item for path, item in document["paths"].items() if path.startswith("/api/v1/inventory")}
    assert {path.removeprefix("/api/v1/inventory") for path in told} == {
        "", "/initialize", "/restock", "/measure", "/adjust", "/lid", "/import", "/check", "/availability", "/history",
        "/forecast", "/verify", "/export", "/reservoirs", "/reservoirs/{name}", "/reservoirs/{name}/fit",
        "/reservoirs/{name}/remove",
    }  # fmt: skip
    for path, item in told.items():
        for method, operation in item.items():
            assert operation["summary"] and operation["responses"], (path, method)
            if method in ("post", "put"):
                assert operation["requestBody"], path


async def test_measured_levels_tell_the_rate_and_the_band(state_dir: Path) -> None:
    clock = FakeClock()
    async with open_inventory(state_dir, clock=clock) as house:
        await house.post("/initialize", {"volumes_ul": FULL})
        level = 15000.0
        for lost in (82.0, 79.0, 80.0, 81.0, 78.0):
            clock.advance(36000.0)
            level -= lost
            await house.post("/measure", {"reservoir": "yellow", "level_ul": level})
        found = (await house.get("/reservoirs/yellow/fit"))["fit"]
        assert found["rate_ul_per_hour"] == pytest.approx(8.0, abs=0.1)
        assert 7.5 < found["low_ul_per_hour"] < 8.0 < found["high_ul_per_hour"] < 8.5
        assert found["is_significant"] and found["rate_in_force_ul_per_hour"] == 5.0
        assert found["drift_ul"] == pytest.approx(-28.0, abs=0.01)
        yellow = (await house.get("/forecast"))["reservoirs"][1]
        assert yellow["evaporation_basis"] == "measured"
        assert yellow["evaporation_band_ul_per_hour"][0] == 5.0


async def test_recent_use_outlives_a_restart_and_is_counted_once(state_dir: Path) -> None:
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 0.0}) as house:
        await house.post("/initialize", {"volumes_ul": FULL})
        look = house.service.desk.outlook.forecast
        assert {one.reservoirs[0].use_ul_per_hour for one in await asyncio.gather(look(), look())} == {0.0}
        for _ in range(3):
            answer = await house.client.ask("POST", "/execute/test.mix", {"R": 1000})
            assert answer.json["status"] == "success"
        looks = await asyncio.gather(*(look() for _ in range(4)))
    (used,) = {one.reservoirs[0].use_ul_per_hour for one in looks}
    assert used == pytest.approx(3000 / 22.4, rel=0.02)  # over a day at least, of which a fading week counts 22.4 h
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 0.0}) as house:
        again = (await house.get("/forecast"))["reservoirs"]
    assert again[0]["use_ul_per_hour"] == pytest.approx(used, rel=0.001)
    assert again[1]["use_ul_per_hour"] == 0.0 and again[1]["expected"]["at"] is None


@pytest.mark.parametrize(
    ("task", "args"),
    [
        ("inventory.measure", {"reservoir": "red", "level_ul": 900.0, "operator": "anna"}),
        ("inventory.adjust", {"reservoir": "red", "change_ul": -1.0, "reason": "drop"}),
        ("inventory.forecast", {}),
        ("inventory.verify", {}),
        ("inventory.get_current", {}),
        ("get-current-inventory", {}),
    ],
)
async def test_every_other_verb_is_a_task_as_well(stocked: InventoryHouse, task: str, args: Any) -> None:
    answer = (await stocked.client.ask("POST", f"/execute/{task}", args)).json
    assert (answer["status"], bool(answer["result"])) == ("success", True)


async def test_the_daily_check_of_the_settings_file_can_be_taken_as_it_stands(stocked: InventoryHouse) -> None:
    lines = (Path(__file__).resolve().parents[2] / "etc" / "labd.toml").read_text().splitlines()
    start = lines.index("# [schedule.daily-inventory-check]")
    tables = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines[start : start + 5]))
    table = tables["schedule"]["daily-inventory-check"]
    spec = msgspec.convert({"name": "daily-inventory-check", **table}, ScheduleSpec)
    view = await stocked.engine.put_schedule(spec, INTERNAL)
    assert view.next_run_at is not None
    assert datetime.fromtimestamp(view.next_run_at, ZoneInfo("Europe/Berlin")).strftime("%H:%M") == "08:00"
    ended = (await stocked.client.ask("POST", f"/execute/{spec.task}", spec.args)).json
    assert ended["result"]["overall_status"] == "All colors adequately stocked"

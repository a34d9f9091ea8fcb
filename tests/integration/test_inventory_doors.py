"""A job that finds too little stock gets the same code, words and numbers at whatever door it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from labctl import AsyncClient, Client
from labctl.__main__ import answer
from labd.api.bearer import hash_of
from labd.clock import SystemClock
from labd.engine.job import INTERNAL
from labd.engine.views import TokenRow
from labd.errors import LabdError
from labd.mqtt import MqttDoor
from labd.settings_types import MqttSettings
from tests.fakes.api_door import open_door
from tests.fakes.broker import PASSWORDS, Broker, until
from tests.fakes.inventory_house import InventoryHouse, open_inventory
from tests.fakes.raw_http import RawClient

TASK, ARGS = "test.mix", {"R": 120, "Y": 150}
MESSAGE = "Insufficient stock for: yellow (available: 45.0 ul, required: 150.0 ul). Please restock before proceeding."
TOKEN = "labd_stock"
Refusal = tuple[str, str, Any]
Door = Callable[[InventoryHouse], Awaitable[Refusal]]


@pytest.fixture
async def house(state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InventoryHouse]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 0.0}) as opened:
        await opened.post("/initialize", {"volumes_ul": {"red": 15000.0, "yellow": 45.0, "blue": 15000.0}})
        monkeypatch.setenv("LABD_HOST", opened.url)
        yield opened


def told(body: dict[str, Any]) -> Refusal:
    return body["code"], body["message"], body["details"]


async def over_jobs(house: InventoryHouse) -> Refusal:
    return told((await house.client.ask("POST", "/api/v1/jobs", {"task": TASK, "args": ARGS})).json)


async def over_a_list_of_jobs(house: InventoryHouse) -> Refusal:
    body = [{"task": TASK, "args": {"R": 1}}, {"task": TASK, "args": ARGS}]
    return told((await house.client.ask("POST", "/api/v1/jobs", body)).json)


async def over_execute(house: InventoryHouse) -> Refusal:
    return told((await house.client.ask("POST", f"/execute/{TASK}", ARGS)).json)


async def over_an_alias(house: InventoryHouse) -> Refusal:
    return told((await house.client.ask("POST", "/execute/mix/mix", ARGS)).json)


async def over_tcp(house: InventoryHouse) -> Refusal:
    now = SystemClock().wall()
    await house.engine.put_token(TokenRow(0, "test", hash_of(TOKEN), ("read", "operate"), now, INTERNAL.name))
    folder = house.socket.parent / "tcp"
    folder.mkdir()
    async with (
        open_door(house.engine, folder, listen="127.0.0.1:0") as server,
        await RawClient.tcp(server.tcp_address) as client,
    ):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return told((await client.ask("POST", f"/execute/{TASK}", ARGS, headers=headers)).json)


async def over_the_client(house: InventoryHouse) -> Refusal:
    def ask() -> Refusal:
        with Client(house.url) as lab, pytest.raises(LabdError) as fault:
            lab.submit(TASK, ARGS)
        return fault.value.code, fault.value.message, fault.value.details

    return await asyncio.to_thread(ask)


async def over_the_async_client(house: InventoryHouse) -> Refusal:
    async with AsyncClient(house.url) as lab:
        with pytest.raises(LabdError) as fault:
            await lab.execute(TASK, ARGS)
    return fault.value.code, fault.value.message, fault.value.details


async def over_availability(house: InventoryHouse) -> Refusal:
    answered = await house.post("/availability", {"required_ul": {"red": 120.0, "yellow": 150.0}})
    return told(answered["refusal"])


async def over_mqtt(house: InventoryHouse) -> Refusal:
    folder = house.socket.parent / "broker"
    broker = await Broker(folder).start()
    try:
        settings = msgspec.convert(broker.settings(), MqttSettings)
        door = MqttDoor(settings, house.engine, "pi", "0", SystemClock(), Random(1))
        async with broker.client("alice") as alice:
            await door.start()
            await until(door.connection.connected.is_set)
            await alice.ask(TASK, ARGS)
            body = await alice.end()
            await door.stop()
        return told(body)
    finally:
        broker.stop()


DOORS: list[Door] = [
    over_jobs, over_a_list_of_jobs, over_execute, over_an_alias, over_tcp, over_the_client, over_the_async_client,
    over_availability, over_mqtt,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=[door.__name__ for door in DOORS])
async def test_too_little_stock_is_refused_alike_at_every_door(
    house: InventoryHouse, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABD_TEST_MQTT_PASSWORD", PASSWORDS["labd"])
    before = await house.get("/history")
    code, message, details = await door(house)
    assert (code, message) == ("insufficient_stock", MESSAGE)
    assert details["short"] == [
        {
            "reservoir": "yellow",
            "color": "yellow",
            "available_ul": 45.0,
            "required_ul": 150.0,
            "threshold_ul": 100.0,
            "missing_ul": 205.0,
        }
    ]
    assert await house.get("/history") == before
    assert (await house.client.ask("GET", "/api/v1/jobs")).json["jobs"] == []


@pytest.mark.parametrize("words", [["task", "run"], ["job", "submit"], ["execute"]])
async def test_labctl_says_it_in_the_same_words_and_ends_with_4(
    house: InventoryHouse, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert await asyncio.to_thread(answer, [*words, TASK, "R=120", "Y=150"]) == 4
    err = capsys.readouterr().err
    assert MESSAGE in err
    assert "yellow: 100.0 ul must remain, so at most 0.0 ul can be taken; 205.0 ul are missing" in err


async def test_labctl_says_what_must_remain_where_the_available_volume_would_do(
    house: InventoryHouse, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.post("/initialize", {"volumes_ul": {"yellow": 120.0}, "reset": True, "reason": "less"})
    capsys.readouterr()
    assert await asyncio.to_thread(answer, ["task", "run", TASK, "R=120", "Y=50"]) == 4
    err = capsys.readouterr().err
    assert "yellow (available: 120.0 ul, required: 50.0 ul)" in err
    assert "yellow: 100.0 ul must remain, so at most 20.0 ul can be taken; 30.0 ul are missing" in err


@pytest.mark.parametrize(
    ("yellow_ul", "words"),
    [(149.996, "at most 49.9 ul can be taken; 0.1 ul are missing"), (120.0, "at most 20.0 ul can be taken; 30.0 ul")],
)
async def test_what_is_missing_is_never_rounded_away(
    house: InventoryHouse, capsys: pytest.CaptureFixture[str], yellow_ul: float, words: str
) -> None:
    await house.post("/initialize", {"volumes_ul": {"yellow": yellow_ul}, "reset": True, "reason": "less"})
    assert await asyncio.to_thread(answer, ["task", "run", TASK, "R=1", "Y=50"]) == 4
    assert words in capsys.readouterr().err


async def test_the_next_step_for_a_colour_without_a_reservoir_begins_with_one(
    house: InventoryHouse, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.post("/reservoirs/blue/remove", {"reason": "not used"})
    assert await asyncio.to_thread(answer, ["task", "run", TASK, "B=5"]) == 4
    assert (
        "next: labctl inventory reservoir add blue, then labctl inventory init blue=VOLUME" in capsys.readouterr().err
    )


async def test_a_reservoir_that_was_never_set_up_is_named_at_the_doors(house: InventoryHouse) -> None:
    await house.post("/reservoirs", {"key": "green", "color": "green"}, 201)
    answered = await house.post("/availability", {"required_ul": {"green": 1.0}})
    assert told(answered["refusal"])[:2] == ("inventory_not_initialized", "Inventory not initialized for color green")

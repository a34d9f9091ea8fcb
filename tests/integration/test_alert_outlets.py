"""Alerts through a real Mosquitto and the real apprise."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import aiomqtt
import msgspec
import pytest

from labd.engine.engine import Engine
from labd.engine.registry import Registry
from labd.mqtt import MqttDoor
from labd.notify_outlets import AppriseOutlet, Message, Undelivered, WebhookOutlet
from labd.notify_settings import OutletSettings
from labd.settings_types import MqttSettings
from tests.conftest import requires
from tests.fakes.alert_house import AheadClock, AlertHouse, Hook, hurried, turns
from tests.fakes.broker import DEADLINE_S, PASSWORDS, Broker, session_of, until

STOP = {"code": "stop_latched", "subject": "resort:main", "message": "resort main: stopped by bob"}
LOW = {"code": "low_stock", "subject": "yellow", "message": "yellow: 45.0 ul are left", "state": "low"}


@pytest.fixture(autouse=True)
async def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("LABD_TEST_MQTT_PASSWORD", PASSWORDS["labd"])
    async with hurried():
        yield


@pytest.fixture
async def broker(state_dir: Path) -> AsyncIterator[Broker]:
    broker = await Broker(state_dir / "broker").start()
    yield broker
    broker.stop()


@pytest.fixture
async def door(state_dir: Path, broker: Broker) -> AsyncIterator[MqttDoor]:
    (state_dir / "door").mkdir()
    engine = Engine(state_dir / "door", Registry(), AheadClock(), Random(1))
    await engine.open()
    await engine.start()
    door = MqttDoor(msgspec.convert(broker.settings(), MqttSettings), engine, "pi", "0", AheadClock(), Random(1))
    await door.start()
    yield door
    await door.stop()
    await engine.close()


def listener(broker: Broker, user: str = "carol") -> aiomqtt.Client:
    """Somebody who hears the alerts, with a session that outlives the broker's restart."""
    return aiomqtt.Client(
        "127.0.0.1", broker.port, username=user, password=PASSWORDS[user], protocol=aiomqtt.ProtocolVersion.V5,
        identifier=f"{user}-alerts", clean_start=False, properties=session_of(3600),
    )  # fmt: skip


async def test_alerts_go_out_on_the_topic_of_their_code_and_are_not_retained(
    state_dir: Path, broker: Broker, door: MqttDoor
) -> None:
    house = AlertHouse(state_dir, lab={"kind": "mqtt"})
    house.door = door
    async with listener(broker) as carol:
        await carol.subscribe("labd/bench/alerts/#", qos=1)
        await house.open()
        house.standing = [STOP]
        async with asyncio.timeout(DEADLINE_S):
            told = await anext(aiter(carol.messages))
        assert (told.topic.value, told.qos, told.retain) == ("labd/bench/alerts/stop_latched", 1, False)
        message = msgspec.json.decode(told.payload)
        assert (message["key"], message["id"], message["severity"]) == ("stop_latched:resort:main", 1, "error")
    async with listener(broker, "alice") as late:
        await late.subscribe("labd/bench/alerts/#", qos=1)
        (result,) = await house.notifier.test("lab")
        assert result.delivered
        async with asyncio.timeout(DEADLINE_S):
            told = await anext(aiter(late.messages))
        assert told.topic.value == "labd/bench/alerts/test"  # nothing retained came in front of it
    await house.close()


async def test_a_broker_that_was_away_gets_what_is_still_true(state_dir: Path, broker: Broker, door: MqttDoor) -> None:
    async with listener(broker) as carol:
        await carol.subscribe("labd/bench/alerts/#", qos=1)
    await until(door.connection.connected.is_set)
    broker.stop()
    await until(lambda: not door.connection.connected.is_set())
    house = AlertHouse(state_dir, lab={"kind": "mqtt"})
    house.door = door
    await house.open()
    house.standing = [STOP, LOW]
    await until(lambda: len(house.book.all()) == 2)
    (result,) = await house.notifier.test()
    assert "is away" in str(result.problem)
    house.standing = [LOW]
    await until(lambda: not house.book.find("stop_latched:resort:main").is_open)
    await broker.start()
    await until(lambda: house.book.told("lab", "low_stock:yellow"))
    async with listener(broker) as carol, asyncio.timeout(DEADLINE_S):
        told = await anext(aiter(carol.messages))
    assert told.topic.value == "labd/bench/alerts/low_stock"
    assert house.book.told("lab", "stop_latched:resort:main") is None
    await house.close()


async def test_an_outlet_over_mqtt_says_that_the_door_is_off(state_dir: Path) -> None:
    house = await AlertHouse(state_dir, lab={"kind": "mqtt"}).open()
    (result,) = await house.notifier.test()
    assert result.problem == "the MQTT door is off; `labctl status` says why"
    await house.close()


# apprise 1.13 looks for imghdr, which Python 3.13 has no more.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
async def test_apprise_tells_a_real_receiver_what_failed_first(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requires("apprise", importlib.util.find_spec("apprise") is not None, "pip install 'labd[notify]'")
    hook = await Hook().start()
    hook.answers = [503, 500]
    monkeypatch.setenv("OPS_URLS", f"json://{hook.address}/s3cret-token")
    house = await AlertHouse(state_dir, ops={"kind": "apprise", "url": "env:OPS_URLS"}).open()
    house.standing = [STOP]
    await until(lambda: hook.got)
    assert hook.refused == 2
    told = hook.got[0]
    assert (told["title"], told["type"]) == ("labd pi: stop_latched resort:main", "failure")
    assert "resort main: stopped by bob" in told["message"]
    assert "alert 1, error; `labctl alert ack stop_latched:resort:main`" in told["message"]
    await turns(house)
    await house.close()
    await house.open()
    await turns(house)
    assert len(hook.got) == 1
    await house.close()
    await hook.stop()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # as above
async def test_a_reference_without_a_good_url_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    requires("apprise", importlib.util.find_spec("apprise") is not None, "pip install 'labd[notify]'")
    message = Message(0, "test:x", "test", "x", "info", "a test", "pi", None, None)
    outlet = AppriseOutlet(OutletSettings(kind="apprise", url="env:OPS_URLS"))
    with pytest.raises(Undelivered, match="OPS_URLS is not set or empty"):
        await outlet.send(message)
    monkeypatch.setenv("OPS_URLS", "nosuchscheme://s3cret")
    with pytest.raises(Undelivered) as caught:
        await outlet.send(message)
    assert str(caught.value) == "apprise knows no service for a URL of env:OPS_URLS"
    webhook = WebhookOutlet(OutletSettings(kind="webhook", url="env:OPS_URLS"), AheadClock(), "labd/0")
    with pytest.raises(Undelivered) as caught:
        await webhook.send(message)
    assert str(caught.value) == "url: needs http:// or https:// and a host"
    monkeypatch.setenv("OPS_URLS", "http://lab.example/s3cret")
    with pytest.raises(Undelivered) as caught:
        await webhook.send(message)
    assert str(caught.value).startswith("url: lab.example is another host; use https")
    await webhook.close()

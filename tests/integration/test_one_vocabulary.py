"""One registry and one error vocabulary: the same request gets the same words over the socket, TCP and MQTT."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from labd.api.bearer import hash_of
from labd.clock import SystemClock
from labd.engine.job import INTERNAL
from labd.engine.views import TokenRow
from labd.mqtt import MqttDoor
from labd.settings_types import MqttSettings
from tests.fakes.api_door import open_door, open_engine
from tests.fakes.broker import PASSWORDS, Broker, until
from tests.fakes.raw_http import RawClient

Ask = Callable[[str, Any], Awaitable[dict[str, Any]]]
TOKEN = "labd_vocabulary"

CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("test.add", {"a": 2, "b": 3}, {"status": "success", "result": 5}),
    ("add/add", {"a": 2}, {"status": "success", "result": 3}),
    ("emergency_stop", {}, {"status": "success", "result": {"stopped": True}}),
    ("test.ad", {"a": 2}, {"status": "error", "code": "unknown_task"}),
    ("test.add", {"a": "two"}, {"status": "error", "code": "invalid_arguments"}),
    ("test.add", {"a": 2, "c": 3}, {"status": "error", "code": "invalid_arguments"}),
    ("test.add", {}, {"status": "error", "code": "invalid_arguments"}),
    ("test.fail", {}, {"status": "error", "code": "stop_latched"}),
]


@pytest.fixture
async def doors(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Ask]]:
    monkeypatch.setenv("LABD_TEST_MQTT_PASSWORD", PASSWORDS["labd"])
    clock = SystemClock()
    broker = await Broker(state_dir / "broker").start()
    try:
        async with open_engine(state_dir) as engine:
            row = TokenRow(0, "test", hash_of(TOKEN), ("read", "operate"), clock.wall(), INTERNAL.name)
            await engine.put_token(row)
            settings = msgspec.convert(broker.settings(), MqttSettings)
            door = MqttDoor(settings, engine, "pi", "0", clock, Random(1))
            async with (
                open_door(engine, state_dir, listen="127.0.0.1:0") as server,
                await RawClient.unix(state_dir / "labd.sock") as on_socket,
                await RawClient.tcp(server.tcp_address) as on_tcp,
                broker.client("alice") as alice,
            ):
                await door.start()
                await until(door.connection.connected.is_set)

                async def over_socket(task: str, args: Any) -> dict[str, Any]:
                    return (await on_socket.ask("POST", f"/execute/{task}", args)).json

                async def over_tcp(task: str, args: Any) -> dict[str, Any]:
                    headers = {"Authorization": f"Bearer {TOKEN}"}
                    return (await on_tcp.ask("POST", f"/execute/{task}", args, headers=headers)).json

                async def over_mqtt(task: str, args: Any) -> dict[str, Any]:
                    await alice.ask(task, args)
                    return await alice.end()

                yield {"socket": over_socket, "tcp": over_tcp, "mqtt": over_mqtt}
                await door.stop()
    finally:
        broker.stop()


@pytest.mark.parametrize(("task", "args", "expected"), CASES, ids=[f"{task} {args}" for task, args, _ in CASES])
async def test_every_door_says_the_same(doors: dict[str, Ask], task: str, args: Any, expected: dict[str, Any]) -> None:
    told = {}
    for name, ask in doors.items():
        answer = await ask(task, args)
        assert answer.items() >= expected.items(), name
        answer.pop("correlation", None)
        if answer.pop("job") is None:
            assert answer["status"] == "error", name
        told[name] = answer
    assert told["socket"] == told["tcp"] == told["mqtt"]

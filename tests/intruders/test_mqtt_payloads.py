"""Hostile requests at a real Mosquitto: each is refused, none makes a job, and the next good one is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.broker import PASSWORDS, Broker, Person
from tests.integration.test_mqtt import House

TOO_LONG = 262_144 + 1
PAYLOADS = {
    "half a surrogate": b'{"a": "\\ud800"}',
    "half a surrogate as a key": b'{"\\udc00": 1}',
    "nested without end": b'{"a": ' + b"[" * 100_000,
    "nested 900 deep": b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}",
    "a number of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "no number": b'{"a": NaN}',
    "beyond any float": b'{"a": 1e999}',
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16 with a lone half": '{"a": "x'.encode("utf-16") + b"\x00\xd8",
    "no object": b"[1]",
    "cut short": b'{"a": ',
    "too long": b'{"a": "' + b"x" * TOO_LONG + b'"}',
    "an argument nobody knows": b'{"a": 1, "__class__": "x"}',
    "the wrong type": b'{"a": {"$ne": null}}',
    "zero bytes": b"\0" * 50,
}
TASKS = (
    "../../etc/passwd",
    "test.add%00",
    "' OR 1=1 --",
    "x" * 400,
    "test.add/../test.stop",
    "\u202etest.add",
    "TEST.ADD",
)


@pytest.fixture
async def door(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[House, Person]]:
    monkeypatch.setenv("LABD_TEST_MQTT_PASSWORD", PASSWORDS["labd"])
    broker = await Broker(state_dir / "broker").start()
    house = House(state_dir, broker)
    await house.open()
    try:
        async with broker.client("alice") as alice:
            yield house, alice
    finally:
        await house.close()
        broker.stop()


async def test_hostile_payloads_are_refused_by_name_and_the_next_request_is_done(door: tuple[House, Person]) -> None:
    house, alice = door
    for name, payload in PAYLOADS.items():
        await alice.ask("test.add", payload=payload)
        refused = await alice.end()
        assert refused["status"] == "error", name
        assert refused["code"] in ("bad_request", "invalid_arguments", "body_too_large"), (name, refused)
        assert len(refused["message"]) < 2000, name
    assert await house.jobs() == 0
    await alice.ask("test.add", {"a": 2})
    assert (await alice.end())["result"] == 3


async def test_hostile_names_of_tasks_are_unknown_and_stop_nothing(door: tuple[House, Person]) -> None:
    house, alice = door
    for name in TASKS:
        await alice.ask(name, {"a": 1})
        assert (await alice.end())["code"] == "unknown_task", name
    assert await house.jobs() == 0
    assert house.tasks.ran == []


async def test_hostile_properties_do_not_carry_an_answer_elsewhere(door: tuple[House, Person]) -> None:
    house, alice = door
    elsewhere = (
        "labd/bench/status",
        "labd/bench/cmd/alice/test.stop",
        "labd/bench/reply/bob/x",
        "labd/bench/reply/alice/../bob",
    )
    for topic in elsewhere:
        await alice.ask("test.add", {"a": 1}, reply=topic)
        heard = await alice.end()
        assert alice.topics[-1].startswith("labd/bench/reply/alice"), (topic, heard)
    for correlation in (None, b"x" * 65, b"\0" * 64, bytes(range(64))):
        await alice.ask("test.add", {"a": 1}, correlation=correlation)
        heard = await alice.end()
        good = correlation is not None and len(correlation) <= 64
        assert heard["status"] == ("success" if good else "error")
    assert house.door.connection.connected.is_set()

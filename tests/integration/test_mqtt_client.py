"""The client for scripts at a real broker: it repeats itself until labd has its request, and hears of the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labctl import MQTTOrchestratorClient
from labd.errors import DaemonUnreachable, InvalidArguments, NotAuthenticated, TaskTimeout, UnknownTask
from tests.fakes.broker import PASSWORDS, Broker, until
from tests.integration.test_mqtt import House


@pytest.fixture
async def house(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setenv("LABD_TEST_MQTT_PASSWORD", PASSWORDS["labd"])
    broker = await Broker(state_dir / "broker").start()
    house = House(state_dir, broker)
    house.broker = broker  # type: ignore[attr-defined]
    await house.open()
    yield house
    await house.close()
    broker.stop()


def client(house: House, **options: Any) -> MQTTOrchestratorClient:
    broker: Broker = house.broker  # type: ignore[attr-defined]
    told = {"username": "alice", "password": PASSWORDS["alice"], "resend_s": 0.1, **options}
    return MQTTOrchestratorClient(f"127.0.0.1:{broker.port}", "bench", **told)


async def test_a_task_is_run_and_its_result_comes_back(house: House) -> None:
    with client(house) as lab:
        assert await asyncio.to_thread(lab.execute_task, "test.add", a=2, b=3) == 5
        assert await asyncio.to_thread(lab.execute_task, "test.move") == "moved"  # its expiry is the client's own
        assert await asyncio.to_thread(lab.execute_task, "emergency_stop") == {"stopped": True}


async def test_refusals_are_the_classes_of_their_codes(house: House) -> None:
    with client(house) as lab:
        with pytest.raises(UnknownTask):
            await asyncio.to_thread(lab.execute_task, "test.ad")
        with pytest.raises(InvalidArguments, match="a = 'two'"):
            await asyncio.to_thread(lab.execute_task, "test.add", a="two")


async def test_a_request_that_labd_lost_is_sent_again_and_done_once(house: House) -> None:
    received = asyncio.Event()
    submit = house.engine.submit_one

    async def dies_once(*anything: Any) -> Any:
        house.engine.submit_one = submit  # type: ignore[method-assign]
        received.set()
        await asyncio.Event().wait()

    house.engine.submit_one = dies_once  # type: ignore[method-assign]
    with client(house) as lab:
        asked = asyncio.create_task(asyncio.to_thread(lab.execute_task, "test.add", a=2))
        await received.wait()
        await house.close()
        await house.open()
        assert await asked == 3
    assert await house.jobs() == 1


async def test_progress_is_heard_and_a_long_wait_ends_but_not_the_job(house: House) -> None:
    heard: list[str] = []
    with client(house, timeout_s=0.5) as lab, pytest.raises(TaskTimeout, match="it goes on"):
        await asyncio.to_thread(lab.execute, "test.hold", {}, lambda told: heard.append(told["status"]))
    assert heard[0] == "accepted"
    assert "progress" in heard
    house.tasks.go_on.set()
    await until(lambda: house.engine.counts()["running"] == 0)


async def test_what_nobody_accepts_is_withdrawn(house: House) -> None:
    await house.close()
    withdrawn = pytest.raises(DaemonUnreachable, match="was not accepted within 1 s and is withdrawn")
    with client(house, expires_in_s=1.0) as lab, withdrawn:
        await asyncio.to_thread(lab.execute_task, "test.move")
    await house.open()


async def test_a_wrong_password_is_told(house: House) -> None:
    with client(house, password="wrong") as lab, pytest.raises(NotAuthenticated, match="refuses alice"):
        await asyncio.to_thread(lab.execute_task, "test.add", a=1)

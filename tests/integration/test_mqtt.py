"""The MQTT door at a real Mosquitto: what is asked is done once and answered, whoever dies or goes away meanwhile."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiomqtt
import msgspec
import pytest
import trustme

from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.job import JobState
from labd.engine.registry import JobContext, Registry, StopSpec, TaskSpec
from labd.engine.views import JobFilter
from labd.mqtt import MqttDoor
from labd.settings_types import MqttSettings
from tests.fakes.broker import DEADLINE_S, PASSWORDS, Broker, Person, session_of, until

SESSION: dict[str, Any] = {"identifier": "alice-desk", "clean_start": False, "properties": session_of(3600)}


class Tasks:
    """Tasks that a test steers and counts."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.ran: list[str] = []

    def registry(self) -> Registry:
        registry = Registry()
        registry.add(TaskSpec("test.add", self.add, aliases=("add/add",)))
        registry.add(TaskSpec("test.hold", self.hold))
        registry.add(TaskSpec("test.move", self.move, effect="physical"))
        registry.add(TaskSpec("test.long", self.long))
        registry.add(StopSpec("test.stop", self.stop, aliases=("emergency_stop",)))
        return registry

    async def add(self, ctx: JobContext, a: int, b: int = 1) -> int:
        self.ran.append(f"add {ctx.job.id}")
        return a + b

    async def hold(self, ctx: JobContext) -> str:
        ctx.progress(1, 4, "waiting")
        await self.go_on.wait()
        return "went on"

    async def move(self, ctx: JobContext) -> str:
        self.ran.append(f"move {ctx.job.id}")
        return "moved"

    async def long(self, ctx: JobContext) -> str:
        return "x" * 5000

    async def stop(self, args: dict[str, Any], caller: Any) -> dict[str, Any]:
        self.ran.append(f"stop by {caller.name}")
        return {"stopped": True}


class House:
    """Engine and MQTT door over one state folder; may be closed and opened again."""

    def __init__(self, folder: Path, broker: Broker, **settings: Any) -> None:
        self.folder = folder / "state"
        self.folder.mkdir(exist_ok=True)
        self.settings = msgspec.convert(broker.settings(**settings), MqttSettings)
        self.tasks = Tasks()
        self.engine: Engine
        self.door: MqttDoor

    async def open(self, connected: bool = True) -> None:
        clock = SystemClock()
        self.engine = Engine(self.folder, self.tasks.registry(), clock, Random(1))
        await self.engine.open()
        await self.engine.start()
        await self.open_door(connected)

    async def open_door(self, connected: bool = True) -> None:
        self.door = MqttDoor(self.settings, self.engine, "pi", "0", SystemClock(), Random(1))
        await self.door.start()
        if connected:
            async with asyncio.timeout(DEADLINE_S):
                await self.door.connection.connected.wait()

    async def close(self) -> None:
        await self.door.stop()
        await self.engine.drain(0.0)
        await self.engine.close()

    async def jobs(self) -> int:
        return len(await self.engine.jobs(JobFilter()))


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABD_TEST_MQTT_PASSWORD", PASSWORDS["labd"])


@pytest.fixture
async def broker(state_dir: Path) -> AsyncIterator[Broker]:
    broker = await Broker(state_dir / "broker").start()
    yield broker
    broker.stop()


@pytest.fixture
async def house(state_dir: Path, broker: Broker) -> AsyncIterator[House]:
    house = House(state_dir, broker)
    await house.open()
    yield house
    await house.close()


@pytest.fixture
async def alice(broker: Broker, house: House) -> AsyncIterator[Person]:
    async with broker.client("alice") as person:
        yield person


async def test_a_request_is_accepted_and_answered_with_its_correlation_data(house: House, alice: Person) -> None:
    correlation = await alice.ask("test.add", {"a": 2, "b": 3})
    accepted, end = await alice.hear(), await alice.end()
    assert (accepted["status"], accepted["correlation"]) == ("accepted", correlation)
    assert (end["status"], end["result"], end["correlation"]) == ("success", 5, correlation)
    job = await house.engine.job(end["job"])
    assert job.submitted_by == "mqtt:alice"
    assert alice.topics[0] == "labd/bench/reply/alice/here"


async def test_a_name_with_a_slash_is_a_task_too(house: House, alice: Person) -> None:
    await alice.ask("add/add", {"a": 2})
    assert (await alice.end())["result"] == 3


async def test_progress_is_told_before_the_end(house: House, alice: Person) -> None:
    await alice.ask("test.hold")
    told = await alice.end("progress")
    assert (told["done"], told["total"], told["text"]) == (1, 4, "waiting")
    house.tasks.go_on.set()
    assert (await alice.end())["result"] == "went on"


async def test_a_request_that_comes_again_is_the_same_job_and_gets_the_same_answer(house: House, alice: Person) -> None:
    correlation = await alice.ask("test.add", {"a": 2})
    first = await alice.end()
    await alice.ask("test.add", {"a": 2}, correlation=correlation)
    assert (await alice.end("accepted"))["job"] == first["job"]
    assert await alice.end() == first
    assert house.tasks.ran == [f"add {first['job']}"]


async def test_a_request_that_comes_again_while_it_runs_is_not_run_twice(house: House, alice: Person) -> None:
    correlation = await alice.ask("test.hold")
    await alice.end("progress")
    await alice.ask("test.hold", correlation=correlation)
    await alice.end("accepted")
    house.tasks.go_on.set()
    assert (await alice.end())["status"] == "success"
    assert await house.jobs() == 1


async def test_the_same_correlation_data_with_other_arguments_is_refused(house: House, alice: Person) -> None:
    correlation = await alice.ask("test.add", {"a": 2})
    await alice.end()
    await alice.ask("test.add", {"a": 3}, correlation=correlation)
    assert (await alice.end())["code"] == "idempotency_conflict"


async def test_what_was_lost_between_receipt_and_commit_is_done_once_when_it_is_sent_again(
    house: House, alice: Person
) -> None:
    received = asyncio.Event()

    async def dies_before_the_commit(*anything: Any) -> Any:
        received.set()
        await asyncio.Event().wait()

    house.engine.submit_one = dies_before_the_commit  # type: ignore[method-assign]
    correlation = await alice.ask("test.add", {"a": 2})
    async with asyncio.timeout(DEADLINE_S):
        await received.wait()
    await house.close()  # the broker has its acknowledgement, the engine has nothing
    await house.open()
    assert await house.jobs() == 0
    await alice.ask("test.add", {"a": 2}, correlation=correlation)
    assert (await alice.end())["result"] == 3
    assert await house.jobs() == 1


async def test_a_request_made_while_labd_is_away_is_done_once_when_it_returns(house: House, alice: Person) -> None:
    await house.close()
    correlation = await alice.ask("test.add", {"a": 2})
    await alice.ask("test.add", {"a": 2}, correlation=correlation)
    await house.open()
    assert (await alice.end())["result"] == 3
    await until(lambda: house.door.status()["answers_owed"] == 0)
    assert await house.jobs() == 1


async def test_a_physical_request_needs_a_message_expiry(house: House, alice: Person) -> None:
    await alice.ask("test.move")
    refused = await alice.end()
    assert (refused["code"], refused["job"]) == ("bad_request", None)
    assert "has no message expiry" in refused["message"]
    await alice.ask("test.move", expires_in_s=60)
    done = await alice.end()
    job = await house.engine.job(done["job"])
    assert job.expires_at is not None
    assert 0 < job.expires_at - job.created_at <= 60


async def test_a_physical_request_that_waited_too_long_for_labd_moves_nothing(house: House, alice: Person) -> None:
    await house.close()
    await alice.ask("test.move", expires_in_s=1)
    marker = await alice.ask("test.add", {"a": 2})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.1):  # the broker's clock cannot be moved
            await asyncio.Event().wait()
    await house.open()
    assert (await alice.end())["correlation"] == marker
    assert [run for run in house.tasks.ran if run.startswith("move")] == []


async def test_nobody_asks_in_another_name(house: House, broker: Broker, alice: Person) -> None:
    async with broker.client("bob") as bob:
        await bob.ask("test.add", {"a": 1}, user="alice")  # the broker acknowledges and drops it
        await bob.ask("test.add", {"a": 2})
        assert (await bob.end())["result"] == 3
    jobs = await house.engine.jobs(JobFilter())
    assert [job.submitted_by for job in jobs] == ["mqtt:bob"]


async def test_a_user_without_the_scope_is_refused(house: House, broker: Broker) -> None:
    async with broker.client("carol") as carol:
        await carol.ask("test.add", {"a": 1})
        assert (await carol.end())["code"] == "scope_missing"
        await carol.ask("emergency_stop")
        assert (await carol.end())["code"] == "scope_missing"
    assert house.tasks.ran == []


@pytest.mark.parametrize(
    "topic", ["labd/bench/reply/bob/x", "labd/bench/cmd/alice/test.add", "elsewhere", "labd/bench/reply/alice2/x", None]
)
async def test_answers_go_to_the_users_own_topics_only(house: House, alice: Person, topic: str | None) -> None:
    await alice.ask("test.add", {"a": 1}, reply=topic)
    refused = await alice.end()
    assert refused["code"] == "bad_request"
    assert refused["details"]["allowed"] == "labd/bench/reply/alice/"
    assert alice.topics == ["labd/bench/reply/alice"]
    assert await house.jobs() == 0


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", "bad_request"),
        (b"[1]", "bad_request"),
        (b"\xff\xfe", "bad_request"),
        (b'{"a": NaN}', "bad_request"),
        (b"[" * 50_000, "bad_request"),
        (b'{"a": "two"}', "invalid_arguments"),
        (b'{"a": 1, "c": 2}', "invalid_arguments"),
        (b"", "invalid_arguments"),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "body_too_large"),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_a_bad_payload_is_told_and_makes_no_job(house: House, alice: Person, payload: bytes, code: str) -> None:
    await alice.ask("test.add", payload=payload)
    refused = await alice.end()
    assert (refused["code"], refused["job"]) == (code, None)
    assert refused["message"]
    assert await house.jobs() == 0


async def test_other_bad_requests_are_told(house: House, alice: Person) -> None:
    await alice.ask("test.add", {"a": 1}, correlation=None)
    assert "no correlation data" in (await alice.end())["message"]
    await alice.ask("test.add", {"a": 1}, correlation=b"x" * 65)
    assert "has 65 bytes; at most 64" in (await alice.end())["message"]
    await alice.ask("test.ad", {"a": 1})
    assert (await alice.end())["code"] == "unknown_task"
    await alice.ask("test.add", {"a": 1}, retain=True)
    assert "is retained" in (await alice.end())["message"]
    assert await house.jobs() == 0


async def test_a_result_that_is_too_long_for_the_broker_is_left_out_and_says_so(
    state_dir: Path, broker: Broker
) -> None:
    house = House(state_dir, broker, max_payload_bytes=1024)
    await house.open()
    async with broker.client("alice") as alice:
        await alice.ask("test.long")
        told = await alice.end()
    assert told["status"] == "success"
    assert "result" not in told
    assert told["omitted_bytes"] > 5000
    await house.close()


async def test_answers_made_while_the_broker_is_away_are_sent_when_it_is_back(house: House, broker: Broker) -> None:
    async with broker.client("alice", **SESSION) as alice:
        correlation = await alice.ask("test.hold")
        await alice.end("progress")
    broker.stop()
    await until(lambda: not house.door.connection.connected.is_set())
    (problem,) = house.door.attention()
    assert problem["code"] == "not_connected"
    house.tasks.go_on.set()
    job = (await house.engine.jobs(JobFilter()))[0]
    assert (await house.engine.wait(job.id, DEADLINE_S)).state is JobState.SUCCEEDED
    assert house.door.status()["answers_owed"] == 1
    await broker.start()
    told = await _hear_when_back(broker)
    assert (told["result"], told["correlation"]) == ("went on", correlation)
    await until(lambda: house.door.status()["answers_owed"] == 0)


async def test_answers_owed_outlive_the_daemon(house: House, broker: Broker) -> None:
    async with broker.client("alice", **SESSION) as alice:
        correlation = await alice.ask("test.hold")
        await alice.end("progress")
    broker.stop()
    await until(lambda: not house.door.connection.connected.is_set())
    house.tasks.go_on.set()
    job = (await house.engine.jobs(JobFilter()))[0]
    await house.engine.wait(job.id, DEADLINE_S)
    await house.close()
    await house.open(connected=False)
    assert house.door.status()["answers_owed"] == 1
    await broker.start()
    told = await _hear_when_back(broker)
    assert (told["job"], told["result"], told["correlation"]) == (job.id, "went on", correlation)


async def _hear_when_back(broker: Broker) -> dict[str, Any]:
    """The next end that a client with a session of its own hears from a broker that comes back."""
    while True:
        try:
            async with broker.client("alice", **SESSION) as alice:
                return await alice.end()
        except aiomqtt.MqttError:
            await asyncio.sleep(0)


async def test_the_status_says_whether_labd_is_there(house: House, broker: Broker) -> None:
    async with broker.client("carol") as carol:
        await carol.line.subscribe("labd/bench/status", qos=1)
        assert await _state(carol) == "online"
        client = house.door.connection._client
        assert client is not None
        client._client.socket().shutdown(socket.SHUT_RDWR)  # what a kill -9 looks like from the broker
        assert await _state(carol) == "lost"
        async with asyncio.timeout(DEADLINE_S):
            assert await _state(carol) == "online"
        await house.close()
        assert await _state(carol) == "offline"
        await house.open()


async def _state(person: Person) -> str:
    async with asyncio.timeout(DEADLINE_S):
        message = await anext(aiter(person.line.messages))
    return str(msgspec.json.decode(message.payload)["state"])


async def test_a_stop_is_done_at_once_whatever_else_is_wrong_with_it(house: House, alice: Person) -> None:
    await alice.ask("emergency_stop", payload=b"{", correlation=None, reply="elsewhere")
    done = await alice.end()
    assert (done["status"], done["result"]) == ("success", {"stopped": True})
    assert house.tasks.ran == ["stop by mqtt:alice"]


async def test_a_stop_overtakes_what_came_before_it(house: House, alice: Person) -> None:
    held = asyncio.Event()

    async def hangs(*anything: Any) -> Any:
        held.set()
        await asyncio.Event().wait()

    house.engine.submit_one = hangs  # type: ignore[method-assign]
    await alice.ask("test.add", {"a": 1})
    await alice.ask("emergency_stop")
    assert (await alice.end())["result"] == {"stopped": True}
    assert held.is_set()


async def test_one_press_delivered_twice_is_one_stop(house: House, alice: Person) -> None:
    correlation = await alice.ask("emergency_stop")
    first = await alice.end()
    await alice.ask("emergency_stop", correlation=correlation)
    assert await alice.end() == first
    assert house.tasks.ran == ["stop by mqtt:alice"]


async def test_a_wrong_password_is_told_and_tried_again(state_dir: Path, broker: Broker) -> None:
    os.environ["LABD_TEST_MQTT_PASSWORD"] = "wrong"
    house = House(state_dir, broker)
    await house.open(connected=False)
    await until(lambda: house.door.connection.last_error)
    assert "Not authorized" in house.door.attention()[0]["message"]
    os.environ["LABD_TEST_MQTT_PASSWORD"] = PASSWORDS["labd"]
    async with asyncio.timeout(DEADLINE_S):
        await house.door.connection.connected.wait()
    assert house.door.attention() == []
    await house.close()


# paho-mqtt 2.2 leaves the socket of a refused handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_tls_is_spoken_and_an_unknown_authority_is_refused(state_dir: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = (state_dir / "cert.pem", state_dir / "key.pem", state_dir / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    authority.cert_pem.write_to_path(files[2])
    broker = await Broker(state_dir / "broker", files).start()
    stranger = state_dir / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    refused = House(state_dir, broker, ca_file=str(stranger))
    await refused.open(connected=False)
    await until(lambda: refused.door.connection.last_error)
    assert "certificate" in str(refused.door.connection.last_error).lower()
    await refused.close()
    house = House(state_dir, broker)
    await house.open()
    async with broker.client("alice", tls_params=aiomqtt.TLSParameters(ca_certs=str(files[2]))) as alice:
        await alice.ask("test.add", {"a": 1}, correlation=secrets.token_bytes(8))
        assert (await alice.end())["result"] == 2
    await house.close()
    broker.stop()

"""Where all room is taken: a stop gets through, the quiet make room, and everybody else is told when to come again."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme

from labd.api import door as door_module
from labd.api.body import SHORT_BYTES
from labd.api.door import Limits, allow_files, files_for
from labd.api.endpoint import Call, Endpoint
from labd.api.listeners import tls_context
from labd.api.server import ApiServer
from labd.engine.job import Caller, Submission
from labd.engine.registry import StopSpec
from tests.fakes.api_door import Tasks, are_under_way, open_door, open_engine, until
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import RawClient

STOP = "/api/v1/stop"


def wing(stops: list[Any], hold: asyncio.Event | None = None) -> list[Endpoint]:
    """A stop, and a request that takes as long as a test wants."""

    async def stop(call: Call) -> dict[str, Any]:
        stops.append(call.caller.name)
        return {"stopped": True}

    async def wait(call: Call) -> dict[str, Any]:
        assert hold is not None
        await hold.wait()
        return {}

    return [
        Endpoint("POST", STOP, stop, "operate", "Stop", answer=dict, tags=("x",), urgent=True),
        Endpoint("GET", "/api/v1/wait", wait, "read", "Wait", answer=dict, tags=("x",)),
    ]


@asynccontextmanager
async def full_house(state_dir: Path, **options: Any) -> AsyncIterator[tuple[list[Any], list[RawClient]]]:
    """A door for three, with three inside who wait for an answer."""
    stops: list[Any] = []
    hold = asyncio.Event()
    async with open_door(MemoryEngine(), state_dir, of_wings=wing(stops, hold), connections_at_most=3, **options):
        inside = [await RawClient.unix(state_dir / "labd.sock") for _ in range(3)]
        for client in inside:
            client.send("GET", "/api/v1/wait")
        await until(lambda: are_under_way(3))
        yield stops, inside
        hold.set()
        for client in inside:
            assert (await client.answer()).status == 200
            await client.close()


async def test_a_stop_gets_into_a_full_house_and_nothing_else_does(state_dir: Path) -> None:
    async with full_house(state_dir) as (stops, _):
        for _ in range(3):
            async with await RawClient.unix(state_dir / "labd.sock") as late:
                answer = await late.ask("GET", "/api/v1/status")
                assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "1")
                assert answer.json["message"] == (
                    "labd bears 3 connections at once; try again in a moment, or raise api.connections_at_most"
                )
                assert await late.at_end()
            async with await RawClient.unix(state_dir / "labd.sock") as late:
                assert (await late.ask("POST", STOP)).json == {"stopped": True}
                assert await late.at_end()
        assert len(stops) == 3


async def test_a_stop_by_its_task_gets_in_too(state_dir: Path) -> None:
    tasks = Tasks()
    async with (
        open_engine(state_dir, tasks) as engine,
        open_door(engine, state_dir, connections_at_most=1),
        await RawClient.unix(state_dir / "labd.sock") as first,
    ):
        first.send("POST", "/execute/test.hold", {})
        await until(lambda: engine.counts()["running"])
        async with await RawClient.unix(state_dir / "labd.sock") as late:
            assert (await late.ask("POST", "/execute/emergency_stop", {})).json["result"] == {"stopped": True}
        tasks.go_on.set()
        assert (await first.answer()).status == 200


BODIES = {
    "a submission": {"task": "test.stop"},
    "an older name": {"task": "emergency_stop", "args": {}},
    "a list of one": [{"task": "test.stop"}],
    "escaped": b'{"task": "test\\u002estop"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("in_parts", [False, True], ids=["at once", "in parts"])
async def test_a_stop_sent_as_a_job_gets_in_too(state_dir: Path, body: Any, in_parts: bool) -> None:
    tasks = Tasks()
    async with (
        open_engine(state_dir, tasks) as engine,
        open_door(engine, state_dir, connections_at_most=1),
        await RawClient.unix(state_dir / "labd.sock") as first,
    ):
        first.send("POST", "/execute/test.hold", {})
        await until(lambda: engine.counts()["running"])
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with await RawClient.unix(state_dir / "labd.sock") as late:
            late.send("POST", "/api/v1/jobs", b"" if in_parts else raw, {"Content-Length": str(len(raw))})
            if in_parts:
                await until(lambda: are_under_way(2))
                late.writer.write(raw)
            answer = await late.answer()
            assert (answer.status, len(tasks.stops)) == (201, 1), answer.body
        for other in (
            {"task": "test.add", "args": {"a": 1}},
            [{"task": "test.stop"}] * 2,
            b"{",
            b"stop",
            [],
            b" " * 5000,
        ):
            async with await RawClient.unix(state_dir / "labd.sock") as late:
                assert (await late.ask("POST", "/api/v1/jobs", other)).status == 503
        assert len(tasks.stops) == 1
        tasks.go_on.set()
        assert (await first.answer()).status == 200


async def test_who_never_says_what_job_keeps_no_stop_out(state_dir: Path) -> None:
    tasks = Tasks()
    async with (
        open_engine(state_dir, tasks) as engine,
        open_door(engine, state_dir, connections_at_most=1),
        await RawClient.unix(state_dir / "labd.sock") as first,
    ):
        first.send("POST", "/execute/test.hold", {})
        await until(lambda: engine.counts()["running"])
        mute = [await RawClient.unix(state_dir / "labd.sock") for _ in range(door_module.LATE_AT_MOST + 40)]
        for each in mute:
            each.send("POST", "/api/v1/jobs", b"", {"Content-Length": "40"})
        async with asyncio.timeout(5), await RawClient.unix(state_dir / "labd.sock") as late:
            assert (await late.ask("POST", "/api/v1/jobs", {"task": "test.stop"})).status == 201
        for each in mute:
            assert await each.at_end()  # answered or not, none of them stays
            await each.close()
        tasks.go_on.set()
        assert (await first.answer()).status == 200


async def test_a_stop_sent_as_a_job_walks_past_the_line_and_nothing_longer_does(state_dir: Path) -> None:
    tasks = Tasks()
    async with open_engine(state_dir, tasks) as engine, open_door(engine, state_dir) as server:
        door = server._door
        assert door is not None
        waiting_then: list[int] = []

        async def stop(args: dict[str, Any], caller: Caller) -> dict[str, Any]:
            waiting_then.append(door.turnstile.waiting)
            return {"stopped": True}

        engine.registry.add(StopSpec("test.halt", stop))
        crowd = [await RawClient.unix(state_dir / "labd.sock") for _ in range(300)]
        late = await RawClient.unix(state_dir / "labd.sock")
        assert (await late.ask("GET", "/healthz")).status == 200
        for each in crowd:
            each.send("POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": 1}, "delay_s": 600})
        late.send("POST", "/api/v1/jobs", {"task": "test.halt"})
        assert (await late.answer()).status == 201
        assert waiting_then[0] > 100
        assert {(await each.answer()).status for each in crowd} == {201}
        door.turnstile.lets_in = lambda: False  # type: ignore[method-assign]
        door.turnstile.wait = lambda who="": asyncio.get_running_loop().create_future()  # type: ignore[method-assign,assignment,misc]
        late.send("POST", "/api/v1/jobs", json.dumps({"task": "test.halt"}).encode() + b" " * SHORT_BYTES)
        async with await RawClient.unix(state_dir / "labd.sock") as short:
            assert (await short.ask("POST", "/api/v1/jobs", {"task": "test.halt"})).status == 201
        assert len(waiting_then) == 2  # the long one stands in line, and is read when it has its turn
        for each in (*crowd, late):
            await each.close()


async def test_the_word_that_labd_is_there_gets_in_too(state_dir: Path) -> None:
    async with full_house(state_dir), await RawClient.unix(state_dir / "labd.sock") as late:
        assert (await late.ask("GET", "/healthz")).body == b"ok"


async def test_the_mute_do_not_keep_a_stop_out(state_dir: Path) -> None:
    async with full_house(state_dir) as (stops, _):
        mute = [await RawClient.unix(state_dir / "labd.sock") for _ in range(door_module.LATE_AT_MOST + 40)]
        async with asyncio.timeout(5), await RawClient.unix(state_dir / "labd.sock") as late:
            assert (await late.ask("POST", STOP)).json == {"stopped": True}
        assert len(stops) == 1
        for client in mute:
            await client.close()


async def test_who_has_been_quiet_for_longest_makes_room(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "QUIET_S", 0.0)
    async with open_door(MemoryEngine(), state_dir, connections_at_most=3):
        clients = [await RawClient.unix(state_dir / "labd.sock") for _ in range(3)]
        for number in (1, 2, 0):
            assert (await clients[number].ask("GET", "/healthz")).status == 200
        async with await RawClient.unix(state_dir / "labd.sock") as newcomer:
            assert (await newcomer.ask("GET", "/api/v1/status")).status == 200
            told = await clients[1].answer()
            assert (told.status, told.code) == (503, "overloaded")
            assert await clients[1].at_end()
            for number in (2, 0):
                assert (await clients[number].ask("GET", "/api/v1/status")).status == 200
        for client in clients:
            await client.close()


async def test_who_has_only_just_spoken_need_not_leave(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, connections_at_most=1),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        assert (await client.ask("GET", "/healthz")).status == 200
        async with await RawClient.unix(state_dir / "labd.sock") as newcomer:
            assert (await newcomer.ask("GET", "/api/v1/status")).status == 503
        assert (await client.ask("GET", "/api/v1/status")).status == 200


class Tls:
    """Certificates of a listener."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        issued.private_key_pem.write_to_path(self.key)
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(self.cert, append=number > 0)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        assert tls_context(self.cert, self.key)

    async def open(self, server: ApiServer) -> RawClient:
        assert server.tcp_address is not None
        reader, writer = await asyncio.open_connection(
            *server.tcp_address, ssl=self.client, server_hostname="localhost"
        )
        return RawClient(reader, writer, f"127.0.0.1:{server.tcp_address[1]}")


async def test_who_stops_at_the_handshake_counts_and_makes_room(
    state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "QUIET_S", 0.0)
    tls = Tls(tmp_path)
    options = {"listen": "127.0.0.1:0", "tls_cert": tls.cert, "tls_key": tls.key, "connections_at_most": 4}
    async with open_door(MemoryEngine(), state_dir, **options) as server:
        assert server.tcp_address is not None
        half_open = [socket.create_connection(server.tcp_address) for _ in range(20)]
        async with asyncio.timeout(5), await tls.open(server) as client:
            assert (await client.ask("GET", "/healthz")).status == 200
        for each in half_open:
            each.close()


async def test_limits_ask_the_system_for_files_and_say_so_where_there_are_fewer(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert allow_files(min(soft, 100)) == soft or allow_files(100) == 100
    monkeypatch.setattr("labd.api.server.allow_files", lambda count: 800)
    with structlog.testing.capture_logs() as lines:
        async with open_door(MemoryEngine(), state_dir):
            pass
    told = next(line for line in lines if line["event"] == "api.limits_lowered")
    assert told["files"] == 800
    limits = Limits(told["connections_at_most"], told["event_streams_at_most"], 1, 1.0, 1.0, 1.0)
    assert 700 < files_for(limits) <= 800


async def test_a_list_with_many_keys_is_one_look_at_the_disk(state_dir: Path) -> None:
    async with open_engine(state_dir) as engine:
        reads = 0
        read_sql = engine.journal.read_sql

        async def counted(statement: str, parameters: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read_sql(statement, parameters)

        engine.journal.read_sql = counted  # type: ignore[method-assign]
        items = [Submission(task="test.add", args={"a": n}, idempotency_key=f"key {n}", delay_s=60) for n in range(300)]
        first = await engine.submit(items, Caller("test", frozenset({"operate"})))
        again = await engine.submit(items, Caller("test", frozenset({"operate"})))
        assert [job.id for job in again] == [job.id for job in first]
        assert reads <= 6

"""Where all room is taken: a stop gets through, the quiet make room, and everybody else is told when to come again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme

from labd.api import door as door_module
from labd.api.door import Limits, allow_files, files_for
from labd.api.endpoint import Call, Endpoint
from labd.api.listeners import tls_context
from labd.api.server import ApiServer
from labd.api.turnstile import FEWEST, MOST, Turnstile
from labd.engine.job import Caller, Submission
from tests.fakes.api_door import Tasks, open_door, open_engine
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import DEADLINE_S, RawClient

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
        await until(lambda: server_has(state_dir, 3))
        yield stops, inside
        hold.set()
        for client in inside:
            assert (await client.answer()).status == 200
            await client.close()


async def until(claim: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not claim():
            await a_moment(0.002)


async def a_moment(length_s: float) -> None:
    """Nothing, for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(length_s):
            await asyncio.Event().wait()


def server_has(state_dir: Path, count: int) -> bool:
    """Whether so many connections have a request under way."""
    found = [task for task in asyncio.all_tasks() if "_handle_request" in str(task.get_coro())]
    return len(found) >= count


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


async def test_streams_have_a_limit_of_their_own_and_take_no_room_from_others(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    async with open_door(MemoryEngine(), state_dir, connections_at_most=2, event_streams_at_most=5):
        streams = []
        for _ in range(5):
            stream = await RawClient.unix(path)
            stream.send("GET", "/api/v1/events")
            assert (await stream.head())[0] == 200
            streams.append(stream)
        async with await RawClient.unix(path) as client:
            answer = await client.ask("GET", "/api/v1/events")
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "1")
            assert answer.json["details"] == {"limit": "api.event_streams_at_most"}
            await streams.pop().close()
            async with asyncio.timeout(DEADLINE_S):
                while (await client.ask("GET", "/api/v1/events?after=x")).status == 503:
                    pass
            client.send("GET", "/api/v1/events")
            assert (await client.head())[0] == 200
        for stream in streams:
            await stream.close()


async def test_bodies_have_a_limit_together_and_give_it_back(state_dir: Path) -> None:
    options = {"max_body_bytes": 600_000, "bodies_at_most_bytes": 1_000_000}
    async with open_door(MemoryEngine(), state_dir, **options):
        greedy = [await RawClient.unix(state_dir / "labd.sock") for _ in range(3)]
        for client in greedy:
            client.send("POST", "/api/v1/jobs", b" " * 599_999, {"Content-Length": "600000"})
        told = [asyncio.ensure_future(each.answer()) for each in greedy]
        while sum(each.done() for each in told) < 2:  # there is room for one, and which one is a matter of chance
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
        refused = [each.result() for each in told if each.done()]
        assert [(answer.status, answer.code) for answer in refused] == [(503, "overloaded")] * 2
        assert refused[0].json["details"] == {"limit": "api.bodies_at_most_bytes"}
        for each in told:
            each.cancel()
        await asyncio.wait(told)
        async with await RawClient.unix(state_dir / "labd.sock") as client:
            assert (await client.ask("POST", "/api/v1/jobs", {"task": "x"})).status == 201
            for each in greedy:
                await each.close()
            body = b'{"task":"x"' + b" " * 599_000 + b"}"
            async with asyncio.timeout(DEADLINE_S):
                while (await client.ask("POST", "/api/v1/jobs", body)).status == 503:
                    pass


async def test_a_client_that_hangs_up_within_its_body_is_no_fault_of_labd(state_dir: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with open_door(MemoryEngine(), state_dir) as server:
            client = await RawClient.unix(state_dir / "labd.sock")
            client.send("POST", "/api/v1/jobs", b" " * 100_000, {"Content-Length": "200000"})
            await until(lambda: server_has(state_dir, 1))
            await client.close()
            await until(lambda: server.connections == 0)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == []


async def test_who_never_reads_a_long_answer_is_cut_off(state_dir: Path) -> None:
    engine = MemoryEngine()
    for number in range(300):
        await engine.submit_one(Submission(task="x", args={"text": f"{number}" * 2000}), Caller("test"))
    async with open_door(engine, state_dir, event_write_timeout_s=0.2) as server:
        async with await RawClient.unix(state_dir / "labd.sock") as deaf:
            deaf.send("GET", "/api/v1/jobs?limit=300")
            await until(lambda: server.connections == 1)
            await until(lambda: server.connections == 0)
        async with await RawClient.unix(state_dir / "labd.sock") as client:
            assert len((await client.ask("GET", "/api/v1/jobs?limit=300")).json["jobs"]) == 300


async def test_who_reads_slowly_but_reads_goes_on(state_dir: Path) -> None:
    engine = MemoryEngine()
    for _ in range(100):
        await engine.submit_one(Submission(task="x", args={"text": "x" * 20_000}), Caller("test"))
    async with (
        open_door(engine, state_dir, event_write_timeout_s=0.3),
        await RawClient.unix(state_dir / "labd.sock") as slow,
    ):
        slow.send("GET", "/api/v1/jobs?limit=100")
        _, headers = await slow.head()
        left = int(headers["content-length"])
        begin = time.monotonic()
        while left:
            await a_moment(0.02)
            left -= len(await slow.reader.readexactly(min(left, 40_000)))
        assert time.monotonic() - begin > 0.6  # longer than two limits, and not cut off


async def test_one_event_to_many_is_encoded_once_and_read_by_all(state_dir: Path) -> None:
    engine = MemoryEngine()
    async with open_door(engine, state_dir):
        streams = [await RawClient.unix(state_dir / "labd.sock") for _ in range(60)]
        for stream in streams:
            stream.send("GET", "/api/v1/events")
            assert (await stream.head())[0] == 200
            await stream.chunk()
        for number in range(200):
            engine.publish("n", {"number": number})
        for stream in streams:
            seen: list[int] = []
            while len(seen) < 200:
                for line in (await stream.chunk()).splitlines():
                    if line.startswith(b"data: "):
                        seen.append(json.loads(line[6:])["seq"])
            assert seen == list(range(1, 201))
            await stream.close()


async def test_the_line_is_kept_in_order_and_lets_in_a_few_at_a_time() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    order: list[int] = []

    async def come(number: int) -> None:
        if not turnstile.lets_in():
            await turnstile.wait()
        order.append(number)

    crowd = [asyncio.ensure_future(come(number)) for number in range(500)]
    await asyncio.sleep(0)
    assert FEWEST <= len(order) <= MOST
    assert turnstile.waiting == 500 - len(order)
    crowd[300].cancel()
    await asyncio.wait(crowd)
    assert order == [number for number in range(500) if number != 300]
    assert turnstile.waiting == 0


async def test_long_turns_let_fewer_in() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    most_in_a_turn = 0
    this_turn: list[int] = []

    async def come() -> None:
        nonlocal most_in_a_turn
        if not turnstile.lets_in():
            await turnstile.wait()
        this_turn.append(1)
        busy_until = time.perf_counter() + 0.004
        while time.perf_counter() < busy_until:
            pass

    crowd = [asyncio.ensure_future(come()) for _ in range(100)]
    turns = []
    while not all(task.done() for task in crowd):
        this_turn.clear()
        await asyncio.sleep(0)
        turns.append(len(this_turn))
    assert max(turns[-10:-1]) <= FEWEST + 1 < max(turns)


async def test_what_is_heavy_goes_one_a_turn() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    done: list[int] = []

    async def come(number: int) -> None:
        await turnstile.wait_heavy()
        done.append(number)

    crowd = [asyncio.ensure_future(come(number)) for number in range(20)]
    before = 0
    while not all(task.done() for task in crowd):
        await asyncio.sleep(0)
        assert len(done) - before <= 1
        before = len(done)
    assert done == list(range(20))


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

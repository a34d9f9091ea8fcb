"""One caller among many: it has its share of the door, the rest is for others, and it is told when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from labctl import AsyncClient
from labd.engine.job import JobState
from tests.fakes.api_door import Tasks, are_under_way, open_door, open_engine, until
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import DEADLINE_S, RawClient

POLL = "/api/v1/jobs/1?wait=60"
LISTEN = {"listen": "127.0.0.1:0"}


@asynccontextmanager
async def poll(path: Path, count: int) -> AsyncIterator[list[RawClient]]:
    """So many connections of this user, each with a request that waits."""
    clients = [await RawClient.unix(path) for _ in range(count)]
    for client in clients:
        client.send("GET", POLL)
    await until(lambda: are_under_way(count))
    try:
        yield clients
    finally:
        for client in clients:
            await client.close()


async def token(path: Path, name: str) -> dict[str, str]:
    """The header of a new caller."""
    async with await RawClient.unix(path) as admin:
        made = await admin.ask("POST", "/api/v1/tokens", {"name": name, "scopes": ["operate"]})
    return {"Authorization": f"Bearer {made.json['token']}"}


async def a_holding_job(path: Path) -> None:
    async with await RawClient.unix(path) as client:
        assert (await client.ask("POST", "/api/v1/jobs", {"task": "test.hold"})).json["id"] == 1


async def test_who_has_its_share_under_way_is_refused_and_nobody_else_is(state_dir: Path) -> None:
    path, tasks = state_dir / "labd.sock", Tasks()
    options = {"connections_at_most": 8, "share_per_caller": 0.5, **LISTEN}
    async with open_engine(state_dir, tasks) as engine, open_door(engine, state_dir, **options) as server:
        await a_holding_job(path)
        other = await token(path, "other")
        async with poll(path, 4) as polls, await RawClient.unix(path) as fifth:
            refused = await fifth.ask("GET", "/api/v1/status")
            assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "share_taken", "1")
            details = refused.json["details"]
            who = details.pop("caller")
            assert details == {
                "limit": "api.share_per_caller", "of": "requests", "at_most": 4, "retry_after_s": 1,
            }  # fmt: skip
            assert refused.json["message"] == (
                f"{who} has 4 requests under way, its share of the 8 that labd bears; wait for one to end, or raise "
                "api.share_per_caller"
            )
            assert (await fifth.ask("POST", "/execute/emergency_stop", {})).status == 200
            assert (await fifth.ask("POST", "/api/v1/jobs", {"task": "test.stop"})).status == 201
            assert len(tasks.stops) == 2
            assert (await fifth.ask("GET", "/healthz")).status == 200
            for address in (server.tcp_address, None):  # another caller, by either door
                at = await RawClient.unix(path) if address is None else await RawClient.tcp(address)
                async with at as client:
                    assert (await client.ask("GET", "/api/v1/status", headers=other)).status == 200
                    metrics = (await client.ask("GET", "/metrics", headers=other)).body.decode()
                    assert 'labd_refused_total{limit="share_per_caller"} 1\n' in metrics
            await polls.pop().close()
            async with asyncio.timeout(DEADLINE_S):
                while (await fifth.ask("GET", "/api/v1/status")).status == 429:
                    pass


async def test_a_share_comes_back_with_each_answer_refusal_and_hang_up(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    async with open_engine(state_dir) as engine, open_door(engine, state_dir, share_per_caller=0.01) as server:
        door = server._door
        assert door is not None and door.requests_of.at_most == 4
        async with await RawClient.unix(path) as client:
            for body, status in (({"task": "test.add", "args": {"a": 1}}, 201), ({"task": "nobody"}, 404), (b"{", 400)):
                for _ in range(5):
                    assert (await client.ask("POST", "/api/v1/jobs", body)).status == status
        gone = await RawClient.unix(path)
        gone.send("POST", "/api/v1/jobs", b" " * 10, {"Content-Length": "20000"})
        await until(lambda: door.requests_of.held)
        await gone.close()
        await until(lambda: not door.requests_of.held)


async def test_streams_have_a_share_of_their_own(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    options = {"event_streams_at_most": 4, "share_per_caller": 0.5, "connections_at_most": 4, **LISTEN}
    async with open_engine(state_dir) as engine, open_door(engine, state_dir, **options):
        other = await token(path, "other")
        streams: list[RawClient] = []

        async def ask(headers: dict[str, str] | None = None) -> int:
            client = await RawClient.unix(path)
            streams.append(client)
            client.send("GET", "/api/v1/events", headers=headers)
            return (await client.head())[0]

        assert [await ask() for _ in range(3)] == [200, 200, 429]
        assert [await ask(other) for _ in range(3)] == [200, 200, 503]
        async with await RawClient.unix(path) as client:
            told = await client.ask("GET", "/api/v1/events", headers=other)
            assert told.status == 503  # no room at all comes before a share
            for stream in streams[:2]:
                await stream.close()
            async with asyncio.timeout(DEADLINE_S):
                while (await client.ask("GET", "/api/v1/events?after=x")).status == 503:
                    pass
            told = await client.ask("GET", "/api/v1/events", headers=other)
            assert (told.status, told.code, told.json["details"]["of"]) == (429, "share_taken", "event_streams")
        assert await ask() == 200
        for stream in streams:
            await stream.close()


@pytest.mark.parametrize("scheme", ["unknown token", "no token"])
async def test_strangers_are_one_caller_for_each_address(state_dir: Path, scheme: str) -> None:
    options = {"connections_at_most": 4, "share_per_caller": 0.5, **LISTEN}
    headers = {"Authorization": "Bearer labd_nobody"} if scheme == "unknown token" else {}
    async with open_engine(state_dir) as engine, open_door(engine, state_dir, **options) as server:
        door = server._door
        assert door is not None and server.tcp_address is not None
        for _ in range(2):
            door.requests_of.take("address 127.0.0.1")  # as if two of its requests stood in line
        async with await RawClient.tcp(server.tcp_address) as client:
            assert (await client.ask("GET", "/api/v1/status", headers=headers)).status == 429
            door.requests_of.give_back("address 127.0.0.1")
            assert (await client.ask("GET", "/api/v1/status", headers=headers)).status == 401
        door.requests_of.give_back("address 127.0.0.1")
        assert door.requests_of.held == {}


async def test_who_has_all_connections_and_its_share_makes_room_for_others(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    options = {"connections_at_most": 4, "share_per_caller": 0.5}
    async with open_engine(state_dir) as engine, open_door(engine, state_dir, **options):
        await a_holding_job(path)
        other = await token(path, "other")
        async with poll(path, 2):
            idle = [await RawClient.unix(path) for _ in range(2)]
            told = await idle[0].ask("GET", "/api/v1/status")
            assert told.status == 429
            assert await idle[0].at_end()  # else it could ask on and on, and would never be quiet
            async with await RawClient.unix(path) as client:
                assert (await client.ask("GET", "/api/v1/status", headers=other)).status == 200
            for each in idle:
                await each.close()


async def test_labctl_waits_as_it_is_told_and_then_has_its_answer(state_dir: Path) -> None:
    path, tasks = state_dir / "labd.sock", Tasks()
    options = {"connections_at_most": 4, "share_per_caller": 0.5}
    async with open_engine(state_dir, tasks) as engine, open_door(engine, state_dir, **options) as server:
        await a_holding_job(path)
        await until(lambda: engine.counts()[JobState.RUNNING])
        async with poll(path, 2), AsyncClient(f"unix:{path}") as client:
            asked = asyncio.ensure_future(client.submit("test.add", {"a": 1}))
            door = server._door
            assert door is not None
            await until(lambda: door.refusals["share_per_caller"])
            assert not asked.done()
            tasks.go_on.set()  # the polls have their answer
            assert (await asked)["task"] == "test.add"


async def test_a_flood_of_one_caller_does_not_hold_anothers_requests(state_dir: Path) -> None:
    """As a crowd: one has as many requests in line as it may, and another's overtakes most of them."""
    path = state_dir / "labd.sock"
    async with open_door(MemoryEngine(), state_dir, **LISTEN, connections_at_most=400, share_per_caller=0.75) as server:
        other = await token(path, "other")
        door = server._door
        assert door is not None
        crowd = [await RawClient.unix(path) for _ in range(340)]
        async with await RawClient.unix(path) as client:
            assert (await client.ask("GET", "/api/v1/status", headers=other)).status == 200
            for each in crowd:
                each.send("GET", "/api/v1/jobs?limit=1000")
            await until(lambda: door.turnstile.waiting > 150)
            answer = asyncio.ensure_future(client.ask("GET", "/api/v1/status", headers=other))
            answers = [asyncio.ensure_future(each.answer()) for each in crowd]
            assert (await answer).status == 200
            left = sum(not each.done() for each in answers)
            statuses = [each.status for each in await asyncio.gather(*answers)]
        assert left > 50, left
        assert set(statuses) <= {200, 429}
        for each in crowd:
            await each.close()

"""What streams, bodies and answers may hold, and who is cut off."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import structlog

from labd.engine.job import Caller, Submission
from tests.fakes.api_door import a_moment, are_under_way, open_door, open_engine, until
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import DEADLINE_S, RawClient


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
            await until(lambda: are_under_way(1))
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


async def test_the_metrics_tell_who_is_inside_and_who_was_refused(state_dir: Path) -> None:
    async with (
        open_engine(state_dir) as engine,
        open_door(engine, state_dir, event_streams_at_most=1),
        await RawClient.unix(state_dir / "labd.sock") as stream,
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        stream.send("GET", "/api/v1/events")
        assert (await stream.head())[0] == 200
        assert (await client.ask("GET", "/api/v1/events")).status == 503
        lines = (await client.ask("GET", "/metrics")).body.decode().splitlines()
        for line in (
            'labd_connections{listener="unix"} 1',
            'labd_connections{listener="tcp"} 0',
            "labd_event_streams 1",
            'labd_refused_total{limit="event_streams_at_most"} 1',
            'labd_refused_total{limit="connections_at_most"} 0',
        ):
            assert line in lines


async def test_an_event_that_cannot_be_told_keeps_no_other_from_the_streams(state_dir: Path) -> None:
    engine = MemoryEngine()
    async with open_door(engine, state_dir), await RawClient.unix(state_dir / "labd.sock") as stream:
        stream.send("GET", "/api/v1/events")
        assert (await stream.head())[0] == 200
        await stream.chunk()
        engine.publish("n", {"text": "half of a pair: \ud800"})
        engine.publish("n", {"text": "whole"})
        text = b""
        while text.count(b"data: ") < 2:
            text += await stream.chunk()
        told = [json.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: ")]
        assert [(event["seq"], event["data"]) for event in told] == [(1, {}), (2, {"text": "whole"})]

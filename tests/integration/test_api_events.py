"""The event stream: resume misses nothing, nobody blocks anybody, and it ends when labd does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from labd.engine import events as feed_module
from tests.fakes.api_door import open_door, open_engine
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import DEADLINE_S, RawClient


class Stream:
    """One listener."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self._text = b""

    @classmethod
    async def open(cls, path: Path, query: str = "", last_id: int | None = None) -> Stream:
        client = await RawClient.unix(path)
        client.send("GET", f"/api/v1/events{query}", headers={} if last_id is None else {"Last-Event-ID": str(last_id)})
        status, headers = await client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        stream = cls(client)
        assert (await stream.block()).startswith("retry: ")
        return stream

    async def block(self) -> str:
        """The next event or comment; empty at the end."""
        while b"\n\n" not in self._text:
            chunk = await self.client.chunk()
            if not chunk:
                return ""
            self._text += chunk
        block, _, self._text = self._text.partition(b"\n\n")
        return block.decode()

    async def event(self) -> dict[str, Any]:
        """The next event, with its three lines checked against each other."""
        block = await self.block()
        while block.startswith(":"):
            block = await self.block()
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        found: dict[str, Any] = json.loads(lines["data"])
        assert (int(lines["id"]), lines["event"]) == (found["seq"], found["kind"])
        return found

    async def until(self, seq: int) -> list[dict[str, Any]]:
        found = [await self.event()]
        while found[-1]["seq"] < seq:
            found.append(await self.event())
        return found

    async def close(self) -> None:
        await self.client.close()


@pytest.fixture
async def engine(state_dir: Path) -> AsyncIterator[MemoryEngine]:
    memory = MemoryEngine()
    async with open_door(memory, state_dir, event_keepalive_s=5.0):
        yield memory


async def test_events_come_as_they_happen(engine: MemoryEngine, state_dir: Path) -> None:
    engine.publish("device.lost", {"device": "before"})
    stream = await Stream.open(state_dir / "labd.sock")
    engine.publish("device.lost", {"device": "left", "text": "two\nlines"}, 7)
    event = await stream.event()
    assert (event["seq"], event["kind"], event["job_id"]) == (2, "device.lost", 7)
    assert event["data"] == {"device": "left", "text": "two\nlines"}
    assert event["at"].endswith("Z")
    await stream.close()


async def test_resume_by_header_or_query_misses_nothing_and_repeats_nothing(
    engine: MemoryEngine, state_dir: Path
) -> None:
    for number in range(20):
        engine.publish("n", {"n": number})
    for query, last_id in (("?after=7", None), ("", 7), ("?after=2", 7)):
        stream = await Stream.open(state_dir / "labd.sock", query, last_id)
        assert [event["seq"] for event in await stream.until(20)] == list(range(8, 21))
        await stream.close()


async def test_a_listener_that_comes_back_again_and_again_sees_every_event_once(state_dir: Path) -> None:
    random, last = Random(20_261_120), 0
    seen: list[dict[str, Any]] = []
    async with open_engine(state_dir) as engine, open_door(engine, state_dir):
        path = state_dir / "labd.sock"

        async def submit() -> None:
            async with await RawClient.unix(path) as client:
                for _ in range(60):
                    made = await client.ask("POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": 1}})
                    assert made.status == 201
                    await client.ask("GET", f"/api/v1/jobs/{made.json['id']}?wait=10")

        work = asyncio.ensure_future(submit())
        ended = 0
        while ended < 60:
            stream = await Stream.open(path, last_id=last)
            for _ in range(random.randrange(1, 30)):
                event = await stream.event()
                seen.append(event)
                last = event["seq"]
                ended += event["kind"] == "job.succeeded"
                if ended == 60:
                    break
            await stream.close()
        await work
    numbers = [event["seq"] for event in seen]
    assert numbers == list(range(1, len(numbers) + 1))
    kinds = [event["kind"] for event in seen]
    assert kinds.count("job.submitted") == kinds.count("job.succeeded") == 60


async def test_what_has_left_memory_comes_from_the_disk(engine: MemoryEngine, state_dir: Path) -> None:
    for number in range(feed_module.RING + 50):
        engine.publish("n", {"n": number})
    stream = await Stream.open(state_dir / "labd.sock", "?after=10")
    found = await stream.until(engine.events.last_seq)
    assert [event["seq"] for event in found] == list(range(11, feed_module.RING + 51))
    await stream.close()


async def test_kinds_are_filtered_by_prefix(engine: MemoryEngine, state_dir: Path) -> None:
    stream = await Stream.open(state_dir / "labd.sock", "?kind=job.,device.lost")
    for kind in ("device.found", "job.submitted", "queue.paused", "device.lost", "jobs", "job.started"):
        engine.publish(kind, {})
    assert [event["kind"] for event in await stream.until(6)] == ["job.submitted", "device.lost", "job.started"]
    await stream.close()


async def test_a_number_from_the_future_does_not_wait_for_it(engine: MemoryEngine, state_dir: Path) -> None:
    engine.publish("n", {})
    stream = await Stream.open(state_dir / "labd.sock", last_id=10_000)
    engine.publish("n", {"n": 2})
    assert (await stream.event())["seq"] == 2
    await stream.close()


@pytest.mark.parametrize("last_id", ["abc", "-1", "1" * 40, "1.5"])
async def test_bad_cursors_are_refused(last_id: str, engine: MemoryEngine, state_dir: Path) -> None:
    async with await RawClient.unix(state_dir / "labd.sock") as client:
        answer = await client.ask("GET", "/api/v1/events", headers={"Last-Event-ID": last_id})
        assert (answer.status, answer.code) == (400, "bad_request")
        assert "Last-Event-ID" in answer.json["message"]


async def test_a_quiet_stream_is_kept_alive(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, event_keepalive_s=0.02):
        stream = await Stream.open(state_dir / "labd.sock")
        assert await stream.block() == ": keepalive"
        assert await stream.block() == ": keepalive"
        await stream.close()


async def test_a_listener_may_ask_for_word_more_often(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, event_keepalive_s=60.0):
        stream = await Stream.open(state_dir / "labd.sock", "?keepalive_s=1")
        assert await stream.block() == ": keepalive"
        await stream.client.close()


async def test_a_reader_that_stops_reading_holds_up_nobody_and_is_cut_off(state_dir: Path) -> None:
    engine = MemoryEngine()
    async with open_door(engine, state_dir, event_write_timeout_s=0.2) as server:
        path = state_dir / "labd.sock"
        stuck, quick = await Stream.open(path), await Stream.open(path)
        large = {"text": "x" * 100_000}
        for number in range(1, 41):
            engine.publish("n", large)
            assert (await quick.event())["seq"] == number
        async with await RawClient.unix(path) as client:
            assert (await client.ask("GET", "/healthz")).status == 200
            async with asyncio.timeout(DEADLINE_S):
                while server.connections > 2:  # the quick reader and this client stay
                    await client.ask("GET", "/healthz")
        assert await stuck.client.at_end()
        again = await Stream.open(path, last_id=1)
        assert [event["seq"] for event in await again.until(40)] == list(range(2, 41))
        for stream in (stuck, quick, again):
            await stream.close()


async def test_a_listener_that_leaves_is_forgotten(engine: MemoryEngine, state_dir: Path) -> None:
    before = len(asyncio.all_tasks())
    stream = await Stream.open(state_dir / "labd.sock")
    assert len(asyncio.all_tasks()) > before
    await stream.close()
    async with asyncio.timeout(DEADLINE_S), await RawClient.unix(state_dir / "labd.sock") as client:
        while len(asyncio.all_tasks()) > before + 2:  # this client's own connection
            await client.ask("GET", "/healthz")


async def test_streams_end_when_labd_drains_and_none_is_opened_then(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir) as server:
        stream = await Stream.open(state_dir / "labd.sock")
        server.drain()
        assert await stream.block() == ""
        await stream.close()
        async with await RawClient.unix(state_dir / "labd.sock") as client:
            answer = await client.ask("GET", "/api/v1/events")
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "draining", "1")
            assert (await client.ask("GET", "/healthz")).status == 200


async def test_stop_does_not_wait_for_streams(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, stop_grace_s=30.0) as server:
        stream = await Stream.open(state_dir / "labd.sock")
        async with asyncio.timeout(5):
            await server.stop()
        assert await stream.block() == ""
        await stream.close()

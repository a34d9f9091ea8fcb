"""Open doors for tests: the real server, in front of the real engine or one in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from labd.api.endpoint import Endpoint
from labd.api.options import ApiOptions
from labd.api.server import ApiServer, build
from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.job import Caller
from labd.engine.registry import JobContext, Registry, StopSpec, TaskSpec
from labd.errors import SettingsFault, StopLatched
from tests.fakes.api_engine import FakeStatus
from tests.fakes.raw_http import DEADLINE_S, RawClient

PATIENT = {"request_timeout_s": 5.0, "stop_grace_s": 2.0, "share_per_caller": 1.0}  # a test is one caller


async def nothing_changed() -> list[str]:
    return []


async def faulty_settings() -> list[str]:
    raise SettingsFault("labd.toml: api.listen: no address", problems=["labd.toml: api.listen: no address"])


@asynccontextmanager
async def open_door(
    engine: Any,
    state_dir: Path,
    *,
    of_wings: list[Endpoint] | None = None,
    reload: Callable[[], Awaitable[list[str]]] = nothing_changed,
    **options: Any,
) -> AsyncIterator[ApiServer]:
    """A server that answers; closed, with nothing left, on the way out."""
    chosen = ApiOptions(socket=state_dir / "labd.sock", state_dir=state_dir, **{**PATIENT, **options})
    server = build(engine, chosen, of_wings or [], FakeStatus(), reload)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        assert not chosen.socket.exists()


class Tasks:
    """Tasks that tests steer."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.stops: list[dict[str, Any]] = []

    def registry(self) -> Registry:
        registry = Registry()
        registry.add(TaskSpec("test.add", self.add, "Add two numbers", aliases=("add/add",)))
        registry.add(TaskSpec("test.hold", self.hold, "Run until told to go on"))
        registry.add(TaskSpec("test.fail", self.fail, "Refuse", max_attempts=1))
        registry.add(StopSpec("test.stop", self.stop, "Stop at once", aliases=("emergency_stop",)))
        return registry

    async def add(self, ctx: JobContext, a: int, b: int = 1) -> int:
        ctx.log(f"{a} + {b}")
        return a + b

    async def hold(self, ctx: JobContext) -> str:
        await self.go_on.wait()
        return "went on"

    async def fail(self, ctx: JobContext) -> None:
        raise StopLatched("test: motion is refused until the stop is reset", by="alice")

    async def stop(self, args: dict[str, Any], caller: Caller) -> dict[str, Any]:
        self.stops.append(args)
        return {"stopped": True}


@asynccontextmanager
async def open_engine(state_dir: Path, tasks: Tasks | None = None) -> AsyncIterator[Engine]:
    """The real engine on real files."""
    engine = Engine(state_dir, (tasks or Tasks()).registry(), SystemClock(), Random(1))
    await engine.open()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.drain(0.0)
        await engine.close()


@dataclass
class House:
    """A daemon's engine and doors, with one client at the door."""

    engine: Engine
    server: ApiServer
    client: RawClient
    tasks: Tasks
    socket: Path


@asynccontextmanager
async def open_house(state_dir: Path) -> AsyncIterator[House]:
    """The real server in front of the real engine."""
    tasks, path = Tasks(), state_dir / "labd.sock"
    async with (
        open_engine(state_dir, tasks) as engine,
        open_door(engine, state_dir, max_body_bytes=50_000) as server,
        await RawClient.unix(path) as client,
    ):
        yield House(engine, server, client, tasks, path)


async def until(claim: Callable[[], Any]) -> None:
    """Wait for a claim about the server in this very loop to become true, under a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not claim():
            await a_moment(0.002)


async def a_moment(length_s: float) -> None:
    """Nothing, for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(length_s):
            await asyncio.Event().wait()


def are_under_way(count: int) -> bool:
    """Whether so many connections of this loop's server have a request under way."""
    return sum("_handle_request" in str(task.get_coro()) for task in asyncio.all_tasks()) >= count

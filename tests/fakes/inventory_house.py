"""The real engine, the inventory wing and the real doors in this process, with tasks that take from the stock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from labd.clock import Clock, SystemClock
from labd.engine.engine import Engine
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.inventory.service import InventoryService
from labd.inventory.settings import InventorySettings
from labd.inventory.wing import wing
from labd.wing import Host
from tests.fakes.api_door import open_door
from tests.fakes.raw_http import RawClient


class Mixer:
    """A task that takes what it was told, when it is let."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()

    def specs(self) -> list[TaskSpec]:
        takes: dict[str, str | float] = {"red": "R", "yellow": "Y", "blue": "B"}
        return [TaskSpec("test.mix", self.mix, "Mix", consumes=takes, aliases=("mix/mix",))]

    async def mix(self, ctx: JobContext, R: float = 0.0, Y: float = 0.0, B: float = 0.0) -> str:  # noqa: N803 - the seed's
        await self.go_on.wait()
        await ctx.consume({"red": R, "yellow": Y, "blue": B}, "1")
        return "mixed"


@dataclass
class InventoryHouse:
    """What a test needs of it."""

    engine: Engine
    service: InventoryService
    client: RawClient
    socket: Path
    mixer: Mixer = field(default_factory=Mixer)

    @property
    def url(self) -> str:
        """For a client of labctl."""
        return f"unix:{self.socket}"

    async def get(self, path: str) -> Any:
        """The body of a read that must be answered."""
        answer = await self.client.ask("GET", f"/api/v1/inventory{path}")
        assert answer.status == 200, answer.json
        return answer.json

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        """The body of a change that must end with this status."""
        answer = await self.client.ask("POST", f"/api/v1/inventory{path}", body)
        assert answer.status == status, answer.json
        return answer.json


@asynccontextmanager
async def open_inventory(
    state_dir: Path, table: dict[str, Any] | None = None, clock: Clock | None = None
) -> AsyncIterator[InventoryHouse]:
    """A house whose `[inventory]` table is `table`; closed, with nothing left, on the way out."""
    clock, mixer, registry = clock or SystemClock(), Mixer(), Registry()
    for spec in mixer.specs():
        registry.add(spec)
    assert wing.schema is not None
    engine = Engine(state_dir, registry, clock, Random(1), schemas=[wing.schema])
    await engine.open()
    settings = msgspec.convert(table or {}, InventorySettings)
    service = InventoryService(settings, Host(engine, state_dir, state_dir, clock, Random(1)))
    for task in service.tasks():
        registry.add(task)
    try:
        await service.start()
        await engine.start()
        async with (
            open_door(engine, state_dir, of_wings=service.endpoints()) as _,
            await RawClient.unix(state_dir / "labd.sock") as client,
        ):
            yield InventoryHouse(engine, service, client, state_dir / "labd.sock", mixer)
    finally:
        mixer.go_on.set()
        await engine.drain(0.0)
        await service.stop()
        await engine.close()

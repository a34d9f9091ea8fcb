"""Engine and resort wing as `app.py` puts them together, on virtual buses, without doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.job import Caller, Job, Submission
from labd.engine.registry import Registry
from labd.resort.contract import Reply
from labd.resort.device import ResortDevice
from labd.resort.service import ResortService
from labd.resort.settings import ResortSettings, ResortWingSettings
from labd.resort.virtual.simulator import VirtualBus
from labd.wing import Host

ALICE = Caller("unix:alice", frozenset({"read", "operate"}))
FAST: dict[str, Any] = {"driver": "simulated", "speed": 55.0, "acceleration": 600.0}
SLOW = {**FAST, "speed": 3.0}
DEADLINE_S = 10.0


class Daemon:
    """Engine and wing as `app.py` puts them together, over one state folder."""

    def __init__(self, root: Path, carousels: dict[str, dict[str, Any]]) -> None:
        state, runtime = root / "state", root / "run"
        state.mkdir(exist_ok=True)
        runtime.mkdir(exist_ok=True)
        clock, random = SystemClock(), Random(1)
        self.engine = Engine(state, Registry(), clock, random)
        tables = {name: msgspec.convert(table, ResortSettings) for name, table in carousels.items()}
        self._host = Host(self.engine, state, runtime, clock, random)
        self._tables = ResortWingSettings(carousels=tables)
        self.service: ResortService

    async def start(self, ready: bool = True, before: Callable[[VirtualBus], None] = lambda bus: None) -> Daemon:
        await self.engine.open()
        self.service = ResortService(self._tables, self._host)
        for bus in self.service._buses.values():
            before(bus)
        for spec in self.service.tasks():
            self.engine.registry.add(spec)
        await self.service.start()
        await self.engine.start()
        if ready:
            for device in self.service.devices.values():
                await until(lambda device=device: device.gate() is None)
        return self

    async def stop(self) -> None:
        await self.engine.drain(1.0)
        await self.service.drain()
        await self.service.stop()
        await self.engine.close()

    @property
    def device(self) -> ResortDevice:
        return self.service.device(None)

    @property
    def bus(self) -> VirtualBus:
        return self.service._buses[self.device.name]

    async def submit(self, verb: str, **args: Any) -> Job:
        return (await self.engine.submit_one(Submission(task=f"resort.{verb}", args=args), ALICE))[0]

    async def done(self, verb: str, **args: Any) -> Job:
        job = await self.submit(verb, **args)
        return await self.engine.wait(job.id, DEADLINE_S)

    async def moving(self) -> None:
        await until(lambda: self.bus.servo(self.device.settings.servo_id).state()["moving"])

    async def control(self, action: str, **args: Any) -> Reply:
        contract = self.service.contracts[self.device.name]
        token, wait_s = args.pop("token", None), args.pop("wait_s", 0.0)
        return await contract.control(action, args, token, wait_s, ALICE)


async def until(holds: Callable[[], Any]) -> None:
    """Return when it holds; threads that tell nobody are looked at again every few milliseconds."""
    changed = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.01)

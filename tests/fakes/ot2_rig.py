"""Engine and OT-2 wing as `app.py` puts them together, on virtual robots, without doors."""

from __future__ import annotations

import asyncio
import json
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
from labd.ot2.device import OT2Device
from labd.ot2.robot import Document
from labd.ot2.service import OT2Service
from labd.ot2.settings import OT2Settings, OT2WingSettings
from labd.ot2.virtual_robot import Faults, VirtualRobot
from labd.wing import Host

ALICE = Caller("unix:alice", frozenset({"read", "operate"}))
DEADLINE_S = 10.0
FAST: dict[str, Any] = {
    "driver": "simulated", "preflight": "robot", "poll_s": 0.02, "look_s": 0.05, "simulated": {"time_scale": 1000.0},
}  # fmt: skip
SHORT = 'metadata = {"apiLevel": "2.15"}\n\n\ndef run(ctx):\n    ctx.load_labware("x", "1")\n    ctx.home()\n'
LONG = f"{SHORT}    ctx.delay(minutes=600)\n    ctx.comment('late')\n"  # 36 s at a time scale of 1000
PAUSED = f"{SHORT}    ctx.pause('look')\n    ctx.home()\n"


class OT2Rig:
    """Engine and wing over one state folder; a robot of its own for each table, with a record of what it moved."""

    def __init__(self, root: Path, robots: dict[str, dict[str, Any]] | None = None, worker_of: Any = None) -> None:
        clock, random = SystemClock(), Random(1)
        self.root = root
        self.engine = Engine(root, Registry(), clock, random)
        tables = {name: msgspec.convert(table, OT2Settings) for name, table in (robots or {"main": FAST}).items()}
        self._host = Host(self.engine, root, root, clock, random, worker_of=worker_of)
        self._settings = OT2WingSettings(robots=tables)
        self.service: OT2Service

    async def start(self, ready: bool = True) -> OT2Rig:
        await self.engine.open()
        self.service = OT2Service(self._settings, self._host)
        for spec in self.service.tasks():
            self.engine.registry.add(spec)
        await self.service.start()
        await self.engine.start()
        if ready:
            await until(lambda: self.device.watch.state == "ready")
        return self

    async def stop(self) -> None:
        await self.engine.drain(0.0)
        await self.service.drain()
        await self.service.stop()
        await self.engine.close()

    @property
    def device(self) -> OT2Device:
        return self.service.device(None)

    @property
    def robot(self) -> VirtualRobot:
        return self.service.simulators[self.device.name].robot

    async def faults(self, **faults: Any) -> None:
        await self.robot.change_faults(Faults(**faults))

    def keep(self, text: str, name: str = "p.py") -> str:
        return self.service.shelf.put([Document(name, text)]).protocol_id

    async def submit(self, text: str, **args: Any) -> Job:
        return await self.ask("run_protocol", protocol=self.keep(text), **args)

    async def ask(self, verb: str, **args: Any) -> Job:
        return (await self.engine.submit_one(Submission(task=f"ot2.{verb}", args=args), ALICE))[0]

    async def done(self, text: str, **args: Any) -> Job:
        job = await self.submit(text, **args)
        return await self.engine.wait(job.id, DEADLINE_S)

    async def running(self) -> str:
        """Id of the own run, once it moves."""
        await until(lambda: self.device.own_view is not None and self.device.own_view.status == "running")
        assert self.device.own.run_id is not None
        return self.device.own.run_id


def record_of(path: Path, what: str) -> list[dict[str, Any]]:
    """The lines of a virtual robot's record of one kind."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["what"] == what]


async def until(holds: Callable[[], Any]) -> None:
    """Return when it holds."""
    changed = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.01)

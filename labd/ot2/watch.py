"""Looks at a robot now and then: whether it answers, whose run it has, whether the door is open.

One of the few places with a broad `except`: whatever a driver raises ends one look, not the looking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import structlog

from labd.clock import Clock
from labd.errors import DeviceLost, DeviceTimeout, LabdError
from labd.ot2.robot import Robot, RobotHealth, RobotStarting, RunView

State = Literal["closed", "opening", "starting", "ready", "lost", "faulty"]
log = structlog.get_logger("ot2")


class Watch:
    """What is known of one robot.

    Args:
        tell: Takes the events of the connection: `device.connected`, `device.lost`, `device.reopened`.
        on_look: Called after every look that reached the robot, with its current run.
    """

    def __init__(
        self, robot: Robot, clock: Clock, look_s: float, tell: Callable[[str, dict[str, Any]], None],
        on_look: Callable[[RunView | None], Awaitable[None]],
    ) -> None:  # fmt: skip
        self.state: State = "closed"
        self.since = clock.wall()
        self.problem: str | None = None
        self.health: RobotHealth | None = None
        self.current: RunView | None = None
        self.maintenance: str | None = None
        self.door_open: bool | None = None
        self._robot = robot
        self._clock = clock
        self.look_s = look_s
        self._tell = tell
        self._on_look = on_look
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._was_ready = False

    def start(self) -> None:
        """Begin to look."""
        self._set("opening", "labd is looking for the robot")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ot2 watch")

    async def close(self) -> None:
        """End looking; a second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._set("closed", None)

    async def _run(self) -> None:
        while True:
            await self.look()
            await self._clock.sleep(self.look_s)

    async def look(self) -> bool:
        """Look now; True if the robot answered everything."""
        async with self._looking:
            try:
                self.health = await self._robot.health()
                self.current = await self._robot.current_run()
                self.maintenance = await self._robot.maintenance_run()
                self.door_open = await self._robot.door_open()
                await self._on_look(self.current)
            except RobotStarting as fault:
                self._lose("starting", fault.message)
            except (DeviceLost, DeviceTimeout) as fault:
                self._lose("lost", fault.message)
            except LabdError as fault:
                self._lose("faulty", fault.message)
            except Exception as fault:
                log.error("connection.failed", exc_info=fault)
                self._lose("faulty", f"labd failed to look at the robot: {type(fault).__name__}: {fault}")
            else:
                self._found()
        return self.state == "ready"

    def note_lost(self, fault: LabdError) -> None:
        """Somebody else met the loss first."""
        self._lose("starting" if isinstance(fault, RobotStarting) else "lost", fault.message)

    def _found(self) -> None:
        if self.state == "ready":
            return
        before = self.state
        self._set("ready", None)
        assert self.health is not None
        kind = "device.reopened" if self._was_ready else "device.connected"
        facts = {"model": self.health.model, "serial": self.health.serial, "software": self.health.software}
        self._was_ready = True
        self._tell(kind, {"was": before, **facts})

    def _lose(self, state: State, problem: str) -> None:
        was = self.state
        if was != state:
            self._set(state, problem)
        self.problem = problem
        if was == "ready":
            self._tell("device.lost", {"problem": problem, "state": state})
        elif was != state:
            self._tell("device.not_opened", {"problem": problem, "state": state})

    def _set(self, state: State, problem: str | None) -> None:
        self.state, self.problem = state, problem
        self.since = self._clock.wall()

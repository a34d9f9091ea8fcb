"""Reads the commands of one run as they are done, and what each took from which well.

Why from the commands that the robot tells and not from the preflight: the simulation says what a run would take, only
the robot knows what it took before somebody stopped it. The rules are the same ones (`remote.Movement`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from labd.errors import LabdError
from labd.ot2.remote import LOADING, Movement
from labd.ot2.robot import Robot, Step, Steps

STEPS_A_LOOK = 200


class Draw(NamedTuple):
    """What one command took; negative where it came back. Wells as `device/slot/well`."""

    command_id: str
    volumes_ul: dict[str, float]


Consume = Callable[[dict[str, float], str], Awaitable[None]]


class RunReading:
    """One run, read from its first command on; who reads it again finds the same draws under the same ids.

    Args:
        device: Name of the robot, the first part of every well's name.
        keeps_account: Whether the draws are wanted; they cost a request for each labware and pipette.
        air: Which aspirates drew air, where the commands do not tell (API levels below 2.14).
    """

    def __init__(
        self, robot: Robot, device: str, run_id: str, *, keeps_account: bool, air: Sequence[bool] | None = None
    ) -> None:
        self.run_id = run_id
        self.seen = 0
        self.owed: list[Draw] = []
        self.problem = ""
        self._robot = robot
        self._device = device
        self._movement = Movement([], None if air is None else list(air)) if keeps_account else None

    async def look(self) -> tuple[Steps, int]:
        """The next page, and how many commands in it are new and done; their draws are in `owed`.

        Nothing is taken twice or left out if the connection is lost in between.
        """
        page = await self._robot.steps(self.run_id, self.seen, STEPS_A_LOOK)
        entries = page.entries[max(0, self.seen - page.first) :]  # a robot answers the last page to a cursor behind it
        done = list(takewhile(lambda step: step.status in ("succeeded", "failed"), entries))
        if self._movement is not None and not self.problem:
            whole = [await self._whole(step) for step in done]
            self._count(whole)
        self.seen = max(self.seen, page.first) + len(done)
        return page, len(done)

    def used(self) -> dict[str, Any]:
        """Labware and pipettes so far, with the tips that are gone and the wells that were touched."""
        if self._movement is None:
            return {"labware": [], "pipettes": []}
        return {"labware": self._movement.used(), "pipettes": self._movement.pipette_list()}

    async def look_at_all(self) -> None:
        """Every command that is done."""
        while (await self.look())[1]:
            pass

    async def settle(self, consume: Consume) -> LabdError | None:
        """Debit what is owed in one go; what the disk or the stock refuses stays owed.

        Returns:
            The first refusal.
        """
        owed = list(self.owed)
        answers = await asyncio.gather(
            *(consume(draw.volumes_ul, draw.command_id) for draw in owed), return_exceptions=True
        )
        self.owed = []
        first: LabdError | None = None
        for draw, answer in zip(owed, answers, strict=True):
            if isinstance(answer, LabdError):
                self.owed.append(draw)
                first = first or answer
            elif isinstance(answer, BaseException):
                raise answer
        return first

    async def _whole(self, step: Step) -> Step:
        if step.status == "succeeded" and step.kind in LOADING and step.result is None:
            return await self._robot.step(self.run_id, step.command_id)
        return step

    def _count(self, steps: Sequence[Step]) -> None:
        assert self._movement is not None
        for step in steps:
            try:
                self._movement.take({
                    "commandType": step.kind, "params": dict(step.params), "status": step.status,
                    "result": dict(step.result or {}),
                })  # fmt: skip
            except (KeyError, TypeError, ValueError) as fault:  # another version of the robot's software
                self.problem = f"command {step.command_id} ({step.kind}) tells not what labd expects: {fault!r}"
                return
            if self._movement.changed:
                volumes = {f"{self._device}/{place}": ul for place, ul in self._movement.changed.items()}
                self.owed.append(Draw(step.command_id, volumes))

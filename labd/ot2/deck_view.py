"""What the newest run of one robot has done so far: its last commands, the labware, the tips and wells it used.

Why from the commands that the robot tells: a simulation says what a protocol would use; which tip is gone and which
well has been touched after a stop, a fault or somebody else's run, only the robot knows. The rules are those of
`remote.Movement`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from labd.errors import DeviceError, NotConnected
from labd.ot2.reading import RunReading
from labd.ot2.remote import text_of
from labd.ot2.robot import Step

if TYPE_CHECKING:
    from labd.ot2.device import OT2Device

PAGES_A_LOOK = 10
COMMANDS_SHOWN = 12


class DeckView:
    """Follows the commands of the run that is on the robot, whoever made it; reads only when somebody looks.

    What the last run left stays until there is another one, or labd ends.
    """

    def __init__(self, device: OT2Device) -> None:
        self._device = device
        self._reading: RunReading | None = None
        self._last: deque[Step] = deque(maxlen=COMMANDS_SHOWN)
        self._total = 0
        self._problem = ""
        self._job: int | None = None
        self._looking = asyncio.Lock()

    async def look(self) -> dict[str, Any]:
        """The picture now; `problem` says why it may be old or cannot be drawn."""
        async with self._looking:
            run_id = self._run_id()
            record = self._device.own.record
            if run_id is not None and (self._reading is None or self._reading.run_id != run_id):
                device = self._device
                self._reading = RunReading(device.robot, device.name, run_id, keeps_account=True)
                self._last.clear()
                self._total, self._job = 0, None
            if record is not None and record.run_id == run_id:
                self._job = record.job_id
            reading = self._reading
            if reading is None:
                return {"device": self._device.name, "run": None, "problem": ""}
            if run_id is not None:
                await self._read_on(reading)
            return self._shown(reading)

    def _run_id(self) -> str | None:
        """The own run as long as labd follows it, else what the robot calls its current one."""
        own, current = self._device.own.run_id, self._device.watch.current
        return own or (None if current is None else current.run_id)

    async def _read_on(self, reading: RunReading) -> None:
        self._problem = ""
        try:
            for _ in range(PAGES_A_LOOK):
                before = reading.seen
                page, done = await reading.look()
                self._total = page.total
                self._note(page.entries, page.first, before)
                reading.owed.clear()  # the run's job debits what it took, this one only looks
                if not done:
                    return
        except (DeviceError, NotConnected) as fault:
            self._problem = fault.message

    def _note(self, entries: tuple[Step, ...], first: int, before: int) -> None:
        """The newest commands; one that was under way at the last look has another status now."""
        fresh = [step for number, step in enumerate(entries, first) if number >= before]
        known = {step.command_id for step in fresh}
        kept = [step for step in self._last if step.command_id not in known]
        self._last.clear()
        self._last.extend([*kept, *fresh])

    def _shown(self, reading: RunReading) -> dict[str, Any]:
        commands = [
            {"kind": step.kind, "status": step.status,
             "text": text_of({"commandType": step.kind, "params": dict(step.params)})}
            for step in self._last
        ]  # fmt: skip
        return {
            "device": self._device.name, "run": reading.run_id, "job": self._job, "done": reading.seen,
            "total": self._total, "commands": commands, **reading.used(), "problem": self._problem or reading.problem,
        }  # fmt: skip

"""One run of a protocol for a job: uploaded, made, remembered, played, followed to its end.

The order that the promises rest on: a run's id is on disk before it is played; an answer that was lost is never
followed by a second run, the robot is asked what became of the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from labd.engine.registry import JobContext
from labd.errors import (
    ControlLost,
    DeviceError,
    DeviceLost,
    DeviceTimeout,
    LabdError,
    NotConnected,
    ProtocolRefused,
    RunFailed,
)
from labd.ot2.device import OT2Device
from labd.ot2.own_run import OwnRunRecord, never_played
from labd.ot2.protocols import StoredProtocol
from labd.ot2.reading import RunReading
from labd.ot2.rest import bring_to_rest
from labd.ot2.robot import RECOVERING, RunStatus, RunView

REPLAY_LOOK_S = 1.0
LOST = (DeviceLost, DeviceTimeout, NotConnected)


class Performance:
    """A run from upload to end.

    Args:
        parameters: Run-time parameters by variable name.
        air: Which aspirates draw air, as the simulation found it for old API levels.
    """

    def __init__(
        self, device: OT2Device, ctx: JobContext, protocol: StoredProtocol, parameters: Mapping[str, Any],
        air: Sequence[bool] | None = None,
    ) -> None:  # fmt: skip
        self._device = device
        self._ctx = ctx
        self._protocol = protocol
        self._parameters = parameters
        self._air = None if air is None else tuple(air)
        self._expected = 0
        self._reading: RunReading | None = None
        self._account_problem = ""
        self._status: RunStatus | None = None
        self._name = f"ot2 {device.name}"

    async def perform(self) -> dict[str, Any]:
        """Run it.

        Raises:
            ProtocolRefused: The robot's own analysis finds it faulty.
            RunFailed: It ended otherwise than by success.
            ControlLost: Somebody else took the robot.
            DeviceLost: The robot was lost before anything moved.
        """
        device = self._device
        async with device.used_by(self._ctx.job.id):
            await device.watch.look()
            device.require("run")
            run_id = await self._prepare()
            try:
                await self._play(run_id)
                view = await self._follow(run_id)
            except asyncio.CancelledError:
                await self._rest(run_id)
                raise
            await device.take_own(view)
        return self._result(view)

    async def _prepare(self) -> str:
        """Protocol and run on the robot; nothing moves yet."""
        device, robot = self._device, self._device.robot
        self._ctx.log(f"uploading {self._protocol.name} to {device.name}")
        upload = await robot.upload(self._protocol.documents, self._parameters)
        if not upload.ok:
            text = upload.errors[0] if upload.errors else "no reason given"
            raise ProtocolRefused(
                f"{self._name}: the robot's analysis of {self._protocol.name}: {text}", errors=list(upload.errors)
            )
        self._expected = upload.command_count
        device.require("run")
        record = OwnRunRecord(
            job_id=self._ctx.job.id, protocol_id=upload.protocol_id, run_id=None, file=self._protocol.name,
            air=self._air,
        )  # fmt: skip
        await device.own.begin(record)
        try:
            view = await robot.create_run(upload.protocol_id, self._parameters)
        except LOST as fault:
            raise DeviceLost(f"{fault.message}; no run was started, nothing moved", device=device.name) from fault
        device.own_view = device.watch.current = view
        await device.own.keep(msgspec.structs.replace(record, run_id=view.run_id))
        self._ctx.log(f"run {view.run_id} is made")
        return view.run_id

    async def _play(self, run_id: str) -> None:
        device = self._device
        device.require("run")
        try:
            await device.robot.act(run_id, "play")
        except LOST as fault:
            self._ctx.log(f"no answer to play: {fault.message}; asking the robot whether it started", "warning")
            view = await self._after_loss(fault, run_id)
            if view is None or never_played(view):
                text = f"{self._name}: the connection was lost before the run started; nothing moved"
                raise DeviceLost(f"{text}; run the protocol again when the robot is in reach", run=run_id) from fault
        device.publish("run.played", {"run": run_id, "file": self._protocol.name}, self._ctx.job.id)

    async def _follow(self, run_id: str) -> RunView:
        """The run when it has ended, through losses of the connection."""
        device = self._device
        while True:
            try:
                view = await device.robot.run(run_id)
                await self._take(run_id, view)
            except LOST as fault:
                self._ctx.log(f"{fault.message}; the robot goes on by itself", "warning")
                self._ctx.progress(self._done, self._expected or None, "connection lost; the robot goes on by itself")
                view = await self._after_loss(fault, run_id)
                self._ctx.log(f"the robot is back; the run is {view.status if view else 'unknown to it'}")
            if view is None:
                device.lose_control(f"run {run_id} is not on the robot any more")
                await device.take_own(None)
                text = f"run {run_id} is not on the robot any more; somebody deleted it"
                raise ControlLost(f"{self._name}: {text}", run=run_id)
            if view.ended:
                await self._take_rest(run_id)
                return view
            if not view.current:
                await self._lose_control(view)
            await device.clock.sleep(device.settings.poll_s)

    @property
    def _done(self) -> int:
        """Commands that are done."""
        return 0 if self._reading is None else self._reading.seen

    def _read(self, run_id: str) -> RunReading:
        if self._reading is None:
            device = self._device
            self._reading = RunReading(
                device.robot, device.name, run_id, keeps_account=device.keeps_account, air=self._air
            )
        return self._reading

    async def _take(self, run_id: str, view: RunView | None) -> None:
        """Progress, what was drawn, and a line in the log where the status changed."""
        if view is None:
            return
        device = self._device
        device.own_view = view
        if view.status is not self._status:
            self._status = view.status
            self._ctx.log(f"run {run_id} is {view.status}")
            device.publish("run.changed", {"run": run_id, "status": view.status}, self._ctx.job.id)
            if view.status in RECOVERING:
                text = f"{self._name}: run {run_id} waits for a decision after an error"
                device.attention["recovery"] = f"{text}; `labctl ot2 resume` or `labctl ot2 stop`"
            else:
                device.attention.pop("recovery", None)
        page, _ = await self._read(run_id).look()
        await self._debit()
        under_way = [step for step in page.entries if step.status == "running"]
        text = under_way[0].kind if under_way else str(view.status)
        self._ctx.progress(self._done, max(self._expected, page.total) or None, text)

    async def _take_rest(self, run_id: str) -> None:
        """What the last look did not see of a run that moves no more."""
        reading = self._read(run_id)
        await reading.look_at_all()
        await self._debit()
        self._ctx.progress(reading.seen, max(self._expected, reading.seen) or None, str(self._status))
        if reading.owed:
            text = f"{len(reading.owed)} commands that took liquid could not be debited: {self._account_problem}"
            self._ctx.log(f"{text}; put the stock right with `labctl inventory measure`", "error")

    async def _debit(self) -> None:
        """Debit what is done; a refusal stops no run, what is owed is tried again at the next look."""
        reading = self._reading
        assert reading is not None
        refused = await reading.settle(self._consume)
        problem = reading.problem if refused is None else refused.message
        if problem and problem != self._account_problem:
            self._account_problem = problem
            self._ctx.log(f"what the run took is not debited: {problem}", "warning")

    async def _consume(self, volumes_ul: dict[str, float], step: str) -> None:
        await self._ctx.consume(volumes_ul, step)

    async def _lose_control(self, view: RunView) -> None:
        device = self._device
        await device.watch.look()
        other = device.foreign
        why = (
            f"run {other.run_id} is the current one now" if other is not None else "it is not the current run any more"
        )
        device.lose_control(f"run {view.run_id} of job {self._ctx.job.id} was {view.status}, {why}")
        raise ControlLost(
            f"{self._name}: {why}; labd leaves the robot alone; look at it, then `labctl ot2 status`", run=view.run_id
        )

    async def _after_loss(self, fault: DeviceError | NotConnected, run_id: str) -> RunView | None:
        """The run as the robot tells it once it can be asked again; waits as long as that takes."""
        device = self._device
        device.note_lost(fault)
        while True:
            if await device.watch.look():
                try:
                    return await device.robot.run(run_id)
                except LOST as again:
                    device.note_lost(again)
            await device.clock.sleep(min(REPLAY_LOOK_S, device.settings.poll_s))

    async def _rest(self, run_id: str) -> None:
        """The job ends before the run: stop it, or pause it where the daemon ends; confirmed."""
        device = self._device
        action: Literal["pause", "stop"] = "pause" if device.engine.draining else "stop"
        limit_s = device.settings.stop_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                view = await bring_to_rest(device.robot, run_id, action, device.clock)
        except TimeoutError:
            text = f"{self._name}: run {run_id} could not be confirmed at rest within {limit_s:g} s"
            device.attention["hold_unconfirmed"] = f"{text}; look at the robot; its power switch stops it"
            device.publish("device.hold_unconfirmed", {"run": run_id, "action": action}, self._ctx.job.id)
            self._ctx.log(text, "error")
            return
        self._ctx.log(f"run {run_id} is {view.status if view else 'unknown to the robot'}: {action} confirmed")
        try:
            await self._take_rest(run_id)
        except LabdError as fault:
            text = f"{fault.message}; what the run took at its end is debited when the robot tells it"
            self._ctx.log(text, "warning")
            if device.keeps_account:
                return  # the record stays, and with it the question
        await device.take_own(view)

    def _result(self, view: RunView) -> dict[str, Any]:
        if view.status is RunStatus.SUCCEEDED:
            return {
                "device": self._device.name, "run": view.run_id, "status": view.status, "file": self._protocol.name,
                "protocol": self._protocol.protocol_id, "command_count": self._done, "started_at": view.started_at,
                "completed_at": view.completed_at, "simulated": self._device.simulated,
            }  # fmt: skip
        errors = [str(error.get("detail", error)) for error in view.errors]
        facts = {"run": view.run_id, "status": view.status, "errors": errors, "command_count": self._done}
        if view.status is RunStatus.STOPPED:
            raise RunFailed(f"{self._name}: run {view.run_id} was stopped, not by this labd", **facts)
        text = errors[0] if errors else "no reason given"
        raise RunFailed(f"{self._name}: run {view.run_id} failed after {self._done} commands: {text}", **facts)

"""One run of a protocol for a job: uploaded, made, remembered, played, followed to its end.

The order that the promises rest on: a run's id is on disk before it is played; an answer that was lost is never
followed by a second run, the robot is asked what became of the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from labd.engine.registry import JobContext
from labd.errors import ControlLost, DeviceError, DeviceLost, DeviceTimeout, NotConnected, ProtocolRefused, RunFailed
from labd.ot2.device import OT2Device
from labd.ot2.own_run import OwnRunRecord, never_played
from labd.ot2.protocols import StoredProtocol
from labd.ot2.rest import bring_to_rest
from labd.ot2.robot import RECOVERING, RunStatus, RunView

STEPS_A_LOOK = 200
REPLAY_LOOK_S = 1.0
LOST = (DeviceLost, DeviceTimeout, NotConnected)


class Performance:
    """A run from upload to end.

    Args:
        parameters: Run-time parameters by variable name.
    """

    def __init__(
        self, device: OT2Device, ctx: JobContext, protocol: StoredProtocol, parameters: Mapping[str, Any]
    ) -> None:
        self._device = device
        self._ctx = ctx
        self._protocol = protocol
        self._parameters = parameters
        self._expected = 0
        self._seen = 0
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
            job_id=self._ctx.job.id, protocol_id=upload.protocol_id, run_id=None, file=self._protocol.name
        )
        await device.own.keep(record)
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
                self._ctx.progress(self._seen, self._expected or None, "connection lost; the robot goes on by itself")
                view = await self._after_loss(fault, run_id)
                self._ctx.log(f"the robot is back; the run is {view.status if view else 'unknown to it'}")
            if view is None:
                device.lose_control(f"run {run_id} is not on the robot any more")
                await device.take_own(None)
                text = f"run {run_id} is not on the robot any more; somebody deleted it"
                raise ControlLost(f"{self._name}: {text}", run=run_id)
            if view.ended:
                await self._take(run_id, view, last=True)
                return view
            if not view.current:
                await self._lose_control(view)
            await device.clock.sleep(device.settings.poll_s)

    async def _take(self, run_id: str, view: RunView | None, last: bool = False) -> None:
        """Progress, and a line in the log where the status changed."""
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
        try:
            page = await device.robot.steps(run_id, self._seen, STEPS_A_LOOK)
        except LOST:
            if last:
                return
            raise
        done = [step for step in page.entries if step.status in ("succeeded", "failed")]
        under_way = [step for step in page.entries if step.status == "running"]
        self._seen = page.first + len(done)
        text = under_way[0].kind if under_way else str(view.status)
        self._ctx.progress(self._seen, max(self._expected, page.total) or None, text)

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
        await device.take_own(view)

    def _result(self, view: RunView) -> dict[str, Any]:
        if view.status is RunStatus.SUCCEEDED:
            return {
                "device": self._device.name, "run": view.run_id, "status": view.status, "file": self._protocol.name,
                "protocol": self._protocol.protocol_id, "command_count": self._seen, "started_at": view.started_at,
                "completed_at": view.completed_at, "simulated": self._device.simulated,
            }  # fmt: skip
        errors = [str(error.get("detail", error)) for error in view.errors]
        facts = {"run": view.run_id, "status": view.status, "errors": errors, "command_count": self._seen}
        if view.status is RunStatus.STOPPED:
            raise RunFailed(f"{self._name}: run {view.run_id} was stopped, not by this labd", **facts)
        text = errors[0] if errors else "no reason given"
        raise RunFailed(f"{self._name}: run {view.run_id} failed after {self._seen} commands: {text}", **facts)

"""A robot through a worker on the robot itself, which has `opentrons.execute`; see `remote_robot` for the other end.

What differs from a robot's own server: a run lives as long as its worker. After a lost connection the worker there
halts the motors and ends, so the run has failed and is not followed up. A stop is the halt, then the end of the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from labd.clock import Clock
from labd.engine.worker_output import JobOutput
from labd.engine.worker_process import WorkerGone
from labd.engine.worker_start import Worker
from labd.errors import DeviceBusy, DeviceFault, DeviceLost, DeviceTimeout, LabdError, NotConnected, ProtocolRefused
from labd.ot2.robot import Action, Document, RobotHealth, RunStatus, RunView, Step, Steps, Upload

MODULE = "labd.ot2.remote_robot"
HALT_S = 2.0
LAST_STEPS = 1000
OF_THIS_WORKER = ("view", "steps", "act", "halt", "homed")  # what another one knows nothing of
HOMING_LOOK_S = 0.2
_encode = msgspec.json.Encoder().encode
log = structlog.get_logger("ot2")
Start = Callable[[str], Awaitable[Worker]]


class SshRobot:
    """One robot; satisfies `labd.ot2.robot.Robot`.

    Args:
        start: Starts a worker on the robot that has loaded a module.
        open_timeout_s: How long opentrons may take to be imported and to open the hardware.
    """

    def __init__(
        self, name: str, start: Start, clock: Clock, *, answer_timeout_s: float = 10.0, home_timeout_s: float = 120.0,
        open_timeout_s: float = 60.0,
    ) -> None:  # fmt: skip
        self._name = f"ot2 {name}"
        self._start = start
        self._clock = clock
        self._answer_timeout_s = answer_timeout_s
        self._home_timeout_s = home_timeout_s
        self._open_timeout_s = open_timeout_s
        self._worker: Worker | None = None
        self._halted: Worker | None = None
        self._is_open = False
        self._stopping = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._numbers = itertools.count(1)
        self._view: RunView | None = None
        self._steps: list[Step] = []

    # Robot

    async def health(self) -> RobotHealth:
        """Who it is; starts the worker there and opens the hardware where that is not done yet."""
        limit_s = self._answer_timeout_s if self._is_open else self._open_timeout_s
        told = await self._ask("health", limit_s=limit_s)
        self._is_open = True
        return RobotHealth(
            name=str(told["name"]), model="OT-2 Standard", serial=told["serial"], software=str(told["software"]),
            firmware="", api_level_low=str(told["low"]), api_level_high=str(told["high"]),
        )  # fmt: skip

    async def upload(self, documents: Sequence[Document], parameters: Mapping[str, Any]) -> Upload:
        """Bring it there; the robot reads the protocol, the simulation is labd's preflight."""
        given = [{"name": document.name, "text": document.text} for document in documents]
        try:
            told = await self._ask("upload", limit_s=self._open_timeout_s, documents=given, parameters=dict(parameters))
        except ProtocolRefused as fault:
            what = "give parameters to" if fault.details.get("refusal") == "parameters" else "read"
            text = f"{self._name}: the robot cannot {what} {documents[0].name}: {fault.message}"
            raise ProtocolRefused(text, file=documents[0].name) from fault
        return Upload(str(told["protocol_id"]), True)

    async def create_run(self, protocol_id: str, parameters: Mapping[str, Any]) -> RunView:
        """A run that does not move yet; its name is made here, so a lost answer leaves no unknown one."""
        run_id = str(uuid.uuid4())
        self._steps = []
        given = dict(parameters)
        return self._keep(await self._ask("create", protocol_id=protocol_id, run_id=run_id, parameters=given))

    async def run(self, run_id: str) -> RunView | None:
        """One run; one whose worker has ended is told from memory."""
        known = self._view
        if known is None or known.run_id != run_id:
            return None
        if known.ended or self._worker is None:
            return known
        try:
            told = await self._ask("view", run_id=run_id)
        except DeviceLost:
            if self._view is not None and self._view.status is RunStatus.STOPPED:
                return self._view
            raise
        return self._view if told is None else self._keep(told)

    async def current_run(self) -> RunView | None:
        """The run that this driver made last; nobody else can make one while the hardware is labd's."""
        return None if self._view is None else await self.run(self._view.run_id)

    async def maintenance_run(self) -> str | None:
        """There is none without the robot's own server."""
        return None

    async def act(self, run_id: str, action: Action) -> None:
        """Play, pause or resume it there; stop halts the motors, then ends the worker with the run in it."""
        if action == "stop":
            await self._stop(run_id)
        else:
            self._keep(await self._ask("act", run_id=run_id, action=action))

    async def steps(self, run_id: str, first: int, count: int) -> Steps:
        """Commands of a run; of one whose worker has ended those that were told before."""
        if self._worker is None and self._view is not None and self._view.run_id == run_id:
            return Steps(first, len(self._steps), tuple(self._steps[first : first + count]))
        return await self._steps_there(run_id, first, count)

    async def _steps_there(self, run_id: str, first: int, count: int, limit_s: float | None = None) -> Steps:
        told = await self._ask("steps", limit_s=limit_s, run_id=run_id, first=first, count=count)
        entries = tuple(
            Step(one["id"], one["kind"], one["status"], one.get("params") or {}, one.get("result"))
            for one in told["entries"]
        )
        if first <= len(self._steps):
            self._steps[first:] = entries
        return Steps(first, int(told["total"]), entries)

    async def step(self, run_id: str, command_id: str) -> Step:
        """One command; those whose results count come with them."""
        for one in self._steps:
            if one.command_id == command_id:
                return one
        raise DeviceFault(f"{self._name}: run {run_id} has told of no command {command_id}")

    async def door_open(self) -> bool:
        """Whether the door stands open."""
        return bool(await self._ask("door_open"))

    async def lights(self, on: bool | None = None) -> bool:
        """Whether the lights are on."""
        return bool(await self._ask("lights", on=on))

    async def home(self) -> None:
        """All axes home; refused there while a run is active."""
        await self._ask("home")
        deadline = self._clock.monotonic() + self._home_timeout_s
        while True:
            told = await self._ask("homed")
            if told["done"]:
                break
            if self._clock.monotonic() > deadline:
                raise DeviceTimeout(f"{self._name}: not home within {self._home_timeout_s:g} s; look at the robot")
            await self._clock.sleep(HOMING_LOOK_S)
        if told["problem"] is not None:
            raise DeviceFault(f"{self._name}: homing failed: {told['problem']}")

    async def close(self) -> None:
        """Let go of the robot; what still moves is halted. A second call does nothing."""
        view = self._view
        if view is not None and not view.ended and self._worker is not None:
            await self._stop(view.run_id)
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.process.close(worker.outfit.settings.grace_s)
        for call in list(self._under_way):
            call.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    # the line

    async def _stop(self, run_id: str) -> None:
        """Halt by the main thread there; unanswered, by SIGTERM's handler; in the end SIGKILL in any case."""
        async with self._stopping:
            view, worker = self._view, self._worker
            if view is None or view.run_id != run_id:
                raise DeviceBusy(f"{self._name}: run {run_id} is not the current one, so it cannot be stopped")
            if view.ended:
                return
            self._halted = worker
            if worker is not None:
                await self._end(worker, run_id)
            self._forget(worker, RunStatus.STOPPED, "it was stopped")
            self._view = replace(self._view or view, actions=(*view.actions, "stop"))

    async def _end(self, worker: Worker, run_id: str) -> None:
        """Halt, read what was done until then (it ends with the worker), end the worker."""
        process = worker.process
        try:
            await self._ask("halt", limit_s=HALT_S)
            await self._read_last(run_id)
        except LabdError as fault:
            log.warning("device.halt_unanswered", device=self._name, problem=fault.message)
            process.kill(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HALT_S):
                    await process.gone()
        await process.end_now()
        if process.is_alive:
            raise DeviceTimeout(f"{self._name}: the worker on the robot could not be ended; use its power switch")

    async def _read_last(self, run_id: str) -> None:
        """The commands from the first one on that was not known to be done."""
        done = [step.status in ("succeeded", "failed") for step in self._steps]
        first = done.index(False) if False in done else len(done)
        while (await self._steps_there(run_id, first, LAST_STEPS, HALT_S)).entries:
            if len(self._steps) == first:
                return
            first = len(self._steps)

    async def _session(self, verb: str) -> Worker:
        """The worker there; started where there is none, unless the question is about what another one did."""
        worker = self._worker
        if worker is not None and worker.process.is_alive:
            return worker
        if worker is not None:
            ending = worker.process.ending
            self._forget(worker, RunStatus.FAILED, f"the worker on the robot {ending}; what it moved was halted there")
            raise DeviceLost(f"{self._name}: the worker on the robot {ending}", device=self._name)
        if verb in OF_THIS_WORKER:
            raise DeviceLost(f"{self._name}: the worker on the robot has ended", device=self._name)
        worker = await self._start(MODULE)
        faults = worker.loaded.faults or []
        if faults:
            await worker.process.end_now()
            raise DeviceFault(f"{self._name}: the robot cannot run {MODULE}: {faults[0].message}")
        self._worker = worker
        return worker

    def _forget(self, worker: Worker | None, status: RunStatus, why: str) -> None:
        """The worker is gone, and with it a run that had not ended."""
        if self._worker is not worker:
            return  # another one has its place already
        self._worker, self._is_open = None, False
        if worker is not None and worker is self._halted:
            status = RunStatus.STOPPED  # somebody who asked meanwhile saw the end first
        view = self._view
        if view is not None and not view.ended:
            errors = () if status is RunStatus.STOPPED else ({"errorType": "WorkerGone", "detail": why},)
            self._view = replace(view, status=status, errors=(*view.errors, *errors))

    async def _ask(self, verb: str, *, limit_s: float | None = None, **args: Any) -> Any:
        """One question, asked once; a late answer is not waited for, and the worker is left alone."""
        limit_s = limit_s or self._answer_timeout_s
        call = asyncio.get_running_loop().create_task(self._call(verb, args), name=f"{self._name} {verb}")
        self._under_way.add(call)
        call.add_done_callback(self._done)
        try:
            told = await asyncio.wait_for(asyncio.shield(call), limit_s)
        except TimeoutError:
            text = f"{self._name}: no answer to {verb} within {limit_s:g} s; is the robot on?"
            raise DeviceTimeout(text, device=self._name) from None
        if "refusal" not in told:
            return told["answer"]
        refusal = told["refusal"]
        kinds = {"busy": DeviceBusy, "server": NotConnected, "protocol": ProtocolRefused, "parameters": ProtocolRefused}
        kind = kinds.get(refusal, DeviceFault)
        raise kind(told["text"] if kind is ProtocolRefused else f"{self._name}: {told['text']}", refusal=refusal)

    def _done(self, call: asyncio.Task[Any]) -> None:
        self._under_way.discard(call)
        if not call.cancelled():
            call.exception()  # its asker may have gone

    async def _call(self, verb: str, args: dict[str, Any]) -> Any:
        async with self._asking:
            worker = await self._session(verb)
            number = next(self._numbers)
            request = {
                "type": "run", "run": number, "job": 0, "attempt": 1, "task": "robot",
                "args": {"verb": verb, "args": args}, "steps": [], "grace_s": worker.outfit.settings.grace_s,
            }  # fmt: skip
            output = JobOutput(lambda level, text: log.debug("robot.said", device=self._name, text=text))
            try:
                told = await worker.process.run(
                    number, _encode(request) + b"\n", output, _no_progress, worker.outfit.settings.grace_s
                )
            except WorkerGone as gone:
                self._forget(
                    worker, RunStatus.FAILED, f"the worker on the robot {gone}; what it moved was halted there"
                )
                raise DeviceLost(f"{self._name}: the worker on the robot {gone}", device=self._name) from gone
        if told.type != "done":
            raise DeviceFault(f"{self._name}: {verb}: {(told.error or {}).get('message', told.type)}")
        return told.result

    def _keep(self, told: Mapping[str, Any]) -> RunView:
        view = RunView(
            run_id=str(told["run_id"]), status=RunStatus(told["status"]), current=True,
            protocol_id=told["protocol_id"], actions=tuple(told["actions"]), errors=tuple(told["errors"]),
            started_at=told["started_at"], completed_at=told["completed_at"],
        )  # fmt: skip
        known = self._view
        if known is not None and known.ended and known.run_id == view.run_id:
            return known  # the answer was under way when the worker was ended
        self._view = view
        return view


def _no_progress(done: float, total: float | None, text: str) -> None:
    """What the other end asks for ends within moments."""

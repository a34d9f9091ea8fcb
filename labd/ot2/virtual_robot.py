"""A virtual OT-2: protocols, runs and their commands in time, without any HTTP.

Not for judging protocols: opentrons' own simulator does that. What a run plays are the commands that `analyse` gives
for the uploaded files.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.clock import Clock, iso
from labd.ot2.robot import ENDED, Document, RunStatus
from labd.ot2.virtual_commands import HOMING_S, result_of, seconds_of, static_reading

Json = dict[str, Any]
R = RunStatus
Analyse = Callable[[Sequence[Document], Json], Awaitable[Json]]
ACTIVE = frozenset(RunStatus) - ENDED - {R.IDLE}
STOPPING_S = 1.0
KEPT_PROTOCOLS = 5


class Refusal(Exception):
    """An answer of the robot that is no success: HTTP status, the error's id, its text."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail


@dataclass(slots=True)
class Faults:
    """What goes wrong, until it is set back; the counts run down by themselves.

    Args:
        starting: Every answer is 503.
        door_open: A played run is blocked until it is false.
        drop_before: So many requests are cut off before the robot did anything.
        drop_after: So many are cut off after it did, before it answered.
        stuck: No command ends, no stop is obeyed.
        recover_at: The command of this number awaits recovery.
        fail_at: The command of this number fails the run.
    """

    starting: bool = False
    door_open: bool = False
    drop_before: int = 0
    drop_after: int = 0
    stuck: bool = False
    recover_at: int | None = None
    fail_at: int | None = None


@dataclass(slots=True)
class Protocol:
    """Uploaded files and their analysis, if it is done."""

    protocol_id: str
    documents: tuple[Document, ...]
    digest: str
    analysis_id: str
    analysis: Json | None = None


@dataclass(slots=True)
class Run:
    """One run."""

    run_id: str
    protocol_id: str | None
    created_at: str
    status: RunStatus = R.IDLE
    pending: list[Json] = field(default_factory=list)
    commands: list[Json] = field(default_factory=list)
    results: dict[str, Json] = field(default_factory=dict)
    actions: list[Json] = field(default_factory=list)
    errors: list[Json] = field(default_factory=list)
    started_at: str | None = None
    completed_at: str | None = None


class VirtualRobot:
    """One robot.

    Args:
        time_scale: So many times faster than the real one.
        analyse: Makes of the uploaded files an analysis: `ok`, `errors`, `commands`.
        record: Gets a JSON line for everything that moved, was asked or was lit; the witness of tests.
    """

    def __init__(
        self, clock: Clock, *, name: str = "virtual-ot2", time_scale: float = 1.0, analyse: Analyse | None = None,
        record: Path | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.faults = Faults()
        self.lights_on = False
        self.homes = 0
        self.runs: dict[str, Run] = {}
        self.protocols: dict[str, Protocol] = {}
        self.current: str | None = None
        self.maintenance: str | None = None
        self._clock = clock
        self._scale = time_scale
        self._analyse = analyse or static_reading
        self._record = record
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    # protocols

    async def upload(self, documents: Sequence[Document], parameters: Json) -> tuple[Protocol, bool]:
        """Keep a protocol; the same content again gives the same one back, and True if it is new."""
        main = documents[0]
        try:
            ast.parse(main.text) if main.name.endswith(".py") else json.loads(main.text)
        except (SyntaxError, ValueError) as fault:
            raise Refusal(422, "ProtocolFilesInvalid", f"{fault} ({main.name})") from fault
        digest = hashlib.sha256(json.dumps([[d.name, d.text] for d in documents]).encode()).hexdigest()
        known = next((one for one in self.protocols.values() if one.digest == digest), None)
        if known is not None and known.analysis is None:
            raise Refusal(503, "LastAnalysisPending", "the last analysis of this protocol is not done yet")
        if known is not None:
            return known, False
        found = Protocol(_new_id(), tuple(documents), digest, _new_id())
        self.protocols[found.protocol_id] = found
        used = {run.protocol_id for run in self.runs.values()}
        unused = [key for key in self.protocols if key not in used and key != found.protocol_id]
        for key in unused[: max(0, len(unused) - KEPT_PROTOCOLS + 1)]:
            del self.protocols[key]
        self._spawn(self._analysed(found, parameters))
        return found, True

    async def _analysed(self, protocol: Protocol, parameters: Json) -> None:
        protocol.analysis = await self._analyse(protocol.documents, parameters)

    # runs

    def create_run(self, protocol_id: str | None) -> Run:
        """A run that becomes the current one."""
        current = self.runs.get(self.current or "")
        if current is not None and current.status in ACTIVE:
            raise Refusal(409, "RunAlreadyActive", f"run {current.run_id} is still active")
        commands: list[Json] = []
        if protocol_id is not None:
            if protocol_id not in self.protocols:
                raise Refusal(404, "ProtocolNotFound", f"protocol {protocol_id} was not found")
            commands = list((self.protocols[protocol_id].analysis or {}).get("commands", []))
        run = Run(_new_id(), protocol_id, self._now(), pending=commands)
        self.runs[run.run_id] = run
        self.current = run.run_id
        return run

    def take_over(self) -> Run:
        """Somebody else's run has the robot from now on, as after a restart of the robot's server."""
        run = Run(_new_id(), None, self._now(), status=R.RUNNING)
        self.runs[run.run_id] = run
        self.current = run.run_id
        self.write("foreign_run", run=run.run_id)
        return run

    def run(self, run_id: str) -> Run:
        """One run."""
        if run_id not in self.runs:
            raise Refusal(404, "RunNotFound", f"run {run_id} was not found")
        return self.runs[run_id]

    async def act(self, run_id: str, action: str) -> Json:
        """What a client asks of a run."""
        run = self.run(run_id)
        if self.current != run_id:
            raise Refusal(409, "RunStopped", f"run {run_id} is not the current run")
        if run.status in ENDED and action != "stop":
            raise Refusal(409, "RunActionNotAllowed", f"the run has ended as {run.status}")
        if action == "play":
            self._play(run)
        elif action == "pause":
            if run.status is not R.RUNNING:
                raise Refusal(409, "RunActionNotAllowed", f"a run that is {run.status} cannot be paused")
            run.status = R.PAUSED
        elif action == "resume-from-recovery":
            if run.status is not R.AWAITING_RECOVERY:
                raise Refusal(409, "RunActionNotAllowed", f"a run that is {run.status} recovers from nothing")
            run.status = R.RUNNING
        elif action == "stop":
            if run.status not in ENDED and run.status is not R.STOP_REQUESTED:
                run.status = R.STOP_REQUESTED
                self._spawn(self._stop(run))
        else:
            raise Refusal(422, "InvalidRequest", f"no action is named {action!r}")
        told = {"id": _new_id(), "createdAt": self._now(), "actionType": action}
        run.actions.append(told)
        self.write("action", run=run_id, action=action, status=run.status)
        await self._wake()
        return told

    def _play(self, run: Run) -> None:
        if run.status is R.AWAITING_RECOVERY:
            raise Refusal(409, "RunActionNotAllowed", "the run awaits recovery")
        first = run.started_at is None
        run.started_at = run.started_at or self._now()
        run.status = R.BLOCKED_BY_OPEN_DOOR if self.faults.door_open else R.RUNNING
        if first:
            self._spawn(self._perform(run))

    async def _perform(self, run: Run) -> None:
        """Command by command; a pause lets the one under way finish."""
        for number, wanted in enumerate(list(run.pending)):
            if not await self._may_go_on(run):
                return None
            command = {
                "id": _new_id(), "commandType": wanted["commandType"], "params": wanted.get("params", {}),
                "status": "running", "createdAt": self._now(), "startedAt": self._now(),
            }  # fmt: skip
            run.commands.append(command)
            if number == self.faults.fail_at:
                return self._fail(run, command)
            if number == self.faults.recover_at:
                run.status = R.AWAITING_RECOVERY
                if not await self._may_go_on(run):
                    return None
            if command["commandType"] in ("waitForResume", "pause"):
                run.status = R.PAUSED
                if not await self._may_go_on(run):
                    return None
            await self._clock.sleep(seconds_of(command) / self._scale)
            async with self._changed:
                await self._changed.wait_for(lambda: not self.faults.stuck)
            if run.status is R.STOP_REQUESTED or run.status in ENDED:
                return None
            command["status"], command["completedAt"] = "succeeded", self._now()
            run.results[command["id"]] = result_of(wanted)
            self.write("command", run=run.run_id, number=number, type=command["commandType"], params=command["params"])
        if await self._may_go_on(run):
            self._end(run, R.SUCCEEDED)
        return None

    async def _may_go_on(self, run: Run) -> bool:
        """Wait until the run may do its next command; False when it never will."""

        def ready() -> bool:
            if run.status is R.BLOCKED_BY_OPEN_DOOR and not self.faults.door_open:
                run.status = R.PAUSED
            return run.status is R.RUNNING or run.status is R.STOP_REQUESTED or run.status in ENDED

        async with self._changed:
            await self._changed.wait_for(ready)
        return run.status is R.RUNNING

    async def _stop(self, run: Run) -> None:
        await self._clock.sleep(STOPPING_S / self._scale)
        async with self._changed:
            await self._changed.wait_for(lambda: not self.faults.stuck)
        for command in run.commands:
            if command["status"] == "running":
                command["status"], command["completedAt"] = "failed", self._now()
        self._end(run, R.STOPPED)

    def _fail(self, run: Run, command: Json) -> None:
        command["status"], command["completedAt"] = "failed", self._now()
        detail = f"{command['commandType']}: no tip is attached"
        run.errors.append(
            {"id": _new_id(), "errorType": "ExceptionInProtocolError", "errorCode": "4000", "detail": detail}
        )
        self._end(run, R.FAILED)

    def _end(self, run: Run, status: RunStatus) -> None:
        run.status, run.completed_at = status, self._now()
        self.write("ended", run=run.run_id, status=status)

    # the rest of the robot

    async def home(self) -> None:
        """All axes home; like the real one it does not ask whether a run goes on."""
        await self._clock.sleep(HOMING_S / self._scale)
        self.homes += 1
        self.write("home")

    def set_lights(self, on: bool) -> None:
        """Lights."""
        self.lights_on = on
        self.write("lights", on=on)

    async def change_faults(self, faults: Faults) -> None:
        """Other faults from now on."""
        self.faults = faults
        await self._wake()

    async def settle(self) -> None:
        """Return when everybody who waits for a change has looked; for tests."""
        await self._wake()

    async def close(self) -> None:
        """End everything under way; a second call does nothing."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def write(self, what: str, **facts: Any) -> None:
        """One line of the record."""
        if self._record is not None:
            with self._record.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at": self._now(), "what": what, **facts}) + "\n")

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _now(self) -> str:
        return iso(self._clock.wall()) or ""

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _new_id() -> str:
    return str(uuid.uuid4())

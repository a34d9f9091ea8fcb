"""One robot as labd has it: its connection, the run that labd made on it, its stop latch, and what may be asked now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from labd.engine.job import Caller, Cause
from labd.errors import InvalidArguments, LabdError, NotFound
from labd.ot2.allowed import Situation, Verb, refusal
from labd.ot2.deck_view import DeckView
from labd.ot2.latch import StopLatch
from labd.ot2.own_run import OwnRun, OwnRunRecord, never_played
from labd.ot2.reading import RunReading
from labd.ot2.rest import bring_to_rest
from labd.ot2.robot import RECOVERING, VIRTUAL_SERIAL, Robot, RunStatus, RunView
from labd.ot2.settings import OT2Settings
from labd.ot2.watch import Watch
from labd.wing import Host

STOP_ANSWER_S = 5.0
DURABLE_S = 1.0


class OT2Device:
    """A robot by its name.

    Args:
        name: Of the instance, `main` where there is only one.
        robot: The driver.
    """

    def __init__(self, name: str, settings: OT2Settings, host: Host, robot: Robot) -> None:
        self.name = name
        self.settings = settings
        self.robot = robot
        self.resource = f"ot2:{name}"
        self.clock = host.clock
        self.engine = host.engine
        self.latch = StopLatch(name, host.engine, host.clock, host.engine.wake)
        self.own = OwnRun(name, host.engine)
        self.own_view: RunView | None = None
        self.watch = Watch(robot, host.clock, settings.look_s, self.take_event, self._take_look)
        self.busy_job: int | None = None
        self.deck_view = DeckView(self)
        self.attention: dict[str, str] = {}
        self._foreign_told: str | None = None
        self._left_reading: RunReading | None = None
        self._stopping: asyncio.Task[None] | None = None
        host.engine.add_gate(self.resource, self.gate)  # closed until the latch was read

    # what is so

    @property
    def simulated(self) -> bool:
        """Whether nothing real moves: a virtual robot in the daemon, or one on the network that says it is one."""
        health = self.watch.health
        return self.settings.driver == "simulated" or (health is not None and health.serial == VIRTUAL_SERIAL)

    @property
    def keeps_account(self) -> bool:
        """Whether anybody wants to know what runs draw from the wells."""
        return self.engine.attendance.attendant is not None

    @property
    def foreign(self) -> RunView | None:
        """Somebody else's run that is not over."""
        current = self.watch.current
        if self.watch.state != "ready" or current is None or current.ended or self.own.is_mine(current):
            return None
        return current

    def situation(self) -> Situation:
        """The facts that decide what may be done now."""
        record, view = self.latch.record, self.own_view
        going = view is not None and not view.ended and not never_played(view)
        return Situation(
            device=self.name,
            state=self.watch.state,
            problem=self.watch.problem,
            latch_known=self.latch.known,
            latched_by=None if record is None else record.by,
            latched_reason="" if record is None else record.reason,
            stop_pending=self.stop_pending,
            own=view if going else None,
            own_job=None if self.own.record is None else self.own.record.job_id,
            foreign=self.foreign,
            maintenance=self.watch.maintenance,
            busy_job=self.busy_job,
        )

    def require(self, verb: Verb) -> None:
        """Nothing if the verb is allowed now.

        Raises:
            Refused: Why not.
        """
        fault = refusal(self.situation(), verb)
        if fault is not None:
            raise fault

    def gate(self) -> Cause | None:
        """What holds every queued run; the engine asks before it starts one and for `why`."""
        fault = refusal(self.situation(), "run")
        return None if fault is None else Cause(fault.code, fault.message, fault.details)

    # life

    async def start(self) -> None:
        """Read what an earlier daemon left, then look; a robot that is not there is no error."""
        await self.latch.load()
        await self.own.load()
        self.watch.start()
        if self.latch.latched and self.own.run_id is not None:
            self._begin_stop(self.own.run_id)

    async def close(self) -> None:
        """Let go of the robot; a second call does nothing."""
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.gather(self._stopping, return_exceptions=True)
        await self.watch.close()
        await self.latch.close()
        await self.robot.close()

    async def _take_look(self, current: RunView | None) -> None:
        """Follow up the own run, and notice somebody else's."""
        record = self.own.record
        if record is not None and record.run_id is not None:
            view = await self.robot.run(record.run_id)
            if self.own.record is not record:
                pass  # its job has read its end while the robot was asked here, and let the record go
            elif self.busy_job is None:
                await self._take_left(record, view)
            elif view is not None and view.ended:
                self.own_view = view  # its job reads what it took, then lets the record go
            else:
                await self.take_own(view)
        elif record is not None and current is not None and self.own.is_what_was_asked_for(current):
            await self.own.keep(msgspec.structs.replace(record, run_id=current.run_id))
        foreign = None if current is None or current.ended or self.own.is_mine(current) else current
        if foreign is None:
            self._foreign_told = None
            self.attention.pop("foreign_run", None)
        elif foreign.run_id != self._foreign_told:
            self._foreign_told = foreign.run_id
            self._tell_foreign(foreign)
        self.engine.wake()

    async def _take_left(self, record: OwnRunRecord, view: RunView | None) -> None:
        """A run that no job follows: its draws first, for with its end the record goes."""
        if view is not None and record.run_id is not None:
            await self._debit_left(record, record.run_id)
        await self.take_own(view)

    async def _debit_left(self, record: OwnRunRecord, run_id: str) -> None:
        """What a run took that no job follows, such as after a restart; what was debited before is not again."""
        if not self.keeps_account:
            return
        reading = self._left_reading
        if reading is None or reading.run_id != run_id:
            reading = RunReading(self.robot, self.name, run_id, keeps_account=True, air=record.air)
            self._left_reading = reading
        await reading.look_at_all()
        try:
            job = await self.engine.job(record.job_id)
        except NotFound:
            return

        async def consume(volumes_ul: dict[str, float], step: str) -> None:
            await self.engine.consume(job, step, volumes_ul)

        refused = await reading.settle(consume)
        problem = reading.problem if refused is None else refused.message
        if problem:
            text = f"ot2 {self.name}: what run {run_id} of job {record.job_id} took is not debited: {problem}"
            self.attention["not_debited"] = f"{text}; put the stock right with `labctl inventory measure`"
        else:
            self.attention.pop("not_debited", None)

    def _tell_foreign(self, foreign: RunView) -> None:
        going = self.situation().own
        if going is not None:
            self.lose_control(f"run {foreign.run_id}, which labd did not make, has the robot now")
        text = f"ot2 {self.name}: run {foreign.run_id}, which labd did not make, is {foreign.status} on the robot"
        self.attention["foreign_run"] = text + "; labd starts nothing until it is over"
        self.publish("device.foreign_run", {"run": foreign.run_id, "status": foreign.status})

    def lose_control(self, why: str) -> None:
        """Somebody else has the robot: said aloud, and nothing queued starts by itself."""
        if "control_lost" in self.attention:
            return
        text = f"ot2 {self.name}: control lost: {why}"
        self.attention["control_lost"] = f"{text}; look at the robot, then `labctl ot2 status`"
        self.publish("device.control_lost", {"problem": why})
        self.hold_queued("control_lost", "somebody else took the robot over while this waited")

    async def take_own(self, view: RunView | None) -> None:
        """What the robot says of the own run, told and forgotten when it is over."""
        record = self.own.record
        if record is None:  # the watch saw the end first
            self.own_view = None
            return
        self.own_view = view
        if view is not None and view.current and not view.ended:
            if self.busy_job is None and not never_played(view):
                text = f"ot2 {self.name}: run {view.run_id} of job {record.job_id} is {view.status} on the robot"
                hint = "no job follows it; `labctl ot2 resume`, `labctl ot2 stop`, or wait for its end"
                self.attention["run_left"] = f"{text}; {hint}"
            return
        self.attention.pop("run_left", None)
        self.own_view = None
        if self.watch.current is not None and self.watch.current.run_id == record.run_id:
            self.watch.current = view  # what the last look saw of it is older
        await self.own.keep(None)
        status = "unknown to the robot" if view is None else view.status
        if self.busy_job is None and not self.stop_pending:
            text = f"ot2 {self.name}: run {record.run_id} of job {record.job_id}, which no job followed, is {status}"
            hint = f"look at the robot; job {record.job_id} is not run again by itself"
            self.attention["run_left_ended"] = f"{text}; {hint}, `labctl job retry {record.job_id}` would"
        self._left_reading = None
        self.publish("run.ended", {"run": record.run_id, "job": record.job_id, "status": status}, record.job_id)
        self.engine.wake()

    @asynccontextmanager
    async def used_by(self, job_id: int) -> AsyncIterator[None]:
        """The time in which a job has the robot."""
        self.busy_job = job_id
        self.attention.pop("control_lost", None)
        self.attention.pop("run_left_ended", None)
        try:
            yield
        finally:
            self.busy_job = None
            self.engine.wake()

    # verbs

    async def pause(self, caller: Caller) -> dict[str, Any]:
        """The command under way ends, then nothing further starts."""
        await self.watch.look()
        self.require("pause")
        return await self._change(caller, "pause")

    async def resume(self, caller: Caller) -> dict[str, Any]:
        """Go on after a pause, a closed door or an error that was put right."""
        await self.watch.look()
        self.require("resume")
        recovering = self.own_view is not None and self.own_view.status in RECOVERING
        return await self._change(caller, "resume-from-recovery" if recovering else "play")

    async def _change(self, caller: Caller, action: Any) -> dict[str, Any]:
        run_id = self.own.run_id
        assert run_id is not None
        self.engine.audit(caller, f"ot2.{action}", self.resource, {"device": self.name, "run": run_id})
        await self.robot.act(run_id, action)
        view = await self.robot.run(run_id)
        if view is not None:
            self.own_view = view
        self.publish("run.changed", {"run": run_id, "action": action, "status": view and view.status})
        return {"device": self.name, "run": run_id, "status": view and view.status, "asked": action}

    async def lights(self, on: bool | None, caller: Caller) -> dict[str, Any]:
        """Whether the lights are on, after setting them if asked."""
        self.require("lights")
        if on is not None:
            self.engine.audit(caller, "ot2.lights", self.resource, {"on": on})
        return {"device": self.name, "lights_on": await self.robot.lights(on)}

    async def home_for(self, job_id: int) -> dict[str, Any]:
        """All axes home; asked anew whether a run has the robot, because the robot itself would not mind."""
        async with self.used_by(job_id):
            await self.watch.look()
            self.require("home")
            await self.robot.home()
        return {"device": self.name, "homed": True, "simulated": self.simulated}

    # the stop

    @property
    def stop_pending(self) -> bool:
        """A stop is sent and not confirmed yet."""
        return self._stopping is not None and not self._stopping.done()

    async def stop(self, caller: Caller, reason: str) -> dict[str, Any]:
        """Latch, send the stop to the own run, end its job; answers when confirmed, or after a few seconds.

        A run that labd did not make is left alone, and the answer says so.
        """
        self.latch.set(caller.name, reason)
        run_id, stopping = self.own.run_id, self._stopping
        if run_id is not None and (self.own_view is None or not self.own_view.ended):
            stopping = self._begin_stop(run_id)
        why = f"ot2 {self.name}: stopped by {caller.name}" + (f" ({reason})" if reason else "")
        cancelled = self.engine.cancel_holding(self.resource, caller, why, "stop_latched")
        self.publish("device.stop_latched", {"by": caller.name, "reason": reason, "run": run_id})
        self.engine.audit(caller, "ot2.stop", self.resource, {"device": self.name, "reason": reason, "run": run_id})
        if stopping is not None:
            await asyncio.wait({stopping}, timeout=STOP_ANSWER_S)
        durable = await self.latch.settled(DURABLE_S)
        return {
            "device": self.name,
            "run": run_id,
            "stopped": run_id is not None,
            "confirmed": not self.stop_pending,
            "latched": True,
            "latched_durably": durable,
            "cancelled_jobs": cancelled,
            "note": self._stop_note(run_id),
        }

    def _stop_note(self, run_id: str | None) -> str:
        if self.stop_pending:
            return "the robot has not confirmed yet; labd goes on asking; if it still moves, use its power switch"
        if self.foreign is not None:
            return f"run {self.foreign.run_id} is not labd's and was left alone; stop it at the robot or in its App"
        return "" if run_id is not None else "no run of labd was going on"

    def _begin_stop(self, run_id: str) -> asyncio.Task[None]:
        if self._stopping is None or self._stopping.done():
            self._stopping = asyncio.get_running_loop().create_task(self._stop_run(run_id), name="ot2 stop")
        return self._stopping

    async def _stop_run(self, run_id: str) -> None:
        view = await bring_to_rest(self.robot, run_id, "stop", self.clock)
        self.attention.pop("stop_unconfirmed", None)
        status = "unknown to the robot" if view is None else view.status
        if view is not None and not view.ended:
            self.lose_control(f"run {run_id} is {status} and not the current run, so it cannot be stopped")
        self.publish("device.stop_confirmed", {"run": run_id, "status": status})
        record = self.own.record
        if self.busy_job is None and record is not None:
            with suppress(LabdError):  # else the next look does it
                await self._take_left(record, view)

    async def reset(self, by: str, reason: str, caller: Caller) -> dict[str, Any]:
        """End the stop, by name and with a reason.

        Raises:
            InvalidArguments: No name or no reason.
            Refused: Nothing is latched, or the stop is not confirmed yet.
        """
        if not by.strip() or not reason.strip():
            text = "a reset needs the name of a person and a reason: --by NAME --reason TEXT"
            raise InvalidArguments(f"ot2 {self.name}: {text}", device=self.name)
        self.require("reset")
        await self.latch.reset()
        self.attention.clear()
        self.engine.audit(caller, "ot2.reset", self.resource, {"device": self.name, "by": by, "reason": reason})
        self.publish("device.stop_reset", {"by": by, "reason": reason})
        return {"device": self.name, "stop_latched": False, "by": by, "reason": reason}

    # telling

    def hold_queued(self, code: str, reason: str) -> list[int]:
        """Queued runs wait for a person from now on."""
        text = f"ot2 {self.name}: {reason}; `labctl job release` lets it go"
        return self.engine.hold_queued(self.resource, code, text)

    def publish(self, kind: str, facts: dict[str, Any], job_id: int | None = None) -> None:
        """Put an event of this robot into the feed."""
        self.engine.publish(kind, {"device": self.name, "wing": "ot2", "simulated": self.simulated, **facts}, job_id)

    def take_event(self, kind: str, facts: dict[str, Any]) -> None:
        """What the watch tells."""
        self.publish(kind, facts)
        if kind == "device.lost":
            self.hold_queued("device_lost", "the robot was lost while this waited")
        self.engine.wake()

    def note_lost(self, fault: LabdError) -> None:
        """The driver met a loss while a job had the robot."""
        self.watch.note_lost(fault)


def moving(view: RunView | None) -> bool:
    """Whether something of the run moves now."""
    return view is not None and view.status in (RunStatus.RUNNING, RunStatus.FINISHING, RunStatus.STOP_REQUESTED)

"""One carousel as labd has it: the motor, its hotels, its stop latch, and what may be asked of it now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from labd.engine.job import Caller, Cause
from labd.resort.allowed import Situation, decide, require
from labd.resort.drive.carousel import Carousel
from labd.resort.drive.lanes import Bus
from labd.resort.drive.modes import Modes, plan
from labd.resort.latch import StopLatch
from labd.resort.motor_note import MotorNoteFile, note_of
from labd.resort.observation import Observation
from labd.resort.readings import health_of, position_of
from labd.resort.self_connection import SelfConnection
from labd.resort.settings import OPERATING_MODES, ResortSettings
from labd.resort.settings_change import change_of
from labd.resort.stop_switch import StopSwitch
from labd.wing import Host

HOLDING_EVENTS = {
    "device.not_opened": ("device_lost", "the carousel could not be reached while this waited"),
    "device.lost": ("device_lost", "the carousel was lost while this waited"),
    "device.reopened": ("device_lost", "the carousel was lost and came back while this waited"),
    "device.watchdog_tripped": ("watchdog_tripped", "the motor stopped itself because nobody fed its watchdog"),
}
JOB_END_S = 5.0
CLEARING_EVENTS = {"device.connected", "device.reopened"}


class ResortDevice:
    """A carousel by its name.

    Args:
        name: Of the instance, `main` where there is only one.
        settings: Its table.
        host: What the daemon lends.
        port: Path of the serial port, or of the virtual bus.
        bus: Of that port; carousels on one port share it.
    """

    def __init__(self, name: str, settings: ResortSettings, host: Host, port: str, bus: Bus) -> None:
        self.name = name
        self.settings = settings
        self.port = port
        self.resource = f"resort:{name}"
        self.link_resource = f"resort:{name}/link"
        self.geometry = settings.geometry()
        self.simulated = settings.driver == "simulated"
        self.carousel = Carousel(settings.drive(port), host.clock, self.take_event, bus)
        self.latch = StopLatch(name, host.engine, host.state_dir, host.runtime_dir, host.clock, host.engine.wake)
        self.note_file = MotorNoteFile(host.runtime_dir, name)
        self._state_dir = str(host.state_dir)
        self.busy_job: int | None = None
        self._unused = asyncio.Event()
        self._unused.set()
        self._fresh: tuple[ResortSettings, tuple[str, ...]] | None = None
        self._opening: asyncio.Task[None] | None = None
        self.attention: dict[str, str] = {}
        self._engine = host.engine
        self.seen = Observation(self.carousel, host.clock, self.situation)
        self.switch = StopSwitch(name, self.resources, self.carousel, self.latch, host.engine, self.publish)
        self.self_connection = SelfConnection(
            name, settings.auto_connect, host.engine, self._connect_quietly, self._may_connect
        )
        host.engine.add_gate(self.resource, self.gate)  # before any job can start: closed until the latch was read

    @property
    def resources(self) -> tuple[str, str]:
        """What a motion holds: the carousel itself, and its connection.

        Why two: the gate closes the first while motion is refused; `connect` holds only the second, so that it can
        start when nothing else may.
        """
        return (self.resource, self.link_resource)

    # what is so

    def situation(self, *, queues: bool = True) -> Situation:
        """The facts that decide what may be done now."""
        carousel, state = self.carousel, self.carousel.snapshot
        known = state if carousel.state == "ready" else None
        record, stopped_at = self.latch.record, self.switch.confirmed_at
        rests = stopped_at is not None and (known is None or known.read_at <= stopped_at)
        return Situation(
            device=self.name,
            state=carousel.state,
            problem=carousel.problem,
            latch_known=self.latch.known,
            latched_by=None if record is None else record.by,
            latched_reason="" if record is None else record.reason,
            stop_running=self.switch.pending,
            torque_enabled=None if known is None else known.torque_enabled and not rests,
            operating_mode=None if known is None else known.operating_mode,
            drive_mode=None if known is None else known.drive_mode,
            wanted_mode=OPERATING_MODES[self.settings.mode],
            hardware_errors=() if known is None else known.hardware_errors,
            moving=not rests and (carousel.moving or (known is not None and known.moving)),
            busy_job=self.busy_job,
            queues=queues,
        )

    def require(self, action: str, *, queues: bool = True) -> None:
        """Nothing if the action is allowed now.

        Raises:
            Refused: Why not.
        """
        require(self.situation(queues=queues), action)

    def gate(self) -> Cause | None:
        """What holds every queued motion; the engine asks before it starts one and for `why`."""
        refusal = decide(self.situation())["go_home"]
        return None if refusal is None else Cause(refusal.kind, refusal.message, refusal.fields)

    # verbs

    async def connect(self, configure: bool = False) -> dict[str, Any]:
        """Ready for motion: goal is where it stands, then torque on."""
        state = await self.seen.guarded(self.carousel.connect(configure))
        await self.self_connection.remember_released(False)
        self._engine.wake()
        answer = position_of(self.name, self.geometry, state)
        return {**answer, "torque_enabled": state.torque_enabled, "model": state.model_name, "notes": list(state.notes)}

    def configuring(self) -> str:
        """What `connect --configure` will do, by what is known of the motor now."""
        now = self.situation()
        found = None if now.operating_mode is None else Modes(now.operating_mode, now.drive_mode or 0)
        return plan(found, OPERATING_MODES[self.settings.mode], now.torque_enabled)

    async def _connect_quietly(self) -> None:
        await self.seen.guarded(self.carousel.connect())
        self._engine.wake()

    def _may_connect(self) -> bool:
        return self.carousel.state == "ready" and not self.latch.latched and self.busy_job is None

    @asynccontextmanager
    async def used_by(self, job_id: int, action: str) -> AsyncIterator[None]:
        """The time in which a job has the carousel; checks once more that the action is allowed.

        Raises:
            Refused: Why it is not.
        """
        await self.self_connection.settled()
        self.require(action)
        self.busy_job = job_id
        self._unused.clear()
        try:
            yield
        finally:
            self.busy_job = None
            self._unused.set()
            self._take_settings()
            self.seen.activity()
            self.self_connection.begin_if_due()
            if self.situation().torque_enabled is False:  # it was lost and came back while the job had it
                self.self_connection.begin()

    async def disconnect(self) -> dict[str, Any]:
        """Torque off on purpose; labd does not connect by itself again until somebody asks."""
        await self.self_connection.remember_released(True)
        if self.carousel.state != "closed":
            await self.seen.guarded(self.carousel.disconnect())
        self._engine.wake()
        return {"device": self.name, "connected": False, "torque_enabled": False}

    async def set_speed(self, speed_rpm: float) -> dict[str, Any]:
        """Speed of the moves to come, until labd starts again."""
        await self.seen.guarded(self.carousel.set_speed(speed_rpm))
        return {"device": self.name, "speed": speed_rpm}

    async def hold(self, caller: Caller) -> dict[str, Any]:
        """Stop where it is, torque stays; motion that waited is held for a person."""
        self.require("hold")
        self._engine.audit(caller, "resort.hold", self.resource, {"device": self.name})
        self.hold_queued("hold", "the carousel was told to hold while this waited")
        state = await self.seen.guarded(self.carousel.hold())
        self.seen.activity()
        return {**position_of(self.name, self.geometry, state), "torque_enabled": state.torque_enabled, "held": True}

    async def position(self) -> dict[str, Any]:
        """Where it stands now, read from the motor."""
        self.require("get_current_position")
        return position_of(self.name, self.geometry, await self.seen.read())

    async def health(self) -> dict[str, Any]:
        """How the motor is now, read from it."""
        self.require("get_motor_health")
        return health_of(self.name, await self.seen.read(), self.simulated)

    # life

    async def start(self) -> None:
        """Read the latch, then open; a carousel that is not there is no error."""
        self._note_motor()
        await self.latch.load()
        await self.self_connection.load()
        if self.latch.latched:
            self.carousel.latch_stop()
        if self.self_connection.wanted or self.latch.latched:
            await self.carousel.open()
        if self.latch.latched:
            self.switch.follow(self.carousel.stop_now())
        self._engine.wake()
        self.self_connection.begin()
        self.seen.trend.start()

    async def drain(self) -> None:
        """Bring the carousel to rest; torque stays."""
        if self.carousel.state == "ready" and self.situation().moving and not self.latch.latched:
            await self.seen.guarded(self.carousel.hold())

    async def close(self) -> None:
        """Let go of the port; a second call does nothing."""
        await self.self_connection.close()
        await self.seen.close()
        await self.latch.close()
        await self.carousel.close()

    async def reset(self, by: str, reason: str, caller: Caller) -> dict[str, Any]:
        """End the stop; then, where labd connects by itself, torque comes on where the carousel stands.

        Raises:
            Refused: Nothing is latched, or the stop is not confirmed yet.
            Unavailable: The latch could not be removed from every place; it stays.
        """
        self.require("reset")
        await self.switch.reset(by, reason, caller)
        # The stopped move's job may still be on its way out. Torque that came on only behind its back would be told
        # to nobody: the answer waits for the job, and says so if it does not end.
        try:
            async with asyncio.timeout(JOB_END_S):
                await self._unused.wait()
        except TimeoutError:
            note = f"torque is off: job {self.busy_job} has not ended yet; `labctl resort connect` when it has"
            answer = {"device": self.name, "stop_latched": False, "by": by, "reason": reason}
            return {**answer, "torque_enabled": None, "note": note}
        self.self_connection.begin()
        await self.self_connection.settled()
        self.seen.forget()
        self._engine.wake()
        state = await self.seen.look()
        torque_enabled = None if state is None else state.torque_enabled
        answer = {"device": self.name, "stop_latched": False, "by": by, "reason": reason}
        return {**answer, "torque_enabled": torque_enabled, "note": self.self_connection.problem or ""}

    # settings

    def change(self, settings: ResortSettings, longest_move_s: float) -> tuple[str, ...]:
        """Changed settings, in force at once or when the job under way has ended.

        Why not in mid-move: angles, offset and direction say where the carousel is; a move is told in its first ones.

        Returns:
            The keys that need a restart.
        """
        change = change_of(self.settings, settings, longest_move_s)
        self._fresh = (change.settings, change.live) if change.live else None
        if self.busy_job is None:
            self._take_settings()
        return change.restart

    def _take_settings(self) -> None:
        if self._fresh is None:
            return
        (settings, keys), self._fresh = self._fresh, None
        drive = settings.drive(self.port)
        if "speed" not in keys:  # the speed that somebody set by hand stays
            drive = replace(drive, speed_rpm=self.carousel.settings.speed_rpm)
        self.settings, self.geometry = settings, settings.geometry()
        self.carousel.change(drive)
        self.publish("device.settings_changed", {"keys": list(keys)})
        self._note_motor()
        if "auto_connect" in keys:
            self.self_connection.want(settings.auto_connect)
            if self.self_connection.wanted and self.carousel.state == "closed":
                self._opening = asyncio.get_running_loop().create_task(self.carousel.open())

    def _note_motor(self) -> None:
        """Leave behind what a stop needs to know when labd is dead."""
        state = self.carousel.snapshot
        stops = None if state is None else state.watchdog.stops_motor
        note = note_of(self.name, self.settings, self.port, stops, self._state_dir)
        self.note_file.write(note)

    def hold_queued(self, code: str, reason: str) -> list[int]:
        """Queued motion waits for a person from now on."""
        return self._engine.hold_queued(
            self.resource, code, f"resort {self.name}: {reason}; `labctl job release` lets it go"
        )

    def publish(self, kind: str, facts: dict[str, Any]) -> None:
        """Put an event of this carousel into the feed."""
        self._engine.publish(kind, {"device": self.name, "simulated": self.simulated, **facts})

    def take_event(self, kind: str, facts: dict[str, Any]) -> None:
        """What the driver tells, in the event loop."""
        self.publish(kind, facts)
        if kind in HOLDING_EVENTS:
            self.hold_queued(*HOLDING_EVENTS[kind])
        if kind == "device.stop_unconfirmed":
            self.switch.alarmed = True
            self.seen.note_error("stop_unconfirmed", str(facts.get("problem")), "critical")
        elif kind == "device.lost":
            self.seen.note_error("device_lost", str(facts.get("problem") or f"resort {self.name}: the port is gone"))
        elif kind == "device.watchdog_tripped":
            text = f"resort {self.name}: the motor's watchdog stopped it, {facts.get('when', 'unseen')}: nobody fed it"
            self.attention["watchdog_tripped"] = text + "; look whether the carousel is free, then move it again"
            self.seen.note_error("watchdog_tripped", self.attention["watchdog_tripped"], "warning")
        self.seen.activity()
        self._engine.wake()
        if facts.get("watchdog_found") == "armed":
            text = f"resort {self.name}: a move of an earlier labd was still going on and was stopped"
            self.hold_queued("move_cut_off", "a move of an earlier labd was cut off")
            self.attention["move_cut_off"] = text + "; look whether the carousel is free, then move it again"
        if kind in CLEARING_EVENTS:
            self._note_motor()
            self.self_connection.begin()

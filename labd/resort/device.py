"""One carousel as labd has it: the motor, its hotels, its stop latch, and what may be asked of it now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import structlog

from labd.clock import iso
from labd.engine.job import Caller, Cause
from labd.engine.registry import JobContext
from labd.errors import DeviceError, LabdError
from labd.resort.allowed import Situation, decide, require
from labd.resort.angles import Goal
from labd.resort.carousel import Carousel, MoveProgress, ServoState
from labd.resort.latch import StopLatch
from labd.resort.readings import health_of, position_of
from labd.resort.settings import OPERATING_MODES, ResortSettings
from labd.resort.stop_switch import StopSwitch
from labd.wing import Host

FRESH_S = 0.2  # a reading younger than this answers everybody who asks, so eight pollers cost one transaction
HOLDING_EVENTS = {
    "device.lost": ("device_lost", "the carousel was lost while this waited"),
    "device.reopened": ("device_lost", "the carousel was lost and came back while this waited"),
    "device.watchdog_tripped": ("watchdog_tripped", "the motor stopped itself because nobody fed its watchdog"),
}
CLEARING_EVENTS = {"device.connected", "device.reopened"}

T = TypeVar("T")
log = structlog.get_logger("resort")


class ResortDevice:
    """A carousel by its name.

    Args:
        name: Of the instance, `main` where there is only one.
        settings: Its table.
        host: What the daemon lends.
        port: Path of the serial port, or of the virtual bus.
    """

    def __init__(self, name: str, settings: ResortSettings, host: Host, port: str) -> None:
        self.name = name
        self.settings = settings
        self.port = port
        self.resource = f"resort:{name}"
        self.link_resource = f"resort:{name}/link"
        self.released_key = f"resort:{name}:released"  # a person released the torque; outlives a restart
        self.geometry = settings.geometry()
        self.simulated = settings.driver == "simulated"
        self.carousel = Carousel(settings.drive(port), host.clock, self.take_event)
        self.latch = StopLatch(name, host.engine, host.state_dir, host.runtime_dir, host.clock, host.engine.wake)
        self.last_error: dict[str, Any] | None = None
        self.activity_since = host.clock.wall()
        self.busy_job: int | None = None
        self.attention: dict[str, str] = {}
        self._engine = host.engine
        self._clock = host.clock
        self._activity = "unknown"
        self._reading: asyncio.Task[ServoState] | None = None
        self._read_mono = float("-inf")
        self._connecting: asyncio.Task[None] | None = None
        self._released_on_purpose = False
        self.switch = StopSwitch(name, self.resources, self.carousel, self.latch, host.engine, self.publish)
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
        record = self.latch.record
        return Situation(
            device=self.name,
            state=carousel.state,
            problem=carousel.problem,
            latch_known=self.latch.known,
            latched_by=None if record is None else record.by,
            latched_reason="" if record is None else record.reason,
            stop_running=self.switch.pending,
            torque_enabled=None if known is None else known.torque_enabled,
            operating_mode=None if known is None else known.operating_mode,
            wanted_mode=OPERATING_MODES[self.settings.mode],
            hardware_errors=() if known is None else known.hardware_errors,
            moving=carousel.moving or (known is not None and known.moving),
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

    async def observe(self) -> ServoState | None:
        """The state as fresh as it can be had at no cost to others; the last known where the motor does not answer."""
        if self.carousel.state == "ready" and self._clock.monotonic() - self._read_mono > FRESH_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.get_running_loop().create_task(self._read())
            try:
                await asyncio.shield(self._reading)
            except LabdError as fault:
                log.debug("device.read_failed", device=self.name, error=fault.message)
        self.note_activity()
        return self.carousel.snapshot

    async def _read(self) -> ServoState:
        state = await self.carousel.read_state()
        self._read_mono = self._clock.monotonic()
        return state

    def note_activity(self) -> str:
        """idle, running or unknown, by what the motor shows; keeps when it last changed."""
        now = self.situation()
        activity = "unknown" if now.state != "ready" else "running" if now.moving else "idle"
        if activity != self._activity:
            self._activity = activity
            self.activity_since = self._clock.wall()
        return activity

    # verbs

    async def connect(self, configure: bool = False) -> dict[str, Any]:
        """Ready for motion: goal is where it stands, then torque on."""
        state = await self._guarded(self.carousel.connect(configure))
        await self._remember_released(False)
        self._engine.wake()
        answer = position_of(self.name, self.geometry, state)
        return {**answer, "torque_enabled": state.torque_enabled, "model": state.model_name, "notes": list(state.notes)}

    async def disconnect(self) -> dict[str, Any]:
        """Torque off on purpose; labd does not connect by itself again until somebody asks."""
        await self._remember_released(True)
        if self.carousel.state != "closed":
            await self._guarded(self.carousel.disconnect())
        self._engine.wake()
        return {"device": self.name, "connected": False, "torque_enabled": False}

    async def move(self, angle_deg: float, ctx: JobContext, hotel: str | None = None) -> dict[str, Any]:
        """Turn the carousel to an angle by the shortest way and say where it came to rest."""
        state = await self._guarded(self.carousel.read_state())
        goal = self.geometry.goal(angle_deg, state.position_steps)
        ctx.log(self._intention(goal, hotel, state))
        total_deg = abs(goal.travel_deg)

        def tell(progress: MoveProgress) -> None:
            done_deg = abs(progress.position_steps - progress.start_steps) * 360.0 / 4096
            here_deg = self.geometry.carousel_deg(progress.position_steps)
            ctx.progress(round(min(done_deg, total_deg), 1), round(total_deg, 1), f"at {here_deg:.1f} degrees")

        self.note_activity()
        result = await self._guarded(self.carousel.move_to(goal.steps, on_progress=tell))
        self.note_activity()
        self.attention.pop("watchdog_tripped", None)
        here = self.geometry.hotel_at(result.end_steps)
        return {
            "device": self.name,
            "hotel": here,
            "position_deg": round(self.geometry.carousel_deg(result.end_steps), 2),
            "position_steps": result.end_steps,
            "goal_deg": round(goal.angle_deg, 2),
            "travelled_deg": round((result.end_steps - result.start_steps) * 360.0 / 4096, 2),
            "duration_s": round(result.duration_s, 3),
        }

    def _intention(self, goal: Goal, hotel: str | None, state: ServoState) -> str:
        place = f"hotel {hotel} at {goal.angle_deg:.2f} degrees" if hotel else f"{goal.angle_deg:.2f} degrees"
        here_deg = self.geometry.carousel_deg(state.position_steps)
        detour = "; a turn was added because the nearest goal cannot be sent safely" if goal.folded else ""
        return f"from {here_deg:.2f} degrees to {place}: {goal.travel_deg:+.2f} degrees of the motor{detour}"

    async def set_speed(self, speed_rpm: float) -> dict[str, Any]:
        """Speed of the moves to come, until labd starts again."""
        await self._guarded(self.carousel.set_speed(speed_rpm))
        return {"device": self.name, "speed": speed_rpm}

    async def hold(self, caller: Caller) -> dict[str, Any]:
        """Stop where it is, torque stays; motion that waited is held for a person."""
        self.require("hold")
        self._engine.audit(caller, "resort.hold", self.resource, {"device": self.name})
        self.hold_queued("hold", "the carousel was told to hold while this waited")
        state = await self._guarded(self.carousel.hold())
        self.note_activity()
        return {**position_of(self.name, self.geometry, state), "torque_enabled": state.torque_enabled, "held": True}

    async def position(self) -> dict[str, Any]:
        """Where it stands now, read from the motor."""
        self.require("get_current_position")
        return position_of(self.name, self.geometry, await self._guarded(self._read()))

    async def health(self) -> dict[str, Any]:
        """How the motor is now, read from it."""
        self.require("get_motor_health")
        return health_of(self.name, await self._guarded(self._read()), self.simulated)

    async def _guarded(self, work: Awaitable[T]) -> T:
        """Await the driver; what the device did wrong is kept as `last_error`. A refusal is not the device's error."""
        try:
            return await work
        except DeviceError as fault:
            self.note_error(fault.code, fault.message)
            raise

    def note_error(self, code: str, message: str, severity: str = "error") -> None:
        """Keep the newest error of the device."""
        at = iso(self._clock.wall())
        self.last_error = {"code": code, "message": message, "severity": severity, "at": at}

    # life

    async def start(self) -> None:
        """Read the latch, then open; a carousel that is not there is no error."""
        await self.latch.load()
        self._released_on_purpose = bool(await self._engine.stored_value(self.released_key))
        if self.latch.latched:
            self.carousel.latch_stop()
        if self.wants_connection or self.latch.latched:
            await self.carousel.open()
        if self.latch.latched:
            self.switch.follow(self.carousel.stop_now())
        self._engine.wake()
        self._connect_by_itself()

    @property
    def wants_connection(self) -> bool:
        """Whether labd connects without being asked."""
        return self.settings.auto_connect and not self._released_on_purpose

    async def drain(self) -> None:
        """Bring the carousel to rest; torque stays."""
        if self.carousel.state == "ready" and self.situation().moving and not self.latch.latched:
            await self._guarded(self.carousel.hold())

    async def close(self) -> None:
        """Let go of the port; a second call does nothing."""
        for task in (self._connecting, self._reading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
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
        problem = None
        if self.wants_connection and self.carousel.state == "ready":
            try:
                await self._guarded(self.carousel.connect())
            except LabdError as fault:
                problem = fault.message
        self._engine.wake()
        state = await self.observe()
        torque_enabled = None if state is None else state.torque_enabled
        answer = {
            "device": self.name,
            "stop_latched": False,
            "by": by,
            "reason": reason,
            "torque_enabled": torque_enabled,
        }
        return answer if problem is None else {**answer, "note": problem}

    async def _remember_released(self, released: bool) -> None:
        self._released_on_purpose = released
        try:
            await self._engine.store_value(self.released_key, True if released else None)
        except LabdError as fault:  # a full disk must not keep anybody from releasing the torque
            log.warning("device.note_not_stored", device=self.name, released=released, error=fault.message)

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
        if kind == "device.lost":
            self.note_error("device_lost", str(facts.get("problem") or f"resort {self.name}: the port is gone"))
        elif kind == "device.watchdog_tripped":
            text = f"resort {self.name}: the motor's watchdog stopped it {facts.get('when', '')} because nobody fed it"
            self.attention["watchdog_tripped"] = text + "; look whether the carousel is free, then move it again"
            self.note_error("watchdog_tripped", self.attention["watchdog_tripped"], "warning")
        self.note_activity()
        self._engine.wake()
        if kind in CLEARING_EVENTS:
            self._connect_by_itself()

    def _connect_by_itself(self) -> None:
        if not self.wants_connection or self.latch.latched or self.carousel.state != "ready":
            return
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect_quietly())

    async def _connect_quietly(self) -> None:
        try:
            await self._guarded(self.carousel.connect())
            self.attention.pop("not_connected", None)
        except LabdError as fault:
            self.attention["not_connected"] = fault.message
            log.warning("device.connect_failed", device=self.name, error=fault.message)
        self._engine.wake()

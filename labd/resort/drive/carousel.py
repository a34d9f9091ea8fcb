"""One carousel motor on one port: connecting, moving, holding and stopping it, whatever the cable does.

Knows no job, no hotel and no durable latch; degrees here are those of the motor, 360/4096 a step, counted from step 0.

Why operating mode 4 (extended position) unless set otherwise: a carousel turns past 360 degrees, and only this mode
takes goals beyond one turn, so that the way from 350 to 10 degrees is 20 degrees long. Its count of turns is lost when
the motor's power is cut; angles within the turn are not. Mode 3 stays within one turn and goes the long way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from labd.clock import Clock
from labd.errors import DeviceBusy, LabdError, NotConnected, StopLatched
from labd.resort.drive.bus import DynamixelLine
from labd.resort.drive.connecting import make_ready, settle_watchdog
from labd.resort.drive.connection import CarouselState, Connection, worth_reopening
from labd.resort.drive.drive_settings import DriveSettings, check_goal, check_speed, plan_of
from labd.resort.drive.exchange import Exchange
from labd.resort.drive.lanes import Bus, Lane
from labd.resort.drive.looks import Motion, ServoState, WatchdogState
from labd.resort.drive.motion import MotionSupervisor
from labd.resort.drive.moves import MoveProgress, MoveResult
from labd.resort.drive.occupancy import Occupancy
from labd.resort.drive.servo import DynamixelServo
from labd.resort.drive.sight import Sight
from labd.resort.drive.stopping import StopReport, StopTicket

__all__ = [
    "Carousel",
    "CarouselState",
    "DriveSettings",
    "MoveProgress",
    "MoveResult",
    "ServoState",
    "StopReport",
    "WatchdogState",
    "bus_of",
]

T = TypeVar("T")
EventSink = Callable[[str, dict[str, Any]], None]
ProgressSink = Callable[[MoveProgress], None]
READY_S = 3.0


def bus_of(settings: DriveSettings, clock: Clock) -> Bus:
    """The bus of a port, to be given to every carousel on it."""
    line = DynamixelLine(settings.port, settings.baud_rate, settings.reply_timeout_s, clock.monotonic)
    return Bus(line, monotonic=clock.monotonic, tries=settings.tries)


class Carousel:
    """One motor on one port.

    Args:
        settings: How to reach and drive it.
        clock: Time.
        on_event: Called in the event loop with a name of the catalogue and facts.
        bus: From `bus_of`, where several motors hang on one port; its own unless given.
    """

    def __init__(self, settings: DriveSettings, clock: Clock, on_event: EventSink, bus: Bus | None = None) -> None:
        self.settings = settings
        self._clock = clock
        self._on_event = on_event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading: asyncio.Task[ServoState] | None = None
        self._ticket: StopTicket | None = None
        self._bus = bus or bus_of(settings, clock)
        self._bus.join(
            settings.servo_id,
            on_lost=lambda fault: self._in_loop(lambda: self._connection.lost(fault)),
            on_stop_unconfirmed=lambda report: self._in_loop(lambda: self._tell_unconfirmed(report)),
        )
        self._servo = DynamixelServo(settings.port, settings.servo_id)
        self._sight = Sight(self._servo, clock, lambda: self.settings, self._tell)
        self._occupancy = Occupancy(f"servo {settings.servo_id} on {settings.port}", settings.port)
        self._supervisor = MotionSupervisor(self._bus, self._servo, clock, self._saw, self._tell)
        self._connection = Connection(
            self._bus,
            self._servo,
            clock,
            settings.reconnect_s,
            settings.tolerance_steps,
            lambda x, motion: settle_watchdog(x, self._bus, self._servo, self.settings, motion),
            self._saw,
            self._tell,
        )

    @property
    def connected(self) -> bool:
        """The motor answers, is the right one, and was verified."""
        return self._connection.state == "ready"

    @property
    def state(self) -> CarouselState:
        """closed, opening, ready, lost or faulty."""
        return self._connection.state

    @property
    def since(self) -> float:
        """Wall time of the last change of `state`."""
        return self._connection.since

    @property
    def problem(self) -> str | None:
        """Why the state is lost or faulty."""
        return None if self._connection.fault is None or self.connected else self._connection.fault.message

    @property
    def moving(self) -> bool:
        """A move of labd is under way."""
        return self._supervisor.plan is not None

    @property
    def goal_steps(self) -> int | None:
        """Goal of the move under way."""
        return None if self._supervisor.plan is None else self._supervisor.plan.goal

    @property
    def watchdog_problem(self) -> str | None:
        """What is wrong with the motor's own dead-man; None where all is well, or nothing is known."""
        return None if self._sight.state is None else self._servo.watchdog_problem()

    @property
    def stop_latched(self) -> bool:
        """The memory latch."""
        return self._bus.is_latched(self.settings.servo_id)

    @property
    def snapshot(self) -> ServoState | None:
        """The last state known; never touches the bus."""
        return self._sight.state

    async def open(self) -> None:
        """Start the owner thread and the connection supervisor; a port that is not there is no error."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._bus.start()
        self._connection.start()

    async def close(self) -> None:
        """End both; torque stays as it is unless `torque_off_at_close`; a second call does nothing."""
        if self._loop is None:
            return
        if self.settings.torque_off_at_close and self.connected:
            try:
                await self._bus.run(Lane.POLL, lambda x: self._servo.set_torque(x, False))
            except LabdError as fault:
                self._tell("device.warning", {"warning": "torque_stays_on", "problem": fault.message})
        await self._connection.stop()
        self._loop = None
        await asyncio.to_thread(self._bus.shutdown)

    async def connect(self, configure: bool = False) -> ServoState:
        """Make ready for motion: goal := present, then torque on. Never moves, never drops torque without `configure`.

        A second call waits for the first and changes nothing. What was changed stands in `notes` of the answer.

        Raises:
            ModeMismatch: The motor is in another operating or drive mode and torque is on, which locks it;
                `configure=True` changes it, with torque off meanwhile. Without torque it is changed unasked.
            StopLatched: Torque on is motion.
            DeviceLost, DeviceTimeout, DeviceFault, DeviceError: Not reached, or not fit to move.
        """
        self._refuse_if_stopped("connect")
        await self._occupancy.over("connect")
        with self._occupancy.claim("connect"):
            await self.open()
            await self._connection.ready(READY_S)
            notes = await self._run(
                Lane.MOTION, lambda x: make_ready(x, self._servo, self.settings, configure=configure)
            )
            if any(note.startswith("changed ") for note in notes):
                self._tell("device.configured", {"changes": list(notes)})
            return replace(await self._read(), notes=notes)

    async def disconnect(self) -> None:
        """Torque off on purpose, confirmed; then the port is closed and stays closed until `connect` or `open`."""
        with self._occupancy.claim("disconnect"):
            if self.state == "closed":
                return
            self._require_ready()
            motion = await self._run(Lane.POLL, lambda x: self._servo.set_torque(x, False))
            self._saw(motion)
            await self._connection.stop()
            self._tell("device.disconnected", {"torque_enabled": motion.torque_enabled})

    async def read_state(self) -> ServoState:
        """The state now; during a move the supervisor's last look. Readers at the same time share one look."""
        if self.moving and self._sight.state is not None:
            return self._sight.state
        if self._reading is None or self._reading.done():
            self._require_ready()
            self._reading = asyncio.get_running_loop().create_task(self._read())
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._reading)

    async def move_to(self, goal_steps: int, *, on_progress: ProgressSink | None = None) -> MoveResult:
        """Move, watch, and return when the goal is reached and the motor rests; hold if cancelled.

        Raises:
            StopLatched, NotConnected, ModeMismatch, GoalRefused, DeviceBusy: Before any motion.
            MoveStalled, MoveTimeout, WatchdogTripped, DeviceFault, DeviceLost: The move did not end well.
            JobCancelled: Somebody asked for `hold`.
        """
        self._refuse_if_stopped("move")
        self._require_ready()
        check_goal(self.settings, self._servo.identity, goal_steps)
        with self._occupancy.claim("a move"):
            try:
                return await self._supervisor.move(plan_of(self.settings, goal_steps), on_progress)
            except LabdError as fault:
                self._seen_fault(fault)
                raise

    async def set_speed(self, speed_rpm: float) -> None:
        """Profile Velocity of the moves to come.

        Raises:
            GoalRefused: Not above 0, or above the motor's Velocity Limit.
        """
        check_speed(self._servo.identity, speed_rpm)
        self.settings = replace(self.settings, speed_rpm=speed_rpm)

    def change(self, settings: DriveSettings) -> None:
        """Other speeds, limits, times and tolerances from the next move on; port, servo and mode stay as they are."""
        kept = {name: getattr(self.settings, name) for name in ("port", "baud_rate", "servo_id", "operating_mode")}
        self.settings = replace(settings, **kept)
        self._connection.tolerance_steps = settings.tolerance_steps

    async def hold(self) -> ServoState:
        """Stop where it is, torque stays; returns when it rests. Ends a move under way with `JobCancelled`.

        Raises:
            StopLatched: Torque is off already.
            DeviceBusy: The move does not react; stop it.
            DeviceError: Not at rest in time.
        """
        self._refuse_if_stopped("hold")
        await self._occupancy.over("connect")
        self._require_ready()
        if self.moving:
            self._supervisor.ask_hold()
            limit_s = self.settings.lease_s + self.settings.stall_s + 3.0
            try:
                await asyncio.wait_for(self._occupancy.idle(), limit_s)
            except TimeoutError:
                raise DeviceBusy(
                    f"{self.settings.port}: the move did not react to hold in {limit_s:.1f} s; `labctl resort stop`",
                    port=self.settings.port,
                ) from None
            return await self.read_state()
        with self._occupancy.claim("hold"):
            if (await self._read()).torque_enabled:
                self._saw(await self._supervisor.rest(plan_of(self.settings, 0)))
            return await self._read()

    def stop_now(self) -> Future[StopReport]:
        """Latch and put torque-off in front of everything; from any thread, never blocks.

        The future resolves once the stop is confirmed, which may be never while the motor cannot be reached.
        """
        ticket = self._ticket = self._bus.stop(self.settings.servo_id)
        if self.state == "closed":
            self._in_loop(self._connection.start)  # after a disconnect: open the port for the torque-off
        return ticket.confirmed

    async def confirm_stop(self) -> StopReport:
        """Wait for the stop to be confirmed, at most `stop_confirm_s`; labd goes on trying after that."""
        ticket = self._ticket
        if ticket is None:
            return StopReport(False, 0, None, "no stop was asked for")
        await asyncio.wait([asyncio.wrap_future(ticket.confirmed)], timeout=self.settings.stop_confirm_s)
        return ticket.report()

    def latch_stop(self) -> None:
        """Set the memory latch at start, from the durable one; torque-off goes out when the port opens."""
        self._bus.latch(self.settings.servo_id)

    def release_stop(self) -> None:
        """Memory latch off."""
        self._bus.release(self.settings.servo_id)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _read(self) -> ServoState:
        motion = await self._run(Lane.POLL, self._servo.read_motion)
        if not self.moving:  # a look that waited behind the start of a move is older than the supervisor's
            self._saw(motion)
        assert self._sight.state is not None
        return self._sight.state

    async def _run(self, lane: Lane, function: Callable[[Exchange], T]) -> T:
        try:
            return await self._bus.run(lane, function)
        except LabdError as fault:
            self._seen_fault(fault)
            raise

    def _seen_fault(self, fault: LabdError) -> None:
        if worth_reopening(fault):
            self._connection.lost(fault)

    def _saw(self, motion: Motion) -> None:
        self._sight.take(motion)
        self._connection.note_position(motion.position)

    def _tell(self, name: str, facts: dict[str, Any]) -> None:
        if name == "device.watchdog_tripped":
            facts = {**facts, "trips": self._sight.count_trip()}
        self._on_event(name, {"servo_id": self.settings.servo_id, "port": self.settings.port, **facts})

    def _tell_unconfirmed(self, report: StopReport) -> None:
        self._tell("device.stop_unconfirmed", {"problem": report.problem, "attempts": report.attempts})

    def _in_loop(self, call: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(call)
            except RuntimeError:
                pass  # the loop has ended

    def _require_ready(self) -> None:
        if self.connected:
            return
        if self.state == "closed":
            raise NotConnected(f"{self.settings.port}: not connected; `labctl resort connect`", port=self.settings.port)
        raise self._connection.fault or NotConnected(
            f"{self.settings.port}: the port is being opened; try again", port=self.settings.port
        )

    def _refuse_if_stopped(self, what: str) -> None:
        if self.stop_latched:
            raise StopLatched(
                f"servo {self.settings.servo_id} on {self.settings.port}: {what} is refused, a stop is latched; find "
                "out why, then `labctl resort reset --by NAME --reason TEXT`",
                port=self.settings.port,
            )

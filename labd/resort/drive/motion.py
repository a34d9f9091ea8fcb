"""The motion supervisor: starts a move, looks at it until it is over, and never leaves the motor moving unwatched.

Why it arms the motor's Bus Watchdog for each move and renews a lease at each look: if labd dies nothing is sent any
more, and if only this loop hangs the bus thread falls silent when the lease ends; in both cases the motor stops by
itself within `watchdog_period_s` after the last packet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from labd.clock import Clock
from labd.errors import (
    DeviceBusy,
    DeviceCorrupt,
    DeviceError,
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    JobCancelled,
    LabdError,
    ModeMismatch,
    NotConnected,
    StopLatched,
    WatchdogTripped,
)
from labd.resort.drive.exchange import Exchange
from labd.resort.drive.lanes import Bus, Lane
from labd.resort.drive.looks import Motion
from labd.resort.drive.modes import remedy
from labd.resort.drive.moves import FATAL_ERRORS, MovePlan, MoveProgress, MoveResult, MoveWatch
from labd.resort.drive.servo import DynamixelServo
from labd.resort.registers import RPM_PER_VELOCITY_UNIT, hardware_error_words

T = TypeVar("T")
TICK_S = 0.05
RETRY_S = 0.005
REST_S = 2.0


class MotionSupervisor:
    """Moves one motor and never leaves it moving unwatched.

    Args:
        on_motion: Called with every look, in the event loop.
        tell: Takes events, in the event loop.
    """

    def __init__(
        self,
        bus: Bus,
        servo: DynamixelServo,
        clock: Clock,
        on_motion: Callable[[Motion], None],
        tell: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._bus = bus
        self._servo = servo
        self._clock = clock
        self._on_motion = on_motion
        self._tell = tell
        self._subject = f"servo {servo.servo_id} on {bus.line.name}"
        self._facts = {"servo_id": servo.servo_id, "port": bus.line.name}
        self._hold_asked = False
        self._touched = False
        self.plan: MovePlan | None = None

    def ask_hold(self) -> None:
        """End the move under way by holding; it raises `JobCancelled` once the motor rests."""
        self._hold_asked = True

    async def move(self, plan: MovePlan, on_progress: Callable[[MoveProgress], None] | None) -> MoveResult:
        """See `Carousel.move_to`."""
        self.plan, self._hold_asked, self._touched = plan, False, False
        needs_rest = True
        try:
            result = await self._follow(plan, on_progress)
            await self._finish()
            needs_rest = False
            return result
        except (StopLatched, DeviceLost):
            needs_rest = False  # the stop is the bus thread's; a lost motor stops by its own watchdog
            raise
        except WatchdogTripped:
            needs_rest = False
            await self._through(self._recover(plan))
            raise
        finally:
            if needs_rest and self._touched:
                await self._through(self.rest(plan))
            self._bus.end_lease(self._servo.servo_id)
            self.plan = None

    async def rest(self, plan: MovePlan) -> Motion:
        """Goal := present, until it reads back and the motor rests; then the watchdog off.

        Raises:
            DeviceError: Not at rest in time.
        """
        servo_id = self._servo.servo_id
        deadline = self._clock.monotonic() + REST_S + plan.stall_s
        goal: int | None = None
        problem = "it did not answer"
        try:
            while self._clock.monotonic() < deadline:
                self._bus.renew_lease(servo_id, plan.lease_s)
                look = self._servo.read_motion if goal is not None else self._hold_unless_tripped
                try:
                    motion = await self._run(look)
                    self._on_motion(motion)
                    if motion.tripped:
                        await self._recover(plan)
                        return motion
                    goal = motion.goal
                    if motion.velocity == 0 and not motion.moving:
                        await self._finish()
                        return motion
                    problem = f"it still turns at {motion.velocity * RPM_PER_VELOCITY_UNIT:.1f} rpm"
                except (DeviceTimeout, DeviceCorrupt, DeviceFault, DeviceBusy) as fault:
                    problem = fault.message
                await self._clock.sleep(TICK_S)
        finally:
            self._bus.end_lease(servo_id)
        raise DeviceError(f"{self._subject}: hold is not confirmed: {problem}; stop it", **self._facts)

    def _hold_unless_tripped(self, x: Exchange) -> Motion:
        """Goal := present; a motor whose watchdog tripped takes no goal, and is seen as it is."""
        motion = self._servo.read_motion(x)
        return motion if motion.tripped else self._servo.goal_at_present(x)

    async def _follow(self, plan: MovePlan, on_progress: Callable[[MoveProgress], None] | None) -> MoveResult:
        servo_id = self._servo.servo_id
        blind_s = max(plan.lease_s, plan.watchdog_period_s)
        blind_since: float | None = None
        # Not to be cut: a cancellation between arming and the goal would leave a motor that nobody holds.
        start, found_trip = await _uninterrupted(self._run(lambda x: self._begin(x, plan)))
        if found_trip:
            self._tell("device.watchdog_tripped", {"when": "found at the start of a move", **self._facts})
        started_at = seen_at = self._clock.monotonic()
        watch = MoveWatch(plan, start.position, started_at, self._subject, **self._facts)
        while True:
            self._refuse_if_stopped()
            if self._hold_asked:
                raise JobCancelled(f"{self._subject}: the move to {plan.goal} was ended by hold", **self._facts)
            self._bus.renew_lease(servo_id, plan.lease_s)
            try:
                motion = await self._run(self._servo.read_motion)
            except (DeviceTimeout, DeviceCorrupt, DeviceBusy):
                # One bad look is no reason to end a move; a blind move is. Counted from the first miss, not from the
                # last look: labd may have hung in between, and then the next looks show whether the watchdog tripped.
                missed_at = self._clock.monotonic()
                blind_since = missed_at if blind_since is None else blind_since
                if missed_at - blind_since > blind_s:
                    raise
                await self._clock.sleep(RETRY_S)
                continue
            blind_since = None
            self._refuse_if_stopped()  # torque off by a stop is no lost torque
            seen_at = self._clock.monotonic()
            self._on_motion(motion)
            done = watch.judge(motion, seen_at)
            if on_progress is not None:
                on_progress(MoveProgress(motion.position, start.position, plan.goal, seen_at - started_at))
            if done:
                return MoveResult(start.position, motion.position, seen_at - started_at)
            await self._clock.sleep(min(TICK_S, plan.lease_s / 4))

    def _begin(self, x: Exchange, plan: MovePlan) -> tuple[Motion, bool]:
        """In the owner thread: check, profile, watchdog, goal; in this order."""
        servo, servo_id = self._servo, self._servo.servo_id
        motion = servo.read_motion(x)
        found_trip = motion.tripped
        if found_trip:
            servo.recover_from_trip(x, plan.velocity, plan.acceleration)
        if motion.hardware_error & FATAL_ERRORS:
            words = ", ".join(hardware_error_words(motion.hardware_error))
            raise servo.fault(f"hardware error ({words}); find the cause, then cycle its power", goal_steps=plan.goal)
        if not motion.torque_enabled:
            raise NotConnected(f"{self._subject}: torque is off; `labctl resort connect` first", **self._facts)
        modes = servo.read_modes(x)
        wanted = modes.wanted(plan.operating_mode)
        if modes != wanted:
            raise ModeMismatch(
                f"{self._subject}: {modes.in_words()}; {remedy(modes, wanted, motion.torque_enabled)}", **self._facts
            )
        servo.write_profile(x, plan.velocity, plan.acceleration)
        self._touched = True
        self._bus.renew_lease(servo_id, plan.lease_s)
        servo.arm_watchdog(x, plan.watchdog_period_s)
        self._bus.renew_lease(servo_id, plan.lease_s)
        servo.write_goal(x, plan.goal)
        return motion, found_trip

    async def _run(self, function: Callable[[Exchange], T]) -> T:
        return await self._bus.run(Lane.MOTION, function, self._servo.servo_id)

    def _refuse_if_stopped(self) -> None:
        if self._bus.is_latched(self._servo.servo_id):
            raise StopLatched(
                f"{self._subject}: the move was ended by a stop; `labctl resort reset --by NAME --reason TEXT` "
                "when it is safe to move",
                **self._facts,
            )

    async def _finish(self) -> None:
        """Watchdog off. If that gets lost the watchdog trips at rest, which the next move finds and clears."""
        try:
            await self._run(self._servo.clear_watchdog)
        except LabdError:
            pass

    async def _recover(self, plan: MovePlan) -> None:
        self._bus.end_lease(self._servo.servo_id)
        await self._run(lambda x: self._servo.recover_from_trip(x, plan.velocity, plan.acceleration))
        self._tell("device.watchdog_tripped", {"when": "during a move", **self._facts})

    async def _through(self, work: Coroutine[Any, Any, object]) -> None:
        """Finish bringing the motor to rest whatever the caller is told meanwhile; a failure is told as an event."""
        task = await _finished(work)
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, LabdError):
            if not isinstance(fault, StopLatched):
                self._tell("device.hold_unconfirmed", {"problem": fault.message, **self._facts})
        elif fault is not None:
            raise fault


async def _finished(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """The task of `work`, done. Cancelling the caller is put off, the caller's caller still gets it."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
    return task


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; a cancellation that came meanwhile is raised once it has ended."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as request:
            cancelled = request
    if cancelled is not None:
        task.exception()  # seen, so that it is not reported as lost
        raise cancelled
    return task.result()

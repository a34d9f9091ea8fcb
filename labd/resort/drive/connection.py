"""The connection supervisor: keeps one port open, and knows whether the right motor is behind it.

Why it only reads: a motor that comes back may hold plates in the air. Its identity, position, mode and watchdog are
looked at and told; torque and goals are left to `connect` and to moves. The one thing it writes is the clearing of a
tripped watchdog, with goal := present.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import structlog

from labd.clock import Clock
from labd.errors import DeviceBusy, DeviceError, DeviceLost, DeviceTimeout, LabdError
from labd.resort.drive.exchange import Exchange
from labd.resort.drive.lanes import Bus, Lane
from labd.resort.drive.looks import Identity, Motion
from labd.resort.drive.servo import DynamixelServo

log = structlog.get_logger()
CarouselState = Literal["closed", "opening", "ready", "lost", "faulty"]
FIRST_RETRY_S = 0.2


class Connection:
    """One port, one motor.

    Args:
        settle_watchdog: Run in the owner thread; puts right what an earlier labd left, and says what it was.
        on_motion: Called with the first look after each opening.
        tell: Takes events.
    """

    def __init__(
        self,
        bus: Bus,
        servo: DynamixelServo,
        clock: Clock,
        reconnect_s: float,
        tolerance_steps: int,
        settle_watchdog: Callable[[Exchange, Motion], str | None],
        on_motion: Callable[[Motion], None],
        tell: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._bus = bus
        self._servo = servo
        self._clock = clock
        self._reconnect_s = reconnect_s
        self.tolerance_steps = tolerance_steps
        self._settle_watchdog = settle_watchdog
        self._on_motion = on_motion
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._changed = asyncio.Event()
        self._known: Identity | None = None
        self._last_steps: int | None = None
        self._came_from: LabdError | None = None
        self.state: CarouselState = "closed"
        self.since = clock.wall()
        self.fault: LabdError | None = None

    def start(self) -> None:
        """Begin to keep the port open; a second call does nothing."""
        if self._task is None or self._task.done():
            self._become("opening")
            self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"connection {self._bus.line.name}")

    async def stop(self) -> None:
        """End, and close the port; torque stays as it is."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self.state != "closed":
            try:
                await self._bus.run(Lane.POLL, lambda x: self._bus.close_line(x, self._servo.servo_id))
            except DeviceLost:
                pass  # the bus has ended and closed it
        self.fault = None
        self._become("closed")

    def lost(self, fault: LabdError) -> None:
        """The port or the motor is gone; in the event loop."""
        if self.state == "ready":
            self._came_from = fault
            self._lost.set()

    async def ready(self, timeout_s: float) -> None:
        """Wait until the motor was verified.

        Raises:
            LabdError: Why it is not, after `timeout_s`.
        """
        deadline = self._clock.monotonic() + timeout_s
        while self.state != "ready":
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0 or self.state == "faulty":
                raise self.fault or DeviceTimeout(
                    f"{self._bus.line.name}: not connected after {timeout_s:g} s", port=self._bus.line.name
                )
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                continue

    def note_position(self, steps: int) -> None:
        """The last position known, to compare with after an absence."""
        self._last_steps = steps

    async def _keep(self) -> None:
        retry_s, been_ready = FIRST_RETRY_S, False
        while True:
            self._lost.clear()
            try:
                facts = await self._bus.run(Lane.POLL, self._open_and_verify)
            except LabdError as fault:
                await self._failed(fault)
                await self._clock.sleep(retry_s)
                retry_s = self._reconnect_s
                continue
            except Exception as fault:  # the supervisor must outlive whatever a driver throws
                log.exception("connection.failed", port=self._bus.line.name)
                await self._failed(DeviceError(f"{self._bus.line.name}: {type(fault).__name__}: {fault}; see the log"))
                await self._clock.sleep(self._reconnect_s)
                continue
            motion, changes = facts.pop("motion"), facts.pop("changes")
            self._on_motion(motion)
            self.fault = None
            self._become("ready")
            self._tell("device.reopened" if been_ready else "device.connected", facts)
            if changes:
                self._tell("device.configured", {"changes": changes, **self._subject()})
            if facts["watchdog_found"] == "tripped":
                self._tell("device.watchdog_tripped", {"when": "while labd was not connected", **self._subject()})
            problem = self._servo.watchdog_problem()
            if problem is not None:
                kind = "watchdog_faulty" if facts["watchdog_supported"] else "watchdog_unsupported"
                self._tell("device.warning", {"problem": problem, "warning": kind, **self._subject()})
            been_ready, retry_s = True, FIRST_RETRY_S
            await self._lost.wait()
            gone = self._came_from or DeviceLost(f"{self._bus.line.name}: lost", port=self._bus.line.name)
            self.fault = gone
            self._become("lost")
            self._tell("device.lost", {"problem": gone.message, "cause": gone.code, **self._subject()})
            await self._close()
            await self._clock.sleep(FIRST_RETRY_S)

    async def _failed(self, fault: LabdError) -> None:
        lost = isinstance(fault, (DeviceLost, DeviceTimeout))
        if self.fault is None or self.fault.message != fault.message:
            self._tell("device.not_opened", {"problem": fault.message, "cause": fault.code, **self._subject()})
        self.fault = fault
        self._become("lost" if lost else "faulty")
        await self._close()

    async def _close(self) -> None:
        await self._bus.run(Lane.POLL, lambda x: self._bus.close_line(x, self._servo.servo_id))

    def _open_and_verify(self, x: Exchange) -> dict[str, Any]:
        """In the owner thread. A latched stop sends its torque-off as the first bytes."""
        self._bus.open_line(x, self._servo.servo_id)
        known = self._known
        identity = self._servo.identify(x)
        if known is not None and (known.model.number, known.firmware) != (identity.model.number, identity.firmware):
            raise self._servo.fault(
                f"another motor came back: {identity.model.name} firmware {identity.firmware}, it was "
                f"{known.model.name} firmware {known.firmware}; put the right one back, or restart labd",
            )
        motion = self._servo.read_motion(x)
        found = self._settle_watchdog(x, motion)
        if found is not None:
            motion = self._servo.read_motion(x)
        moved_steps = 0 if self._last_steps is None else motion.position - self._last_steps
        self._known = identity
        return {
            **self._subject(),
            "model": identity.model.number,
            "model_name": identity.model.name,
            "firmware": identity.firmware,
            "operating_mode": identity.operating_mode,
            "torque_enabled": motion.torque_enabled,
            "position_steps": motion.position,
            "moved_while_away_steps": moved_steps if abs(moved_steps) > self.tolerance_steps else 0,
            "watchdog_supported": self._servo.watchdog_supported,
            "watchdog_stops_motor": self._servo.watchdog_stops_motor,
            "motion": motion,
            "changes": self._servo.changes(),
            "watchdog_found": found,
        }

    def _subject(self) -> dict[str, Any]:
        return {"servo_id": self._servo.servo_id, "port": self._bus.line.name}

    def _become(self, state: CarouselState) -> None:
        if state != self.state:
            self.state, self.since = state, self._clock.wall()
        self._changed.set()


def worth_reopening(fault: BaseException) -> bool:
    """Whether an error of a transaction says that the motor may be gone."""
    return isinstance(fault, (DeviceLost, DeviceTimeout)) and not isinstance(fault, DeviceBusy)

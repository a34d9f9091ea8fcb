"""One carousel motor on one port: connecting, moving, holding and stopping it, whatever the cable does.

Knows no job, no hotel and no durable latch; degrees here are those of the motor, 360/4096 a step, counted from step 0.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from labd.clock import Clock

CarouselState = Literal["closed", "opening", "ready", "lost", "faulty"]
EventSink = Callable[[str, dict[str, Any]], None]
ProgressSink = Callable[["MoveProgress"], None]


@dataclass(frozen=True, slots=True)
class DriveSettings:
    """How one motor is reached and driven.

    Args:
        port: Path of the serial port, `/dev/serial/by-id/...` rather than `/dev/ttyUSB0`.
        operating_mode: 4 (extended position) lets a carousel take the shortest way across 0 degrees; 3 (position) keeps
            it within one turn.
        speed_rpm: Profile Velocity of every move.
        acceleration_rpm_per_s: Profile Acceleration of every move.
        watchdog_period_s: The motor stops by itself when it hears nothing for so long during a move; 0.02 to 2.54.
        lease_s: How long the bus may talk during a move without a sign of life of the motion supervisor.
        move_timeout_s: Limit of one move; None computes it from distance and profile.
        stall_s: So long without progress is a stall.
        reconnect_s: Wait between two tries to open a lost port.
        stop_confirm_s: How long `confirm_stop` waits before it reports; the stop itself is re-sent on and on.
        torque_off_at_close: Release the motor when labd ends.
    """

    port: str
    baud_rate: int = 57600
    servo_id: int = 1
    reply_timeout_s: float = 0.04
    tries: int = 3
    operating_mode: int = 4
    speed_rpm: float = 8.0
    acceleration_rpm_per_s: float = 20.0
    position_tolerance_deg: float = 1.0
    watchdog_period_s: float = 0.5
    lease_s: float = 0.3
    move_timeout_s: float | None = None
    stall_s: float = 1.0
    reconnect_s: float = 1.0
    stop_confirm_s: float = 2.0
    temperature_warning_celsius: float = 65.0
    voltage_low_warning_v: float | None = None
    voltage_high_warning_v: float | None = None
    current_warning_ma: float | None = None
    load_warning_percent: float | None = None
    torque_off_at_close: bool = False


@dataclass(frozen=True, slots=True)
class WatchdogState:
    """The motor's own dead-man, register 98; `trips` counts since labd started."""

    supported: bool
    armed: bool
    tripped: bool
    trips: int
    period_s: float


@dataclass(frozen=True, slots=True)
class ServoState:
    """What the motor said; `current_ma` or `load_percent` by model, the other is None; `read_at` is wall time.

    `hardware_errors` are words, empty when all is well; `warnings` are sentences about limits; `notes` is what
    `connect(configure=True)` changed.
    """

    position_steps: int
    position_deg: float
    velocity_rpm: float
    moving: bool
    torque_enabled: bool
    goal_steps: int
    operating_mode: int
    hardware_error: int
    hardware_errors: tuple[str, ...]
    alert: bool
    temperature_celsius: float
    voltage_v: float
    current_ma: float | None
    load_percent: float | None
    watchdog: WatchdogState
    model: int
    model_name: str
    firmware: int
    read_at: float
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """Where a move is; what `on_progress` is called with, in the event loop."""

    position_steps: int
    start_steps: int
    goal_steps: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class MoveResult:
    """A move that reached its goal."""

    start_steps: int
    end_steps: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class StopReport:
    """What is known of a stop.

    `confirmed`: Torque Enable was read back as 0 and the velocity as 0. `wire_ms`: from the call to after the bytes of
    torque-off were written, None while they are not. `problem`: why it is not confirmed.
    """

    confirmed: bool
    attempts: int
    wire_ms: float | None
    problem: str | None


class Carousel:
    """One motor on one port.

    Args:
        settings: How to reach and drive it.
        clock: Time.
        on_event: Called in the event loop with a name of the catalogue and facts.
    """

    def __init__(self, settings: DriveSettings, clock: Clock, on_event: EventSink) -> None:
        self.settings = settings
        self._clock = clock
        self._on_event = on_event

    @property
    def connected(self) -> bool:
        """The motor answers, is the right one, and was verified."""
        raise NotImplementedError

    @property
    def state(self) -> CarouselState:
        """closed, opening, ready, lost or faulty."""
        raise NotImplementedError

    @property
    def since(self) -> float:
        """Wall time of the last change of `state`."""
        raise NotImplementedError

    @property
    def problem(self) -> str | None:
        """Why the state is lost or faulty."""
        raise NotImplementedError

    @property
    def moving(self) -> bool:
        """A move of labd is under way."""
        raise NotImplementedError

    @property
    def goal_steps(self) -> int | None:
        """Goal of the move under way."""
        raise NotImplementedError

    @property
    def stop_latched(self) -> bool:
        """The memory latch."""
        raise NotImplementedError

    @property
    def snapshot(self) -> ServoState | None:
        """The last state known; never touches the bus."""
        raise NotImplementedError

    async def open(self) -> None:
        """Start the owner thread and the connection supervisor; a port that is not there is no error."""
        raise NotImplementedError

    async def close(self) -> None:
        """End both; torque stays as it is unless `torque_off_at_close`; a second call does nothing."""
        raise NotImplementedError

    async def connect(self, configure: bool = False) -> ServoState:
        """Make ready for motion: goal := present, then torque on. Never moves, never drops torque without `configure`.

        Raises:
            ModeMismatch: The motor is in another operating mode; `configure=True` changes it (torque goes off for it).
            StopLatched, DeviceLost, DeviceTimeout, DeviceFault.
        """
        raise NotImplementedError

    async def disconnect(self) -> None:
        """Torque off on purpose, confirmed; then the port is closed and stays closed until `connect` or `open`."""
        raise NotImplementedError

    async def read_state(self) -> ServoState:
        """The state now; during a move the supervisor's last snapshot."""
        raise NotImplementedError

    async def move_to(self, goal_steps: int, *, on_progress: ProgressSink | None = None) -> MoveResult:
        """Move, watch, and return when the goal is reached and the motor rests; hold if cancelled.

        Raises:
            StopLatched, NotConnected, ModeMismatch, GoalRefused, DeviceBusy: Before any motion.
            MoveStalled, MoveTimeout, WatchdogTripped, DeviceFault, DeviceLost: The move did not end well.
        """
        raise NotImplementedError

    async def set_speed(self, speed_rpm: float) -> None:
        """Profile Velocity of the moves to come, and of the one under way."""
        raise NotImplementedError

    async def hold(self) -> ServoState:
        """Stop where it is, torque stays; returns when it rests. Ends a move under way with `JobCancelled`."""
        raise NotImplementedError

    def stop_now(self) -> Future[StopReport]:
        """Latch and put torque-off in front of everything; from any thread, never blocks.

        The future resolves once the stop is confirmed, which may be never while the motor cannot be reached.
        """
        raise NotImplementedError

    async def confirm_stop(self) -> StopReport:
        """Wait for the stop to be confirmed, at most `stop_confirm_s`; labd goes on trying after that."""
        raise NotImplementedError

    def latch_stop(self) -> None:
        """Set the memory latch at start, from the durable one; torque-off goes out when the port opens."""
        raise NotImplementedError

    def release_stop(self) -> None:
        """Memory latch off."""
        raise NotImplementedError

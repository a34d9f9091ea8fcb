"""How one motor is reached and driven, what may be asked of it, and which readings deserve a warning: no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from labd.errors import GoalRefused
from labd.resort.drive.looks import Identity, ServoState
from labd.resort.drive.moves import MovePlan
from labd.resort.registers import (
    REV_PER_MIN2_PER_ACCELERATION_UNIT,
    RPM_PER_VELOCITY_UNIT,
    Model,
    steps_of_degrees,
    velocity_of_rpm,
)

LARGEST_PROFILE = 32767


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

    @property
    def tolerance_steps(self) -> int:
        """At least one step."""
        return max(1, steps_of_degrees(self.position_tolerance_deg))

    @property
    def profile_velocity(self) -> int:
        """Counts of Profile Velocity; never 0, which would mean as fast as it can."""
        return min(LARGEST_PROFILE, velocity_of_rpm(self.speed_rpm))

    @property
    def profile_acceleration(self) -> int:
        """Counts of Profile Acceleration; never 0, which would mean at once."""
        counts = round(self.acceleration_rpm_per_s * 60.0 / REV_PER_MIN2_PER_ACCELERATION_UNIT)
        return min(LARGEST_PROFILE, max(1, counts))


def plan_of(settings: DriveSettings, goal_steps: int) -> MovePlan:
    """A move in the motor's counts."""
    return MovePlan(
        goal=goal_steps,
        tolerance=settings.tolerance_steps,
        velocity=settings.profile_velocity,
        acceleration=settings.profile_acceleration,
        operating_mode=settings.operating_mode,
        stall_s=settings.stall_s,
        watchdog_period_s=settings.watchdog_period_s,
        lease_s=settings.lease_s,
        timeout_s=settings.move_timeout_s,
    )


def check_goal(settings: DriveSettings, identity: Identity | None, goal_steps: int) -> None:
    """Nothing, if the goal is legal in the operating mode.

    Raises:
        GoalRefused: With the range.
    """
    if identity is None:
        return
    low, high = identity.goal_range(settings.operating_mode)
    if not low <= goal_steps <= high:
        raise GoalRefused(
            f"servo {settings.servo_id} on {settings.port}: goal {goal_steps} steps is outside {low} to {high}, the "
            f"range of operating mode {settings.operating_mode}",
            goal_steps=goal_steps,
            minimum_steps=low,
            maximum_steps=high,
        )


def check_speed(identity: Identity | None, speed_rpm: float) -> None:
    """Nothing, if the motor may turn so fast.

    Raises:
        GoalRefused: Not above 0, or above the motor's Velocity Limit.
    """
    limit_rpm = (identity.velocity_limit if identity else LARGEST_PROFILE) * RPM_PER_VELOCITY_UNIT
    if not 0 < speed_rpm <= limit_rpm:
        raise GoalRefused(
            f"speed {speed_rpm:g} rpm: must be above 0 and at most {limit_rpm:.1f} rpm, the motor's Velocity Limit",
            speed_rpm=speed_rpm,
            limit_rpm=round(limit_rpm, 1),
        )


def warnings_of(state: ServoState, settings: DriveSettings, model: Model) -> dict[str, str]:
    """Readings beyond a limit, by kind; the limits of the model stand in for those that are not set."""
    low_v = settings.voltage_low_warning_v or model.minimum_voltage_v
    high_v = settings.voltage_high_warning_v or model.maximum_voltage_v
    warnings: dict[str, str] = {}

    def check(kind: str, value: float | None, limit: float | None, unit: str, *, below: bool = False) -> None:
        if value is not None and limit is not None and (value < limit if below else value > limit):
            side = "below" if below else "above"
            warnings[kind] = f"{kind.replace('_', ' ')}: {value:g} {unit} is {side} {limit:g} {unit}"

    check("temperature_high", state.temperature_celsius, settings.temperature_warning_celsius, "C")
    check("voltage_low", state.voltage_v, low_v, "V", below=True)
    check("voltage_high", state.voltage_v, high_v, "V")
    current_ma = None if state.current_ma is None else abs(state.current_ma)
    load_percent = None if state.load_percent is None else abs(state.load_percent)
    check("current_high", current_ma, settings.current_warning_ma, "mA")
    check("load_high", load_percent, settings.load_warning_percent, "%")
    if state.hardware_errors:
        warnings["hardware_error"] = f"hardware error: {', '.join(state.hardware_errors)}"
    return warnings

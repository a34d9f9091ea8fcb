"""What a virtual servo measures, put into its read-only registers."""

from __future__ import annotations

from labd.resort.registers import RPM_PER_VELOCITY_UNIT, STEPS_PER_TURN
from labd.resort.virtual.control_table import ControlTable
from labd.resort.virtual.motor import Motor
from labd.resort.virtual.profiles import POSITION_MODES

IN_POSITION_STEPS = 10
LAGGING_STEPS = 20


def measure(table: ControlTable, motor: Motor, now: float) -> None:
    """Fill the present values, Moving and Moving Status as of a moment."""
    position, planned, load = motor.position_at(now), motor.motion.position_at(now), motor.load_at(now)
    table["present_position"] = _wrap32(round(position))
    table["present_velocity"] = _velocity(motor.velocity_at(now))
    table["velocity_trajectory"] = _velocity(motor.motion.velocity_at(now))
    table["position_trajectory"] = _wrap32(round(planned))
    table["present_pwm"] = round(885 * load)
    if table.model.has_current:
        table["present_current"] = round(load * table.model.registers["current_limit"].maximum)
    else:
        table["present_load"] = round(load * 1000)
    table["present_input_voltage"] = max(0, round(motor.voltage_at(now) * 10))
    table["present_temperature"] = max(0, min(255, round(motor.warmth.celsius_at(now))))
    table["realtime_tick"] = int(now * 1000) % 32768
    ongoing = motor.torque and bool(motor.motion.segments)
    table["moving"] = int(ongoing or abs(table["present_velocity"]) > table["moving_threshold"])
    goal_gap = abs(table["goal_position"] - position)
    in_position = table["operating_mode"] in POSITION_MODES and goal_gap < IN_POSITION_STEPS
    lagging = abs(planned - position) >= LAGGING_STEPS
    shape = int(motor.motion.shape) if ongoing else 0
    table["moving_status"] = in_position | ongoing << 1 | lagging << 3 | shape


def _velocity(steps_per_s: float) -> int:
    """Steps per second in units of 0.229 rpm."""
    return round(steps_per_s * 60 / STEPS_PER_TURN / RPM_PER_VELOCITY_UNIT)


def _wrap32(value: int) -> int:
    """Two's complement of 32 bits."""
    return (value + 2**31) % 2**32 - 2**31

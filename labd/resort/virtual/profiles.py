"""What the profile and goal registers of a virtual servo mean in steps and seconds."""

from __future__ import annotations

import math

from labd.resort.registers import (
    DRIVE_MODE_TIME_BASED,
    OperatingMode,
    steps_per_s2_of_acceleration,
    steps_per_s_of_velocity,
)
from labd.resort.virtual.control_table import ControlTable

POSITION_MODES = frozenset(
    {OperatingMode.POSITION, OperatingMode.EXTENDED_POSITION, OperatingMode.CURRENT_BASED_POSITION}
)


def profile_of_move(table: ControlTable, distance: float) -> tuple[float, float]:
    """Velocity and acceleration of a position move.

    Args:
        distance: Steps; a time-based profile is as fast as the distance in its time asks.

    Returns:
        Steps per second and steps per second squared; a profile register at 0 is no limit, so the Velocity Limit
        holds and the acceleration is infinite.
    """
    fastest = steps_per_s_of_velocity(table["velocity_limit"]) or 1e-6
    velocity, acceleration = table["profile_velocity"], table["profile_acceleration"]
    if table["drive_mode"] & DRIVE_MODE_TIME_BASED:
        total_s, ramp_s = velocity / 1000, min(acceleration, velocity / 2) / 1000
        if total_s <= 0:
            return fastest, math.inf
        wanted = min(fastest, distance / max(total_s - ramp_s, 1e-3)) or fastest
        return wanted, wanted / ramp_s if ramp_s else math.inf
    wanted = min(fastest, steps_per_s_of_velocity(velocity)) if velocity else fastest
    return wanted, steps_per_s2_of_acceleration(acceleration) if acceleration else math.inf


def speed_of_mode(table: ControlTable) -> tuple[float, float]:
    """Wanted speed and acceleration in velocity, PWM and current mode, steps per second and squared."""
    mode, fastest = table["operating_mode"], steps_per_s_of_velocity(table.model.velocity_limit)
    if mode == OperatingMode.VELOCITY:
        acceleration = table["profile_acceleration"]
        rate = steps_per_s2_of_acceleration(acceleration) if acceleration else math.inf
        return steps_per_s_of_velocity(table["goal_velocity"]), rate
    if mode == OperatingMode.PWM:
        return fastest * table["goal_pwm"] / 885, math.inf
    return fastest * table["goal_current"] / table.model.registers["current_limit"].maximum, math.inf

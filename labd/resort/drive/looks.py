"""What a look at a motor shows: in the motor's counts for the rules, in units and words for people."""

from __future__ import annotations

from dataclasses import dataclass

from labd.resort.registers import EXTENDED_POSITION_LIMIT, Model, OperatingMode

STUFFED = b"\xff\xff\xfd"


@dataclass(frozen=True, slots=True)
class WatchdogState:
    """The motor's own dead-man, register 98; `trips` counts since labd started.

    `stops_motor` is False where the register is there but a trip does not end a move, a fault of 330-size firmware.
    """

    supported: bool
    stops_motor: bool
    armed: bool
    tripped: bool
    trips: int
    period_s: float


@dataclass(frozen=True, slots=True)
class ServoState:
    """What the motor said; `current_ma` or `load_percent` by model, the other is None; `read_at` is wall time.

    `hardware_errors` are words, empty when all is well; `warnings` are sentences about limits; `notes` is what
    `connect` changed.
    """

    position_steps: int
    position_deg: float
    velocity_rpm: float
    moving: bool
    torque_enabled: bool
    goal_steps: int
    operating_mode: int
    drive_mode: int
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
class Identity:
    """Who answers, and how it is set up; limits in counts, the position limits hold in mode 3 only."""

    model: Model
    firmware: int
    drive_mode: int
    operating_mode: int
    velocity_limit: int
    minimum_steps: int
    maximum_steps: int

    def goal_range(self, operating_mode: int) -> tuple[int, int]:
        """Legal goals of a mode."""
        if operating_mode == OperatingMode.POSITION:
            return self.minimum_steps, self.maximum_steps
        return -EXTENDED_POSITION_LIMIT, EXTENDED_POSITION_LIMIT


@dataclass(frozen=True, slots=True)
class Motion:
    """The registers that change during a move, in counts; `watchdog` is None where the model has none."""

    position: int
    velocity: int
    moving: bool
    goal: int
    profile_velocity: int
    profile_acceleration: int
    effort: int
    voltage: int
    temperature: int
    torque_enabled: bool
    watchdog: int | None
    hardware_error: int
    alert: bool

    @property
    def tripped(self) -> bool:
        """The watchdog stopped the motor."""
        return self.watchdog == -1


def sendable_goal(steps: int, minimum: int, maximum: int) -> int:
    """The goal itself, or the one a step beside it where its bytes would need stuffing (see `bus.py`)."""
    for goal in (steps, steps + 1, steps - 1):
        if minimum <= goal <= maximum and STUFFED not in goal.to_bytes(4, "little", signed=True):
            return goal
    return min(max(steps, minimum), maximum)

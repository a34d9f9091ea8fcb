"""What a move is, and how each look at it is judged: pure rules over values, no bus and no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from labd.errors import DeviceFault, MoveStalled, MoveTimeout, WatchdogTripped
from labd.resort.drive.looks import Motion
from labd.resort.registers import (
    HardwareError,
    degrees_of_steps,
    hardware_error_words,
    steps_per_s2_of_acceleration,
    steps_per_s_of_velocity,
)

FATAL_ERRORS = ~HardwareError.INPUT_VOLTAGE  # low voltage alone warns; with torque lost it ends the move all the same


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
class MovePlan:
    """One move in the motor's counts; `timeout_s` None computes it."""

    goal: int
    tolerance: int
    velocity: int
    acceleration: int
    operating_mode: int
    stall_s: float
    watchdog_period_s: float
    lease_s: float
    timeout_s: float | None = None


def duration_s(distance_steps: float, velocity: int, acceleration: int) -> float:
    """Time of a trapezoid profile; `acceleration` 0 is at once."""
    distance, speed = abs(distance_steps), steps_per_s_of_velocity(velocity)
    if acceleration == 0:
        return distance / speed
    rate = steps_per_s2_of_acceleration(acceleration)
    if distance < speed * speed / rate:
        return 2 * math.sqrt(distance / rate)
    return distance / speed + speed / rate


def limit_s(plan: MovePlan, distance_steps: float) -> float:
    """How long a move may take: half as long again as its profile, and two seconds."""
    if plan.timeout_s is not None:
        return plan.timeout_s
    return duration_s(distance_steps, plan.velocity, plan.acceleration) * 1.5 + 2.0


class MoveWatch:
    """Judges one move, look by look; knows no bus and no clock."""

    def __init__(self, plan: MovePlan, start_steps: int, started_at: float, subject: str, **facts: Any) -> None:
        self._plan = plan
        self._start = start_steps
        self._started_at = started_at
        self._subject = subject
        self._facts = facts
        self._limit_s = limit_s(plan, plan.goal - start_steps)
        self._best = abs(plan.goal - start_steps)
        self._best_at = started_at
        steps_while_stalled = steps_per_s_of_velocity(plan.velocity) * plan.stall_s / 4
        self._least_progress = max(1.0, min(float(plan.tolerance), steps_while_stalled))

    def judge(self, motion: Motion, now: float) -> bool:
        """Whether the goal is reached and the motor rests.

        Raises:
            DeviceFault: Hardware error, torque lost, or another goal in the register than the plan's.
            WatchdogTripped: The motor stopped by itself.
            MoveStalled: No progress for `stall_s`.
            MoveTimeout: The time is over, wherever the motor is.
        """
        elapsed_s = now - self._started_at
        remaining = abs(self._plan.goal - motion.position)
        where = (
            f"at {motion.position} steps ({degrees_of_steps(motion.position):.1f} deg) on the way from {self._start} "
            f"to {self._plan.goal}, {elapsed_s:.1f} s after its start"
        )
        facts = {
            **self._facts,
            "position_steps": motion.position,
            "start_steps": self._start,
            "goal_steps": self._plan.goal,
            "elapsed_s": round(elapsed_s, 3),
        }
        if motion.hardware_error & FATAL_ERRORS or (motion.hardware_error and not motion.torque_enabled):
            words = hardware_error_words(motion.hardware_error)
            raise DeviceFault(
                f"{self._subject}: hardware error ({', '.join(words)}) {where}; find the cause, then cycle its power",
                hardware_errors=words,
                **facts,
            )
        if motion.tripped:
            raise WatchdogTripped(
                f"{self._subject}: the motor's watchdog stopped it {where}: nothing fed it for "
                f"{self._plan.watchdog_period_s:g} s; see the log for what held labd up, then move again",
                **facts,
            )
        if not motion.torque_enabled:
            raise DeviceFault(
                f"{self._subject}: torque went off {where}; was its power cut, or is another program on the bus? "
                "`labctl resort connect` switches it on",
                **facts,
            )
        if motion.goal != self._plan.goal:
            raise DeviceFault(
                f"{self._subject}: Goal Position (116) reads {motion.goal} {where}; something else writes to the motor",
                **facts,
            )
        if remaining <= self._plan.tolerance and not motion.moving:
            return True
        if remaining <= self._best - self._least_progress:
            self._best, self._best_at = remaining, now
        still_s = now - self._best_at
        if still_s > self._plan.stall_s and remaining > self._plan.tolerance and not self._accelerating(elapsed_s):
            raise MoveStalled(
                f"{self._subject}: stalled {where}: less than {self._least_progress:.0f} steps nearer in "
                f"{still_s:.1f} s; clear what blocks it, then move again",
                still_s=round(still_s, 3),
                **facts,
            )
        if elapsed_s > self._limit_s:
            raise MoveTimeout(
                f"{self._subject}: still {remaining} steps from its goal (tolerance {self._plan.tolerance}) {where}; "
                f"the limit was {self._limit_s:.1f} s; look at load and speed, then move again",
                limit_s=round(self._limit_s, 3),
                **facts,
            )
        return False

    def _accelerating(self, elapsed_s: float) -> bool:
        """Too early to tell: a slow acceleration covers less than the least progress in its first moments."""
        rate = steps_per_s2_of_acceleration(self._plan.acceleration) if self._plan.acceleration else math.inf
        return elapsed_s < self._plan.stall_s + 2 * math.sqrt(2 * self._least_progress / rate)

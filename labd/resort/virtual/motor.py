"""The motor inside a virtual servo: where the shaft is, what holds it, how warm it is. It knows no registers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from labd.resort.virtual import physics
from labd.resort.virtual.physics import Motion, Warmth

FRICTION_STEPS_PER_S2 = 40_000.0
SAG_V = 0.8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What acts on the motor from outside.

    Args:
        supply_v: Voltage of the supply, before the motor's own load pulls it down; 0 to 100.
        ambient_celsius: -50 to 150.
        stalled: The shaft is held fast.
        wall: A position that cannot be passed; None is none.
        load: Outer torque as a share of the motor's own, 0 to 1.
        overload_s: How long the motor bears to push against something before Overload is latched.
    """

    supply_v: float
    ambient_celsius: float = 25.0
    stalled: bool = False
    wall: int | None = None
    load: float = 0.0
    overload_s: float = 5.0

    def __post_init__(self) -> None:
        # A value that no register can show would end the bus's thread at the next look, far from whoever set it.
        for name, low, high in (("supply_v", 0, 100), ("ambient_celsius", -50, 150), ("load", 0, 1)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} of a virtual servo is {low} to {high}, not {value}")


@dataclass(frozen=True, slots=True)
class Block:
    """The shaft is held although the profile goes on."""

    since_s: float
    position: float
    told: bool = False


@dataclass(slots=True)
class Motor:
    """Shaft, winding and what acts on them. Moments are monotonic seconds, positions steps as the servo reads them.

    Args:
        fastest: Steps per second without load.
        ceiling: Share of its torque that it may use, 0 to 1 (Goal PWM).
    """

    motion: Motion
    warmth: Warmth
    surroundings: Surroundings
    fastest: float
    torque: bool = False
    ceiling: float = 1.0
    block: Block | None = None
    wall_side: int = field(default=1)

    def position_at(self, now: float) -> float:
        """Where the shaft is."""
        return self.block.position if self.block else self.motion.position_at(now)

    def velocity_at(self, now: float) -> float:
        """How fast it turns."""
        return 0.0 if self.block else self.motion.velocity_at(now)

    def rest(self, position: float, now: float) -> None:
        """Stand still there from now on."""
        self.motion, self.block = physics.resting(position, now), None
        self.load_changed(now)

    def halt(self, now: float) -> None:
        """Stand still where it is."""
        self.rest(self.position_at(now), now)

    def coast(self, now: float) -> None:
        """Torque is gone: gear friction brings it to a stand."""
        position, velocity = self.position_at(now), self.velocity_at(now)
        self.block = None
        self.motion = physics.spin(position, velocity, 0.0, FRICTION_STEPS_PER_S2, now)
        self.load_changed(now)

    def set_going(self, goal: float | None, speed: float, acceleration: float, now: float) -> bool:
        """Towards a goal at up to that speed, or without a goal at that speed for ever.

        Returns:
            Whether something keeps the shaft from turning at once.
        """
        position, velocity = self.position_at(now), self.velocity_at(now)
        before, self.block = self.block, None
        if goal is None:
            self.motion = physics.spin(position, velocity, speed, acceleration, now)
            ahead = speed
        else:
            self.motion = physics.move(position, velocity, goal, speed, acceleration, now)
            ahead = goal - position
        if self.motion.segments and self._is_kept(position, ahead):
            self.block = Block(before.since_s if before else now, position)
        self.load_changed(now)
        return self.block is not None

    def _is_kept(self, position: float, ahead: float) -> bool:
        """Whether the shaft cannot leave this position in that direction."""
        wall = self.surroundings.wall
        if self.surroundings.stalled:
            return abs(ahead) >= 0.5
        return wall is not None and (position - wall) * self.wall_side >= -0.5 and ahead * self.wall_side > 0

    def touch_s(self) -> float | None:
        """When the shaft runs into the wall; None if it does not."""
        wall = self.surroundings.wall
        if wall is None or self.block or not self.torque:
            return None
        moment = self.motion.time_at(float(wall))
        if moment is None or self.motion.velocity_at(moment + 1e-6) * self.wall_side <= 0:
            return None
        return moment

    def run_into_wall(self, now: float) -> None:
        """The shaft has reached the wall."""
        assert self.surroundings.wall is not None
        self.block = Block(now, float(self.surroundings.wall))
        self.load_changed(now)

    def surround(self, surroundings: Surroundings, now: float) -> None:
        """Other surroundings from now on; a held shaft comes free and has to be set going again."""
        position = self.position_at(now)
        if surroundings.wall is not None and surroundings.wall != self.surroundings.wall:
            self.wall_side = 1 if position < surroundings.wall else -1
        freed = self.block and (surroundings.stalled, surroundings.wall) != (
            self.surroundings.stalled,
            self.surroundings.wall,
        )
        self.surroundings = surroundings
        if freed:
            self.rest(position, now)
        self.load_changed(now)

    def overload_s(self) -> float | None:
        """When it has pushed for too long; None while nothing holds it, or once that was told."""
        if self.block is None or self.block.told or not self.torque:
            return None
        return self.block.since_s + self.surroundings.overload_s

    def load_at(self, now: float) -> float:
        """Share of the motor's torque in use, signed by its direction."""
        if not self.torque:
            return 0.0
        if self.block:
            return math.copysign(self.ceiling, self.motion.velocity_at(now) or self.motion.rest - self.block.position)
        velocity = self.motion.velocity_at(now)
        if not velocity:
            return min(self.ceiling, self.surroundings.load)
        share = 0.06 + 0.10 * abs(velocity) / self.fastest + self.surroundings.load
        share += 0.10 if self.motion.acceleration_at(now) else 0.0
        return math.copysign(min(self.ceiling, share), velocity)

    def load_changed(self, now: float) -> None:
        """From here on the winding warms towards another temperature."""
        self.warmth = self.warmth.with_load(now, self.surroundings.ambient_celsius, self.load_at(now))

    def voltage_at(self, now: float) -> float:
        """Volts at the motor: the supply, less what its own load takes."""
        return self.surroundings.supply_v - SAG_V * abs(self.load_at(now))

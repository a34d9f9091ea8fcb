"""How a virtual motor moves and warms up: pure functions of time.

Why closed forms and not a stepping loop: a simulator inside an idle daemon must not wake up to integrate, and a test
with its own clock must get the same position whether it looks once or a thousand times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum


class Shape(IntEnum):
    """Bits 4 and 5 of Moving Status (123)."""

    STEP = 0x00
    RECTANGLE = 0x10
    TRIANGLE = 0x20
    TRAPEZOID = 0x30


@dataclass(frozen=True, slots=True)
class Segment:
    """Constant acceleration from one moment on, for `duration_s` (may be infinite)."""

    start_s: float
    duration_s: float
    position: float
    velocity: float
    acceleration: float = 0.0

    def position_at(self, now_s: float) -> float:
        """Steps at a moment inside the segment."""
        dt = now_s - self.start_s
        return self.position + self.velocity * dt + 0.5 * self.acceleration * dt * dt

    def velocity_at(self, now_s: float) -> float:
        """Steps per second at a moment inside the segment."""
        return self.velocity + self.acceleration * (now_s - self.start_s)

    def time_at(self, position: float) -> float | None:
        """The first moment inside the segment at that position; None if it is not passed."""
        gap = self.position - position
        roots: list[float] = []
        if self.acceleration:
            square = self.velocity**2 - 2 * self.acceleration * gap
            if square >= 0:
                root = math.sqrt(square)
                roots = [(-self.velocity - root) / self.acceleration, (-self.velocity + root) / self.acceleration]
        elif self.velocity:
            roots = [-gap / self.velocity]
        inside = [dt for dt in roots if -1e-9 <= dt <= self.duration_s]
        return self.start_s + max(0.0, min(inside)) if inside else None


@dataclass(frozen=True, slots=True)
class Motion:
    """A whole movement: segments one after the other, then rest at the last one's end (or on for ever).

    Args:
        start_s: When it began, monotonic seconds.
        rest: Position after the last segment.
        shape: Of the profile, as Moving Status tells it.
    """

    start_s: float
    segments: tuple[Segment, ...]
    rest: float
    shape: Shape = Shape.STEP

    @property
    def end_s(self) -> float:
        """When it comes to rest; infinite for a wheel that turns on."""
        if not self.segments:
            return self.start_s
        return self.segments[-1].start_s + self.segments[-1].duration_s

    def _segment(self, now_s: float) -> Segment | None:
        for segment in self.segments:
            if now_s < segment.start_s + segment.duration_s:
                return segment
        return None

    def position_at(self, now_s: float) -> float:
        """Steps at any moment from the start on."""
        segment = self._segment(now_s)
        return self.rest if segment is None else segment.position_at(now_s)

    def velocity_at(self, now_s: float) -> float:
        """Steps per second at any moment from the start on."""
        segment = self._segment(now_s)
        return 0.0 if segment is None else segment.velocity_at(now_s)

    def acceleration_at(self, now_s: float) -> float:
        """Steps per second squared at any moment from the start on."""
        segment = self._segment(now_s)
        return 0.0 if segment is None else segment.acceleration

    def time_at(self, position: float) -> float | None:
        """The first moment at that position; None if the movement does not pass it."""
        for segment in self.segments:
            moment = segment.time_at(position)
            if moment is not None:
                return moment
        return None


def resting(position: float, now_s: float) -> Motion:
    """No movement at all."""
    return Motion(now_s, (), position)


class _Path:
    """Collects segments, each beginning where the one before ended."""

    def __init__(self, position: float, velocity: float, now_s: float) -> None:
        self.position, self.velocity, self.now_s = position, velocity, now_s
        self.segments: list[Segment] = []

    def go(self, acceleration: float, duration_s: float) -> None:
        """On with that acceleration for that long; nothing for no time."""
        if duration_s <= 0.0:
            return
        segment = Segment(self.now_s, duration_s, self.position, self.velocity, acceleration)
        self.segments.append(segment)
        if math.isfinite(duration_s):
            self.now_s += duration_s
            self.position, self.velocity = segment.position_at(self.now_s), segment.velocity_at(self.now_s)

    def change_velocity(self, velocity: float, acceleration: float) -> None:
        """To another velocity; at once where the acceleration is infinite."""
        if math.isinf(acceleration):
            self.velocity = velocity
            return
        change = velocity - self.velocity
        self.go(math.copysign(acceleration, change), abs(change) / acceleration)
        self.velocity = velocity


def move(position: float, velocity: float, goal: float, limit: float, acceleration: float, now_s: float) -> Motion:
    """A profile from a place and a speed to rest at a goal.

    Args:
        position: Steps now.
        velocity: Steps per second now; a goal may come in mid-move.
        goal: Steps to rest at.
        limit: Steps per second, more than 0.
        acceleration: Steps per second squared, more than 0; infinite changes speed at once.
        now_s: Monotonic seconds.
    """
    path = _Path(position, velocity, now_s)
    braking = 0.0 if math.isinf(acceleration) else velocity * velocity / (2 * acceleration)
    ahead = (goal - position) * (1 if velocity >= 0 else -1)
    if velocity and ahead < braking:
        # It cannot stop in time, or drives the other way: first to a stand, then back.
        path.change_velocity(0.0, acceleration)
    direction = math.copysign(1.0, goal - path.position)
    distance = abs(goal - path.position)
    shape = Shape.STEP
    if distance > 1e-9:
        speed = path.velocity * direction
        peak = limit
        if math.isinf(acceleration):
            shape = Shape.RECTANGLE
        else:
            # Up to the peak and down again cover the distance: (2 peak^2 - speed^2) / (2 acceleration).
            reachable = math.sqrt(acceleration * distance + speed * speed / 2)
            shape = Shape.TRIANGLE if reachable <= limit else Shape.TRAPEZOID
            peak = min(limit, reachable)
        path.change_velocity(peak * direction, acceleration)
        braking = 0.0 if math.isinf(acceleration) else peak * peak / (2 * acceleration)
        left = (goal - path.position) * direction - braking
        path.go(0.0, max(0.0, left) / peak)
        path.change_velocity(0.0, acceleration)
    return Motion(now_s, tuple(path.segments), goal, shape)


def spin(position: float, velocity: float, wanted: float, acceleration: float, now_s: float) -> Motion:
    """To a speed, and on with it for ever; to a stand where the wanted speed is 0."""
    path = _Path(position, velocity, now_s)
    path.change_velocity(wanted, acceleration)
    path.velocity = wanted
    if wanted:
        path.go(0.0, math.inf)
    shape = Shape.RECTANGLE if math.isinf(acceleration) else Shape.TRAPEZOID
    return Motion(now_s, tuple(path.segments), path.position, shape)


@dataclass(frozen=True, slots=True)
class Warmth:
    """Temperature of a winding: it goes towards an equilibrium that the load sets.

    Args:
        at_s: Moment of `celsius`.
        equilibrium_celsius: Where it ends if nothing changes.
        time_constant_s: 63 % of the way takes this long.
    """

    at_s: float
    celsius: float
    equilibrium_celsius: float
    time_constant_s: float = 180.0

    def celsius_at(self, now_s: float) -> float:
        """Degrees Celsius at a later moment."""
        left = math.exp(-max(0.0, now_s - self.at_s) / self.time_constant_s)
        return self.equilibrium_celsius + (self.celsius - self.equilibrium_celsius) * left

    def time_above(self, limit_celsius: float) -> float | None:
        """When it passes a limit from below; None if it stays under it."""
        if self.celsius > limit_celsius:
            return self.at_s
        if self.equilibrium_celsius <= limit_celsius + 0.5:
            return None
        share = (self.equilibrium_celsius - limit_celsius - 0.01) / (self.equilibrium_celsius - self.celsius)
        return self.at_s - self.time_constant_s * math.log(share)

    def with_load(self, now_s: float, ambient_celsius: float, load: float, rise_celsius: float = 60.0) -> Warmth:
        """From here on under another load, 0 to 1; the rise goes with its square, as loss in copper does."""
        equilibrium = ambient_celsius + rise_celsius * load * load
        return Warmth(now_s, self.celsius_at(now_s), equilibrium, self.time_constant_s)

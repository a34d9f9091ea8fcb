"""Hotels, carousel degrees and motor steps: which goal brings which hotel to the door, the short way round.

Carousel degrees run from 0 up to 360 and wrap; motor steps do not wrap (4096 a turn, extended position mode), so one
place of the carousel has many goals. The motor stands at `offset_deg` when the carousel stands at 0;
`direction` -1 is a carousel that turns against its motor.

Why pure: all that can be wrong about wrap, sign and rounding is tested here with numbers, without a motor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from labd.errors import GoalRefused, InvalidArguments

STEPS_PER_TURN = 4096
MULTI_TURN_LIMIT_STEPS = 1_048_575  # e-Manual, X series, Goal Position(116) in extended position mode: +-256 turns
HEADER = b"\xff\xff\xfd"


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the motor shall go.

    `travel_steps` is signed and counts from the present position. `folded` says that the short way was not to be had:
    the goal lies a turn or more away from the nearest one.
    """

    steps: int
    travel_steps: int
    angle_deg: float
    folded: bool = False

    @property
    def travel_deg(self) -> float:
        """Signed degrees of the motor, more than half a turn only if folded or in single-turn mode."""
        return self.travel_steps * 360.0 / STEPS_PER_TURN


def needs_stuffing(steps: int) -> bool:
    """Whether the goal's four bytes hold FF FF FD, which dynamixel_sdk sends without the stuffing byte it needs.

    Source: facts of dynamixel_sdk 4.1.0 `addStuffing`; -131073 is the only such goal within +-256 turns.
    """
    return HEADER in steps.to_bytes(4, "little", signed=True)


def wrap_deg(angle_deg: float) -> float:
    """The same place as 0.0 <= angle < 360.0."""
    wrapped = angle_deg % 360.0
    return 0.0 if wrapped >= 360.0 else wrapped  # -1e-20 % 360.0 is 360.0 in floating point


def difference_deg(to_deg: float, from_deg: float) -> float:
    """Signed degrees of the short way, -180.0 < difference <= 180.0."""
    difference = wrap_deg(to_deg - from_deg)
    return difference - 360.0 if difference > 180.0 else difference


def hotel_angles(hotels: Iterable[str], explicit: Mapping[str, float]) -> dict[str, float]:
    """Degrees of each hotel: as told, or else where it stands when all are spread evenly from 0.

    Raises:
        GoalRefused: A hotel twice or without a name, or an angle for a hotel that is not there.
    """
    names = list(hotels)
    if not names or any(not name.strip() for name in names):
        raise GoalRefused("hotels must be a list of at least one name, none of them empty")
    folded = [name.casefold() for name in names]
    twice = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if twice:
        raise GoalRefused(f"hotels has {' and '.join(twice)} more than once (A and a count as the same)")
    unknown = [name for name in explicit if name not in names]
    if unknown:
        raise GoalRefused(f"hotel_angles names {', '.join(unknown)}, which hotels does not list: {', '.join(names)}")
    return {name: wrap_deg(explicit.get(name, index * 360.0 / len(names))) for index, name in enumerate(names)}


@dataclass(frozen=True, slots=True)
class Geometry:
    """One carousel's hotels and its way of turning."""

    hotels: Mapping[str, float]
    offset_deg: float = 0.0
    direction: int = 1
    tolerance_deg: float = 1.0
    multi_turn: bool = True

    @classmethod
    def of(
        cls,
        hotels: Iterable[str],
        explicit: Mapping[str, float],
        *,
        offset_deg: float = 0.0,
        direction: int = 1,
        tolerance_deg: float = 1.0,
        multi_turn: bool = True,
    ) -> Geometry:
        """The geometry of a hotel list.

        Raises:
            GoalRefused: As `hotel_angles`, or two hotels nearer than twice the tolerance: both would be active at once.
        """
        angles = hotel_angles(hotels, explicit)
        names = list(angles)
        for index, name in enumerate(names):
            for other in names[index + 1 :]:
                apart = abs(difference_deg(angles[name], angles[other]))
                if apart <= 2 * tolerance_deg:
                    raise GoalRefused(
                        f"hotels {name} and {other} stand {apart:.2f} degrees apart, within twice the tolerance_deg of "
                        f"{tolerance_deg:g}; lower the tolerance or move them apart"
                    )
        return cls(angles, offset_deg, direction, tolerance_deg, multi_turn)

    def carousel_deg(self, position_steps: int) -> float:
        """Place of the carousel at a motor position, 0.0 <= angle < 360.0."""
        motor_deg = position_steps % STEPS_PER_TURN * 360.0 / STEPS_PER_TURN
        return wrap_deg(self.direction * (motor_deg - self.offset_deg))

    def residue_steps(self, angle_deg: float) -> int:
        """The motor position within one turn, 0 to 4095, that is nearest to a place of the carousel."""
        motor_deg = wrap_deg(self.offset_deg + self.direction * wrap_deg(angle_deg))
        return round(motor_deg * STEPS_PER_TURN / 360.0) % STEPS_PER_TURN

    def hotel_at(self, position_steps: int) -> str | None:
        """The hotel at the door, within the tolerance; None between two."""
        here_deg = self.carousel_deg(position_steps)
        for name, angle_deg in self.hotels.items():
            if abs(difference_deg(here_deg, angle_deg)) <= self.tolerance_deg:
                return name
        return None

    def hotel_named(self, name: str) -> str:
        """The hotel as the settings spell it; small and capital letters count as the same.

        Raises:
            InvalidArguments: No such hotel.
        """
        for known in self.hotels:
            if known.casefold() == name.strip().casefold():
                return known
        raise InvalidArguments(
            f"no hotel is named {name!r}; the hotels are {', '.join(self.hotels)}", hotels=list(self.hotels)
        )

    def is_legal(self, steps: int) -> bool:
        """Whether the motor takes this goal in its mode, and dynamixel_sdk sends it as it is meant."""
        if not self.multi_turn:
            return 0 <= steps < STEPS_PER_TURN
        return -MULTI_TURN_LIMIT_STEPS <= steps <= MULTI_TURN_LIMIT_STEPS and not needs_stuffing(steps)

    def goal(self, angle_deg: float, present_steps: int) -> Goal:
        """The goal that brings a place of the carousel to the door by the shortest legal way.

        Any number of degrees is taken as a place: -90 is 270, 725 is 5. Half a turn exactly goes up.

        Raises:
            GoalRefused: Not a finite number, or no legal goal is left.
        """
        if not math.isfinite(angle_deg):
            raise GoalRefused(f"{angle_deg} is no angle; give degrees, such as 90")
        residue = self.residue_steps(angle_deg)
        half = STEPS_PER_TURN // 2
        travel = (residue - present_steps + half) % STEPS_PER_TURN - half
        travel = half if travel == -half else travel
        nearest = present_steps + travel
        if not self.multi_turn:
            return Goal(residue, residue - present_steps, wrap_deg(angle_deg), folded=residue != nearest)
        turn = -STEPS_PER_TURN if travel > 0 else STEPS_PER_TURN
        for steps in (nearest, nearest + turn, nearest - turn):
            if self.is_legal(steps):
                return Goal(steps, steps - present_steps, wrap_deg(angle_deg), folded=steps != nearest)
        raise GoalRefused(
            f"no goal within +-256 turns is at {wrap_deg(angle_deg):.2f} degrees from motor step {present_steps}; "
            "disconnect, turn the motor back or reboot it, and connect again",
            angle_deg=angle_deg,
            present_steps=present_steps,
        )

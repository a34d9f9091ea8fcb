"""What is reserved and for whom: the rules of admission and start, over whole picolitres, no I/O.

A claim is what one job may still take from one reservoir. The reserved volume of a reservoir is the sum of its claims;
the part of it that belongs to jobs under way is what a start must leave untouched.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class Shortage(msgspec.Struct, frozen=True):
    """One reservoir that cannot give what is asked."""

    reservoir: str
    color: str
    available_pl: int
    required_pl: int
    threshold_pl: int


class Claim(msgspec.Struct, gc=False):
    """What a job may still take from one reservoir; `needed_pl` is what a whole attempt takes."""

    reservoir: str
    needed_pl: int
    remaining_pl: int


@dataclass(slots=True)
class JobClaims:
    """The claims of one job.

    Args:
        is_going: It runs, waits, is being cancelled or was interrupted: its remaining share is not for others.
        has_told: It has said what it moved at least once, so what it did not say it did not move.
        life: The attempt behind which a person last said `retry`: a step of an earlier life is another act, even
            under the same name.
        is_read: It comes from a daemon that is gone.
    """

    job_id: int
    claims: dict[str, Claim]
    is_overridden: bool = False
    is_going: bool = False
    has_told: bool = False
    life: int = 0
    steps: set[str] = field(default_factory=set)
    is_read: bool = False

    def step_name(self, step: str) -> str:
        """The step as it is kept: once per life of the job."""
        return step if self.life == 0 else f"{self.life}/{step}"


def shortage(reservoir: str, color: str, available_pl: int, required_pl: int, threshold_pl: int) -> Shortage | None:
    """The rule of admission: what is left when the job has taken its share must not be below the threshold."""
    if required_pl <= 0 or available_pl - required_pl >= threshold_pl:
        return None
    return Shortage(reservoir, color, available_pl, required_pl, threshold_pl)


def is_short_at_start(level_pl: int, dead_pl: int, going_pl: int, remaining_pl: int) -> bool:
    """The rule of the start: the liquid is there beside what jobs under way may still take."""
    return remaining_pl > 0 and level_pl - dead_pl - going_pl < remaining_pl


def taken_pl(volume_pl: int, remaining_pl: int) -> int:
    """How much of a debit is covered by the claim; what is beyond it is debited all the same."""
    return min(max(0, volume_pl), remaining_pl)

"""Volumes: microlitres at the face, whole picolitres inside.

Why whole numbers: a balance that is summed in another order, or replayed from zero, must come out the same to the last
digit; floating point does not promise that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from labd.errors import BadVolume

PL_PER_UL = 1_000_000
LARGEST_UL = 1e9


def to_pl(volume_ul: Any, subject: str, *, signed: bool = False) -> int:
    """Picolitres of a volume from outside.

    Raises:
        BadVolume: No finite number, negative where it may not be, or beyond any vessel.
    """
    if isinstance(volume_ul, bool) or not isinstance(volume_ul, int | float) or not math.isfinite(volume_ul):
        raise BadVolume(f"{subject}: {volume_ul} is no volume; give a finite number of ul", subject=subject)
    if volume_ul < 0 and not signed:
        raise BadVolume(
            f"{subject}: {volume_ul:g} ul is negative; give 0 or more", subject=subject, volume_ul=volume_ul, limit_ul=0
        )
    if abs(volume_ul) > LARGEST_UL:
        raise BadVolume(
            f"{subject}: {volume_ul:g} ul is beyond any vessel; at most {LARGEST_UL:g} ul",
            subject=subject, volume_ul=volume_ul, limit_ul=LARGEST_UL,
        )  # fmt: skip
    return round(volume_ul * PL_PER_UL)


def all_to_pl(volumes_ul: Mapping[str, float], *, signed: bool = False) -> dict[str, int]:
    """As `to_pl` for every name; all or none."""
    return {name: to_pl(volume_ul, name, signed=signed) for name, volume_ul in volumes_ul.items()}


def to_ul(volume_pl: int) -> float:
    """Microlitres, rounded to 0.001, for the face."""
    return round(volume_pl / PL_PER_UL, 3) + 0.0

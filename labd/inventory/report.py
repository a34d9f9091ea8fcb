"""What is low, what would be enough, and the shapes in which the inventory before labd told both.

Pure functions over the ledger's views; all volumes in microlitres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from labd.inventory.reservoir import ReservoirView

SEED_KEYS = {"red": "R", "yellow": "Y", "blue": "B"}  # `color_key` of the three colours the seed knew
Verdict = Literal["not_initialized", "deficit", "out_of_stock", "low", "adequate"]


def color_key(key: str) -> str:
    """R, Y and B for the colours that had these; every other reservoir has its own key."""
    return SEED_KEYS.get(key, key)


def verdict(one: ReservoirView, low_threshold_ul: float | None) -> Verdict:
    """How a reservoir stands; without a threshold its own level counts."""
    if not one.initialized:
        return "not_initialized"
    if one.deficit_ul > 0.0:
        return "deficit"
    if one.level_ul <= 0.0:
        return "out_of_stock"
    is_low = one.low if low_threshold_ul is None else one.level_ul < low_threshold_ul
    return "low" if is_low else "adequate"


def check(
    views: Sequence[ReservoirView],
    low_threshold_ul: float | None,
    now: str,
    simulated: bool,
    evaporated_ul: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """`warnings`, `recommendations` and `overall_status` as in the seed, and each reservoir's verdict beside them.

    Args:
        now: ISO 8601; also what an expiry is compared with.
        evaporated_ul: As for `current`.
    """
    warnings: list[str] = []
    recommendations: list[str] = []
    found = []
    for one in views:
        verdict_of_one = verdict(one, low_threshold_ul)
        warning, recommendation = _advice(one, verdict_of_one)
        if warning:
            warnings.append(warning)
            recommendations.append(recommendation)
        if one.expires_at and one.expires_at[:10] < now[:10]:
            warnings.append(f"{_name(one)}: lot {one.lot or 'without a number'} has expired on {one.expires_at[:10]}")
            recommendations.append(
                f"Replace {one.color} ({one.key}): labctl inventory reservoir edit {one.key} --lot ..."
            )
        found.append(
            {
                "key": one.key,
                "color": one.color,
                "level_ul": one.level_ul,
                "available_ul": one.available_ul,
                "capacity_ul": one.capacity_ul,
                "verdict": verdict_of_one,
            }
        )
    count = sum(1 for one in found if one["verdict"] != "adequate")
    return {
        "timestamp": now,
        "simulated": simulated,
        "inventory": current(views, evaporated_ul or {}),
        "reservoirs": found,
        "warnings": warnings,
        "recommendations": recommendations,
        "needs_attention": count,
        "overall_status": "Action required" if warnings else "All colors adequately stocked",
    }


def current(views: Sequence[ReservoirView], evaporated_ul: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Levels by colour key, with the fields of the seed's `get_current_inventory` and what is promised to jobs.

    Args:
        evaporated_ul: What left each reservoir since the last movement; it is taken off the level already.
    """
    return {
        color_key(one.key): {
            "color": one.color,
            "position": one.position,
            "volume_ul": one.level_ul,
            "evaporation_loss_ul": evaporated_ul.get(one.key, 0.0),
            "last_updated": one.last_updated,
            "evaporation_rate_ul_per_hour": one.evaporation_rate_ul_per_hour,
            "reserved_ul": one.reserved_ul,
            "available_ul": one.available_ul,
        }
        for one in views
        if one.initialized
    }


def availability(answer: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The lines of a stock check by colour key, with the fields of the seed's `check_stock_availability`."""
    return {
        color_key(str(one["key"])): {
            name: one[name]
            for name in ("color", "required_ul", "available_ul", "is_sufficient", "remaining_after_use_ul")
        }
        for one in answer
    }


def _advice(one: ReservoirView, found: Verdict) -> tuple[str, str]:
    room_ml = max(0.0, one.capacity_ul - one.level_ul) / 1000
    name, level_ml = _name(one), one.level_ul / 1000
    if found == "not_initialized":
        return (
            f"{name} is not initialized: nobody has said how much is there",
            f"labctl inventory init {one.key}=VOLUME",
        )
    if found == "deficit":
        return (
            f"{name} has a DEFICIT of {one.deficit_ul:.1f} ul: more was taken than was ever recorded",
            f"Measure it: labctl inventory measure {one.key} VOLUME",
        )
    if found == "out_of_stock":
        return (
            f"{name} is OUT OF STOCK (0 ml) - RESTOCK IMMEDIATELY",
            f"Restock {one.color} with up to {room_ml:.2f} ml",
        )
    if found == "low":
        return (
            f"{name} is LOW ({level_ml:.2f} ml) - restock recommended",
            f"Restock {one.color} soon (current: {level_ml:.2f} ml, room for {room_ml:.2f} ml)",
        )
    return "", ""


def _name(one: ReservoirView) -> str:
    name = one.color.capitalize()
    return name if one.color == one.key else f"{name} ({one.key})"

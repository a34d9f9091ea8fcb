"""What of the stock a person should see to: pure, from the views to lines.

`state` changes only when there is something new to tell: an alert is raised by it, so it holds no figure that creeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labd.inventory.reservoir import ReservoirView, expiry


def of(
    views: Sequence[ReservoirView], drift_ul: Mapping[str, float], drift_limit_ul: float, now: float
) -> list[dict[str, Any]]:
    """One line a trouble, the worst of each reservoir first.

    Args:
        drift_ul: What the newest measurement of a reservoir missed the computed level by.
        now: Wall clock, for expiry dates.
    """
    lines: list[dict[str, Any]] = []
    for one in views:
        lines += _of(one, now)
        missed_ul = drift_ul.get(one.key, 0.0)
        if abs(missed_ul) > drift_limit_ul:
            side = "more" if missed_ul > 0 else "less"
            text = f"{one.key}: the last measurement found {abs(missed_ul):.1f} ul {side} than computed"
            text += f"; `labctl inventory measure {one.key}` shows the evaporation rate that fits"
            lines.append(_line("stock_drift", one, text, side))
    return lines


def _of(one: ReservoirView, now: float) -> list[dict[str, Any]]:
    if not one.initialized:
        text = f"{one.key}: nobody has said how much is there; `labctl inventory init {one.key}=VOLUME`"
        return [_line("stock_not_initialized", one, text, "not initialized")]
    lines = []
    if one.deficit_ul > 0:
        text = f"{one.key}: {one.deficit_ul:.1f} ul more were taken than were ever recorded; new jobs are refused"
        lines.append(_line("deficit", one, f"{text}; `labctl inventory measure {one.key} VOLUME`", "deficit"))
    elif one.level_ul - one.dead_volume_ul <= 0:
        lines.append(_line("out_of_stock", one, f"{one.key} is empty; {_restock(one)}", "empty"))
    elif one.low:
        text = f"{one.key}: {one.level_ul:.1f} ul, below {one.low_ul:.1f} ul; {_restock(one)}"
        lines.append(_line("low_stock", one, text, "low"))
    if one.deficit_ul == 0 and one.level_ul - one.dead_volume_ul < one.reserved_ul:
        text = (
            f"{one.key}: {one.reserved_ul:.1f} ul are reserved, {one.level_ul - one.dead_volume_ul:.1f} ul can be had"
        )
        lines.append(_line("stock_short", one, f"{text}; some jobs will wait; {_restock(one)}", "short"))
    expires_s = expiry(one.expires_at)
    if expires_s is not None and expires_s <= now:
        lot = f" (lot {one.lot})" if one.lot else ""
        lines.append(
            _line("stock_expired", one, f"{one.key}{lot} expired on {one.expires_at}", f"expired {one.expires_at}")
        )
    return lines


def _restock(one: ReservoirView) -> str:
    return f"`labctl inventory restock {one.key}=VOLUME --operator NAME`"


def _line(code: str, one: ReservoirView, message: str, state: str) -> dict[str, Any]:
    return {"code": code, "message": message, "state": state, "subject": f"reservoir {one.key}", "reservoir": one.key}

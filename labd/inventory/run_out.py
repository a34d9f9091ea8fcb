"""Which reservoirs run out soon, for the people who could prevent it: pure, from the forecast to lines of attention."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from labd.inventory.outlook import ForecastView, ReservoirOutlook

SOON, DURING = "soon", "during job"
CALM = 1.25  # a warning ends at so many times the hours at which it begins, so that it does not come and go


def warnings(found: ForecastView, within_h: float, warned: Collection[str]) -> list[dict[str, Any]]:
    """One line for every reservoir that is expected to run out within `within_h`, or during a queued job.

    What is empty already is told elsewhere.

    Args:
        warned: Keys of reservoirs of which this was said the last time.
    """
    lines: list[dict[str, Any]] = []
    for one in found.reservoirs:
        hours, limit_h = one.expected.hours, within_h * (CALM if one.reservoir in warned else 1.0)
        if one.usable_ul <= 0 or hours is None:
            continue
        if one.expected.job_id is not None:
            lines.append(_line(one, f"{DURING} {one.expected.job_id}", hours))
        elif hours <= limit_h:
            lines.append(_line(one, SOON, hours))
    return lines


def _line(one: ReservoirOutlook, state: str, hours: float) -> dict[str, Any]:
    text = f"{one.reservoir} runs out in about {hours:.1f} h"
    if one.expected.job_id is not None:
        text += f", {state} ({one.expected.task}), {one.expected.missing_ul:.1f} ul short"
    text += f"; `labctl inventory restock {one.reservoir}=VOLUME --operator NAME`"
    subject = f"reservoir {one.reservoir}"
    return {"code": "run_out", "message": text, "state": state, "subject": subject, "reservoir": one.reservoir}

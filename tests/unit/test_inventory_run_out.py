"""When a reservoir that will run out is told: soon, or during a queued job; once, and not on and off."""

from __future__ import annotations

import pytest

from labd.inventory.outlook import ForecastView, ReservoirOutlook, RunOutView
from labd.inventory.run_out import warnings


def seen(
    hours: float | None, job_id: int | None = None, missing_ul: float = 0.0, usable_ul: float = 900.0
) -> ForecastView:
    expected = RunOutView(None, hours, job_id, None if job_id is None else "mix", missing_ul)
    one = ReservoirOutlook(
        "red", "red", usable_ul, 0.0, expected, expected, expected, 5.0, (2.5, 7.5), "assumed", 0.0, (0.0, 0.0)
    )
    return ForecastView("2026-01-31T08:00:00Z", False, 0, [one], [])


@pytest.mark.parametrize(
    ("found", "was_warned", "states"),
    [
        (seen(12.0), False, ["soon"]),
        (seen(12.1), False, []),
        (seen(14.9), True, ["soon"]),
        (seen(15.1), True, []),
        (seen(None), True, []),
        (seen(300.0, job_id=7), False, ["during job 7"]),
        (seen(0.0, usable_ul=0.0), True, []),
        (seen(0.0, job_id=7, usable_ul=-3.0), True, []),
    ],
)
def test_what_is_told(found: ForecastView, was_warned: bool, states: list[str]) -> None:
    assert [line["state"] for line in warnings(found, 12.0, ["red"] if was_warned else [])] == states


def test_the_message_names_the_job_the_volume_and_the_next_step() -> None:
    (line,) = warnings(seen(3.44, job_id=7, missing_ul=850.06), 12.0, [])
    assert line["message"] == (
        "red runs out in about 3.4 h, during job 7 (mix), 850.1 ul short; "
        "`labctl inventory restock red=VOLUME --operator NAME`"
    )
    assert (line["code"], line["subject"]) == ("run_out", "reservoir red")

"""When stock runs out, with its band; what measured levels tell of the evaporation; how use fades."""

from __future__ import annotations

from random import Random

import pytest

from labd.inventory.fit import Fit, Reading, fit, quantile_95
from labd.inventory.forecast import QueuedNeed, Rate, RunOut, Stock, evaporation_rate, forecast, mean_use, run_out
from labd.inventory.use import FADES_IN_H, RecentUse

DRY = Rate(0.0, 0.0, 0.0, "none")


def line(rate: float, hours: list[float], start: float = 0.0, noise: list[float] | None = None) -> list[Reading]:
    errors = noise or [0.0] * len(hours)
    return [Reading(at, start + rate * at + error) for at, error in zip(hours, errors, strict=True)]


def queued(*needs_ul: float, lasts_h: float = 1.0) -> list[QueuedNeed]:
    return [
        QueuedNeed(number, "mix", (number - 1) * lasts_h, lasts_h, {"red": need})
        for number, need in enumerate(needs_ul, 1)
    ]


# -- the fit


def test_exact_readings_give_the_rate_and_a_band_without_width() -> None:
    found = fit([line(5.0, [0.0, 10.0, 20.0, 30.0])], 5.0)
    assert found.rate_ul_per_hour == pytest.approx(5.0)
    assert found.low_ul_per_hour == pytest.approx(5.0)
    assert found.scatter_ul == pytest.approx(0.0, abs=1e-9)


def test_the_place_of_a_line_is_free_and_stretches_share_the_slope() -> None:
    found = fit([line(3.0, [0.0, 10.0], 1000.0), line(3.0, [50.0, 60.0, 70.0], -400.0)], 5.0)
    assert found.rate_ul_per_hour == pytest.approx(3.0)
    assert (found.readings, found.is_significant) == (5, True)
    assert found.drift_ul_per_hour == pytest.approx(-2.0)


def test_the_error_is_that_of_the_textbook() -> None:
    # y = 1, 3, 2, 5 at x = 0, 1, 2, 3: slope 1.1, residual sum of squares 2.7, s = sqrt(1.35), error = s / sqrt(5)
    readings = [Reading(float(x), y) for x, y in enumerate([1.0, 3.0, 2.0, 5.0])]
    found = fit([readings], 1.1)
    assert found.rate_ul_per_hour == pytest.approx(1.1)
    assert found.error_ul_per_hour == pytest.approx((1.35 / 5) ** 0.5)
    assert found.high_ul_per_hour == pytest.approx(1.1 + 4.303 * (1.35 / 5) ** 0.5)
    assert not found.is_significant


@pytest.mark.parametrize(
    ("stretches", "rate", "has_band"),
    [
        ([], None, False),
        ([[Reading(1.0, 5.0)]], None, False),
        ([[Reading(1.0, 5.0), Reading(1.0, 6.0)]], None, False),
        ([line(4.0, [0.0, 5.0])], 4.0, False),
        ([line(4.0, [0.0, 5.0]), line(4.0, [9.0, 12.0])], 4.0, True),
    ],
)
def test_too_few_readings_give_no_band_and_fewer_no_rate(
    stretches: list[list[Reading]], rate: float | None, has_band: bool
) -> None:
    found = fit(stretches, 5.0)
    assert found.rate_ul_per_hour == (rate if rate is None else pytest.approx(rate))
    assert (found.low_ul_per_hour is not None) is has_band


def test_paint_does_not_come_out_of_the_air() -> None:
    assert fit([line(-2.0, [0.0, 10.0, 20.0])], 5.0).rate_ul_per_hour == 0.0


def test_the_band_holds_the_true_rate_in_nearly_all_of_many_trials() -> None:
    seed = 20260131
    random = Random(seed)
    hours = [float(at) for at in range(0, 200, 20)]
    held = 0
    for _ in range(400):
        noise = [random.gauss(0.0, 40.0) for _ in hours]
        found = fit([line(5.0, hours, 1e6, noise)], 5.0)
        assert found.low_ul_per_hour is not None and found.high_ul_per_hour is not None
        held += found.low_ul_per_hour <= 5.0 <= found.high_ul_per_hour
    assert 0.91 <= held / 400 <= 0.985, f"seed {seed}: {held} of 400"


@pytest.mark.parametrize(("freedom", "value"), [(1, 12.706), (10, 2.228), (30, 2.042), (60, 2.000), (10_000, 1.96)])
def test_quantiles_are_those_of_student(freedom: int, value: float) -> None:
    assert quantile_95(freedom) == pytest.approx(value, abs=0.003)


# -- the forecast


def test_evaporation_alone_empties_it() -> None:
    told = forecast(Stock("red", 1000.0, Rate(5.0, 4.0, 10.0, "measured"), DRY), [])
    assert (told.soonest.hours, told.expected.hours, told.latest.hours) == (100.0, 200.0, 250.0)


def test_what_lasts_ten_years_is_not_foretold() -> None:
    assert forecast(Stock("red", 1000.0, DRY, DRY), []).expected == RunOut(None)


def test_recent_use_goes_on_behind_the_queue() -> None:
    told = run_out(Stock("red", 1000.0, DRY, DRY), queued(300.0, 200.0), 2.0, 0.0, 50.0)
    assert told == RunOut(2.0 + 500.0 / 50.0)


def test_the_job_that_finds_too_little_is_named_with_what_it_misses() -> None:
    told = forecast(Stock("red", 1000.0, DRY, DRY), queued(400.0, 400.0, 400.0)).expected
    assert (told.job_id, told.task, told.missing_ul) == (3, "mix", 200.0)
    assert told.hours == pytest.approx(2.5)


def test_evaporation_eats_what_a_queued_job_was_promised() -> None:
    stock = Stock("red", 1000.0, Rate(5.0, 5.0, 5.0, "assumed"), DRY)
    late = [QueuedNeed(7, "mix", 100.0, 1.0, {"red": 800.0})]
    told = forecast(stock, late).expected
    assert (told.job_id, told.missing_ul) == (7, pytest.approx(305.0))
    dry = forecast(stock, [QueuedNeed(8, "mix", 300.0, 1.0, {"red": 1.0})]).expected
    assert (dry.hours, dry.job_id) == (200.0, 8)


def test_an_empty_reservoir_has_run_out_now_and_a_job_of_another_does_not_matter() -> None:
    assert forecast(Stock("red", 0.0, DRY, DRY), []).expected == RunOut(0.0)
    other = [QueuedNeed(1, "mix", 0.0, 1.0, {"blue": 50.0})]
    assert forecast(Stock("red", 0.0, DRY, DRY), other).expected.job_id is None
    assert forecast(Stock("red", -5.0, DRY, DRY), queued(10.0)).expected == RunOut(0.0, 1, "mix", 15.0)


def test_soonest_comes_before_expected_and_latest_behind() -> None:
    seed = 7
    random = Random(seed)
    for _ in range(300):
        middle, use = random.uniform(0, 20), random.uniform(0, 100)
        stock = Stock(
            "red", random.uniform(1, 20000), Rate(middle, middle * 0.5, middle * 1.5, "assumed"),
            Rate(use, use * 0.3, use * 2, "recent"),
        )  # fmt: skip
        jobs = queued(*(random.uniform(0, 3000) for _ in range(random.randrange(6))))
        told = forecast(stock, jobs)
        hours = [
            end.hours if end.hours is not None else float("inf") for end in (told.soonest, told.expected, told.latest)
        ]
        assert hours == sorted(hours), f"seed {seed}: {stock} {jobs}"


def test_a_fit_that_disagrees_widens_the_band_and_leaves_the_rate_in_force() -> None:
    found = Fit(5, 8.0, 0.5, 7.0, 9.0)
    assert evaporation_rate(5.0, found) == Rate(5.0, 5.0, 9.0, "measured")
    assert evaporation_rate(5.0, None) == Rate(5.0, 2.5, 7.5, "assumed")


def test_mean_use_has_the_band_of_a_sum_of_takes() -> None:
    told = mean_use(1000.0, 10 * 100.0**2, 100.0)
    assert (told.value, told.basis) == (10.0, "recent")
    assert told.high == pytest.approx((1000.0 + 1.96 * 100.0 * 10**0.5) / 100.0)
    assert mean_use(0.0, 0.0, 100.0) == Rate(0.0, 0.0, 0.0, "none")


# -- use


def test_even_use_is_found_again_as_its_rate() -> None:
    use = RecentUse()
    use.began("red", 0.0)
    for hour in range(2000):
        use.take("red", 20.0, float(hour))
    assert use.rate("red", 2000.0).value == pytest.approx(20.0, rel=0.01)


def test_the_first_hour_of_a_session_foretells_no_night_of_mixing() -> None:
    use = RecentUse()
    use.began("red", 0.0)
    use.take("red", 240.0, 1.0)
    assert use.rate("red", 1.0).value == pytest.approx(10.0, rel=0.1)


def test_old_use_fades_and_what_came_back_is_taken_off() -> None:
    use = RecentUse()
    use.take("red", 1000.0, 0.0)
    use.take("red", -1000.0, 0.0)
    assert use.rate("red", 10.0).value == 0.0
    use.take("blue", 1000.0, 0.0)
    soon, late = use.rate("blue", 24.0).value, use.rate("blue", 5 * FADES_IN_H).value
    assert late < soon / 50
    assert use.rate("none of these", 1.0).basis == "none"

"""Volumes as people type them: millilitres unless a unit is said, and a refusal that names number and limit."""

from __future__ import annotations

import pytest

from labctl.volumes import is_volume, microlitres, named, shown
from labd.errors import BadVolume

ORDER = ["red", "yellow", "blue"]


@pytest.mark.parametrize(
    ("text", "volume_ul"),
    [
        ("15", 15000.0), ("15ml", 15000.0), ("15 ml", 15000.0), ("15mL", 15000.0), ("15000ul", 15000.0),
        ("15000 uL", 15000.0), ("250µl", 250.0), ("250μl", 250.0), ("0.1", 100.0), (".5", 500.0), ("8.4", 8400.0),
        ("1e-1ml", 100.0), ("-0.2", -200.0), ("+5", 5000.0), ("0", 0.0), ("  7  ", 7000.0),
    ],
)  # fmt: skip
def test_a_volume_is_millilitres_unless_its_unit_says_otherwise(text: str, volume_ul: float) -> None:
    assert microlitres(text) == pytest.approx(volume_ul, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nan", "red nan: must be a finite number, at most 1e+06 ml"),
        ("-inf", "red -inf: must be a finite number, at most 1e+06 ml"),
        ("infinity", "red infinity: must be a finite number, at most 1e+06 ml"),
        ("15l", "red 15l: unit 'l' is not known; units are ul and ml"),
        ("15 mg", "red 15 mg: unit 'mg' is not known; units are ul and ml"),
        ("15,5", "red 15,5: unit ',5' is not known; units are ul and ml"),
        ("1e9", "red 1e9: 1e+09 ml; at most 1e+06 ml"),
        ("much", "red 'much': not a volume; write 15, 15ml or 15000ul"),
        ("", "red '': not a volume; write 15, 15ml or 15000ul"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_number_and_the_limit(text: str, message: str) -> None:
    with pytest.raises(BadVolume) as told:
        microlitres(text, "red")
    assert told.value.message == message


def test_bare_volumes_follow_the_configured_order() -> None:
    assert named(["10", "5ml", "8000ul"], ORDER) == {"red": 10000.0, "yellow": 5000.0, "blue": 8000.0}


def test_named_volumes_leave_the_others_alone() -> None:
    assert named(["blue=15000ul", "red=15"], ORDER) == {"blue": 15000.0, "red": 15000.0}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["15", "15"], "2 volumes for 3 reservoirs (red yellow blue)"),
        (["15", "15", "15", "15"], "4 volumes for 3 reservoirs"),
        (["15", "red=15", "15"], "not both"),
        (["red=1", "red=2"], "red is given twice"),
        (["=2"], "written NAME=VOLUME"),
        (["red="], "red '': not a volume"),
    ],
)
def test_volumes_that_do_not_fit_the_reservoirs_are_refused(words: list[str], part: str) -> None:
    with pytest.raises(BadVolume) as told:
        named(words, ORDER)
    assert part in told.value.message


def test_an_operator_is_told_from_a_volume() -> None:
    assert [is_volume(word) for word in ("10", "red=5", "5ml", "-2", "lab_tech_1", "anna")] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("volume_ul", "text"),
    [(None, ""), (45.0, "45.0 ul"), (-200.0, "-200.0 ul"), (1000.0, "1.00 ml"), (15000.0, "15.00 ml")],
)
def test_volumes_are_shown_in_the_unit_that_is_read_easily(volume_ul: float | None, text: str) -> None:
    assert shown(volume_ul) == text

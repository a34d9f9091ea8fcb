"""Verdicts, warnings and the seed's shapes; readings from measurements; documents that are taken over or refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from labd.errors import BadRequest, BadVolume
from labd.inventory import report
from labd.inventory.fit import Evaporated, stretches
from labd.inventory.reservoir import MeasurementView, ReservoirView
from labd.inventory.transfer import Transfer, head

WRONG = "no labd-inventory version 1; `labctl inventory export` writes one"
NOW = "2026-11-21T08:00:00.000Z"


def view(key: str = "red", level_ul: float = 15000.0, **facts: Any) -> ReservoirView:
    known: dict[str, Any] = {
        "key": key, "color": key, "position": "B1", "device": "", "slot": "", "well": "", "location": "",
        "capacity_ul": 15000.0, "dead_volume_ul": 0.0, "evaporation_rate_ul_per_hour": 5.0, "lid": "open",
        "closed_rate_ul_per_hour": 0.5, "lot": "", "expires_at": "", "threshold_ul": 100.0, "low_ul": 5000.0,
        "initialized": True, "level_ul": level_ul, "reserved_ul": 0.0, "available_ul": level_ul, "deficit_ul": 0.0,
        "low": level_ul < 5000.0, "evaporated_rate_in_force_ul_per_hour": 5.0, "last_updated": NOW, "simulated": False,
    }  # fmt: skip
    return ReservoirView(**{**known, **facts})


def measured(ledger_h: float, level_ul: float, computed_ul: float) -> MeasurementView:
    return MeasurementView(
        id=1, reservoir="red", at=NOW, ledger_s=ledger_h * 3600.0, level_ul=level_ul, computed_ul=computed_ul, actor="a"
    )


@pytest.mark.parametrize(
    ("one", "threshold_ul", "expected"),
    [
        (view(level_ul=6000.0), None, "adequate"),
        (view(level_ul=4999.9), None, "low"),
        (view(level_ul=4999.9), 2000.0, "adequate"),
        (view(level_ul=6000.0), 7000.0, "low"),
        (view(level_ul=0.0), 0.0, "out_of_stock"),
        (view(level_ul=-3.0, deficit_ul=3.0), None, "deficit"),
        (view(level_ul=0.0, initialized=False), None, "not_initialized"),
    ],
)
def test_a_verdict_is_the_worst_that_is_true(one: ReservoirView, threshold_ul: float | None, expected: str) -> None:
    assert report.verdict(one, threshold_ul) == expected


def test_a_check_warns_in_the_words_of_the_seed() -> None:
    found = report.check([view(), view("yellow", 1200.0), view("blue", 0.0)], 2000.0, NOW, False)
    assert found["warnings"] == [
        "Yellow is LOW (1.20 ml) - restock recommended",
        "Blue is OUT OF STOCK (0 ml) - RESTOCK IMMEDIATELY",
    ]
    assert found["recommendations"] == [
        "Restock yellow soon (current: 1.20 ml, room for 13.80 ml)",
        "Restock blue with up to 15.00 ml",
    ]
    assert (found["overall_status"], found["needs_attention"]) == ("Action required", 2)


def test_a_check_without_a_warning_says_so() -> None:
    found = report.check([view()], None, NOW, True)
    assert (found["overall_status"], found["warnings"], found["simulated"]) == (
        "All colors adequately stocked",
        [],
        True,
    )


def test_an_expired_lot_is_a_warning_from_the_day_behind_its_date() -> None:
    assert report.check([view(expires_at="2026-11-21")], None, NOW, False)["warnings"] == []
    told = report.check([view(expires_at="2026-11-20", lot="L7")], None, NOW, False)["warnings"]
    assert told == ["Red: lot L7 has expired on 2026-11-20"]


def test_the_inventory_now_has_the_keys_and_fields_of_the_seed() -> None:
    found = report.current(
        [view(), view("yellow"), view("blue"), view("green", initialized=False), view("white", 7.0)], {"red": 1.5}
    )
    assert list(found) == ["R", "Y", "B", "white"]
    assert (
        found["R"].items()
        >= {"color": "red", "position": "B1", "volume_ul": 15000.0, "evaporation_loss_ul": 1.5}.items()
    )


# -- readings from measurements


def test_a_loss_is_what_was_booked_and_what_the_level_was_short() -> None:
    levels = [measured(0.0, 10000.0, 10000.0), measured(10.0, 9920.0, 9950.0), measured(20.0, 9840.0, 9870.0)]
    booked = [Evaporated(hour * 3600.0, 25.0, "open") for hour in (5, 10, 15, 20)]
    (only,) = stretches(levels, booked, "open")
    assert [reading.lost_ul for reading in only] == [0.0, 80.0, 160.0]
    assert [reading.drift_ul for reading in only] == [0.0, -30.0, -30.0]


def test_a_lid_that_was_moved_and_an_empty_reservoir_end_a_stretch() -> None:
    levels = [
        measured(0.0, 900.0, 900.0),
        measured(1.0, 890.0, 895.0),
        measured(2.0, 880.0, 885.0),
        measured(3.0, 0.0, 5.0),
        measured(4.0, 800.0, 800.0),
        measured(5.0, 790.0, 795.0),
    ]
    booked = [Evaporated(hour * 3600.0, 5.0, "closed" if hour == 2 else "open") for hour in range(1, 6)]
    assert [len(stretch) for stretch in stretches(levels, booked, "open")] == [2, 1, 1, 2]


# -- documents


def document(*views: ReservoirView, simulated: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(head(views, NOW, simulated)))
    return found


def test_an_export_is_read_again_as_it_was() -> None:
    transfer = Transfer(document(view(), view("blue", 7.25), view("green", initialized=False)))
    assert transfer.levels == {"red": 15000.0, "blue": 7.25}
    assert [spec.key for spec in transfer.check({"red": view()}, False)[0]] == ["blue", "green"]
    assert transfer.check({"RED": view("RED")}, False)[1] == {"RED": 15000.0, "blue": 7.25}


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"format": "x"}, BadRequest, "import: 'x' version 1 is " + WRONG),
        ({"version": 9}, BadRequest, "import: 'labd-inventory' version 9 is " + WRONG),
        ({"reservoirs": []}, BadRequest, "import: the document has no reservoirs"),
        ({"reservoirs": [3]}, BadRequest, "import: reservoirs[0] is no object"),
        ({"simulated": True}, BadRequest, "import: levels of simulated stock are not taken for real stock"),
    ],
)  # fmt: skip
def test_a_document_of_another_kind_is_refused(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as told:
        Transfer({**document(view()), **changes}).check({}, False)
    assert str(told.value) == message


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (-1.0, "import: red: level -1.0 ul; at least 0 ul"),
        ("much", "import: red: level 'much' ul; at least 0 ul"),
        (None, "import: red: level None ul; at least 0 ul"),
        (15001.0, "import: red: level 15001.0 ul; it holds 15000.0 ul"),
    ],
)
def test_a_level_that_cannot_be_is_refused_with_both_numbers(level: Any, message: str) -> None:
    broken = document(view())
    broken["reservoirs"][0]["level_ul"] = level
    with pytest.raises(BadVolume) as told:
        Transfer(broken)
    assert told.value.message == message


def test_a_level_is_held_against_the_reservoir_that_is_there() -> None:
    with pytest.raises(BadVolume, match=r"red: level 15000.0 ul; it holds 9000.0 ul"):
        Transfer(document(view())).check({"red": view(capacity_ul=9000.0)}, False)
    with pytest.raises(BadRequest, match="stands twice"):
        Transfer(document(view(), view()))

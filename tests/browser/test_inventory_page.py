"""The page Inventory over a real ledger of simulated stock: levels, forecast, history, and every act on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Lab, Seen
from tests.browser.looks import assert_usable

LEVELS = {"red": 9000.0, "yellow": 1200.0, "blue": 14000.0}


@pytest.fixture
def stock(lab: Lab) -> Any:
    """The client, with known levels of three reservoirs."""
    lab.daemon.client.initialize_inventory(LEVELS, "Ada", True, "a test begins")
    return lab.daemon.client


def _card(page: Any, key: str) -> Any:
    return page.get_by_role("region", name=f"Reservoir {key}", exact=True)


def _level(stock: Any, key: str) -> float:
    return float(next(one for one in stock.inventory()["reservoirs"] if one["key"] == key)["level_ul"])


def test_several_reservoirs_are_restocked_at_once(stock: Any, seen: Seen) -> None:
    page = seen.open("/inventory")
    _card(page, "yellow").get_by_text("low", exact=True).wait_for()
    page.get_by_role("button", name="Restock …").first.click()
    dialog = page.get_by_role("dialog", name="Restock")
    dialog.get_by_label("red").fill("5ml")
    dialog.get_by_label("yellow").fill("5500 ul")
    dialog.get_by_label("Lot").fill("L 9")
    dialog.get_by_label("Your name").fill("Ada")
    line = "labctl inventory restock red=5ml yellow=5500ul --lot 'L 9' --operator Ada"
    assert line in dialog.inner_text()
    assert "9.00 ml → 14.00 ml of 15.00 ml" in dialog.inner_text()
    dialog.get_by_role("button", name="Restock").click()
    _card(page, "red").locator(".level", has_text="14.00 ml").wait_for()
    _card(page, "yellow").get_by_text("stocked").wait_for()
    assert page.inner_text("#line code") == line
    assert _level(stock, "red") == pytest.approx(14000, abs=1)
    assert _level(stock, "blue") == pytest.approx(14000, abs=1)
    page.locator("#history td", has_text="lot L 9").first.wait_for()


def test_what_others_do_is_seen_without_asking_again_and_again(stock: Any, seen: Seen) -> None:
    seen.context.add_init_script("window.setInterval = () => 0")  # the page has nothing but the events
    page = seen.open("/inventory?reservoir=red")
    card = _card(page, "red")
    card.locator(".level", has_text="9.00 ml").wait_for()
    page.locator("#history tbody tr").first.wait_for()
    stock.restock_inventory({"red": 500}, "Bo", "", "L 7")
    card.locator(".level", has_text="9.50 ml").wait_for()
    page.locator("#history td", has_text="lot L 7").first.wait_for()
    stock.edit_reservoir("red", {"low_ul": 9900})
    card.get_by_text("low", exact=True).wait_for()
    stock.edit_reservoir("red", {"low_ul": None})


def test_a_slip_is_told_before_it_is_sent(stock: Any, seen: Seen) -> None:
    page = seen.open("/inventory")
    _card(page, "blue").get_by_role("button", name="Restock …").click()
    dialog = page.get_by_role("dialog", name="Restock blue")
    volume = dialog.get_by_label("Filled in")
    dialog.get_by_label("Your name").fill("Ada")
    for word, told in {
        "3": "17.00 ml is more than it holds, 15.00 ml",
        "3 gallons": "unit gallons is not known; units are ul and ml",
        "some": "no volume; write 15, 15ml or 15000ul",
        "-1": "less than nothing",
    }.items():
        volume.fill(word)
        dialog.get_by_role("button", name="Restock").click()
        dialog.get_by_text(told).wait_for()
        assert volume.get_attribute("aria-invalid") == "true"
    assert _level(stock, "blue") == pytest.approx(14000, abs=1)


def test_a_level_is_measured_adjusted_and_proven(stock: Any, seen: Seen) -> None:
    page = seen.open("/inventory")
    card = _card(page, "blue")
    card.get_by_role("button", name="Measure …").click()
    dialog = page.get_by_role("dialog", name="Measure blue")
    dialog.get_by_label("Level that was read").fill("13.5")
    dialog.get_by_label("Your name").fill("Bo")
    dialog.get_by_role("button", name="Measured").click()
    card.locator(".level", has_text="13.50 ml").wait_for()
    assert page.inner_text("#line code") == "labctl inventory measure blue 13.5ml --operator Bo"
    card.get_by_role("button", name="Adjust …").click()
    dialog = page.get_by_role("dialog", name="Adjust blue")
    dialog.get_by_label("Change").fill("-500ul")
    dialog.get_by_label("Why the level").fill("spilt")
    dialog.get_by_role("button", name="Adjust").click()
    card.locator(".level", has_text="13.00 ml").wait_for()
    assert page.inner_text("#line code") == "labctl inventory adjust blue -500ul --reason spilt --operator Bo"
    card.get_by_role("button", name="Lid now closed").click()
    card.get_by_role("button", name="Lid now open").wait_for()
    assert "every balance agrees" not in page.inner_text("main")
    page.get_by_role("button", name="Verify the books").click()
    page.get_by_text("every balance agrees").wait_for()
    stock.set_lid("blue", "open", "Ada")


def test_what_nobody_has_told_is_not_green(stock: Any, seen: Seen) -> None:
    stock.add_reservoir({"key": "green", "color": "green", "capacity_ul": 8000, "dead_volume_ul": 600})
    try:
        page = seen.open("/inventory")
        card = _card(page, "green")
        card.get_by_text("unknown").wait_for()
        assert card.locator(".badge.ok").count() == 0
        assert "Nobody has said how much is there" in card.inner_text()
        card.get_by_role("button", name="Initialize …").click()
        dialog = page.get_by_role("dialog", name="Say how much is there")
        dialog.get_by_label("Level").fill("0.5")
        dialog.get_by_role("button", name="Initialize").click()
        card.get_by_text("empty").wait_for()  # all that is there is dead volume
        assert "labctl inventory init green=0.5" in page.inner_text("#line code")
    finally:
        stock.remove_reservoir("green", "the test is over")


def test_movements_come_page_by_page(stock: Any, seen: Seen) -> None:
    for number in range(70):
        stock.adjust_reservoir("red", -1.0, f"drop {number}", "Ada")
    page = seen.open("/inventory?reservoir=red")
    rows = page.locator("#history tbody tr")
    rows.nth(49).wait_for()
    page.select_option("#history select[aria-label='Kind of movement']", "adjustment")
    page.get_by_text("drop 69").wait_for()
    assert page.get_by_text("drop 2", exact=True).count() == 0
    page.get_by_role("button", name="Older movements").click()
    page.get_by_text("drop 2", exact=True).wait_for()
    assert "evaporation" not in page.inner_text("#history tbody")
    page.locator("#history .trace").first.wait_for(state="attached")


def test_who_may_only_read_acts_on_nothing(stock: Any, browsers: Callable[..., Seen]) -> None:
    page = browsers().log_in("read").open("/inventory")
    _card(page, "red").wait_for()
    for name in ("Restock …", "Measure …", "Adjust …", "Lid now closed"):
        assert _card(page, "red").get_by_role("button", name=name).is_disabled()
    page.get_by_role("button", name="Verify the books").click()
    page.get_by_text("every balance agrees").wait_for()


def test_it_fits_and_everybody_can_use_it(stock: Any, browsers: Callable[..., Seen]) -> None:
    page = browsers("desk", "dark").log_in().open("/inventory")
    page.locator("#history .trace").first.wait_for(state="attached")
    assert_usable(page, "inventory")

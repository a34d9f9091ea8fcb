"""STOP: from mouse and keyboard, during a move, told until confirmed, latched until reset by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Lab, Seen

RESORT = {"speed": 5}  # half a turn takes six seconds: on a busy host the stop still comes before the end


@pytest.fixture(autouse=True)
def released(lab: Lab) -> Iterator[None]:
    """No stop is latched after a test."""
    yield
    client = lab.daemon.client
    for status, reset in ((client.resort_status, client.resort_reset), (client.ot2_status, client.ot2_reset)):
        if status()["stop_latched"]:
            reset("test", "over")


def _moving(lab: Lab) -> int:
    lab.daemon.ready()
    degrees = 180 if lab.daemon.resort()["position_deg"] < 90 else 0
    job = lab.submit("resort.move_to_angle", degrees=degrees)
    lab.daemon.moving()
    return job


def _confirmed(page: Any) -> None:
    page.locator("#stop-banner [data-wing=resort][data-state=confirmed]").wait_for()
    page.locator("#stop-banner [data-wing=ot2][data-state=confirmed]").wait_for()


def test_one_click_stops_a_move_without_a_dialog(lab: Lab, seen: Seen) -> None:
    page = seen.open()
    job = _moving(lab)
    page.click("#stop")
    _confirmed(page)
    assert page.locator("dialog").count() == 0
    assert lab.daemon.resort()["stop_latched"]
    assert lab.daemon.ended(job)["state"] == "cancelled"
    assert re.search(r"resort: stopped and read back, \d+ ms", page.inner_text("#stop-banner"))


@pytest.mark.parametrize("key", ["Control+.", "Pause"])
def test_the_chord_stops_while_somebody_types(lab: Lab, seen: Seen, key: str) -> None:
    page = seen.open("/jobs")
    page.keyboard.press("Control+k")
    page.keyboard.type("resort.")
    job = _moving(lab)
    page.keyboard.press(key)
    _confirmed(page)
    assert lab.daemon.ended(job)["state"] == "cancelled"
    assert page.locator("dialog.palette input").input_value() == "resort."


def test_no_dialog_takes_the_button_away(lab: Lab, seen: Seen) -> None:
    page = seen.open("/schedules")
    page.get_by_role("button", name="New schedule …").click()
    page.get_by_label("Name").fill("half typed")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "stop"
    page.get_by_label("Name").focus()
    job = _moving(lab)
    page.click("#stop")
    _confirmed(page)
    assert lab.daemon.ended(job)["state"] == "cancelled"
    assert page.get_by_label("Name").input_value() == "half typed"
    page.get_by_role("button", name="Reset resort main").click()
    page.locator("dialog").nth(1).wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator("dialog").first.wait_for(state="detached")


def test_letters_and_full_stops_stop_nothing(lab: Lab, seen: Seen) -> None:
    page = seen.open("/jobs")
    page.keyboard.type("stop.!. . s")
    page.get_by_label("Text in task").fill("...")
    page.keyboard.press("Shift+.")
    assert not lab.daemon.resort()["stop_latched"]
    assert page.locator("#stop-banner").count() == 0


def test_the_latch_is_reset_by_name_and_reason(lab: Lab, browsers: Callable[..., Seen]) -> None:
    page, other = browsers().log_in("operate").open(), browsers("phone", "dark").log_in("read").open("/queues")
    page.click("#stop")
    _confirmed(page)
    other.locator("#stop-banner", has_text="latched; nothing moves").wait_for()
    assert other.get_by_role("button", name="Reset resort main").is_disabled()
    page.get_by_role("button", name="Reset resort main").click()
    page.get_by_label("Your name").fill("anna")
    page.get_by_label("Why it may move again").fill("looked <b>twice</b>")
    assert "labctl resort reset --device main --by anna --reason" in page.inner_text("dialog")
    page.get_by_role("button", name="Reset", exact=True).click()
    page.locator("dialog").wait_for(state="detached")
    assert not lab.daemon.resort()["stop_latched"]
    page.get_by_role("button", name="Reset ot2 main").click()
    page.get_by_label("Why it may move again").fill("nobody is there")
    page.get_by_role("button", name="Reset", exact=True).click()
    page.locator("#stop-banner").wait_for(state="detached")
    other.locator("#stop-banner").wait_for(state="detached")
    entry = next(entry for entry in lab.daemon.client.audit()["entries"] if entry["action"] == "resort.reset")
    assert (entry["actor"], entry["details"]["by"]) == ("token:browser-operate", "anna")


def test_who_may_not_stop_is_told_to_use_another_way(lab: Lab, browsers: Callable[..., Seen]) -> None:
    reader = browsers().log_in("read")
    reader.expected = ("403",)
    page = reader.open()
    page.click("#stop")
    page.locator("#stop-banner [data-wing=resort][data-state=failed]").wait_for()
    told = page.inner_text("#stop-banner")
    assert "NOT STOPPED" in told
    assert "cut the power" in told
    assert not lab.daemon.resort()["stop_latched"]


def test_a_stop_is_sent_again_until_labd_answers(lab: Lab, seen: Seen) -> None:
    seen.expected = ("ERR_FAILED", "Failed to load resource")
    page = seen.open()
    refused = []

    def first_two(route: Any) -> None:
        refused.append(route.request.url)
        if len([url for url in refused if "resort" in url]) <= 2:
            route.abort()
        else:
            route.fallback()

    page.route("**/api/v1/resort/stop", first_two)
    page.click("#stop")
    page.locator("#stop-banner [data-wing=resort][data-state=failed]").wait_for()
    _confirmed(page)
    assert len(refused) == 3
    assert lab.daemon.resort()["stop_latched"]

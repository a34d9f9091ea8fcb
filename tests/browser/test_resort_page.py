"""The page Resort: it turns as the motor does, brings hotels, says what is refused and why, and knows two carousels."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import FAST, Daemon, toml
from tests.acceptance.waiting import eventually
from tests.browser.conftest import Lab, Seen, free_port
from tests.browser.looks import assert_usable

BAD = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two carousels; the hotels of one have names that look like markup."""
    folder, port = Path(tempfile.mkdtemp(prefix="labd-")), free_port()
    text = toml("api", listen=f"127.0.0.1:{port}") + toml("resort", driver="simulated", **FAST)
    text += toml("resort.left", speed=12) + toml("resort.right", hotels=["P1", BAD])
    lab = Lab(Daemon(folder, text), f"http://127.0.0.1:{port}")
    client = lab.daemon.start().client
    try:
        for name in ("left", "right"):
            eventually(lambda name=name: "go_home" in client.resort_status(name)["allowed_actions"], 10.0, name)  # type: ignore[misc]
        yield lab
    finally:
        lab.daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


def _carousel(page: Any, name: str) -> Any:
    return page.get_by_label(f"Carousel {name}", exact=True)


def test_a_hotel_that_is_clicked_turns_to_the_door_before_the_eyes(lab: Lab, seen: Seen) -> None:
    page = seen.open("/resort")
    left = _carousel(page, "left")
    left.get_by_role("button", name="Hotel A, at the door").wait_for()
    hotel = left.get_by_role("button", name="Hotel C, bring to the door")
    hotel.hover()
    assert page.inner_text("#line code") == "labctl resort activate C --device left"
    hotel.focus()
    page.keyboard.press("Enter")
    seen_at = set()
    for _ in range(200):
        seen_at.add(left.locator(".deg").text_content())
        if left.get_by_role("button", name="Hotel C, at the door").count():
            break
        page.wait_for_timeout(50)
    assert len(seen_at) >= 5, seen_at
    left.get_by_text("left rests at 180 degrees, hotel C").wait_for(state="attached")
    turned = left.locator("svg > .turning").evaluate("(node) => node.style.transform")
    assert abs(float(re.findall(r"-?[\d.]+", turned)[0])) == pytest.approx(180, abs=1.5)
    left.locator(".list li", has_text="activate hotel hotel=C").get_by_text("succeeded").wait_for()
    assert _carousel(page, "right").get_by_role("button", name="Hotel P1, at the door").count() == 1


def test_a_stop_is_seen_everything_refused_says_why_and_the_reset_lets_go(lab: Lab, seen: Seen) -> None:
    page = seen.open("/resort")
    right = _carousel(page, "right")
    right.get_by_role("button", name="Stop right").click()
    right.get_by_text("stopped", exact=True).wait_for()
    assert right.get_by_role("button", name="Home").is_disabled()
    right.get_by_text(re.compile("hotels, move, home.*: resort right: stopped by token:browser-admin")).wait_for()
    assert _carousel(page, "left").get_by_role("button", name="Home").is_enabled()
    hotel = right.get_by_role("button", name="Hotel P1, at the door, cannot be brought")
    before = len(lab.daemon.client.jobs()["jobs"])
    hotel.click(force=True)
    right.get_by_role("button", name="Reset the stop …").click()
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Why it may move again").fill(BAD)
    page.get_by_role("button", name="Reset", exact=True).click()
    right.get_by_text("ready", exact=True).wait_for()
    right.get_by_role("button", name="Home").and_(page.locator(":enabled")).wait_for()
    assert len(lab.daemon.client.jobs()["jobs"]) == before, "a refused hotel was asked for"
    assert page.locator("main img").count() == 0


def test_each_action_is_a_line_and_does_what_it_says(lab: Lab, seen: Seen) -> None:
    page = seen.open("/resort")
    right = _carousel(page, "right")
    right.get_by_role("button", name="Speed …").click()
    page.get_by_label("Turns of the motor a minute").fill("33")
    assert "labctl resort speed 33 --device right" in page.inner_text("dialog")
    page.get_by_role("button", name="Speed", exact=True).click()
    right.locator("dd", has_text="33 rpm").wait_for()
    right.get_by_role("button", name="Move …").click()
    page.get_by_label("Degrees of the carousel").fill("-5")
    page.get_by_role("button", name="Move", exact=True).click()
    right.get_by_text("right rests at 355 degrees").wait_for(state="attached")
    release = right.get_by_role("button", name=re.compile("^Disconnect"))
    release.click()
    assert release.text_content() == "Disconnect: sure?"
    release.click()
    right.get_by_text("right: position unknown").wait_for(state="attached")
    assert right.locator(".dial.unknown").count() == 1
    assert right.locator(".badge.ok", has_text="ready").count() == 0
    right.get_by_role("button", name="Connect", exact=True).click()
    right.get_by_text("right rests at 355 degrees").wait_for(state="attached")


def test_the_motors_health_is_drawn_with_its_limits(lab: Lab, seen: Seen) -> None:
    lab.daemon.ended(lab.submit("resort.go_home", device="left"))
    page = seen.open("/resort")
    left = _carousel(page, "left")
    figure, drawn = left.locator(".figure", has_text="Heat"), left.get_by_role("img", name=re.compile("^Heat: "))
    drawn.wait_for()
    shown = re.match(r"(\d\d) °C", figure.inner_text())
    named = re.match(r"Heat: (\d\d) °C now, between \d\d and \d\d since ", str(drawn.get_attribute("aria-label")))
    read = seen.context.request.get("/api/v1/resort/readings?device=left").json()["temperature_celsius"]
    assert shown and named  # how warm it is depends on how long it has rested, so not which number
    assert {float(shown[1]), float(named[1])} <= {round(one) for one in read}
    assert left.locator("svg.chart .limit").first.text_content() == "limit: 65"


def test_it_fits_and_everybody_can_use_it(lab: Lab, browsers: Callable[..., Seen]) -> None:
    page = browsers("desk", "dark").log_in().open("/resort")
    page.locator(".dial .hotel").first.wait_for(state="attached")
    page.locator(".figure").first.wait_for()
    assert_usable(page, "resort")


def test_who_may_only_read_can_ask_for_nothing(lab: Lab, browsers: Callable[..., Seen]) -> None:
    page = browsers().log_in("read").open("/resort")
    left = _carousel(page, "left")
    hotel = left.get_by_role("button", name=re.compile("^Hotel A.*needs the scope operate"))
    hotel.wait_for()
    before = len(lab.daemon.client.jobs()["jobs"])
    hotel.click(force=True)
    for name in ("Home", "Move …", "Hold", "Speed …", "Connect", "Configure", "Disconnect", "Stop left"):
        assert left.get_by_role("button", name=name, exact=True).is_disabled(), name
    assert len(lab.daemon.client.jobs()["jobs"]) == before

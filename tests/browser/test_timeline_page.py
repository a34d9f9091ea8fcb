"""Timeline: a day of ten thousand attempts is drawn, zoomed, opened and told as a table, with its gaps and marks."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Daemon
from tests.browser import past_day
from tests.browser.conftest import OUTPUT, Lab, Seen, free_port, settings

JOBS = 9_800
LONG_MS = 100
ROUNDS = 4
LOOK = """() => {
    window.labdLong = [];
    const note = (entry) => window.labdLong.push(Math.round(entry.duration));
    new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({type: "longtask"});
}"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A daemon with a day behind it."""
    folder, port = Path(tempfile.mkdtemp(prefix="labd-")), free_port()
    lab = Lab(Daemon(folder, settings(port), test_wing=True), f"http://127.0.0.1:{port}")
    lab.daemon.state.mkdir(parents=True, exist_ok=True)
    past_day.write(lab.daemon.state / "labd.db", time.time(), JOBS)
    try:
        lab.daemon.start().ready()
        yield lab
    finally:
        lab.daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


def told(page: Any) -> str:
    """The line above the drawing, once it says how many there are."""
    line = page.locator(".head [role=status]")
    line.filter(has_text=re.compile(r"attempts in (?!.*looking)")).wait_for()
    return str(line.inner_text())


def attempts(page: Any) -> int:
    """How many of them are on screen."""
    return int(told(page).split(" attempts")[0].replace(",", ""))


def test_ten_thousand_attempts_are_drawn_without_a_long_task(lab: Lab, seen: Seen) -> None:
    page = seen.open("/queues")
    page.locator("main h1", has_text="Queues").wait_for()
    page.evaluate(LOOK)
    rounds = []
    for number in range(ROUNDS):
        page.evaluate("() => { window.labdLong.length = 0; }")
        page.evaluate("(span) => { location.hash = `/timeline?span=${span}`; }", 86_000 + number)
        page.get_by_role("button", name="Earlier").wait_for()
        assert attempts(page) > JOBS * 0.98
        for _ in range(3):
            page.get_by_role("button", name="Zoom in").click()
            page.wait_for_timeout(50)
        page.wait_for_timeout(400)
        rounds.append(page.evaluate("() => Math.max(0, ...window.labdLong)"))
        page.evaluate("() => { location.hash = '/queues'; }")
        page.locator("main h1", has_text="Queues").wait_for()
        if rounds[-1] <= LONG_MS:
            break
    # The best round: others have the machine's other work in them.
    assert min(rounds) <= LONG_MS, f"longest tasks of the rounds: {rounds} ms"


def test_it_is_zoomed_by_wheel_keys_and_buttons_and_a_click_opens_a_job(lab: Lab, seen: Seen) -> None:
    page = seen.open("/timeline?span=86000")
    whole = attempts(page)
    canvas = page.locator(".gantt canvas")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 80)
    for _ in range(4):
        page.mouse.wheel(0, -400)
    page.wait_for_function("() => !location.hash.includes('span=86000')")
    wheeled = attempts(page)
    assert 0 < wheeled < whole
    canvas.focus()
    page.keyboard.press("-")
    page.wait_for_function(
        "(before) => !document.querySelector('.head [role=status]').textContent.startsWith(before)", arg=f"{wheeled:,} "
    )
    assert attempts(page) > wheeled
    page.get_by_label("Only tasks with these words").fill("4321")
    page.locator(".head [role=status]", has_text=re.compile("^[01] attempts")).wait_for()
    job = lab.daemon.client.job(4321)
    page.evaluate(
        "(hash) => { location.hash = hash; }",
        f"/timeline?by=resource&task=4321&since={job['started_at']}&until={job['finished_at']}",
    )
    page.locator(".head [role=status]", has_text=re.compile("^1 attempts")).wait_for()
    box = canvas.bounding_box()
    lanes = page.locator(".gantt canvas").get_attribute("aria-label")
    assert "1 attempts" in lanes
    for lane in range(2, 6):  # below the marks: one or two devices, then the lane of the one job
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 26 + 30 * lane + 15)
        if "/jobs/" in page.url:
            break
    page.locator("main h1", has_text="Job 4321").wait_for()


def test_keys_go_from_bar_to_bar(lab: Lab, seen: Seen) -> None:
    page = seen.open("/timeline?span=86000")
    attempts(page)
    page.locator(".gantt canvas").focus()
    page.keyboard.press("n")
    first = page.locator(".gantt-tip").inner_text()
    page.keyboard.press("n")
    second = page.locator(".gantt-tip").inner_text()
    assert first.startswith("#")
    assert first != second
    page.keyboard.press("p")
    assert page.locator(".gantt-tip").inner_text() == first
    page.keyboard.press("Enter")
    page.locator("main h1", has_text=re.compile(r"^Job \d+$")).wait_for()


def test_the_table_says_all_that_is_drawn_gaps_and_marks_too(lab: Lab, seen: Seen) -> None:
    page = seen.open("/timeline?span=21000&as=table")
    shown = attempts(page)
    assert "labd away" in told(page)
    rows = int(page.locator(".vfoot").inner_text().split(" rows")[0].replace(",", ""))
    assert rows > shown
    page.get_by_label("Only tasks with these words").fill("no such task")
    table = page.get_by_role("table", name="Timeline as a table")
    table.get_by_text("no sign of labd after").first.wait_for()
    table.get_by_role("link", name="daemon.start").wait_for()
    table.evaluate("(body) => { body.scrollTop = body.scrollHeight; }")
    table.get_by_text("queue.paused").wait_for()
    table.get_by_role("link", name="resort.stop").wait_for()
    table.get_by_text("device.stop_latched").wait_for()


def test_what_begins_now_comes_by_itself(lab: Lab, seen: Seen) -> None:
    page = seen.open("/timeline?span=600&as=table")
    attempts(page)
    job = lab.submit("talk", lines=1)
    page.get_by_role("link", name=f"#{job}").wait_for()
    page.locator(f".vrow[data-id^='{job}/']", has_text="succeeded").wait_for()


@pytest.mark.parametrize(("size", "theme"), [("phone", "dark"), ("desk", "light"), ("wall", "dark")])
def test_it_fits_every_screen(lab: Lab, browsers: Any, size: str, theme: str) -> None:
    page = browsers(size, theme).log_in().open("/timeline?span=86000")
    attempts(page)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / f"timeline-{size}-{theme}.png")
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    colours = page.evaluate("""() => {
        const canvas = document.querySelector(".gantt canvas");
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let at = 0; at < data.length; at += 4) found.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
        return found.size;
    }""")
    assert colours > 20

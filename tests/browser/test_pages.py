"""Every page in both themes and three sizes: shown, not empty, not too wide, usable by everybody, kept as a picture."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.browser.conftest import OUTPUT, Lab, Seen, free_port, settings
from tests.browser.looks import FITS, faults
from tests.browser.pixels import Eye
from tests.fakes import axe_core

PAGES = {
    "bench": ("/", "Bench"),
    "jobs": ("/jobs", "Jobs"),
    "jobs-failed": ("/jobs?state=failed", "Jobs"),
    "job": ("/jobs/{talk}", "Job {talk}"),
    "job-asks": ("/jobs/{plate}", "Job {plate}"),
    "job-failed": ("/jobs/{broken}", "Job {broken}"),
    "tasks": ("/tasks", "Tasks"),
    "task": ("/tasks/resort.move_to_angle", "resort.move_to_angle"),
    "queues": ("/queues", "Queues"),
    "schedules": ("/schedules", "Schedules"),
    "audit": ("/audit", "Audit"),
    "access": ("/access", "Access"),
    "health": ("/health", "Health"),
    "timeline": ("/timeline", "Timeline"),
    "resort": ("/resort", "Resort"),
    "ot2": ("/ot2", "OT-2"),
    "inventory": ("/inventory", "Inventory"),
    "snapshots": ("/snapshots", "Snapshots"),
    "ingest": ("/ingest", "Ingest"),
    "ingestion": ("/ingest/readings", "readings"),
}
AWAY = toml("mqtt", broker="127.0.0.1", port=9, plaintext=True) + toml("mqtt.users", ada=["operate"])  # nobody is there


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A daemon with all five wings."""
    folder, port = Path(tempfile.mkdtemp(prefix="labd-")), free_port()
    lab = Lab(
        Daemon(folder, settings(port) + toml("ingest", simulated=True) + AWAY, test_wing=True),
        f"http://127.0.0.1:{port}",
    )
    try:
        lab.daemon.start().ready()
        yield lab
    finally:
        lab.daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


def _files(lab: Lab) -> int:
    """The number of a run of an ingestion, with a file that is loaded and one that is broken."""
    inbox = lab.daemon.folder / "inbox"
    inbox.mkdir()
    (inbox / "monday.jsonl").write_text("".join(json.dumps({"id": n, "celsius": n / 4}) + "\n" for n in range(40)))
    (inbox / "tuesday.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00cut short")
    lab.daemon.client.create_ingestion({
        "name": "readings", "source": {"url": inbox.as_uri(), "settle_s": 0}, "format": {"type": "jsonl"},
        "destination": {"table": "readings"},
    })  # fmt: skip
    return int(lab.daemon.client.run_ingestion("readings")["id"])


@pytest.fixture(scope="module")
def jobs(lab: Lab) -> dict[str, int]:
    """Something to show on every page."""
    client = lab.daemon.client
    loading = _files(lab)
    laid = client.simulate_snapshot("acme", 60)["snapshots"][0]["timestamp"]
    client.initialize_inventory({"red": 9000, "yellow": 500}, "Ada", True, "a test begins")
    made = {"talk": lab.submit("talk", lines=4), "plate": lab.submit("load_plate"), "broken": lab.submit("broken")}
    lab.daemon.ended(made["talk"])
    lab.daemon.ended(made["broken"])
    client.pause_queue("maintenance", "cleaning")
    client.add_schedule({"name": "morning", "task": "talk", "args": {"lines": 1}, "cron": "0 6 * * 1-5"})
    client.submit("resort.move_to_angle", {"degrees": 10}, delay_s=3600)
    eventually(lambda: client.snapshot("acme", laid)["state"] == "active", 30, "the snapshot serves")
    lab.daemon.ended(loading)
    return made


def _shown(page: Any, title: str) -> None:
    page.locator("main h1", has_text=re.compile(f"^{re.escape(title)}$")).wait_for()
    page.wait_for_function("() => !document.querySelector('main').textContent.includes('Looking …')")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("size", "theme"), [("desk", "light"), ("desk", "dark"), ("phone", "light"), ("wall", "dark")])
def test_every_page_fits_and_can_be_used(
    lab: Lab, browsers: Callable[..., Seen], jobs: dict[str, int], size: str, theme: str
) -> None:
    seen = browsers(size, theme).log_in()
    page = seen.open()
    with_axe = size == "desk"
    if with_axe:
        page.evaluate(axe_core.script())
    OUTPUT.mkdir(parents=True, exist_ok=True)
    found = []
    eye = Eye(seen.blank())
    for name, (path, title) in PAGES.items():
        page.evaluate("(path) => { location.hash = path; }", path.format(**jobs))
        _shown(page, title.format(**jobs))
        page.wait_for_function("() => document.querySelector('main').innerText.length > 80")
        page.wait_for_timeout(100)
        if size != "wall":  # whose pictures are four times as large, of the same page
            look = eye.look(page, page.screenshot(path=OUTPUT / f"{name}-{size}-{theme}.png"))
            found += [f"{name}: {fault}" for fault in look.faults()]
        fits = page.evaluate(FITS)
        if fits["page"] > 0 or fits["main"] > 0 or fits["wide"]:
            found.append(f"{name}: too wide: {fits}")
        stop = page.locator("#stop").bounding_box()
        if stop["y"] < 0 or stop["x"] + stop["width"] > page.viewport_size["width"]:
            found.append(f"{name}: STOP is off screen: {stop}")
        if with_axe:
            found += faults(page, name, () if theme == "light" else ("color-contrast",))
    assert not found, "\n".join(found)
    assert page.evaluate("document.documentElement.dataset.theme") == theme


def test_dialogs_can_be_used(lab: Lab, browsers: Callable[..., Seen]) -> None:
    page = browsers("desk", "dark").log_in().open("/schedules")
    page.evaluate(axe_core.script())
    found = []
    for name, button in (("schedule", "New schedule …"), ("token", "New token …"), ("palette", "Commands (Ctrl K)")):
        if name == "token":
            page.evaluate("() => { location.hash = '/access'; }")
        page.get_by_role("button", name=button).click()
        page.locator("dialog[open]").wait_for()
        page.screenshot(path=OUTPUT / f"dialog-{name}-desk-dark.png")
        found += faults(page, name)
        page.keyboard.press("Escape")
        page.locator("dialog").wait_for(state="detached")
    assert not found, "\n".join(found)


def test_a_connection_is_shown_with_its_state_and_since_when(lab: Lab, seen: Seen) -> None:
    page = seen.open()
    card = page.locator(".devices .card", has_text="MQTT")
    card.locator(".badge.bad", has_text="away").wait_for()
    told = card.inner_text()
    assert "127.0.0.1:9" in told
    assert lab.client.status()["mqtt"]["last_error"] in told
    assert "away for " in told and "unknown" not in told
    assert card.locator(".badge.ok").count() == 0


def test_every_page_of_the_menu_has_its_key(lab: Lab, seen: Seen) -> None:
    page = seen.open()
    titles = ("Bench", "Jobs", "Tasks", "Queues", "Schedules", "Audit", "Access", "Health")
    keys = dict(zip("bjkqsach", titles, strict=True))
    for key, title in keys.items():
        page.keyboard.press("g")
        page.keyboard.press(key)
        _shown(page, title)
    page.keyboard.press("?")
    told = page.inner_text("dialog")
    assert all(title in told for title in keys.values())
    assert "STOP" in told

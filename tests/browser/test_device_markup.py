"""Markup in what devices say: a robot over its own wire, and then every text of every answer on every page.

Why the second: a carousel can only say numbers, and which text of labd's is a device's word changes with each release;
a page that treats every text alike needs no list of them.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.browser.conftest import Lab, Seen, free_port, settings
from tests.browser.odd_robot import odd_robot
from tests.browser.test_markup import FOREIGN, bad

PROTOCOL = 'metadata = {"apiLevel": "2.15"}\n\n\ndef run(ctx):\n    ctx.load_labware("x", "1")\n    ctx.home()\n'
MARK = "<img src=x onerror=alert(99)>"
WORDS_OF_LABD = {"state", "type", "kind", "effect", "code", "status", "at"}  # what pages decide by
INSTANT = re.compile(r"^\d{4}-\d\d-\d\dT")
PAGES = ["/", "/jobs", "/jobs/{talk}", "/jobs/{broken}", "/jobs/{asks}", "/tasks", "/tasks/talk", "/queues", "/audit"]
PAGES += ["/schedules", "/access", "/health", "/timeline?as=table", "/resort", "/ot2", "/inventory", "/snapshots"]
PAGES += ["/ingest", "/ingest/odd"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A daemon whose robot is odd; everything else is simulated."""
    folder, port = Path(tempfile.mkdtemp(prefix="labd-")), free_port()
    with odd_robot(bad, fail_at=2) as url:
        text = settings(port).replace(toml("ot2", driver="simulated", preflight="robot"), "")
        text = text.replace(toml("ot2.simulated", time_scale=20.0), "")
        text += toml("ot2", driver="http", url=url, preflight="robot", poll_s=0.05, look_s=0.2)
        text += toml("ingest", simulated=True)
        lab = Lab(Daemon(folder, text, test_wing=True), f"http://127.0.0.1:{port}")
        try:
            lab.daemon.start()
            yield lab
        finally:
            lab.daemon.end()
            shutil.rmtree(folder, ignore_errors=True)


def shows(page: Any, number: int) -> bool:
    """Whether the page comes to show this text as text."""
    wanted = f"onerror=alert({number})"
    page.wait_for_function("(mark) => document.querySelector('main').textContent.includes(mark)", arg=wanted)
    return True


def test_a_robot_says_what_it_likes_and_it_is_text(lab: Lab, seen: Seen) -> None:
    client = lab.client
    eventually(lambda: client.ot2_status()["robot"], 20, "the robot")
    path = lab.daemon.folder / "p.py"
    path.write_text(PROTOCOL)
    failed = eventually(lambda: lab.daemon.ended(client.ot2_run(path)["id"]), 30, "the failed run")
    assert failed["state"] == "failed" and "onerror=alert(46)" in failed["error"]["message"]
    page = seen.open("/ot2")
    dialogs: list[str] = []
    page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
    assert all(shows(page, number) for number in (41, 42, 43, 44))
    assert page.evaluate(FOREIGN) == []
    for place in ("/", "/jobs", f"/jobs/{failed['id']}", "/health"):
        page.evaluate("(path) => { location.hash = path; }", place)
        assert shows(page, 46), place
        assert page.evaluate(FOREIGN) == [], place
    assert not dialogs


def marked(value: Any, key: str = "", path: str = "") -> Any:
    """An answer whose every text, and every name that is free, has markup behind it."""
    if isinstance(value, dict):
        if key in ("args", "result", "hotels", "details"):
            value = {f"{name}{MARK}": inner for name, inner in value.items()}
        return {name: marked(inner, name, f"{path}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner, key, f"{path}[]") for inner in value]
    if not isinstance(value, str) or key in WORDS_OF_LABD or INSTANT.match(value) or path == ".wings[].name":
        return value
    return value + MARK


def test_every_text_of_every_answer_is_text_on_every_page(lab: Lab, seen: Seen) -> None:
    jobs = {name: lab.submit(name) for name in ("talk", "broken")}
    jobs["asks"] = lab.submit("wonder", question="Well?", choice="yes")
    eventually(lambda: lab.client.job(jobs["asks"])["state"] == "waiting", 20, "the question")
    lab.client.initialize_inventory({"red": 9000}, "Ada", True, "a test begins")
    lab.client.simulate_snapshot("acme", 60)
    source = {"url": lab.daemon.folder.as_uri(), "pattern": "*.none"}
    lab.client.create_ingestion({
        "name": "odd", "source": source, "format": {"type": "jsonl"}, "destination": {"table": "odd"},
    })  # fmt: skip
    lab.client.add_schedule({"name": "yearly", "task": "talk", "cron": "0 0 1 1 *"})

    def answer(route: Any) -> None:
        if "/events" in route.request.url or route.request.method != "GET":
            route.continue_()
            return
        found = route.fetch(url=route.request.url.replace(quote(MARK), "").replace(quote(MARK).replace("%20", "+"), ""))
        is_json = "json" in found.headers.get("content-type", "")
        route.fulfill(response=found, body=json.dumps(marked(found.json())) if is_json and found.ok else found.body())

    page = seen.open()
    dialogs: list[str] = []
    page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
    seen.context.route("**/api/v1/**", answer)
    page.reload()
    wrong = []
    for place in PAGES:
        page.evaluate("(path) => { location.hash = path; }", place.format(**jobs))
        try:
            shows(page, 99)
        except Exception:
            wrong.append(f"{place}: no text of an answer is shown: {page.inner_text('main')[:200]}")
        page.wait_for_function("() => !document.querySelector('main').textContent.includes('Looking …')")
        wrong += [f"{place}: {node}" for node in page.evaluate(FOREIGN)]
    seen.context.unroute("**/api/v1/**")
    assert not wrong, "\n".join(wrong)
    assert not dialogs

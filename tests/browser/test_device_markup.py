"""Markup in what devices say: a robot over its own wire, and then every text of every answer on every page.

Why the second: a carousel can only say numbers, and which text of labd's is a device's word changes with each release;
a page that treats every text alike needs no list of them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.browser.conftest import Lab, Seen, free_port, settings
from tests.browser.odd_robot import odd_robot
from tests.browser.test_markup import FOREIGN, bad

PROTOCOL = 'metadata = {"apiLevel": "2.15"}\n\n\ndef run(ctx):\n    ctx.load_labware("x", "1")\n    ctx.home()\n'
MARK = "<img src=x onerror=alert(99)>"
WORDS_OF_LABD = ["state", "type", "kind", "effect", "code", "status", "at"]  # what pages decide by
ALTERED = """
const mark = "%s", kept = new Set(%s), free = new Set(["args", "result", "hotels", "details"]), real = window.fetch;
function marked(value, key, path) {
    if (Array.isArray(value)) return value.map((inner) => marked(inner, key, `${path}[]`));
    const pair = ([name, inner]) => [free.has(key) ? name + mark : name, marked(inner, name, `${path}.${name}`)];
    if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(pair));
    const isOwn = kept.has(key) || /^\\d{4}-\\d\\d-\\d\\dT/.test(value) || path === ".wings[].name";
    return typeof value === "string" && !isOwn ? value + mark : value;
}
window.fetch = async (url, options) => {
    const asked = decodeURIComponent(String(url).replaceAll("+", " ")).replaceAll(mark, "");
    const answer = await real(encodeURI(asked), options);
    if (!answer.ok || !/json/.test(answer.headers.get("content-type"))) return answer;
    return new Response(JSON.stringify(marked(await answer.json(), "", "")), {status: answer.status});
};
"""
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

    seen.context.add_init_script(ALTERED % (MARK, json.dumps(WORDS_OF_LABD)))
    page = seen.open()
    dialogs: list[str] = []
    page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
    wrong = []
    for place in PAGES:
        page.evaluate("(path) => { location.hash = path; }", place.format(**jobs))
        try:
            shows(page, 99)
        except Exception:
            wrong.append(f"{place}: no text of an answer is shown: {page.inner_text('main')[:200]}")
        page.wait_for_function("() => !document.querySelector('main').textContent.includes('Looking …')")
        wrong += [f"{place}: {node}" for node in page.evaluate(FOREIGN)]
    assert not wrong, "\n".join(wrong)
    assert not dialogs

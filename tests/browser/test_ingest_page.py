"""Ingest: an ingestion is made by its form, runs, tells what is bad and what it asks; refresh and delete ask twice."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.browser.conftest import OUTPUT, Lab, Seen, free_port, settings

pytest.importorskip("pyiceberg")
MARKUP = "<img src=x onerror=alert(1)>"
RUN_MS = 60_000


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A daemon that loads files, and a folder where they arrive."""
    folder, port = Path(tempfile.mkdtemp(prefix="labd-")), free_port()
    config = settings(port) + toml("ingest", task_retry_delay_seconds=0)
    lab = Lab(Daemon(folder, config, test_wing=True), f"http://127.0.0.1:{port}")
    (folder / "inbox").mkdir()
    try:
        lab.daemon.start().ready()
        yield lab
    finally:
        lab.daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


def put(lab: Lab, name: str, *rows: Any) -> None:
    """A file of JSON lines, or of what is given as text."""
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    (lab.daemon.folder / "inbox" / name).write_text(text)


def definition(lab: Lab, name: str, **more: Any) -> dict[str, Any]:
    """As small as one may be."""
    source = {"url": (lab.daemon.folder / "inbox").as_uri(), "settle_s": 0, "pattern": f"{name}-*"}
    return {"name": name, "source": source, "format": {"type": "jsonl"}, "destination": {"table": name}, **more}


def run(page: Any) -> None:
    """Press Run and wait until the run has ended."""
    before = page.get_by_role("region", name="Runs", exact=True).first.locator("tbody tr").count()
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function(
        """(before) => {
            const rows = document.querySelectorAll("section[aria-label=Runs] tbody tr");
            return rows.length > before && !rows[0].textContent.includes("running");
        }""",
        arg=before,
        timeout=RUN_MS,
    )


def test_one_is_made_by_its_form_runs_and_tells_what_is_bad(lab: Lab, seen: Seen) -> None:
    seen.expected = ("400",)
    page = seen.open("/ingest")
    page.get_by_text("Nothing is loaded yet").wait_for()
    page.get_by_role("button", name="New ingestion").click()
    form = page.get_by_role("dialog")
    form.get_by_label("name *").fill("sales")
    form.get_by_label("description").fill(MARKUP)
    form.get_by_label("url *").fill((lab.daemon.folder / "inbox").as_uri())
    form.get_by_label("pattern").fill("sales-*")
    form.get_by_label("settle s").fill("0")
    form.get_by_label("type *").select_option("jsonl")
    form.get_by_role("button", name="Make it").click()
    form.get_by_text("this must fit").wait_for()
    form.get_by_label("table *").fill("sales")
    assert "labctl ingest create sales" in form.inner_text()
    assert "--pattern 'sales-*' --settle 0 --format jsonl --table default.sales" in form.inner_text()
    form.get_by_role("button", name="Make it").click()
    page.locator("main h1", has_text="sales").wait_for()
    assert MARKUP in page.inner_text("main .head")
    put(lab, "sales-1.jsonl", {"id": 1, "amount": 2.5, "note": MARKUP}, {"id": 2, "amount": 3.5})
    (lab.daemon.folder / "inbox" / f"sales-{MARKUP}.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00torn")
    run(page)
    page.get_by_role("img", name="Rows of the last 1 runs: 2 in all").wait_for()
    page.get_by_role("button", name="quarantined 1", exact=True).click()
    files = page.get_by_role("region", name="Files").first
    files.get_by_text("truncated").wait_for()
    assert MARKUP in files.inner_text()
    assert files.locator("tbody tr").count() == 1
    assert page.locator("main img").count() == 0
    retry = files.get_by_role("button", name="Retry", exact=True)
    assert retry.get_attribute("data-labctl").startswith("labctl ingest retry sales 'sales-<img")
    retry.click()
    page.get_by_text("1 files are taken again").first.wait_for()
    page.get_by_role("button", name="Run 1", exact=True).click()
    page.get_by_role("dialog").get_by_text("truncated").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("dialog").get_by_role("cell", name=MARKUP).wait_for(timeout=RUN_MS)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Pause").click()
    page.locator(".head .badge", has_text="paused").wait_for()


def test_a_schema_change_is_answered_where_it_is_shown(lab: Lab, seen: Seen) -> None:
    lab.daemon.client.create_ingestion(definition(lab, "orders", schema={"evolution": "approve"}))
    put(lab, "orders-1.jsonl", {"id": 1})
    page = seen.open("/ingest/orders")
    page.get_by_text("There is no table yet").wait_for()
    run(page)
    put(lab, "orders-2.jsonl", {"id": 2, "customer": "ada"})
    page.get_by_role("button", name="Run", exact=True).click()
    asked = page.get_by_role("region", name="A schema change waits for you")
    asked.get_by_text("brought by orders-2.jsonl").wait_for(timeout=RUN_MS)
    assert page.locator(".head .badge", has_text="succeeded").count() == 0
    asked.get_by_role("button", name="approve").click()
    schema = page.get_by_role("region", name="Schema", exact=True)
    schema.get_by_text("v2").wait_for(timeout=RUN_MS)
    schema.get_by_text("brought by orders-2.jsonl").first.wait_for()
    page.get_by_role("img", name="Rows of the last 2 runs: 2 in all").wait_for(timeout=RUN_MS)


def test_refresh_and_delete_are_told_first_and_asked_twice(lab: Lab, seen: Seen) -> None:
    lab.daemon.client.create_ingestion(definition(lab, "stock"))
    put(lab, "stock-1.jsonl", {"id": 1})
    page = seen.open("/ingest/stock")
    page.get_by_text("There is no table yet").wait_for()
    run(page)
    page.get_by_role("button", name="Backfill").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Whose path fits").fill("stock-*")
    dialog.get_by_role("button", name="Which files?").click()
    dialog.get_by_text("1 of 1 files fit; 1 of them are loaded already, 0 would be loaded").wait_for(timeout=RUN_MS)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Refresh").click()
    assert dialog.get_by_role("button", name="Drop the table").count() == 0
    dialog.get_by_role("button", name="What would it do?").click()
    dialog.get_by_text("drop table").wait_for(timeout=RUN_MS)
    assert len(lab.daemon.client.ingestion_runs("stock")["runs"]) == 1
    dialog.get_by_role("button", name="Drop the table").click()
    dialog.get_by_role("button", name="sure?").click()
    page.get_by_role("img", name="Rows of the last 2 runs").wait_for(timeout=RUN_MS)
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_label("drop its table as well").check()
    last = dialog.get_by_role("button", name="Delete")
    assert last.is_disabled()
    dialog.get_by_label("Type stock to drop").fill("stock")
    last.click()
    dialog.get_by_role("button", name="sure?").click()
    page.locator("main h1", has_text="Ingest").wait_for()
    assert "stock" not in [one["name"] for one in lab.daemon.client.ingestions()["ingestions"]]


@pytest.mark.parametrize(("size", "theme"), [("phone", "dark"), ("wall", "light")])
def test_it_fits_every_screen(lab: Lab, browsers: Any, size: str, theme: str) -> None:
    if "fits" not in [one["name"] for one in lab.daemon.client.ingestions()["ingestions"]]:
        lab.daemon.client.create_ingestion(definition(lab, "fits", schedule={"interval_s": 3600}))
    page = browsers(size, theme).log_in().open("/ingest")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for path, words in (("/ingest", "scheduled"), ("/ingest/fits", "It has not run yet")):
        page.evaluate("(path) => { location.hash = path; }", path)
        page.locator("main").get_by_text(words).first.wait_for()
        page.screenshot(path=OUTPUT / f"ingest{'-one' if 'fits' in path else ''}-{size}-{theme}.png")
        wide = "() => [document.documentElement.scrollWidth - innerWidth, main.scrollWidth - main.clientWidth]"
        assert max(page.evaluate(wide)) <= 0

"""The dashboard in a real Chromium: first paint, a list of a million jobs, 200 changes a second, memory.

Why the jobs are put into the file of a daemon that does not run: a million submissions are another bench (`load`); here
only the reading counts.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

from tests.bench.daemon import Daemon
from tests.bench.raw_http import Caller
from tests.bench.report import Report, arguments, say, spread, work_folder
from tests.browser.conftest import chromium_path, free_port

WATCH_LONG_TASKS = """
window.labdLong = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.labdLong.push(entry.duration)))
    .observe({type: "longtask", buffered: true});
"""
WEB_BYTES = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
    .filter((entry) => !entry.name.includes("/api/")).reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""
ROWS = "() => document.querySelectorAll('.vrow[data-id]').length > 12 && !document.querySelector('.vrow.quiet')"
JUMP = "(part) => { const body = document.querySelector('.vbody'); body.scrollTop = body.scrollHeight * part; }"
FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
HEAP = "() => performance.memory.usedJSHeapSize"


def fill(database: Path, count: int) -> None:
    """So many ended jobs like the one that is there, one in 5,000 of them failed."""
    with sqlite3.connect(database) as store:
        columns = [row[1] for row in store.execute("PRAGMA table_info(jobs)")]
        model = dict(zip(columns, store.execute("SELECT * FROM jobs ORDER BY id LIMIT 1").fetchone(), strict=True))
        first = store.execute("SELECT max(id) + 1 FROM jobs").fetchone()[0]
        now = time.time()

        def row(number: int) -> tuple[Any, ...]:
            at = now - 2.0 * (count - number)
            more = {
                "id": number,
                "seq": number + 1000,
                "args": json.dumps({"n": number}),
                "created_at": at,
                "run_at": at,
            }
            more |= {"started_at": at + 0.01, "finished_at": at + 0.5}
            if number % 5000 == 0:
                more |= {"state": "failed", "error": json.dumps({"code": "odd", "message": f"no answer {number}"})}
            return tuple({**model, **more}[name] for name in columns)

        marks = ", ".join("?" * len(columns))
        store.executemany(f"INSERT INTO jobs VALUES ({marks})", (row(number) for number in range(first, count + 1)))
        store.execute("INSERT INTO events VALUES (?, ?, 'daemon.draining', NULL, '{}')", (count + 2000, now))
    store.close()


def took_ms(page: Any, act: str, argument: Any, until: str) -> float:
    """From an act in the page to a claim about it, by the page's own clock."""
    page.evaluate(f"(argument) => {{ window.labdBegan = performance.now(); ({act})(argument); }}", argument)
    page.wait_for_function(
        f"() => ({until})() && (window.labdTook = performance.now() - window.labdBegan)", polling="raf"
    )
    return float(page.evaluate("() => window.labdTook"))


def burst(page: Any, daemon: Daemon, seconds: float, per_second: int) -> dict[str, float]:
    """Jobs that are submitted, start and end, three changes each, while the page shows them."""
    page.evaluate("() => { window.labdLong = []; }")
    began, sent = time.monotonic(), 0
    with Caller(daemon.socket) as caller:
        while (past := time.monotonic() - began) < seconds:
            caller.post("/api/v1/jobs", [{"task": "test.noop"}] * 14)
            sent += 14
            page.wait_for_timeout(max(1.0, (sent * 3 / per_second - past) * 1000))
    page.wait_for_timeout(1500)
    long = page.evaluate("() => window.labdLong")
    return {"changes_per_s": 3 * sent / past, "long_tasks": len(long), "longest_ms": max(long, default=0.0)}


def look(browser: Any, origin: str, token: str, daemon: Daemon, count: int, short: bool) -> dict[str, Any]:
    """All figures of one browser."""
    context = browser.new_context(viewport={"width": 1360, "height": 860}, base_url=origin)
    context.add_init_script(WATCH_LONG_TASKS)
    context.request.post("/api/v1/session", data={"token": token}, headers={"Origin": origin})
    page = context.new_page()
    paints, opened, jumped = [], [], []
    page.goto("/")
    page.locator(".figure").first.wait_for()
    web_bytes = page.evaluate(WEB_BYTES)
    for _ in range(5 if short else 15):
        page.goto("/")
        page.locator(".figure").first.wait_for()
        paints.append(page.evaluate(FIRST_PAINT))
    goto = "(path) => { location.hash = path; }"
    for _ in range(3 if short else 9):
        took_ms(page, goto, "/queues", "() => document.querySelector('main h1')?.textContent === 'Queues'")
        opened.append(took_ms(page, goto, "/jobs", ROWS))
        for part in (0.5, 0.1, 0.9):
            page.wait_for_timeout(50)
            jumped.append(took_ms(page, JUMP, part, ROWS))
    found = "() => document.querySelector('.vrow[data-id=\"5000\"]') && document.querySelector('.vfoot').textContent"
    search_ms = took_ms(page, goto, "/jobs?text=no answer 5000", found)
    bursts = {}
    for name, path in (("list", "/jobs"), ("bench", "/")):
        page.evaluate(goto, path)
        page.wait_for_timeout(800)
        bursts[name] = burst(page, daemon, 5.0 if short else 30.0, 210)
    page.evaluate(goto, "/jobs")
    heaps = []
    for _ in range(3 if short else 6):
        burst(page, daemon, 3.0 if short else 20.0, 600)
        page.request_gc()
        heaps.append(page.evaluate(HEAP) / 1e6)
    context.close()
    return {
        "jobs": count, "web_bytes": web_bytes, "first_paint_ms": statistics.median(paints),
        "first_paint_spread": spread(paints), "list_opens_ms": statistics.median(opened),
        "list_opens_all_ms": opened, "jump_ms": statistics.median(jumped), "jump_most_ms": max(jumped),
        "search_ms": search_ms, "burst": bursts, "heap_mb": heaps,
    }  # fmt: skip


def main() -> None:
    """Print the report."""
    from playwright.sync_api import sync_playwright

    given = arguments("dashboard")
    count = 100_000 if given.short else 1_000_000
    report = Report("dashboard", given.short)
    port = free_port()
    settings = f'[api]\nlisten = "127.0.0.1:{port}"\n[engine]\nretention_jobs = {4 * count}\n'
    with work_folder(given.folder) as folder:
        daemon = Daemon(folder, settings)
        with daemon, Caller(daemon.socket) as caller:
            token = caller.post("/api/v1/tokens", {"name": "bench", "scopes": ["admin"]})["token"]
            job = caller.post("/api/v1/jobs", {"task": "test.noop"})["id"]
            caller.get(f"/api/v1/jobs/{job}?wait=10")
        fill(daemon.database, count)
        say(f"{count} jobs")
        with daemon, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium_path() or None, args=["--no-sandbox", "--enable-precise-memory-info"]
            )
            found = look(browser, f"http://127.0.0.1:{port}", token, daemon, count, given.short)
            browser.close()
    report.figures |= found
    report.goal("first_paint_ms", found["first_paint_ms"], at_most=300.0)
    report.goal("web_bytes", found["web_bytes"], at_most=250_000)
    report.goal("list_opens_ms", found["list_opens_ms"], at_most=500.0)
    for name, one in found["burst"].items():
        report.goal(f"{name}_changes_per_s", one["changes_per_s"], at_least=200.0)
        report.goal(f"{name}_longest_task_ms", one["longest_ms"], at_most=100.0)
    report.ratios["heap_last_to_first"] = found["heap_mb"][-1] / found["heap_mb"][0]
    report.goal("heap_last_to_first", report.ratios["heap_last_to_first"], at_most=1.3)
    report.print()


if __name__ == "__main__":
    main()

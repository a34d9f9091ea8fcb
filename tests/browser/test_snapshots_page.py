"""The page Snapshots over the embedded store: versions load, are held, serve, and go back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.waiting import eventually
from tests.browser.conftest import Lab, Seen
from tests.browser.looks import assert_usable


def _lay(lab: Lab, customer: str, rows: int) -> str:
    """The timestamp of a new made-up snapshot."""
    laid = lab.daemon.client.simulate_snapshot(customer, rows)
    return str(laid["snapshots"][0]["timestamp"])


def _reached(lab: Lab, customer: str, timestamp: str, state: str) -> None:
    eventually(
        lambda: lab.daemon.client.snapshot(customer, timestamp)["state"] == state, 30, f"{customer}/{timestamp} {state}"
    )


def _card(page: Any, customer: str) -> Any:
    return page.get_by_role("region", name=f"Customer {customer}", exact=True)


def _version(page: Any, customer: str, timestamp: str) -> Any:
    return _card(page, customer).locator(".version", has=page.locator("strong", has_text=timestamp))


@pytest.fixture(scope="module")
def served(lab: Lab) -> str:
    """A version that serves customer acme."""
    timestamp = _lay(lab, "acme", 300)
    _reached(lab, "acme", timestamp, "active")
    return timestamp


def test_a_load_is_seen_until_it_serves(lab: Lab, seen: Seen, served: str) -> None:
    page = seen.open("/snapshots")
    _version(page, "acme", served).get_by_text("▲ acme points here").wait_for()
    lab.daemon.client.pause_queue("standard")  # a small load may be over before a page has asked
    newer = _lay(lab, "acme", 330)
    box = _version(page, "acme", newer)
    box.locator(".going").first.wait_for()
    lab.daemon.client.resume_queue("standard")
    box.get_by_text("▲ acme points here").wait_for(timeout=30_000)
    assert "nodes +3" in box.inner_text() and "(+10.0 %)" in box.inner_text()
    _version(page, "acme", served).get_by_text("◆ served before, the way back").wait_for()
    _card(page, "acme").get_by_role("button", name="Roll back …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("a wrong colour")
    assert "labctl snapshot rollback acme --reason 'a wrong colour' --no-wait" in dialog.inner_text()
    dialog.get_by_role("button", name="Roll back").click()
    _version(page, "acme", served).get_by_text("▲ acme points here").wait_for(timeout=30_000)
    switch = box.get_by_role("button", name="Switch to it")
    switch.click()
    box.get_by_role("button", name="Switch to it: sure?").click()
    box.get_by_text("▲ acme points here").wait_for(timeout=30_000)


def test_a_held_version_is_approved_or_rejected_with_a_reason(lab: Lab, seen: Seen) -> None:
    _reached(lab, "beta", _lay(lab, "beta", 300), "active")
    page = seen.open("/snapshots")
    for rows, verb in ((40, "Reject"), (900, "Approve")):
        held = _lay(lab, "beta", rows)
        box = _version(page, "beta", held)
        box.get_by_text("held", exact=True).wait_for(timeout=30_000)
        assert "in the active version" in box.inner_text()
        box.get_by_role("button", name=f"{verb} …").click()
        dialog = page.get_by_role("dialog", name=f"{verb} beta/{held}")
        dialog.get_by_role("textbox").fill("asked <b>Cleo</b>")
        dialog.get_by_role("button", name=verb).click()
        assert f"labctl snapshot {verb.lower()} beta {held} --reason" in page.inner_text("#line code")
        if verb == "Approve":
            box.get_by_text("▲ beta points here").wait_for(timeout=30_000)
            assert "asked <b>Cleo</b>" in box.inner_text()
        else:
            box.get_by_text("rejected", exact=True).or_(box.get_by_text("dropped", exact=True)).wait_for()
            assert lab.daemon.client.snapshot("beta", held)["state"] in ("rejected", "dropped")


def test_a_version_is_pinned_and_a_cleanup_is_told_before_it_is_done(lab: Lab, seen: Seen, served: str) -> None:
    page = seen.open("/snapshots")
    box = _version(page, "acme", served)
    box.get_by_role("button", name="Pin", exact=True).click()
    box.get_by_text("pinned", exact=True).wait_for()
    assert lab.daemon.client.snapshot("acme", served)["pinned"]
    page.get_by_role("button", name="Cleanup …").click()
    plan = page.get_by_role("dialog", name="Cleanup")
    plan.get_by_text(f"acme/{served}").wait_for()
    assert "alias acme points at it" in plan.inner_text()
    page.keyboard.press("Escape")
    box.get_by_role("button", name="Unpin").click()
    box.get_by_role("button", name="Pin", exact=True).wait_for()


def test_the_store_tells_what_it_knows_and_no_more(lab: Lab, seen: Seen, served: str) -> None:
    odd = Path(lab.daemon.client.snapshot_health()["base_path"]) / "<b>odd<b>"
    odd.mkdir()
    try:
        page = seen.open("/snapshots")
        page.get_by_role("button", name="Scan").click()
        store = page.get_by_role("region", name="Store")
        store.get_by_text("<b>odd<b>").first.wait_for()
        assert "Heap\nnot told" in store.inner_text()  # the embedded store has no heap of its own
        assert "of 50" in store.inner_text()
        assert page.locator("main b b").count() == 0
    finally:
        odd.rmdir()


def test_a_store_that_is_away_leaves_nothing_green(lab: Lab, seen: Seen, served: str) -> None:
    health = lab.daemon.client.snapshot_health()
    away = {"reachable": False, "ok": False, "problem": "connection refused", "waits_for": ["the heap is 91 % full"]}
    away |= {"heap_percent": 91.0, "databases": None}
    seen.context.route("**/api/v1/snapshots/health", lambda route: route.fulfill(json={**health, **away}))
    page = seen.open("/snapshots")
    store = page.get_by_role("region", name="Store")
    store.get_by_text("the heap is 91 % full").wait_for()
    meter = store.get_by_role("meter", name="Heap: 91 %, loads wait from 85 %")
    assert meter.get_attribute("aria-valuenow") == "91"
    assert "Databases\nnot told" in store.inner_text()
    _version(page, "acme", served).wait_for()
    _card(page, "acme").get_by_text("as last known; the store does not answer").wait_for()
    assert page.locator("main .badge.ok, main .version.serves").count() == 0


def test_it_fits_and_everybody_can_use_it(lab: Lab, served: str, browsers: Callable[..., Seen]) -> None:
    page = browsers("desk", "dark").log_in().open("/snapshots")
    _card(page, "acme").wait_for()
    page.get_by_role("region", name="Store").wait_for()
    assert_usable(page, "snapshots")

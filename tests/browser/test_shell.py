"""The frame: login and scopes, live and stale, palette and keys, themes, what the daemon serves."""

from __future__ import annotations

import gzip
import re
import signal
from collections.abc import Callable

from tests.acceptance.processes import ROOT
from tests.browser.conftest import Lab, Seen

WEB = ROOT / "labd" / "web"
SENT_AT_MOST = 150_000  # all files, packed as they are sent to every browser
RAW_AT_MOST = 400_000  # so that what is not sent does not grow unseen


def test_a_token_opens_the_dashboard_and_is_not_kept(lab: Lab, browsers: Callable[..., Seen]) -> None:
    seen = browsers()
    seen.expected = ("401",)
    page = seen.open("/queues")
    assert page.locator("#nav a").count() == 0
    page.get_by_label("Token").fill("labd_wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("the token is unknown, expired or revoked").wait_for()
    page.get_by_label("Token").fill(lab.token("read"))
    page.get_by_role("button", name="Log in").click()
    page.locator("main h1", has_text="Queues").wait_for()
    kept = page.evaluate("() => JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie")
    assert lab.token("read") not in kept
    (cookie,) = [one for one in seen.context.cookies() if one["name"] == "labd_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.get_by_role("button", name="Pause …").first.is_disabled()
    page.evaluate("() => { location.hash = '/access'; }")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Token").wait_for()


def test_a_token_that_is_revoked_ends_the_session(lab: Lab, browsers: Callable[..., Seen]) -> None:
    made = lab.daemon.client.create_token("short", ["read"])
    lab.tokens["short"] = made["token"]
    seen = browsers().log_in("short")
    seen.expected = ("401",)
    page = seen.open()
    page.locator("#link.live").wait_for()
    lab.daemon.client.revoke_token(made["id"])
    page.evaluate("() => { location.hash = '/schedules'; }")
    page.get_by_label("Token").wait_for()


def test_the_palette_finds_pages_tasks_and_jobs(lab: Lab, seen: Seen) -> None:
    job = lab.submit("talk", lines=1)
    page = seen.open()
    page.keyboard.press("Control+k")
    page.keyboard.type(str(job))
    page.keyboard.press("Enter")
    page.locator("main h1", has_text=f"Job {job}").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("move angle")
    page.locator("dialog li", has_text="Run resort.move_to_angle").wait_for()
    page.keyboard.press("Enter")
    page.locator("main h1", has_text="resort.move_to_angle").wait_for()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")


def test_the_theme_is_the_systems_until_somebody_chooses(lab: Lab, browsers: Callable[..., Seen]) -> None:
    page = browsers("desk", "dark").log_in().open()
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor || ''")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Light colours").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.reload()
    page.locator("#nav a").first.wait_for()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert dark is not None


def test_an_action_shows_its_command(lab: Lab, seen: Seen) -> None:
    page = seen.open("/queues")
    row = page.get_by_role("row", name=re.compile("^low-priority"))
    row.get_by_role("button", name="Pause …").click()
    page.get_by_label("Why, shown to everybody").fill("it's wet")
    line = "labctl queue pause low-priority --reason 'it'\\''s wet'"
    assert line in page.inner_text("dialog")
    page.get_by_role("button", name="Pause", exact=True).click()
    row.get_by_text("paused by token:browser-admin").wait_for()
    assert line in page.inner_text("#line")
    resume = row.get_by_role("button", name="Resume")
    resume.hover()
    assert page.inner_text("#line code") == "labctl queue resume low-priority"
    resume.click()
    row.get_by_text("open", exact=True).wait_for()
    queues = {queue["name"]: queue for queue in lab.daemon.client.queues()}
    assert not queues["low-priority"]["paused"]


def test_silence_is_told_and_nothing_stays_green(lab: Lab, seen: Seen) -> None:
    page = seen.open()
    page.locator("#link.live").wait_for()
    page.locator(".devices .badge.ok").first.wait_for()
    green = page.locator(".devices .badge.ok").first.evaluate("(node) => getComputedStyle(node).color")
    page.clock.install()
    lab.daemon.send(signal.SIGSTOP)
    try:
        page.clock.run_for(14_000)
        page.locator("#link.late", has_text="last heard").wait_for()
        page.get_by_text("what is shown may be old").wait_for()
        assert page.locator(".devices .badge.ok").first.evaluate("(node) => getComputedStyle(node).color") != green
    finally:
        lab.daemon.send(signal.SIGCONT)
    page.clock.run_for(5_000)
    page.locator("#link.live").wait_for()
    page.locator("#banner-lost").wait_for(state="detached")


def test_the_dashboard_is_small() -> None:
    files = [path for path in WEB.rglob("*") if path.is_file()]
    raw = {path.relative_to(WEB).as_posix(): path.stat().st_size for path in files}
    sent = sum(len(gzip.compress(path.read_bytes(), 9)) for path in files)
    print(f"the dashboard: {len(files)} files, {sent} bytes sent, {sum(raw.values())} unpacked")
    largest = sorted(raw.items(), key=lambda one: -one[1])[:8]
    assert sent < SENT_AT_MOST, f"{sent} bytes are sent, at most {SENT_AT_MOST}; {largest}"
    assert sum(raw.values()) < RAW_AT_MOST, f"{sum(raw.values())} bytes unpacked, at most {RAW_AT_MOST}; {largest}"


def test_no_markup_is_built_out_of_text() -> None:
    files = [path for path in WEB.rglob("*") if path.is_file()]
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|"
        r"new Function|setAttribute\(\"style|https?://(?!www\.w3\.org)"
    )
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not forbidden.search(line), f"{path.relative_to(ROOT)}:{number}: {line}"


def test_pages_are_found_by_their_files(seen: Seen) -> None:
    page = seen.open()
    names = page.locator("meta[name=labd-pages]").get_attribute("content").split()
    assert names == sorted(path.stem for path in (WEB / "pages").glob("*.js"))

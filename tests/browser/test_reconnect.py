"""A daemon that ends, dies or is served anew under an open page."""

from __future__ import annotations

from tests.browser.conftest import Lab, Seen


def test_a_page_comes_back_after_restarts_and_misses_nothing(own_lab: Lab, own_seen: Seen) -> None:
    lab, seen = own_lab, own_seen
    seen.expected = ("ERR_CONNECTION", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")
    lab.submit("test.noop")
    page = seen.open("/jobs")
    page.locator(".vrow").first.wait_for()
    for how in ("end", "kill"):
        page.locator("#link.live").wait_for()
        getattr(lab.daemon, how)()
        page.locator("#link.lost").wait_for()
        page.get_by_text("Not live.").wait_for()
        lab.daemon.start()
        job = lab.submit("test.noop")
        page.locator("#link.live").wait_for()
        page.locator(f".vrow[data-id='{job}']", has_text="succeeded").wait_for()
        page.locator("#banner-lost").wait_for(state="detached")
        assert page.locator("main h1").inner_text() == "Jobs"  # and no login: the session is still known
    page.click("#stop")
    page.locator("#stop-banner [data-wing=resort][data-state=confirmed]").wait_for()
    assert lab.daemon.resort()["stop_latched"]

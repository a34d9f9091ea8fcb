"""Jobs: the list follows what happens, filters and finds; a job's page shows all of it; forms make jobs."""

from __future__ import annotations

import csv
from collections.abc import Callable

from tests.browser.conftest import Lab, Seen


def test_the_list_follows_and_filters(lab: Lab, seen: Seen) -> None:
    page = seen.open("/jobs")
    page.locator(".vfoot").wait_for()
    job = lab.submit("talk", lines=1, text="needle-17")
    row = page.locator(f".vrow[data-id='{job}']")
    row.get_by_text("succeeded").wait_for()
    row.get_by_text("text=needle-17").wait_for()
    bad = lab.submit("broken", text="a needle too")
    page.locator(f".vrow[data-id='{bad}']", has_text="failed").wait_for()
    page.get_by_label("Text in task").fill("needle")
    page.get_by_text("2 found, all of them").wait_for()
    page.get_by_role("button", name="failed").click()
    page.get_by_text("1 found, all of them").wait_for()
    assert "state=failed" in page.url
    assert "text=needle" in page.url
    page.reload()
    page.get_by_text("1 found, all of them").wait_for()
    again = lab.submit("broken", text="needle again")
    page.locator(f".vrow[data-id='{again}']").wait_for()
    page.locator(f".vrow[data-id='{bad}']").get_by_role("link").click()
    page.locator("main h1", has_text=f"Job {bad}").wait_for()


def test_what_is_shown_can_be_exported(lab: Lab, seen: Seen) -> None:
    job = lab.submit("talk", lines=1, text='=1+1,"quoted"')
    lab.daemon.ended(job)
    page = seen.open("/jobs?text=quoted")
    page.get_by_text("found, all of them").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    with open(download.value.path(), newline="") as file:  # noqa: PTH123
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [str(job)]
    assert rows[0]["state"] == "succeeded"
    assert '=1+1,\\"quoted\\"' in rows[0]["args"]


def test_a_job_shows_its_log_steps_result_and_error(lab: Lab, seen: Seen) -> None:
    page = seen.open("/tasks/talk")
    page.get_by_label("lines").fill("5")
    page.get_by_label("text").fill("it's me")
    assert "labctl job submit talk lines=5 'text=it'\\''s me'" in page.inner_text("main")
    page.get_by_role("button", name="Run it").click()
    page.locator(".log div", has_text="it's me 4").wait_for()
    page.locator(".head .badge", has_text="succeeded").wait_for()
    assert '"said":5' in page.get_by_role("region", name="Result").inner_text()
    page.get_by_role("link", name="Run again with changes").click()
    assert page.get_by_label("text").input_value() == "it's me"
    broken = lab.submit("broken", text="torn apart")
    page.evaluate("(id) => { location.hash = `/jobs/${id}`; }", broken)
    page.get_by_role("region", name="Error").get_by_text("torn apart").first.wait_for()
    page.get_by_text("Traceback", exact=True).click()
    page.get_by_text("raise ValueError(text)").wait_for()


def test_a_job_is_seen_among_those_above_and_below_it(lab: Lab, seen: Seen) -> None:
    outer = lab.submit("outer")
    lab.daemon.ended(outer)
    middle, talk = outer + 1, outer + 2
    page = seen.open(f"/jobs/{middle}")
    rows = page.get_by_role("region", name="Over time").locator(".kin")
    rows.nth(2).wait_for()
    assert rows.all_inner_texts() == [f"#{outer} outer", f"└ #{middle}", f"└ #{talk} talk"]
    rows.nth(0).click()
    page.locator("main h1", has_text=f"Job {outer}").wait_for()
    rows.nth(2).wait_for()
    assert rows.all_inner_texts() == [f"#{outer}", f"└ #{middle} middle", f"└ #{talk} talk"]
    depths = rows.evaluate_all("(all) => all.map((one) => one.style.getPropertyValue('--depth'))")
    assert depths == ["0", "1", "2"]
    assert page.locator(".track i.succeeded").count() == 3


def test_two_people_answer_and_the_second_learns_who_was_first(lab: Lab, browsers: Callable[..., Seen]) -> None:
    job = lab.submit("load_plate", hotel="C")
    anna, ben = browsers().log_in("operate"), browsers("phone").log_in("admin")
    ben.expected = ("409", "ERR_FAILED")
    ben.context.route("**/api/v1/events*", lambda route: route.abort())  # ben's page learns nothing by itself
    first, second = anna.open(f"/jobs/{job}"), ben.open()
    item = second.locator("#needs li", has_text=f"#{job}")
    item.get_by_role("button", name="no").wait_for()
    first.get_by_role("button", name="yes").click()
    first.locator(".head .badge", has_text="succeeded").wait_for()
    item.get_by_role("button", name="no").click()
    second.locator(".toast.bad", has_text="token:browser-operate").wait_for()
    steps = first.get_by_role("region", name="Steps").inner_text()
    assert "by token:browser-operate" in steps


def test_a_form_says_what_is_wrong_at_its_field(lab: Lab, seen: Seen) -> None:
    seen.expected = ("422", "400", "404")
    page = seen.open("/tasks/resort.move_to_angle")
    page.get_by_role("button", name="Run it").click()
    page.get_by_text("this is needed").wait_for()
    page.get_by_label("degrees").fill("999999999")
    page.get_by_role("button", name="Run it").click()
    page.get_by_text("999999999 is above 360000").wait_for()
    page.get_by_label("degrees").fill("20")
    page.get_by_label("device").fill("nowhere")
    page.get_by_role("button", name="Run it").click()
    page.locator("main [role=alert]", has_text="nowhere").first.wait_for()
    assert page.locator("main h1").inner_text() == "resort.move_to_angle"

"""Every action of the pages that are not of a wing, as a person does it; each is held against the daemon."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.waiting import eventually
from tests.browser.conftest import Lab, Seen


def _state(lab: Lab, job: int) -> str:
    return str(lab.client.job(job)["state"])


def _becomes(lab: Lab, job: int, state: str) -> None:
    eventually(lambda: _state(lab, job) == state, 10, f"job {job} {state}")


def test_a_job_is_cancelled_retried_and_run_again(lab: Lab, seen: Seen) -> None:
    job = lab.client.submit("talk", {"lines": 1}, delay_s=3600)["id"]
    page = seen.open(f"/jobs/{job}")
    page.get_by_role("region", name="Why it waits").get_by_text("not before").wait_for()
    page.get_by_role("button", name="Cancel", exact=True).dblclick()
    page.locator(".head .badge", has_text="cancelled").wait_for()
    page.locator(".toast", has_text=f"labctl job cancel {job}").wait_for()
    assert lab.client.job(job)["state"] == "cancelled", (
        "a double click is one press, also where Retry comes up under it"
    )
    page.get_by_role("button", name="Retry", exact=True).click()
    page.locator(".head .badge", has_text="succeeded").wait_for()
    assert lab.client.job(job)["attempt"] >= 1
    page.get_by_role("link", name="Run again with changes").click()
    page.get_by_label("lines").fill("2")
    page.get_by_text("Queue, priority, tags, time").click()
    page.get_by_label("Queue", exact=True).select_option("low-priority")
    page.get_by_label("Tags").fill("again twice")
    page.get_by_label("Priority, 0 is first").fill("7")
    page.get_by_role("button", name="Run it").click()
    page.locator(".head .badge", has_text="succeeded").wait_for()
    again = lab.client.job(int(page.url.rsplit("/", 1)[1]))
    assert (again["queue"], again["priority"], again["tags"], again["args"]["lines"]) == (
        "low-priority", 7, ["again", "twice"], 2,
    )  # fmt: skip


def test_what_needs_a_person_is_settled_on_the_bench(lab: Lab, seen: Seen) -> None:
    broken = lab.submit("broken", text="look at me")
    lab.daemon.ended(broken)
    asked = lab.submit("wonder", question="Well?", choice="yes")
    page = seen.open()
    item = page.locator("#needs li", has_text="look at me")
    page.locator("#needs li", has_text="Well?").wait_for()
    item.wait_for()
    counted = (
        "() => +document.querySelector('#nav .count').textContent === document.querySelectorAll('#needs li').length"
    )
    page.wait_for_function(counted)
    lab.client.answer(asked, "yes")
    page.locator("#needs li", has_text="Well?").wait_for(state="detached")
    page.wait_for_function(counted)
    runbook = item.get_by_role("link", name="job failed")
    assert runbook.get_attribute("href").startswith("/")
    text = seen.context.request.get(runbook.get_attribute("href"))
    assert text.ok
    item.get_by_role("button", name="Seen …").click()
    page.get_by_label("Your name").fill("anna")
    page.get_by_label("Note").fill("a known one")
    page.get_by_role("button", name="Seen", exact=True).click()
    item.wait_for(state="detached")
    dry = page.locator("#needs li", has_text="red: nobody has said how much is there")
    dry.get_by_role("button", name="Seen …").click()
    assert page.get_by_label("Your name").input_value() == "anna"
    page.get_by_role("button", name="Seen", exact=True).click()
    dry.get_by_text("seen by anna").wait_for()
    lab.client.initialize_inventory({"red": 9000}, "anna", True, "filled")
    page.keyboard.press("g")
    page.keyboard.press("h")
    page.get_by_role("region", name="Alerts", exact=True).get_by_text("seen by anna: a known one").first.wait_for()
    page.keyboard.press("g")
    page.keyboard.press("b")
    dry.wait_for(state="detached", timeout=30_000)


def test_the_doctor_tells_findings_with_remedies(lab: Lab, seen: Seen) -> None:
    page = seen.open("/health")
    doctor = page.get_by_role("region", name="Doctor", exact=True)
    doctor.locator("li").first.wait_for()
    report = lab.client.doctor()
    assert doctor.locator("li").count() == len(report["findings"])
    for finding in report["findings"]:
        if finding["remedy"]:
            assert finding["remedy"].replace("`", "")[:60] in doctor.inner_text().replace("\n", " ")
    with page.expect_response("**/api/v1/doctor"):
        doctor.get_by_role("button", name="Look again").click()
    page.get_by_role("button", name="Read the settings again").click()
    page.locator(".toast", has_text=re.compile("changed")).wait_for()


def test_a_schedule_is_made_previewed_paused_changed_and_deleted(lab: Lab, seen: Seen) -> None:
    page = seen.open("/schedules")
    page.get_by_role("button", name="New schedule …").click()
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("Task").select_option("talk")
    page.get_by_label("lines").fill("4")
    page.get_by_label("Cron").fill("30 2 * * *")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    line = "labctl schedule add nightly talk lines=4 text=hello --cron '30 2 * * *' --timezone Europe/Berlin"
    assert line in page.inner_text("dialog")
    page.get_by_role("button", name="Make it").click()
    row = page.get_by_role("row", name=re.compile("^nightly"))
    row.get_by_role("button", name="Next runs").click()
    runs = page.get_by_role("dialog", name="Next runs of nightly")
    runs.locator("li").nth(9).wait_for()
    page.keyboard.press("Escape")
    row.get_by_role("button", name="Pause").click()
    row.get_by_text("paused").wait_for()
    assert lab.client.schedule("nightly")["paused"]
    row.get_by_role("button", name="Resume").click()
    row.get_by_role("button", name="Pause").wait_for()
    row.get_by_role("button", name="Edit …").click()
    page.get_by_label("Cron").fill("")
    page.get_by_label("or every so many seconds").fill("7200")
    page.get_by_role("button", name="Change it").click()
    row.get_by_text("every 2 h").wait_for()
    changed = lab.client.schedule("nightly")
    assert (changed["cron"], changed["interval_s"], changed["args"]["lines"]) == (None, 7200, 4)
    row.get_by_role("button", name="Delete").dblclick()
    assert "nightly" in [one["name"] for one in lab.client.schedules()], "a double click is no confirmation"
    row.get_by_role("button", name="Delete: sure?").click()
    page.get_by_text("schedule nightly is deleted").wait_for()
    row.wait_for(state="detached")
    assert "nightly" not in [one["name"] for one in lab.client.schedules()]


def test_a_faulty_schedule_says_why_and_keeps_what_was_typed(lab: Lab, seen: Seen) -> None:
    seen.expected = ("400", "422")
    page = seen.open("/schedules")
    page.get_by_role("button", name="New schedule …").click()
    page.get_by_label("Name").fill("wrong")
    page.get_by_label("Task").select_option("talk")
    page.get_by_label("Cron").fill("99 2 * * *")
    page.get_by_role("button", name="Make it").click()
    page.locator("dialog [role=alert]", has_text="99").first.wait_for()
    assert page.get_by_label("Name").input_value() == "wrong"


def test_a_token_is_shown_once_and_revoked(lab: Lab, seen: Seen) -> None:
    page = seen.open("/access")
    page.get_by_role("button", name="New token …").click()
    page.get_by_label("Name").fill("wall")
    page.get_by_label("Scope", exact=True).select_option("read")
    assert "labctl token create wall --scope read --expires 90d" in page.inner_text("dialog")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator("#secret").inner_text()
    lab.tokens["wall"] = secret
    page.get_by_role("button", name="I have it").click()
    row = page.get_by_role("row", name=re.compile("wall"))
    row.wait_for()
    assert secret not in page.content()
    page.reload()
    row.wait_for()
    assert secret not in page.content()
    assert seen.context.request.get("/api/v1/status", headers={"Authorization": f"Bearer {secret}"}).ok
    row.get_by_role("button", name="Revoke").click()
    row.get_by_role("button", name="Revoke: sure?").click()
    row.get_by_text("revoked").wait_for()
    refused = seen.context.request.get("/api/v1/status", headers={"Authorization": f"Bearer {secret}"})
    assert refused.status == 401


def test_limits_of_a_queue_are_changed_and_the_chain_is_checked(lab: Lab, seen: Seen) -> None:
    page = seen.open("/queues")
    row = page.get_by_role("row", name=re.compile("^monitoring"))
    row.get_by_role("button", name="Limits …").click()
    page.get_by_label("So many jobs at once").fill("3")
    page.get_by_role("button", name="Limits", exact=True).click()
    row.get_by_text("0 of 3").wait_for()
    page.evaluate("() => { location.hash = '/audit'; }")
    page.get_by_role("row", name=re.compile("queue.*monitoring")).first.wait_for()
    page.get_by_role("button", name="Check the chain").click()
    page.locator(".head .badge", has_text="whole").wait_for()
    page.get_by_label("Find in the entries shown").fill("no such words")
    page.get_by_text("has these words").wait_for()


SCOPES = {
    "read": {"Pause …": False, "Limits …": False, "New schedule …": False, "New token …": False, "Run it": False},
    "operate": {"Pause …": True, "Limits …": False, "New schedule …": True, "New token …": False, "Run it": True},
    "admin": {"Pause …": True, "Limits …": True, "New schedule …": True, "New token …": True, "Run it": True},
}


@pytest.mark.parametrize("scope", list(SCOPES))
def test_each_scope_is_offered_what_it_may(lab: Lab, browsers: Callable[..., Seen], scope: str) -> None:
    seen = browsers().log_in(scope)
    page = seen.open("/queues")
    places = {"Pause …": "/queues", "Limits …": "/queues", "New schedule …": "/schedules", "New token …": "/access"}
    for name, is_on in SCOPES[scope].items():
        page.evaluate("(path) => { location.hash = path; }", places.get(name, "/tasks/talk"))
        button = page.get_by_role("button", name=name).first
        button.wait_for()
        assert button.is_enabled() == is_on, name
    answer = seen.context.request.put(
        "/api/v1/queues/standard", data={"concurrency": 4}, headers={"Origin": lab.origin}
    )
    assert answer.status == (200 if scope == "admin" else 403), "what is not offered is refused as well"


def test_every_task_has_a_form(lab: Lab, seen: Seen) -> None:
    page = seen.open("/tasks")
    tasks = [task for task in lab.client.tasks() if not task["stop"]]
    assert len(tasks) > 20
    for task in tasks:
        page.evaluate("(name) => { location.hash = `/tasks/${encodeURIComponent(name)}`; }", task["name"])
        page.locator("main h1", has_text=re.compile(f"^{re.escape(task['name'])}$")).wait_for()
        fields = page.locator("main form .fields [id^=task-]:is(input, select, textarea)")
        assert fields.count() == len(task["schema"].get("properties", {})), task["name"]
        unnamed = fields.evaluate_all("(nodes) => nodes.filter((one) => !one.labels.length).length")
        assert not unnamed, task["name"]
        assert f"labctl job submit {task['name']}" in page.inner_text("main")


def test_a_day_without_a_mouse(lab: Lab, seen: Seen) -> None:
    """From the bench over the palette and a form to a job, its question, a queue and back, by keys alone."""
    page = seen.open()

    def focus(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if (
                page.evaluate("() => document.activeElement.innerText || document.activeElement.ariaLabel || ''")
                == name
            ):
                return
        raise AssertionError(f"{name} cannot be reached by Tab")

    page.keyboard.press("Control+k")
    page.keyboard.type("run load_plate")
    page.locator("dialog li[aria-selected=true]", has_text="Run load_plate").wait_for()
    page.keyboard.press("Enter")
    page.locator("main h1", has_text="load_plate").wait_for()
    focus("Run it")
    page.keyboard.press("Enter")
    page.get_by_text("Is the plate on the robot?").first.wait_for()
    page.get_by_role("button", name="yes").wait_for()
    focus("yes")
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Space")
    page.locator(".head .badge", has_text="succeeded").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.locator("main h1", has_text="Queues").wait_for()
    page.locator("main table").wait_for()
    focus("Pause …")
    page.keyboard.press("Enter")
    page.keyboard.type("lunch")
    page.keyboard.press("Enter")
    page.locator("dialog").wait_for(state="detached")
    paused = [queue["name"] for queue in lab.client.queues() if queue["paused"]]
    assert len(paused) == 1
    assert page.evaluate("() => document.activeElement !== document.body"), "the focus is not lost with the dialog"
    lab.client.resume_queue(paused[0])


def test_the_palette_cancels_and_pauses(lab: Lab, seen: Seen) -> None:
    job = lab.client.submit("talk", {}, delay_s=3600)["id"]
    page = seen.open("/audit")

    def command(words: str, title: str) -> Any:
        page.keyboard.press("Control+k")
        page.keyboard.type(words)
        page.locator("dialog li[aria-selected=true]", has_text=title).wait_for()
        page.keyboard.press("Enter")
        return page.get_by_role("dialog", name=title.removesuffix(" …"))

    dialog = command("cancel a job", "Cancel a job …")
    dialog.get_by_label("Number").fill(str(job))
    dialog.get_by_role("button", name="Cancel the job").click()
    _becomes(lab, job, "cancelled")
    dialog = command("pause a queue", "Pause a queue …")
    dialog.get_by_label("Queue").fill("maintenance")
    dialog.get_by_role("button", name="Pause", exact=True).click()
    eventually(lambda: next(one["paused"] for one in lab.client.queues() if one["name"] == "maintenance"), 5, "pause")
    lab.client.resume_queue("maintenance")

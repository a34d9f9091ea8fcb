"""Jobs through the door: submit, list, wait, execute; in front of the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.api import jobs as jobs_module
from tests.fakes.api_door import House, open_door, open_house
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import RawClient


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[House]:
    async with open_house(state_dir) as found:
        yield found


async def test_a_job_is_submitted_awaited_and_told(house: House) -> None:
    made = await house.client.ask("POST", "/api/v1/jobs", {"task": "add/add", "args": {"a": 2, "b": 3}, "tags": ["t"]})
    assert made.status == 201
    job_id = made.json["id"]
    assert made.json["task"] == "test.add"
    done = (await house.client.ask("GET", f"/api/v1/jobs/{job_id}?wait=10")).json
    assert (done["state"], done["result"], done["attempt"]) == ("succeeded", 5, 1)
    assert done["submitted_by"].startswith("unix:")
    logs = (await house.client.ask("GET", f"/api/v1/jobs/{job_id}/logs")).json
    assert [line["text"] for line in logs["lines"]] == ["2 + 3"]
    kinds = [event["kind"] for event in (await house.client.ask("GET", f"/api/v1/jobs/{job_id}/events")).json["events"]]
    assert kinds[0] == "job.submitted"
    assert kinds[-1] == "job.succeeded"


async def test_a_list_is_one_answer_in_its_order(house: House) -> None:
    wishes = [{"task": "test.add", "args": {"a": number}, "delay_s": 60} for number in range(5)]
    made = await house.client.ask("POST", "/api/v1/jobs", wishes)
    assert made.status == 201
    assert [job["args"]["a"] for job in made.json["jobs"]] == [0, 1, 2, 3, 4]


async def test_one_bad_submission_of_a_list_leaves_nothing(house: House) -> None:
    wishes = [{"task": "test.add", "args": {"a": 1}}, {"task": "test.add", "args": {"a": "x"}}]
    refused = await house.client.ask("POST", "/api/v1/jobs", wishes)
    assert (refused.status, refused.code) == (422, "invalid_arguments")
    assert (await house.client.ask("GET", "/api/v1/jobs")).json["jobs"] == []


async def test_a_list_has_a_limit(house: House) -> None:
    refused = await house.client.ask("POST", "/api/v1/jobs", [{"task": "x"}] * 1001)
    assert (refused.status, refused.code) == (400, "bad_request")
    assert "1000" in refused.json["message"]


async def test_a_known_key_gives_the_same_job_with_200(house: House) -> None:
    wish = {"task": "test.add", "args": {"a": 1}, "idempotency_key": "k", "delay_s": 60}
    first = await house.client.ask("POST", "/api/v1/jobs", wish)
    again = await house.client.ask("POST", "/api/v1/jobs", wish)
    other = await house.client.ask("POST", "/api/v1/jobs", {**wish, "args": {"a": 2}})
    assert (first.status, again.status) == (201, 200)
    assert first.json["id"] == again.json["id"]
    assert (other.status, other.code) == (409, "idempotency_conflict")


async def test_pages_lead_through_all_jobs_once(house: House) -> None:
    await house.client.ask("POST", "/api/v1/jobs", [{"task": "test.add", "args": {"a": 1}, "delay_s": 60}] * 7)
    seen: list[int] = []
    path: str | None = "/api/v1/jobs?limit=3&state=queued,running"
    while path is not None:
        page = (await house.client.ask("GET", path)).json
        seen += [job["id"] for job in page["jobs"]]
        path = f"/api/v1/jobs?limit=3&state=queued,running&before={page['next']}" if page["next"] else None
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 7


FILTERS = [
    ("state=queued", 1),
    ("state=succeeded", 0),
    ("task=test.add", 1),
    ("task=other", 0),
    ("queue=standard", 1),
    ("tag=blue", 1),
    ("tag=red", 0),
    ("text=blue", 0),
    ("text=test.a", 1),
    ("since=2020-01-01T00:00:00Z", 1),
    ("since=2020-01-01T00:00:00+01:00", 1),
    ("until=2020-01-01T00:00:00Z", 0),
    ("submitted_by=nobody", 0),
    ("state=queued&tag=blue&limit=1", 1),
]


async def test_filters(house: House) -> None:
    await house.client.ask(
        "POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": 1}, "tags": ["blue"], "delay_s": 60}
    )
    for query, expected in FILTERS:
        found = (await house.client.ask("GET", f"/api/v1/jobs?{query}")).json["jobs"]
        assert len(found) == expected, query


BAD_QUERIES = [
    ("limit=0", "query parameter limit=0: expected int >= 1"),
    ("limit=1001", "query parameter limit=1001: expected int <= 1000"),
    ("limit=many", "query parameter limit=many: expected int, got str"),
    ("limit=1&limit=2", "query parameter limit is given twice; give it once"),
    ("before=-1", "query parameter before=-1: expected int >= 1"),
    ("sort=id", "unknown query parameter sort; this route takes before, brief, held, limit, lowest, queue, schedule, "),
    ("state=done", "query parameter state=done: no such state; there are queued, running"),
    ("since=yesterday", "query parameter since=yesterday: "),
    ("since=2026-01-31T08:00:00", "an instant needs a time zone, such as 2026-01-31T08:00:00Z"),
    ("text=%ff", "query string: "),
]


async def test_bad_filters_name_parameter_value_and_limit(house: House) -> None:
    for query, message in BAD_QUERIES:
        refused = await house.client.ask("GET", f"/api/v1/jobs?{query}")
        assert (refused.status, refused.code) == (400, "bad_request"), query
        assert message in refused.json["message"]


BAD_BODIES = [
    (b"{", 400, "bad_request", "body is no JSON"),
    (b"\xff\xfe", 400, "bad_request", "body is no JSON"),
    (b'{"task": 1}', 400, "bad_request", "body"),
    (b'{"task": "test.add", "argz": {}}', 400, "bad_request", "argz"),
    (b'{"task": "nope"}', 404, "unknown_task", "no task is named nope"),
    (b'{"task": "test.add", "args": {"a": "x"}}', 422, "invalid_arguments", "argument a"),
    (b'{"task": "test.add", "args": {"a": 1, "c": 1}}', 422, "invalid_arguments", "unknown field"),
    (b'{"task": "test.add", "args": {"a": 1}, "queue": "nope"}', 404, "unknown_queue", "nope"),
    (b'{"task": "test.add", "args": {"a": 1}, "priority": 77}', 400, "bad_request", "77"),
]


async def test_bad_submissions(house: House) -> None:
    for body, status, code, message in BAD_BODIES:
        refused = await house.client.ask("POST", "/api/v1/jobs", body)
        assert (refused.status, refused.code) == (status, code), body
        assert message in refused.json["message"]
        assert (await house.client.ask("GET", "/healthz")).body == b"ok"


async def test_cancel_retry_and_why(house: House) -> None:
    job_id = (await house.client.ask("POST", "/api/v1/jobs", {"task": "test.hold", "delay_s": 60})).json["id"]
    why = (await house.client.ask("GET", f"/api/v1/why/{job_id}")).json
    assert why == (await house.client.ask("GET", f"/api/v1/jobs/{job_id}/why")).json
    assert (why["job"], why["state"]) == (job_id, "queued")
    assert why["causes"]
    cancelled = await house.client.ask("POST", f"/api/v1/jobs/{job_id}/cancel", {"reason": "no plates"})
    assert cancelled.json["state"] == "cancelled"
    assert (await house.client.ask("POST", f"/api/v1/jobs/{job_id}/cancel")).status == 409
    assert (await house.client.ask("POST", f"/api/v1/jobs/{job_id}/retry", {})).json["state"] in ("queued", "running")


async def test_jobs_that_are_not_there(house: House) -> None:
    for job in ("999999", "abc", "-1", "1e3", "%31%00", "9" * 30, "%d9%a3"):
        answer = await house.client.ask("GET", f"/api/v1/jobs/{job}")
        assert answer.code in ("unknown_job", "bad_request"), job


async def test_a_long_poll_ends_with_its_client(state_dir: Path) -> None:
    engine = MemoryEngine()
    async with open_door(engine, state_dir), await RawClient.unix(state_dir / "labd.sock") as client:
        await client.ask("POST", "/api/v1/jobs", {"task": "x"})
        waiting = await RawClient.unix(state_dir / "labd.sock")
        waiting.send("GET", "/api/v1/jobs/1?wait=60")
        async with asyncio.timeout(5):
            while engine.waits_running == 0:
                await client.ask("GET", "/healthz")
            await waiting.close()
            while engine.waits_running:
                await client.ask("GET", "/healthz")


async def test_a_drain_answers_long_polls_with_the_job_as_it_is(house: House) -> None:
    job_id = (await house.client.ask("POST", "/api/v1/jobs", {"task": "test.hold"})).json["id"]
    house.client.send("GET", f"/api/v1/jobs/{job_id}?wait=60")
    async with await RawClient.unix(house.socket) as other:
        await other.ask("GET", "/healthz")  # the poll was read before this was answered
        house.server.drain()
        assert (await house.client.answer()).json["state"] == "running"
        assert (await other.ask("GET", "/healthz")).status == 200
    house.tasks.go_on.set()


async def test_polls_during_a_drain_are_short_but_do_wait(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "DRAIN_WAIT_S", 0.05)
    job_id = (await house.client.ask("POST", "/api/v1/jobs", {"task": "test.hold"})).json["id"]
    house.server.drain()
    assert (await house.client.ask("GET", f"/api/v1/jobs/{job_id}?wait=60")).json["state"] == "running"
    monkeypatch.setattr(jobs_module, "DRAIN_WAIT_S", 10.0)
    house.client.send("GET", f"/api/v1/jobs/{job_id}?wait=60")
    house.tasks.go_on.set()
    assert (await house.client.answer()).json["state"] == "succeeded"


async def test_execute_runs_and_waits(house: House) -> None:
    for path in ("/execute/test.add", "/execute/add/add", "/execute/add%2Fadd"):
        answer = await house.client.ask("POST", path, {"a": 2, "b": 2})
        assert (answer.status, answer.json["status"], answer.json["result"]) == (200, "success", 4)
        assert answer.json["job"] > 0


EXECUTE_FAULTS = [
    ("test.fail", {}, 412, "stop_latched"),
    ("nope", {}, 404, "unknown_task"),
    ("test.add", {"a": "x"}, 422, "invalid_arguments"),
]


async def test_execute_answers_with_the_status_of_the_error(house: House) -> None:
    for task, args, status, code in EXECUTE_FAULTS:
        answer = await house.client.ask("POST", f"/execute/{task}", args)
        assert (answer.status, answer.json["status"], answer.code) == (status, "error", code)
        assert set(answer.json) == {"status", "code", "message", "details", "job"}


async def test_execute_tells_of_a_cancelled_job(house: House) -> None:
    house.client.send("POST", "/execute/test.hold", {})
    async with await RawClient.unix(house.socket) as other:
        async with asyncio.timeout(5):
            while not (running := (await other.ask("GET", "/api/v1/jobs?state=running")).json["jobs"]):
                pass
        await other.ask("POST", f"/api/v1/jobs/{running[0]['id']}/cancel", {"reason": "lunch"})
    answer = await house.client.answer()
    assert (answer.status, answer.code, answer.json["job"]) == (409, "job_cancelled", running[0]["id"])


async def test_a_stop_is_never_queued(house: House) -> None:
    await house.client.ask("POST", "/api/v1/queues/high-priority/pause", {"reason": "test"})
    answer = await house.client.ask("POST", "/execute/emergency_stop", {"reason": "smoke"})
    assert (answer.status, answer.json["result"]) == (200, {"stopped": True})
    assert house.tasks.stops == [{"reason": "smoke"}]
    assert (await house.client.ask("POST", "/api/v1/jobs", {"task": "test.stop"})).json["state"] == "succeeded"

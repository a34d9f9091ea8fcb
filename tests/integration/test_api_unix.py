"""The doors on the Unix socket, in front of the real engine."""

from __future__ import annotations

import asyncio
import io
import socket
import sqlite3
import stat
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from labd.api.endpoint import Call, Endpoint
from labd.api.listeners import bind_unix
from labd.api.options import ApiOptions
from labd.api.server import ApiServer, build
from labd.engine.engine import Engine
from labd.errors import AlreadyServing, SettingsFault
from tests.fakes.api_door import Tasks, faulty_settings, nothing_changed, open_door, open_engine
from tests.fakes.api_engine import FakeStatus, MemoryEngine
from tests.fakes.raw_http import RawClient


@dataclass
class House:
    """A daemon's engine and doors, with one client at the door."""

    engine: Engine
    server: ApiServer
    client: RawClient
    tasks: Tasks
    socket: Path


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[House]:
    tasks, path = Tasks(), state_dir / "labd.sock"
    async with (
        open_engine(state_dir, tasks) as engine,
        open_door(engine, state_dir, max_body_bytes=50_000) as server,
        await RawClient.unix(path) as client,
    ):
        yield House(engine, server, client, tasks, path)


# -- jobs ------------------------------------------------------------------------------------------------------------


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
    ("sort=id", "unknown query parameter sort; this route takes before, limit, queue, since, state"),
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


# -- long poll -------------------------------------------------------------------------------------------------------


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


# -- execute ---------------------------------------------------------------------------------------------------------


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


# -- the other resources ---------------------------------------------------------------------------------------------


async def test_queues_are_shown_paused_changed(house: House) -> None:
    client = house.client
    paused = await client.ask("POST", "/api/v1/queues/standard/pause", {"reason": "cleaning"})
    assert (paused.json["paused"], paused.json["paused_reason"]) == (True, "cleaning")
    assert paused.json["paused_at"].endswith("Z")
    assert (await client.ask("POST", "/api/v1/queues/standard/resume")).json["paused"] is False
    assert (await client.ask("PUT", "/api/v1/queues/standard", {"concurrency": 9})).json["concurrency"] == 9
    refused = await client.ask("PUT", "/api/v1/queues/standard", {"priority": 10})
    assert refused.json["message"] == "body, field priority: Expected `int` <= 9"
    assert (await client.ask("PUT", "/api/v1/queues/nope", {"priority": 1})).code == "unknown_queue"
    assert "standard" in {queue["name"] for queue in (await client.ask("GET", "/api/v1/queues")).json["queues"]}


async def test_schedules_from_making_to_deleting(house: House) -> None:
    client = house.client
    wish = {"name": "nightly", "task": "test.add", "args": {"a": 1}, "cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    made = await client.ask("POST", "/api/v1/schedules", wish)
    assert made.status == 201
    assert made.json["next_run_at"].endswith("Z")
    assert (await client.ask("POST", "/api/v1/schedules", wish)).status == 409
    assert len((await client.ask("GET", "/api/v1/schedules/nightly/preview?count=3")).json["runs"]) == 3
    assert (await client.ask("POST", "/api/v1/schedules/nightly/pause", {})).json["paused"] is True
    assert (await client.ask("POST", "/api/v1/schedules/nightly/resume")).json["paused"] is False
    change = {"task": "test.add", "args": {"a": 2}, "interval_s": 60}
    assert (await client.ask("PUT", "/api/v1/schedules/nightly", change)).json["interval_s"] == 60
    assert (await client.ask("PUT", "/api/v1/schedules/nightly", wish | {"name": "other"})).status == 400
    bad = await client.ask("PUT", "/api/v1/schedules/bad", {"task": "test.add", "args": {"a": 1}, "cron": "99 * * * *"})
    assert (bad.status, bad.code) == (422, "invalid_arguments")
    assert [each["name"] for each in (await client.ask("GET", "/api/v1/schedules")).json["schedules"]] == ["nightly"]
    assert (await client.ask("DELETE", "/api/v1/schedules/nightly")).json == {"deleted": "nightly"}
    assert (await client.ask("GET", "/api/v1/schedules/nightly")).code == "unknown_schedule"


async def test_tasks_show_their_schema(house: House) -> None:
    tasks = {task["name"]: task for task in (await house.client.ask("GET", "/api/v1/tasks")).json["tasks"]}
    assert list(tasks) == sorted(tasks)
    assert tasks["test.stop"]["stop"] is True
    assert tasks["test.add"]["schema"]["required"] == ["a"]
    assert (await house.client.ask("GET", "/api/v1/tasks/add/add")).json == tasks["test.add"]
    assert (await house.client.ask("GET", "/api/v1/tasks/test.ad")).code == "unknown_task"


async def test_what_is_changed_stands_in_the_audit(house: House) -> None:
    await house.client.ask("POST", "/api/v1/queues/standard/pause", {"reason": "x"})
    await house.client.ask("POST", "/api/v1/tokens", {"name": "ci"})
    page = (await house.client.ask("GET", "/api/v1/audit?limit=2")).json
    assert [entry["action"] for entry in page["entries"]] == ["token.create", "queue.pause"]
    assert page["entries"][0]["actor"].startswith("unix:")
    report = (await house.client.ask("GET", "/api/v1/audit/verify")).json
    assert report["ok"] is True
    assert report["entries"] >= 2


async def test_tokens_are_told_once(house: House) -> None:
    made = await house.client.ask("POST", "/api/v1/tokens", {"name": "ci", "scopes": ["operate"], "expires_in_s": 60})
    secret = made.json["token"]
    listed = await house.client.ask("GET", "/api/v1/tokens")
    assert secret not in listed.body.decode()
    assert [token["name"] for token in listed.json["tokens"]] == ["ci"]
    revoked = await house.client.ask("DELETE", f"/api/v1/tokens/{made.json['id']}")
    assert revoked.json["revoked_at"].endswith("Z")
    for bad in ({"name": "x", "scopes": ["root"]}, {"name": "x", "scopes": []}, {"name": "../x"}, {"name": ""}):
        assert (await house.client.ask("POST", "/api/v1/tokens", bad)).status == 400
    assert (await house.client.ask("DELETE", "/api/v1/tokens/77")).status == 404


async def test_status_tells_the_daemon(house: House) -> None:
    status = (await house.client.ask("GET", "/api/v1/status")).json
    assert status["state"] == "serving"
    assert status["socket"] == str(house.socket)
    assert set(status["jobs"]) >= {"queued", "running", "succeeded", "failed", "cancelled", "interrupted"}
    assert status["store"]["size_bytes"] > 0
    assert status["wings"][0]["install"] == "pip install labd[resort]"


async def test_metrics_are_prometheus_text(house: House) -> None:
    answer = await house.client.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples: dict[str, float] = {}
    typed: set[str] = set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in typed
            typed.add(name)
        elif not line.startswith("#"):
            key, value = line.rsplit(" ", 1)
            assert key.partition("{")[0] in typed
            samples[key] = float(value)
    assert samples['labd_queue_depth{queue="standard"}'] == 0
    assert samples['labd_wing_on{wing="resort"}'] == 0
    assert "labd_commits_total" in samples
    assert samples["labd_store_size_bytes"] > 0


async def test_a_backup_is_a_tar_of_sound_databases(house: House, state_dir: Path) -> None:
    await house.client.ask("POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": 1}, "delay_s": 60})
    (state_dir / ".backup-left").mkdir()
    answer = await house.client.ask("GET", "/api/v1/backup")
    assert answer.headers["content-type"] == "application/x-tar"
    target = state_dir / "unpacked"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        tar.extractall(target, filter="data")
    found = sqlite3.connect(target / "labd.db")
    try:
        assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert found.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    finally:
        found.close()
    assert not list(state_dir.glob(".backup-*"))


async def test_reload_tells_what_changed_or_why_not(state_dir: Path) -> None:
    async def changed() -> list[str]:
        return ["log_level"]

    for reload, status, body in ((changed, 200, {"changed": ["log_level"]}), (faulty_settings, 422, None)):
        async with (
            open_door(MemoryEngine(), state_dir, reload=reload),
            await RawClient.unix(state_dir / "labd.sock") as client,
        ):
            answer = await client.ask("POST", "/api/v1/reload")
            assert answer.status == status
            assert body is None or answer.json == body


async def test_pages_and_documents_are_served(house: House) -> None:
    page = await house.client.ask("GET", "/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert b"/api/v1/jobs" in page.body
    assert (await house.client.ask("GET", "/docs/style.css")).headers["content-type"].startswith("text/css")
    assert (await house.client.ask("GET", "/")).json["docs"] == "/docs"
    document = (await house.client.ask("GET", "/api/v1/openapi.json")).json
    assert "test.add" in document["x-labd-tasks"]
    assert (await house.client.ask("HEAD", "/docs")).status == 200


# -- rude clients ----------------------------------------------------------------------------------------------------


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(house: House) -> None:
    answer = await house.client.ask("POST", "/api/v1/jobs", b"", {"Content-Length": "50001"})
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert answer.json["details"]["limit_bytes"] == 50_000


async def test_a_chunked_body_that_grows_too_long_is_refused(house: House) -> None:
    house.client.send("POST", "/api/v1/jobs", b"", {"Transfer-Encoding": "chunked"})
    for _ in range(6):
        house.client.writer.write(b"2710\r\n" + b" " * 10_000 + b"\r\n")
    assert (await house.client.answer()).code == "body_too_large"


async def test_a_chunked_body_counts_as_any_other(house: House) -> None:
    text = b'{"task":"test.add","args":{"a":1}}'
    house.client.send("POST", "/api/v1/jobs", b"", {"Transfer-Encoding": "chunked"})
    house.client.writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text))
    assert (await house.client.answer()).status == 201


async def test_a_body_without_a_length(house: House) -> None:
    house.client.writer.write(b"POST /api/v1/jobs HTTP/1.1\r\nHost: labd\r\n\r\n")
    answer = await house.client.answer()
    assert (answer.status, answer.code) == (411, "length_required")


async def test_a_body_after_100_continue(house: House) -> None:
    text = b'{"task":"test.add","args":{"a":1}}'
    house.client.send("POST", "/api/v1/jobs", b"", {"Expect": "100-continue", "Content-Length": str(len(text))})
    assert (await house.client.head())[0] == 100
    house.client.writer.write(text)
    assert (await house.client.answer()).status == 201


async def test_a_slow_body_is_cut_off(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, request_timeout_s=0.1),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.send("POST", "/api/v1/jobs", b"{", {"Content-Length": "100"})
        answer = await client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert await client.at_end()


async def test_slow_headers_are_cut_off_on_the_first_and_on_a_later_request(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, request_timeout_s=0.1):
        for earlier_requests in (0, 2):
            async with await RawClient.unix(state_dir / "labd.sock") as client:
                for _ in range(earlier_requests):
                    assert (await client.ask("GET", "/healthz")).status == 200
                client.writer.write(b"GET /healthz HTTP/1.1\r\nHost: la")
                answer = await client.answer()
                assert (answer.status, answer.code) == (408, "request_timeout")
                assert await client.at_end()


async def test_a_connection_that_never_speaks_is_closed(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, request_timeout_s=0.1),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        assert (await client.answer()).status == 408
        assert await client.at_end()


async def test_an_idle_connection_is_kept_for_its_time_only(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, keepalive_s=0.1),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        assert (await client.ask("GET", "/healthz")).status == 200
        assert (await client.ask("GET", "/healthz")).status == 200
        assert await client.at_end()


async def test_a_huge_header_is_refused(house: House) -> None:
    answer = await house.client.ask("GET", "/healthz", headers={"X-Huge": "x" * 20_000})
    assert (answer.status, answer.code) == (431, "header_too_large")
    assert await house.client.at_end()


@pytest.mark.parametrize(
    "text", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"]
)
async def test_malformed_requests_get_json_too(text: bytes, house: House) -> None:
    house.client.writer.write(text)
    answer = await house.client.answer()
    assert (answer.status, answer.code) == (400, "bad_request")
    assert await house.client.at_end()


async def test_two_lengths_are_no_request(house: House) -> None:
    house.client.writer.write(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    assert (await house.client.answer()).status == 400


TRAVERSALS = [
    "/docs/../../etc/passwd",
    "/docs/%2e%2e/%2e%2e/etc/passwd",
    "/docs/..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/docs/style.css/../../x",
    "/api/v1/../../etc/passwd",
    "/%00",
    "/api/v1/queues/..%2f..",
    "/api/v1/tasks/..%2f..%2fetc%2fpasswd",
    "/api/v1/schedules/%ff",
]


async def test_paths_lead_nowhere_else(house: House) -> None:
    for path in TRAVERSALS:
        answer = await house.client.ask("GET", path)
        assert answer.status in (400, 404, 405), path
        assert answer.code in ("bad_request", "not_found", "method_not_allowed", "unknown_task", "unknown_schedule")


async def test_wrong_methods_are_told_which_are_right(house: House) -> None:
    answer = await house.client.ask("DELETE", "/api/v1/jobs")
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", "GET, POST")


async def test_a_body_where_none_belongs(house: House) -> None:
    assert (await house.client.ask("POST", "/api/v1/jobs/1/retry", {"x": 1})).code == "bad_request"


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    for number in range(5):
        house.client.send("POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": number}, "delay_s": 60})
    assert [(await house.client.answer()).json["args"]["a"] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_answers_to_clients_that_want_it_otherwise(house: House) -> None:
    ways = [
        (b"GET /api/v1/session HTTP/1.0\r\n\r\n", True),
        (b"GET /api/v1/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", True),
        (b"GET /api/v1/session HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
        (b"GET /api/v1/session HTTP/1.1\r\nHost: x\r\n\r\n", False),
    ]
    for text, ends in ways:
        async with await RawClient.unix(house.socket) as client:
            client.writer.write(text)
            answer = await client.answer()
            assert answer.json["via"] == "unix"
            assert "date" in answer.headers
            if ends:
                assert await client.at_end()
            else:
                assert (await client.ask("GET", "/healthz")).status == 200
    async with await RawClient.unix(house.socket) as client:
        head = await client.ask("HEAD", "/api/v1/session")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert (await client.ask("GET", "/healthz")).body == b"ok"


async def test_a_client_that_asks_and_never_reads_waits_for_itself(house: House) -> None:
    async with await RawClient.unix(house.socket) as deaf:
        for _ in range(2000):
            deaf.send("GET", "/api/v1/status")
        assert (await house.client.ask("GET", "/healthz")).status == 200
        for _ in range(2000):
            assert (await deaf.answer()).status == 200


async def test_a_flood_of_connections_is_refused_and_leaves_again(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, connections_at_most=3, listen="127.0.0.1:0") as server:
        assert server.tcp_address is not None
        flood = [await RawClient.tcp(server.tcp_address) for _ in range(5)]
        last = await flood[-1].answer()
        assert (last.status, last.code) == (503, "overloaded")
        async with await RawClient.unix(state_dir / "labd.sock") as client:
            assert (await client.ask("GET", "/healthz")).status == 200
            for each in flood:
                await each.close()
            async with asyncio.timeout(5):
                while server.connections > 1:
                    await client.ask("GET", "/healthz")
        async with await RawClient.tcp(server.tcp_address) as client:
            assert (await client.ask("GET", "/healthz")).status == 200


async def test_an_unexpected_exception_is_a_500_with_an_id_and_the_door_stays_open(state_dir: Path) -> None:
    async def broken(call: Call) -> None:
        raise RuntimeError("secret of the house")

    wing = [Endpoint("GET", "/api/v1/broken", broken, "read", "Broken", tags=("x",))]
    async with (
        open_door(MemoryEngine(), state_dir, of_wings=wing),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        with structlog.testing.capture_logs() as lines:
            answer = await client.ask("GET", "/api/v1/broken")
        assert (answer.status, answer.code) == (500, "internal")
        assert b"secret" not in answer.body
        assert [line["incident"] for line in lines] == [answer.json["details"]["incident"]]
        assert (await client.ask("GET", "/healthz")).status == 200


async def test_a_full_store_refuses_jobs_and_answers_the_rest(state_dir: Path) -> None:
    engine = MemoryEngine()
    async with open_door(engine, state_dir), await RawClient.unix(state_dir / "labd.sock") as client:
        engine.store_full = True
        refused = await client.ask("POST", "/api/v1/jobs", {"task": "x"})
        assert (refused.status, refused.code) == (507, "store_full")
        status = (await client.ask("GET", "/api/v1/status")).json
        assert (status["state"], status["attention"][0]["code"]) == ("store_full", "store_full")


# -- the socket ------------------------------------------------------------------------------------------------------


async def test_the_socket_is_for_user_and_group(house: House) -> None:
    assert stat.S_IMODE(house.socket.stat().st_mode) == 0o660


async def test_a_leftover_is_taken_over_and_a_live_one_is_not(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(str(path))
    leftover.close()
    async with open_door(MemoryEngine(), state_dir):
        with pytest.raises(AlreadyServing, match="another process answers there"):
            await asyncio.to_thread(bind_unix, path)
        async with await RawClient.unix(path) as client:
            assert (await client.ask("GET", "/healthz")).status == 200


def test_a_file_that_is_no_socket_is_left_alone(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    path.write_text("precious")
    with pytest.raises(SettingsFault, match="something that is no socket is there"):
        bind_unix(path)
    assert path.read_text() == "precious"


def test_paths_that_no_socket_can_have(state_dir: Path) -> None:
    with pytest.raises(SettingsFault, match="a Unix socket takes 107"):
        bind_unix(state_dir / ("x" * 120))
    with pytest.raises(SettingsFault, match="its folder must exist and be writable"):
        bind_unix(state_dir / "missing" / "labd.sock")


async def test_an_inherited_socket_is_served_and_stays(state_dir: Path) -> None:
    path = state_dir / "inherited.sock"
    inherited = socket.socket(socket.AF_UNIX)
    inherited.bind(str(path))
    inherited.listen()
    options = ApiOptions(socket=path, state_dir=state_dir)
    server = build(MemoryEngine(), options, [], FakeStatus(), nothing_changed, inherited=inherited)  # type: ignore[arg-type]
    await server.start()
    async with await RawClient.unix(path) as client:
        assert (await client.ask("GET", "/healthz")).status == 200
    await server.stop()
    assert path.exists()


async def test_stop_lets_a_running_request_finish(state_dir: Path) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> dict[str, bool]:
        started.set()
        await go_on.wait()
        return {"done": True}

    wing = [Endpoint("GET", "/api/v1/slow", slow, "read", "Slow", tags=("x",))]
    async with (
        open_door(MemoryEngine(), state_dir, of_wings=wing) as server,
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.send("GET", "/api/v1/slow")
        await started.wait()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.wait({stopping}, timeout=0)
        assert not stopping.done()
        assert not (state_dir / "labd.sock").exists()
        go_on.set()
        assert (await client.answer()).json == {"done": True}
        await stopping
        await server.stop()


async def test_stop_cuts_off_what_does_not_end(state_dir: Path) -> None:
    started = asyncio.Event()

    async def endless(call: Call) -> None:
        started.set()
        await asyncio.Event().wait()

    wing = [Endpoint("GET", "/api/v1/endless", endless, "read", "Endless", tags=("x",))]
    async with (
        open_door(MemoryEngine(), state_dir, of_wings=wing, stop_grace_s=0.05) as server,
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.send("GET", "/api/v1/endless")
        await started.wait()
        async with asyncio.timeout(5):
            await server.stop()
        assert await client.at_end()


async def test_another_file_at_the_path_is_not_removed(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    options = ApiOptions(socket=path, state_dir=state_dir)
    server = build(MemoryEngine(), options, [], FakeStatus(), nothing_changed)  # type: ignore[arg-type]
    await server.start()
    path.unlink()
    path.write_text("somebody else's")
    await server.stop()
    assert path.read_text() == "somebody else's"

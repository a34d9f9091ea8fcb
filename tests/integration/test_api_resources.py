"""Queues, schedules, tasks, audit, tokens, status, metrics, backup and pages; in front of the real engine."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.api_door import House, faulty_settings, open_door, open_house
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import RawClient


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[House]:
    async with open_house(state_dir) as found:
        yield found


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

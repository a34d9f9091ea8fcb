"""`--override REASON` at every command that asks for a job: recorded in the job, in the movements and in the audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labctl.__main__ import answer
from labctl.commands.root import run
from labctl.invocation import Invocation
from tests.fakes.inventory_house import InventoryHouse, open_inventory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@pytest.fixture
async def house(state_dir: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InventoryHouse]:
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 0.0}) as opened:
        await opened.post("/initialize", {"volumes_ul": {"red": 150.0, "yellow": 1000.0, "blue": 1000.0}})
        monkeypatch.setenv("LABD_HOST", opened.url)
        yield opened


@pytest.mark.parametrize("words", [["task", "run", "test.mix"], ["job", "submit", "test.mix", "--wait"]])
async def test_a_reason_takes_a_job_that_leaves_less_than_the_threshold(
    house: InventoryHouse, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(answer, [*words, "R=100"]) == 4
    assert "next: labctl inventory restock NAME=VOLUME --operator NAME; or --override REASON" in capsys.readouterr().err
    assert await asyncio.to_thread(answer, [*words, "R=100", "--override", "class is waiting"]) == 0
    job = (await house.client.ask("GET", "/api/v1/jobs")).json["jobs"][0]
    assert (job["state"], job["override"], job["needs"]) == ("succeeded", "class is waiting", {"red": 100.0})
    found = (await house.get(f"/history?job={job['id']}&kind=reservation"))["movements"]
    assert "class is waiting" in found[0]["cause"]
    page = await house.engine.audit_page(None, 20)
    assert any("class is waiting" in str(entry.details) for entry in page)
    assert (await house.get(""))["reservoirs"][0]["level_ul"] == 50.0


async def test_a_reason_must_say_something(house: InventoryHouse) -> None:
    for reason in ("", "   "):
        body: Any = {"task": "test.mix", "args": {"R": 100}, "override": reason}
        refused = await house.client.ask("POST", "/api/v1/jobs", body)
        assert refused.status in (400, 412, 422), refused.json
    assert (await house.client.ask("GET", "/api/v1/jobs")).json["jobs"] == []


class Recorder:
    """A client that takes everything and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def ask(self, request: Any, timeout_s: float | None = None) -> Any:
        self.asked.append(request)
        return {"protocol": "0" * 64, "id": 1, "task": "ot2.run_protocol", "state": "queued"}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("words", "reason"), [([], None), (["--override", "half a plate"], "half a plate")])
def test_a_run_of_the_robot_carries_the_reason(home: Path, words: list[str], reason: str | None) -> None:
    protocol = home / "mix.py"
    protocol.write_text("metadata = {}\n")
    call, client = Invocation("unix:/nowhere"), Recorder()
    call._client, call._client_host = client, call.host  # type: ignore[assignment]
    assert run(["ot2", "run", str(protocol), "--no-wait", *words], call) == 0
    submitted = [request.body for request in client.asked if request.path == "/api/v1/jobs"]
    assert [(body["task"], body.get("override")) for body in submitted] == [("ot2.run_protocol", reason)]

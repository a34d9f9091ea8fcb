"""`labctl alert` and `/api/v1/alerts` in front of the real book."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from labctl import AsyncClient
from labctl.__main__ import answer
from labd.api import alerts
from labd.api.openapi import document
from labd.errors import NotFound
from tests.fakes.alert_house import AlertHouse, Hook, hurried, turns
from tests.fakes.api_door import open_door
from tests.fakes.broker import until
from tests.fakes.raw_http import RawClient

LOW = {"code": "low_stock", "subject": "yellow", "message": "yellow: 45.0 ul are left", "state": "low"}
SLASH = {"code": "job_odd", "subject": "mix/colour 100%", "message": "odd"}
Labctl = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture(autouse=True)
async def in_a_hurry() -> AsyncIterator[None]:
    async with hurried():
        yield


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = await Hook().start()
    yield hook
    await hook.stop()


@pytest.fixture
async def house(state_dir: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AlertHouse]:
    house = await AlertHouse(state_dir, ops={"kind": "webhook", "url": hook.url}).open()
    routes = alerts.endpoints(house.book, house.notifier)
    async with open_door(house.engine, state_dir, of_wings=routes):
        monkeypatch.setenv("LABD_HOST", f"unix:{state_dir}/labd.sock")
        yield house
    await house.close()


@pytest.fixture
def labctl(capsys: pytest.CaptureFixture[str]) -> Labctl:
    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()  # the daemon's lines, which go there too
        code = await asyncio.to_thread(answer, ["alert", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


async def test_an_alert_from_the_list_to_its_acknowledgement(house: AlertHouse, labctl: Labctl) -> None:
    assert (await labctl("list"))[0] == 0
    house.standing = [LOW]
    await until(lambda: house.book.told("ops", "low_stock:yellow"))
    code, out, _ = await labctl("list")
    assert code == 6
    assert "low_stock:yellow" in out
    _, out, _ = await labctl("show", "low_stock:yellow", "--json")
    shown = json.loads(out)
    assert (shown["state"], shown["told"][0]["outlet"]) == ("open", "ops")
    code, out, _ = await labctl("ack", "low_stock:yellow", "--by", "bob", "--note", "ordered")
    assert (code, out) == (0, "alert low_stock:yellow: acknowledged by bob\n")
    code, out, _ = await labctl("list", "--format", "csv")
    assert code == 0
    assert "acknowledged" in out
    assert "ordered" in out


async def test_who_acknowledges_is_the_caller_unless_said(house: AlertHouse, labctl: Labctl) -> None:
    await house.fail(2)
    await until(lambda: house.book.by_key and house.book.find("job_failed:test.fail").count == 2)
    await until(lambda: house.book.told("ops", "job_failed:test.fail"))
    code, out, _ = await labctl("ack", "job_failed:test.fail")
    assert (code, out.endswith("; it is over with that\n")) == (0, True)
    (entry,) = [entry for entry in await house.engine.audit_page(None, 9) if entry.action == "alert.acknowledge"]
    assert (entry.actor, entry.details["by"]) == (entry.actor, entry.actor)
    code, out, _ = await labctl("list", "--json")
    assert (code, json.loads(out)["alerts"]) == (0, [])
    _, out, _ = await labctl("list", "--all", "--json")
    assert json.loads(out)["alerts"][0]["state"] == "cleared"
    code, _, err = await labctl("ack", "job_failed:test.fail")
    assert (code, "is over since" in err) == (4, True)


async def test_a_key_with_a_slash_and_a_percent_is_found(house: AlertHouse, labctl: Labctl) -> None:
    house.standing = [SLASH]
    await until(lambda: house.book.told("ops", "job_odd:mix/colour-100%"))
    code, out, _ = await labctl("ack", "job_odd:mix/colour-100%", "--json")
    assert (code, json.loads(out)["key"]) == (0, "job_odd:mix/colour-100%")


async def test_outlets_are_tried(house: AlertHouse, hook: Hook, labctl: Labctl) -> None:
    code, out, _ = await labctl("test", "ops")
    assert (code, out) == (0, "ops (http://127.0.0.1): taken\n")
    assert (hook.got[0]["test"], hook.got[0]["severity"]) == (True, "info")
    hook.answers = [500]
    code, out, _ = await labctl("test")
    assert (code, out) == (1, "ops (http://127.0.0.1): NOT taken: it answered 500: 'not now'\n")
    code, _, err = await labctl("test", "pos")
    assert (code, "no outlet pos; outlets: ops" in err) == (4, True)


async def test_the_asynchronous_client_says_the_same(house: AlertHouse, state_dir: Path) -> None:
    house.standing = [LOW]
    await until(lambda: house.book.by_key)
    async with AsyncClient(f"unix:{state_dir}/labd.sock") as lab:
        assert [alert["key"] for alert in await lab.alerts()] == ["low_stock:yellow"]
        assert (await lab.alert("low_stock:yellow"))["severity"] == "warning"
        assert (await lab.acknowledge_alert("low_stock:yellow", by="eve"))["acknowledged_by"] == "eve"
        assert [result["delivered"] for result in await lab.test_alerts()] == [True]
        with pytest.raises(NotFound):
            await lab.alert("low_stock:green")


async def test_bodies_are_checked_and_may_be_left_out(house: AlertHouse, state_dir: Path) -> None:
    house.standing = [LOW]
    await until(lambda: house.book.by_key)
    async with await RawClient.unix(state_dir / "labd.sock") as client:
        refused = await client.ask("POST", "/api/v1/alerts/low_stock:yellow/ack", {"bye": "x"})
        assert (refused.status, refused.code) == (400, "bad_request")
        assert (await client.ask("POST", "/api/v1/alerts/low_stock:yellow/ack")).json["state"] == "acknowledged"
        shown = (await client.ask("GET", "/api/v1/alerts")).json
        assert shown["outlets"][0] | {"last_told_at": None} == {
            "name": "ops", "kind": "webhook", "place": "http://127.0.0.1", "only": [], "min_severity": "warning",
            "failures": 0, "problem": None, "last_told_at": None,
        }  # fmt: skip


async def test_the_counts_follow_the_book(house: AlertHouse) -> None:
    house.standing = [LOW]
    await until(lambda: house.book.by_key)
    assert house.book.statistics()["alerts_open_warning"] == 1
    assert house.book.statistics()["alerts_unacknowledged"] == 1
    house.standing = []
    await turns(house)
    house.clock.ahead_s += 60.0
    await until(lambda: house.book.statistics()["alerts_open_warning"] == 0)


def test_every_route_is_in_the_document() -> None:
    routes: Any = alerts.endpoints(None, None)  # type: ignore[arg-type]
    told = document(routes, "1.0")
    assert set(told["paths"]) == {
        "/api/v1/alerts", "/api/v1/alerts/test", "/api/v1/alerts/{key}", "/api/v1/alerts/{key}/ack",
    }  # fmt: skip
    assert {"AlertView", "OutletTrials"} <= set(told["components"]["schemas"])

"""A client that is told "full" comes again after the time it was told, and gives up in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl import AsyncClient, Client
from labctl.patience import PATIENCE_S, STOP_PAUSE_S, Patience
from labctl.routes import stop
from labctl.transport import Transport, parse_address
from labd.errors import Overloaded, StopLatched, WingOff
from tests.fakes.fake_daemon import FakeDaemon

FULL = (503, {"code": "overloaded", "message": "labd bears 400 connections at once", "details": {}})
SHARE = (429, {"code": "share_taken", "message": "unix:anna has 300 requests under way, its share", "details": {}})
STATUS = "GET /api/v1/status"
SUBMIT = "POST /api/v1/jobs"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "labd.sock") as found:
        yield found


class Pauses:
    """A clock that only pauses move; after so many of them the daemon has room again."""

    def __init__(self, daemon: FakeDaemon, enough: int, *full: str) -> None:
        self.daemon, self.enough = daemon, enough
        self.now_s = 0.0
        self.lengths_s: list[float] = []
        daemon.errors.update(dict.fromkeys(full, FULL))

    def monotonic(self) -> float:
        return self.now_s

    def __call__(self, length_s: float) -> None:
        self.lengths_s.append(length_s)
        self.now_s += length_s
        if len(self.lengths_s) == self.enough:
            self.daemon.errors.clear()

    def client(self) -> Client:
        return Client(self.daemon.url, monotonic=self.monotonic, pause=self)


def asked(daemon: FakeDaemon, method: str, path: str) -> int:
    return sum((method, path) == (one[0], one[1]) for one in daemon.requests)


@pytest.mark.parametrize("full", [FULL, SHARE], ids=["for all", "for this caller"])
def test_a_read_and_a_submission_come_again_after_the_named_time(daemon: FakeDaemon, full: tuple[int, Any]) -> None:
    pauses = Pauses(daemon, 3, STATUS, SUBMIT)
    daemon.errors[STATUS] = full
    with pauses.client() as client:
        assert client.status()["host"] == "bench"
        assert asked(daemon, "GET", "/api/v1/status") == 4
        daemon.errors[SUBMIT] = full
        pauses.lengths_s.clear()
        assert client.submit("test.noop", {})["id"] == 1
        assert asked(daemon, "POST", "/api/v1/jobs") == 4
    assert all(2.0 <= length_s <= 3.0 for length_s in pauses.lengths_s)


def test_not_all_come_at_once(daemon: FakeDaemon) -> None:
    busy = Overloaded("full", retry_after_s=2)
    request = stop(None, None)._replace(path="/api/v1/status")
    lengths = [Patience(dice=lambda share=share: share).pause_s(busy, request) for share in (0.0, 0.5, 1.0)]
    assert lengths == [2.0, 2.5, 3.0]


def test_patience_ends(daemon: FakeDaemon) -> None:
    pauses = Pauses(daemon, -1, STATUS)
    with pauses.client() as client, pytest.raises(Overloaded, match="labd bears 400 connections at once") as found:
        client.status()
    assert found.value.details["retry_after_s"] == 2
    assert PATIENCE_S - 3.0 <= pauses.now_s <= PATIENCE_S


def test_a_stop_comes_again_at_once(daemon: FakeDaemon) -> None:
    pauses = Pauses(daemon, 2, "POST /api/v1/resort/stop")
    with pauses.client() as client:
        assert client.resort_stop(None, None)["confirmed"]
    assert pauses.lengths_s == [STOP_PAUSE_S, STOP_PAUSE_S]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((503, {"code": "wing_off", "message": "off", "details": {}}), WingOff),
        ((412, {"code": "stop_latched", "message": "latched", "details": {}}), StopLatched),
    ],
)
def test_any_other_refusal_is_told_at_once(daemon: FakeDaemon, answer: tuple[int, Any], error: type[Exception]) -> None:
    pauses = Pauses(daemon, -1)
    daemon.errors[STATUS] = answer
    with pauses.client() as client, pytest.raises(error):
        client.status()
    assert pauses.lengths_s == []


def test_a_reader_of_events_waits_for_its_place(daemon: FakeDaemon) -> None:
    daemon.feed = [{"seq": 1, "at": "", "kind": "n", "job_id": None, "data": {}}]
    daemon.holds_streams = False
    pauses = Pauses(daemon, 2, "GET /api/v1/events")
    with pauses.client() as client:
        assert [event["seq"] for event in client.events(after=0, quiet_s=5.0)] == [1]
    assert len(pauses.lengths_s) == 2


async def test_the_asynchronous_client_waits_too(daemon: FakeDaemon) -> None:
    daemon.errors[STATUS] = FULL
    daemon.retry_after = "0"
    async with AsyncClient(daemon.url) as client, asyncio.timeout(10):
        asking = asyncio.ensure_future(client.status())
        while asked(daemon, "GET", "/api/v1/status") < 3:
            await asyncio.wait([asking], timeout=0.01)
        daemon.errors.clear()
        assert (await asking)["host"] == "bench"


def test_the_transport_tells_the_header(daemon: FakeDaemon) -> None:
    daemon.errors[STATUS] = FULL
    transport = Transport([parse_address(daemon.url)])
    answer = transport.exchange(stop(None, None)._replace(method="GET", path="/api/v1/status", body=None))
    assert (answer.status, answer.retry_after) == (503, "2")
    transport.close()

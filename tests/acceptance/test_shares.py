"""A caller that takes all it can get of a real daemon: others have their answers, and a stop is a stop."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance.processes import FAST, Daemon, toml
from tests.acceptance.test_doors import free_port
from tests.acceptance.waiting import eventually
from tests.bench.raw_http import JOBS_PATH, Caller, request

CROWD, SHARE = 32, 24  # connections, and three quarters of them


class Crowd:
    """Connections of this user: each has one long poll after the other, or what it is refused."""

    def __init__(self, daemon: Daemon, job_id: int, callers: list[Caller]) -> None:
        self.poll = request("GET", f"{JOBS_PATH}/{job_id}?wait=60")
        self.refusals: list[tuple[int, Any]] = []
        self._threads: list[threading.Thread] = []
        for _ in range(CROWD):
            caller = Caller(daemon.socket, timeout_s=90.0)
            callers.append(caller)
            self._threads.append(threading.Thread(target=self._ask, args=(caller,)))
            self._threads[-1].start()

    def _ask(self, caller: Caller) -> None:
        try:
            caller.send(self.poll)
            status, body = caller.receive()
        except OSError:
            return
        self.refusals.append((status, json.loads(body)))

    def wait(self) -> None:
        """Until every poll has its answer."""
        for thread in self._threads:
            thread.join(30.0)
            assert not thread.is_alive()


@pytest.fixture
def callers() -> Iterator[list[Caller]]:
    """Connections, closed on the way out."""
    made: list[Caller] = []
    yield made
    for one in made:
        one.close()


def test_one_caller_gets_its_share_others_their_answers_and_a_stop_is_heard(
    daemons: Callable[..., Daemon], callers: list[Caller]
) -> None:
    port = free_port()
    api = toml("api", listen=f"127.0.0.1:{port}", connections_at_most=CROWD)
    daemon = daemons(api + toml("resort", driver="simulated", **FAST), test_wing=True).start().ready()
    daemon.labctl.ok("resort", "connect")
    token = daemon.labctl.json("token", "create", "other", "--scope", "operate")["token"]
    job = daemon.client.submit("test.noop", delay_s=600)
    daemon.client.close()
    crowd = Crowd(daemon, job["id"], callers)
    eventually(lambda: len(crowd.refusals) >= CROWD - SHARE, 20.0, "refusals")
    assert {status for status, _ in crowd.refusals} <= {429, 503}
    told = next(body for status, body in crowd.refusals if status == 429)
    assert (told["code"], told["details"]["at_most"]) == ("share_taken", SHARE)

    other = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    bearer = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    other.request("GET", "/metrics", headers=bearer)
    text = other.getresponse().read().decode()
    assert f'labd_refused_total{{limit="share_per_caller"}} {sum(s == 429 for s, _ in crowd.refusals)}' in text
    with closing(Caller(daemon.socket)) as mine:  # the greedy user itself: its other requests wait, its stop does not
        assert mine.ask("GET", "/api/v1/status")[0] in (429, 503)
    with closing(Caller(daemon.socket)) as mine:
        status, stopped = mine.ask("POST", JOBS_PATH, {"task": "resort.emergency_stop"})
        assert (status, stopped["state"]) == (201, "succeeded"), stopped
    other.request("GET", "/api/v1/resort/status", headers=bearer)
    resort = json.loads(other.getresponse().read())
    assert resort["stop_latched"] and not resort["torque_enabled"], resort
    other.request("POST", f"/api/v1/jobs/{job['id']}/cancel", body="{}", headers=bearer)
    assert other.getresponse().read()
    other.close()
    crowd.wait()
    assert sum(status == 200 for status, _ in crowd.refusals) >= SHARE - 1
    assert daemon.labctl.json("status")["state"] == "serving"

"""The short form of the load bench: a crowd at both doors of a real daemon, and every promise looked after.

The long form is `python -m tests.bench.crowd --minutes 10`. Why no time is asserted but one: how fast a busy machine
answers is no promise; that nothing is lost, doubled, mixed up or hung up on is, and so is that a stop gets through.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import SLOW, Daemon, toml
from tests.acceptance.waiting import eventually
from tests.bench import crowd, crowd_phases
from tests.bench.crowd_house import House
from tests.bench.raw_http import JOBS_PATH, Caller, request
from tests.bench.stop import on_wire_s

SIZE = crowd_phases.Size(
    clients=6, closed_s=2.0, streams=150, burst=200, stuck=8, rude_s=2.0, flood_per_s=600.0, stop_every_s=0.5,
    quiet_stops=1,
)  # fmt: skip
pytestmark = pytest.mark.timeout(240)  # of a machine that is busy with other things; a quiet one takes half a minute
FEW = "connections_at_most = 100\nevent_streams_at_most = 200\nbodies_at_most_bytes = 8388608\nshare_per_caller = 1.0\n"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything once, on one daemon, and its file compared with what the clients were told."""
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    found: dict[str, Any] = {"seed": seed}
    with House(Path(tmp_path_factory.mktemp("c")), random.Random(seed), FEW) as house:
        for name, phase in crowd_phases.PHASES.items():
            found[name] = phase(house, SIZE)
    found["keys"] = crowd.keys_that_differ(house.daemon.database, house.told)
    wire_ms = [each * 1000 for each in on_wire_s([press.at for press in house.presses], house.wire_moments())]
    found["stops"] = crowd_phases.stop_figures(house.presses, wire_ms)
    found["errors"] = house.errors()
    return found


def test_no_promise_is_broken(figures: dict[str, Any]) -> None:
    assert crowd.broken(figures) == []
    assert figures["errors"] == []


def test_clients_at_both_doors_get_their_own_answers_each_once(figures: dict[str, Any]) -> None:
    for told in figures["closed"]["clients"].values():
        assert told["fault_count"] == 0
        assert told["answers"] >= 100
    keys = figures["keys"]
    assert (keys["lost"], keys["doubled_or_other"], keys["doubled_in_file"]) == (0, 0, 0)
    assert keys["acknowledged"] > 100


def test_every_listener_sees_everything_once_and_in_order(figures: dict[str, Any]) -> None:
    for told in figures["listeners"]["streams"].values():
        assert told["statuses"] == {"200": 75}
        assert (told["disorder"], told["cut"], told["not_at_goal"], told["different"]) == (0, 0, 0, 1)
        assert told["events"] == told["fewest_events"] >= 3 * SIZE.burst


def test_stuck_clients_do_not_hold_the_others(figures: dict[str, Any]) -> None:
    for told in figures["stuck"]["clients"].values():
        assert told["fault_count"] == 0
        assert told["answers"] >= 100


def test_too_many_are_refused_in_good_form_and_labd_is_well_afterwards(figures: dict[str, Any]) -> None:
    for kind, told in figures["overload"].items():
        assert told["faults"] == [], kind
        assert set(told["statuses"]) <= {"200", "201", "408", "503", "not sent: 1500 under way"}, kind
        assert told["well_again_s"] < 10.0, kind
    assert figures["overload"]["bodies"]["statuses"]["503"] >= 20
    assert figures["overload"]["bodies"]["uss_bytes_more_at_most"] < 80 * 2**20


def test_every_stop_gets_through_the_crowd(figures: dict[str, Any]) -> None:
    stops = figures["stops"]
    assert stops["unconfirmed"] == 0
    for phase in crowd_phases.PHASES:
        assert stops[phase]["wire_ms"]["max"] < 5000.0, phase  # `inf` where no byte went to the motor


def test_labctl_stops_in_a_full_house_and_waits_with_everything_else(daemons: Callable[..., Daemon]) -> None:
    settings = toml("api", connections_at_most=16, share_per_caller=1.0) + toml("resort", driver="simulated", **SLOW)
    daemon = daemons(settings, test_wing=True).start().ready()
    job = daemon.client.submit("test.noop", delay_s=600)
    daemon.labctl.ok("resort", "activate", "B", "--no-wait")
    daemon.moving()
    daemon.client.close()  # or it would be the one who has been quiet for longest
    waiting: list[Caller] = []
    poll = request("GET", f"{JOBS_PATH}/{job['id']}?wait=60")
    eventually(lambda: _takes_its_place(daemon, waiting, poll) and len(waiting) == 16, 20.0, "a full house")
    assert json.loads(daemon.labctl.ok("--json", "resort", "stop"))["confirmed"]
    with daemon.labctl.running("--json", "status") as status:
        with pytest.raises(subprocess.TimeoutExpired):  # it has not given up, and it has no answer
            status.wait(2.0)
        for caller in waiting:
            caller.close()
        out, err = status.communicate(timeout=20)
    assert status.returncode == 0, err
    assert json.loads(out)["state"] == "serving"
    daemon.client.resort_reset("test", "the stop was a test")


def _takes_its_place(daemon: Daemon, waiting: list[Caller], poll: bytes) -> bool:
    """Send one more poll; it has its place if it is not answered at once."""
    caller = Caller(daemon.socket, timeout_s=0.3)
    caller.send(poll)
    try:
        caller.receive()
    except TimeoutError:
        waiting.append(caller)
        return True
    caller.close()
    return False

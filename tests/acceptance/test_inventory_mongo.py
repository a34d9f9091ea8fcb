"""The MongoDB outlet of a daemon that is killed: every movement arrives once, on a real server over TCP."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.conftest import MONGO_URL
from tests.fakes.mongo_server import GivenServer, MongoTestServer

STOCK = toml("inventory", threshold_ul=0, evaporation_rate_ul_per_hour=0)
STOCK += toml("inventory.reservoir.red", capacity_ul=1e6) + toml("inventory.reservoir.yellow", capacity_ul=1e6)
KILLS = 5
ARRIVES_S = 30.0


@pytest.fixture
def server(state_dir: Path) -> Iterator[MongoTestServer]:
    """A server of its own, or the one of LABD_TEST_MONGO_URL."""
    given = GivenServer() if MONGO_URL else MongoTestServer(state_dir / "mongo")
    try:
        yield asyncio.run(given.start())
    finally:
        given.kill()
        shutil.rmtree(state_dir / "mongo", ignore_errors=True)


@pytest.fixture
def daemon(daemons: Callable[..., Daemon], server: MongoTestServer) -> Daemon:
    """10 ml of each stand in MongoDB already."""
    made = daemons(settings(server, poll_s=0.05, batch=7))
    made.env |= server.environ
    made.start()
    made.client.initialize_inventory({"red": 10_000.0, "yellow": 10_000.0}, "ann")
    eventually(lambda: same_levels(made, server), ARRIVES_S, "the levels in MongoDB")
    return made


def settings(server: MongoTestServer, **keys: Any) -> str:
    return STOCK + toml("mongo", database=server.database, plaintext=True, **keys)


def restocks(server: MongoTestServer) -> list[dict[str, Any]]:
    """The log as a lab's program reads it, in its order."""
    with server.client() as client:
        return [*client[server.database]["restock_log"].find({}).sort("_id")]


def levels_ul(server: MongoTestServer) -> dict[str, float]:
    with server.client() as client:
        return {one["color"]: one["volume_ul"] for one in client[server.database]["inventory"].find({})}


def same_levels(daemon: Daemon, server: MongoTestServer) -> bool:
    return levels_ul(server) == {one["key"]: one["level_ul"] for one in daemon.client.inventory()["reservoirs"]}


def test_a_kill_between_movement_and_send_loses_nothing_and_doubles_nothing(
    daemon: Daemon, server: MongoTestServer
) -> None:
    daemon.kill()
    daemon.configure(settings(server, poll_s=3600))  # looks when it has connected, and an hour later
    daemon.start()
    eventually(lambda: daemon.client.status()["mongo"]["connected"], ARRIVES_S, "the connection to MongoDB")
    for operator in ("ben", "eve"):
        daemon.labctl.ok("inventory", "restock", "1", "2", "--operator", operator)
    daemon.labctl.ok("inventory", "adjust", "red", "-0.5", "--reason", "spilt")
    assert [one["operator"] for one in restocks(server)] == ["ann"]
    assert levels_ul(server) == {"red": 10_000.0, "yellow": 10_000.0}
    for _ in range(2):  # the second start finds everything there
        daemon.kill()
        daemon.start()
        eventually(lambda: same_levels(daemon, server), ARRIVES_S, "the levels in MongoDB")
        assert [one["operator"] for one in restocks(server)] == ["ann", "ben", "eve"]
        assert levels_ul(server) == {"red": 11_500.0, "yellow": 14_000.0}


def test_kills_at_any_moment_of_the_sending_leave_each_restock_there_once(
    daemon: Daemon, server: MongoTestServer
) -> None:
    number = SystemRandom().randrange(2**32)
    print(f"seed {number}")
    random = Random(number)
    operators = ["ann"]
    for _ in range(KILLS):
        for _ in range(random.randint(1, 25)):
            operators.append(f"operator-{len(operators)}")
            daemon.client.restock_inventory({"red": 10.0, "yellow": 20.0}, operators[-1])
        daemon.kill()
        daemon.start()
    eventually(lambda: same_levels(daemon, server), ARRIVES_S, "the levels in MongoDB")
    found = restocks(server)
    assert [one["operator"] for one in found] == operators
    assert [one["movement_id"] for one in found] == sorted({one["movement_id"] for one in found})
    count = len(operators) - 1
    assert levels_ul(server) == {"red": 10_000.0 + 10.0 * count, "yellow": 10_000.0 + 20.0 * count}

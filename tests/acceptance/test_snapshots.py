"""The seed's quick start on a daemon as a user runs it, with a kill -9 in the middle of a load."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually

pytest.importorskip("ladybug")

TABLE = toml("snapshots", allow_simulate=True) + toml("snapshots.orchestrator", scan_interval=1, retry_backoff_base=0.1)
COUNT = "MATCH (p:Person) RETURN count(p) AS people"


@pytest.fixture
def daemon(daemons: Callable[..., Daemon]) -> Daemon:
    return daemons(TABLE).start()


def serving(daemon: Daemon, customer: str) -> str | None:
    active: str | None = daemon.client.snapshot_customer(customer)["active"]
    return active


def people(daemon: Daemon, customer: str) -> int:
    return int(daemon.client.query_snapshot(customer, COUNT)["rows"][0][0])


def test_a_dropped_snapshot_comes_to_serve_and_the_next_takes_over(daemon: Daemon) -> None:
    labctl = daemon.labctl
    assert "0 new under" in labctl.ok("snapshot", "scan")
    out = labctl.ok("snapshot", "simulate", "--customer", "customer1", "--rows", "100", "--wait")
    first = serving(daemon, "customer1")
    assert first is not None
    assert f"customer1 serves {first}" in out
    labctl.ok("snapshot", "simulate", "--customer", "customer1", "--rows", "101")
    second = eventually(lambda: (now := serving(daemon, "customer1")) != first and now, 20.0, "a swap")
    assert labctl.ok("snapshot", "query", "customer1", COUNT, "--csv") == "people\n101\n"
    daemon.kill()
    daemon.start()
    assert (serving(daemon, "customer1"), people(daemon, "customer1")) == (second, 101)
    assert f"customer1 serves {first}" in labctl.ok("snapshot", "rollback", "customer1", "--reason", "it was right")
    assert people(daemon, "customer1") == 100
    status = labctl.ok("status")
    assert "wing snapshots: on; embedded reachable" in status
    eventually(lambda: "customer1" in labctl.ok("snapshot", "list", "--state", "active"), 5.0)


def test_a_daemon_killed_in_the_middle_of_a_load_ends_with_one_whole_database(daemon: Daemon) -> None:
    laid = daemon.client.simulate_snapshot("customer1", rows=200_000)
    stamp = laid["snapshots"][0]["timestamp"]
    which = ("customer1", stamp)
    eventually(lambda: daemon.client.snapshot(*which)["state"] == "loading", 20.0, "a load")
    daemon.kill()
    daemon.start()
    eventually(lambda: daemon.client.snapshot(*which)["state"] == "active", 60.0, "a load that was done again")
    assert people(daemon, "customer1") == 200_000
    health = daemon.labctl.json("snapshot", "health")
    assert (health["ok"], health["databases"]) == (True, 1)


def test_after_a_night_off_only_the_newest_of_many_versions_is_loaded(daemon: Daemon) -> None:
    laid = daemon.client.simulate_snapshot("customer1", rows=50)["snapshots"][0]["timestamp"]
    eventually(lambda: serving(daemon, "customer1") == laid, 20.0, "the first version")
    folder = Path(daemon.client.snapshot("customer1", laid)["path"])
    daemon.kill()
    stamps = [str(int(laid) + number) for number in range(1, 7)]
    for stamp in stamps:
        shutil.copytree(folder, folder.parent / stamp)
    daemon.start()
    eventually(lambda: serving(daemon, "customer1") == stamps[-1], 30.0, "the newest version")
    found = {stamp: daemon.client.snapshot("customer1", stamp) for stamp in stamps}
    states = eventually(
        lambda: all(daemon.client.snapshot("customer1", stamp)["state"] == "superseded" for stamp in stamps[:-1]),
        20.0, "the older versions",
    )  # fmt: skip
    assert states and found[stamps[-1]]["state"] == "active"
    told = [daemon.client.snapshot("customer1", stamp) for stamp in stamps[:-1]]
    assert {(one["database"], one["load_s"]) for one in told} == {(None, None)}  # none of them was ever loaded
    out = daemon.labctl.ok("snapshot", "load", "customer1", stamps[2])  # a person may want one all the same
    assert stamps[2] in out
    assert daemon.client.snapshot("customer1", stamps[2])["database"] is not None
    assert serving(daemon, "customer1") == stamps[-1]
    assert f"customer1 serves {laid}" in daemon.labctl.ok("snapshot", "rollback", "customer1", "--reason", "a try")


def test_a_store_whose_password_is_not_there_leaves_the_daemon_and_says_so(daemons: Callable[..., Daemon]) -> None:
    table = toml("snapshots", engine="neo4j") + toml("snapshots.neo4j", password="env:NO_SUCH_PASSWORD")
    daemon = daemons(table).start()
    assert "env:NO_SUCH_PASSWORD: the environment variable NO_SUCH_PASSWORD is not set" in daemon.labctl.ok("status")
    code, _, err = daemon.labctl("snapshot", "list")
    assert (code, "wing snapshots is off" in err) == (4, True), err


def test_without_the_table_the_wing_is_off_and_says_how_it_gets_on(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons("").start()
    code, _, err = daemon.labctl("snapshot", "list")
    assert (code, err) == (
        4, "labctl: wing snapshots is off: `labctl status` says why; [snapshots] in labd.toml turns it on\n"
    )  # fmt: skip
    assert daemon.labctl("inventory", "show")[0] == 4
    assert "wing inventory" in daemon.labctl("inventory", "show")[2]

"""Each party of the chaos test goes away and comes back under a small daemon: its wing recovers by itself.

Twice each: a cable that is cut is told at once, one that is silent has to be found out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from labctl import Client
from labd.errors import LabdError
from tests.acceptance.waiting import eventually
from tests.chaos.daemon import ChaosDaemon
from tests.chaos.parties import parties
from tests.chaos.port import World
from tests.chaos.witness_carousel import Motor
from tests.chaos.witness_graph import Alias
from tests.chaos.witness_lake import Lake
from tests.chaos.witness_mongodb import Mirror
from tests.chaos.witness_mqtt import Asker
from tests.chaos.witness_robot import Runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]
SOON_S = 20.0


@dataclass
class Lab:
    """A daemon and the parties that a test is about."""

    world: World
    client: Client

    def party(self, name: str) -> Any:
        return self.world.parties[name]

    def told(self, **more: Any) -> dict[str, Any]:
        return {"at_rest": True, "lakes": {}, "snapshots": {}, **more}

    def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        found = self.client.wait(job["id"], SOON_S)
        assert found["state"] in ("succeeded", "failed", "cancelled", "interrupted"), found
        return found


@contextmanager
def lab(folder: Path, *names: str, graph: Any = "neo4j") -> Iterator[Lab]:
    every = parties(folder, graph)
    chosen = {name: every[name] for name in names}
    daemon = ChaosDaemon(folder)
    try:
        for party in chosen.values():
            party.start()
        daemon.configure("".join(party.settings() for party in chosen.values()))
        daemon.start()
        with Client(f"unix:{daemon.socket}") as client:
            yield Lab(World(folder, daemon, chosen, Random(1)), client)
    finally:
        daemon.stop()
        for party in chosen.values():
            party.end()


def test_an_adapter_that_is_pulled_in_a_move_stops_the_motor_and_its_return_lets_the_next_move_go(
    state_dir: Path,
) -> None:
    with lab(state_dir, "carousel") as one:
        carousel, motor = one.party("carousel"), Motor()
        eventually(lambda: "move_to_angle" in one.client.resort_status()["allowed_actions"], SOON_S, "the carousel")
        for degrees in (170.0, 264.0):
            job = one.client.submit("resort.move_to_angle", {"degrees": degrees})
            carousel.bus.moving()
            carousel.away()
            assert one.ended(job)["state"] in ("failed", "interrupted")
            eventually(lambda: not carousel.bus.servo()["moving"], SOON_S, "the motor's own stop")
            carousel.back()
            eventually(lambda: "move_to_angle" in one.client.resort_status()["allowed_actions"], SOON_S, "its return")
            assert (
                one.ended(one.client.submit("resort.move_to_angle", {"degrees": degrees / 2}))["state"] == "succeeded"
            )
        assert motor.look(one.world, one.told()) == []
        assert motor.figures["watchdog_tripped"] == 2


def test_a_run_goes_on_while_nobody_reaches_the_robot_and_is_counted_once(state_dir: Path) -> None:
    with lab(state_dir, "robot", "mongodb") as one:
        robot, runs = one.party("robot"), Runs()
        one.client.initialize_inventory({"red": 1000.0, "yellow": 1000.0}, "anna")
        for _ in range(2):
            eventually(lambda: one.client.ot2_status()["state"] == "ready", SOON_S, "the robot")
            protocol = robot.next_protocol({"red": 30.0, "yellow": 6.0}, pieces=3, seconds=40)
            path = state_dir / protocol.name
            path.write_text(protocol.text)
            job = one.client.ot2_run(path)
            eventually(lambda: (one.client.ot2_status()["run"] or {}).get("status") == "running", SOON_S, "a run")
            robot.away()
            eventually(lambda: one.client.ot2_status()["state"] == "lost", SOON_S, "the loss")
            robot.back()
            assert one.ended(job)["state"] == "succeeded"
        assert runs.look(one.world, one.told()) == []
        assert (runs.figures["runs"], level(one, "red"), level(one, "yellow")) == (2, 940.0, 988.0)


def test_requests_outlive_a_broker_that_is_killed(state_dir: Path) -> None:
    with lab(state_dir, "broker", "mongodb") as one:
        broker, asker = one.party("broker"), Asker()
        one.client.initialize_inventory({"green": 0.0}, "anna")
        asker.begin(one.world)
        try:
            for wanted in (3, 6):
                eventually(lambda wanted=wanted: asker.answered >= wanted, SOON_S, f"{wanted} answers")
                broker.away()
                eventually(lambda: not one.client.status()["mqtt"]["connected"], SOON_S, "the loss")
                broker.back()
            eventually(lambda: asker.answered >= 9, SOON_S, "9 answers")
        finally:
            asker.end()
        assert asker.look(one.world, one.told()) == []
        assert level(one, "green") == asker.figures["requests"] >= 9


def test_what_is_filled_in_while_mongodb_is_away_is_shown_once_when_it_is_back(state_dir: Path) -> None:
    with lab(state_dir, "mongodb") as one:
        mongodb, mirror = one.party("mongodb"), Mirror()
        one.client.initialize_inventory({"red": 100.0, "blue": 100.0}, "anna")
        assert mirror.look(one.world, one.told()) == []
        for number in range(2):
            mongodb.away()
            one.client.restock_inventory({"red": 5.0, "blue": 1.0}, f"ben {number}")
            eventually(lambda: not one.client.status()["mongo"]["connected"], SOON_S, "the loss")
            mongodb.back()
            assert mirror.look(one.world, one.told()) == []
        assert mirror.figures["restocks"] == 3


@pytest.mark.parametrize(("graph", "name"), [("neo4j", "neo4j"), ("embedded", "share")])
def test_a_snapshot_that_came_while_the_store_was_away_serves_soon_after_its_return(
    state_dir: Path, graph: str, name: str
) -> None:
    with lab(state_dir, name, graph=graph) as one:
        party, alias = one.party(name), Alias()
        laid = [{"timestamp": party.lay_down("acme", 20)}]
        serves(one, laid)
        alias.begin(one.world)
        try:
            for nodes in (21, 22):
                party.away()
                laid.append({"timestamp": party.lay_down("acme", nodes)})
                if graph == "neo4j":
                    eventually(lambda: not one.client.snapshot_health()["ok"], SOON_S, "the loss")
                party.back()
                serves(one, laid)
            looks = alias.figures["looks"]
            eventually(lambda: alias.figures["looks"] > looks + 3, SOON_S, "looks at the last one")
        finally:
            alias.end()
        assert alias.look(one.world, one.told(snapshots={"acme": laid})) == []


def test_files_of_a_store_that_is_away_are_in_the_table_once_when_it_is_back(state_dir: Path) -> None:
    with lab(state_dir, "objects") as one:
        objects, lake = one.party("objects"), Lake()
        sources = {"chaos": {"bucket": True, "table": "chaos"}}
        objects.put("a.jsonl", 3)
        assert one.ended(ingest(one))["result"]["records"] == 3
        for number in range(2):
            objects.put("a.jsonl", 2)
            objects.put(f"{number}.jsonl", 4)
            objects.away()
            job = ingest(one)
            eventually(lambda job=job: one.client.job(job["id"])["state"] != "queued", SOON_S, "its start")
            objects.back()
            one.ended(job)
            assert one.ended(ingest(one))["state"] == "succeeded"
            assert lake.look(one.world, one.told(lakes=sources)) == []
        assert lake.figures["chaos_rows"] == 2 + 4 + 4


def ingest(one: Lab) -> dict[str, Any]:
    found: dict[str, Any] = one.client.submit("ingest.run", {"ingestion": "chaos"})
    return found


def level(one: Lab, key: str) -> float:
    return float(next(each["level_ul"] for each in one.client.inventory()["reservoirs"] if each["key"] == key))


def serves(one: Lab, laid: list[dict[str, Any]]) -> None:
    def newest() -> bool:
        try:
            return bool(one.client.snapshot_customer("acme")["active"] == laid[-1]["timestamp"])
        except LabdError:
            return False

    eventually(newest, SOON_S, f"the service of {laid[-1]}")

"""The witnesses of the chaos test see a broken promise where there is one: each is shown a lie."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.checker_files import GENESIS, Audit, Latch
from tests.chaos.checker_jobs import Jobs, Schedule
from tests.chaos.checker_leaks import Litter
from tests.chaos.checker_stock import Stock
from tests.chaos.port import World
from tests.chaos.told import Told

TABLES = """
CREATE TABLE jobs (id INTEGER PRIMARY KEY, task, state, attempt, effect, idempotency_key, created_at, started_at, args,
    result, more, schedule);
CREATE TABLE audit (id INTEGER PRIMARY KEY, at, actor, action, subject, details, prev_hash, hash);
CREATE TABLE facts (key, value);
CREATE TABLE inventory_movement (reservoir, ordinal, kind, volume_pl, level_before_pl, level_after_pl,
    reserved_before_pl, reserved_after_pl, reserve_pl, cause, job_id);
CREATE TABLE inventory_claim (job_id, reservoir, remaining_pl);
"""


class House:
    """Files as a daemon leaves them, without one."""

    def __init__(self, folder: Path) -> None:
        state = folder / "state"
        state.mkdir()
        self.trace = folder / "trace.jsonl"
        self.record = folder / "bus.jsonl"
        self.told = Told(self.trace)
        daemon: Any = SimpleNamespace(state=state, pid=None)
        self.world = World(folder, daemon, {}, Random(1))
        self._database = sqlite3.connect(state / "labd.db", isolation_level=None)
        self._database.executescript(TABLES)

    def close(self) -> None:
        self._database.close()

    def job(self, number: int, task: str, state: str, key: str = "", result: Any = None, **more: Any) -> None:
        args = {"key": key, **more.pop("args", {})}
        row = {"attempt": 1, "effect": "physical", "created_at": 0.0, "started_at": 0.0, "schedule": None, **more}
        values = (number, task, state, row["attempt"], row["effect"], key, row["created_at"], row["started_at"],
                  json.dumps(args), json.dumps(result), "{}", row["schedule"])  # fmt: skip
        self._database.execute(f"INSERT OR REPLACE INTO jobs VALUES ({', '.join('?' * 12)})", values)

    def ask(self, key: str, task: str, number: int | None) -> None:
        self.told.ask(key, task, {"key": key})
        if number is not None:
            self.told.acknowledge(key, number)

    def write(self, statement: str, *values: Any) -> None:
        self._database.execute(statement, values)

    def tell(self, path: Path, **line: Any) -> None:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def look(self, witness: Any) -> list[str]:
        found: list[str] = witness.look(self.world, self.told.view())
        return found


@pytest.fixture
def house(tmp_path: Path) -> Any:
    house = House(tmp_path)
    yield house
    house.close()


def test_an_acknowledged_job_that_is_not_there_is_seen(house: House) -> None:
    house.ask("a", "echo", 1)
    house.job(1, "echo", "succeeded", "a", "a")
    jobs = Jobs(house.trace)
    assert house.look(jobs) == []
    house.write("DELETE FROM jobs")
    assert house.look(jobs) == [
        "job 1 (a): acknowledged, and not in the database", "job 1: it had ended as succeeded, and is gone"
    ]  # fmt: skip


def test_a_physical_body_that_began_twice_is_seen(house: House) -> None:
    house.job(1, "shake", "interrupted", "a")
    jobs = Jobs(house.trace)
    house.tell(house.trace, kind="start", key="a", job=1)
    assert house.look(jobs) == []
    house.tell(house.trace, kind="start", key="a", job=1)
    assert house.look(jobs) == ["job 1 (a): physical, and its body began 2 times"]


def test_a_body_of_a_job_that_was_refused_is_seen(house: House) -> None:
    house.told.ask("a", "echo", {"key": "a"})
    house.told.refuse("a", asked_once=True)
    house.tell(house.trace, kind="start", key="a", job=7)
    assert house.look(Jobs(house.trace)) == ["job 7 (a): its body ran, and it is not in the database"]
    house.job(7, "echo", "succeeded", "a", "a")
    assert house.look(Jobs(house.trace)) == ["job 7 (a): refused, and in the database"]


def test_a_wrong_result_and_a_job_that_never_ends_are_seen_at_rest(house: House) -> None:
    house.job(1, "echo", "succeeded", "a", "b", effect="repeatable")
    house.job(2, "shake", "running", "c")
    assert house.look(Jobs(house.trace)) == []
    house.told.at_rest = True
    assert house.look(Jobs(house.trace)) == [
        "job 1 (echo): its result is b, it was asked for a", "job 2 (shake): running, and everything is at rest"
    ]  # fmt: skip


def test_a_scheduled_moment_with_two_jobs_is_seen(house: House) -> None:
    key = "schedule:beat:1970-01-01T00:00:02.000000Z"
    house.job(1, "echo", "succeeded", key, created_at=2.1, schedule="beat")
    assert house.look(Schedule()) == []
    house.job(2, "echo", "succeeded", key, created_at=1.0, schedule="beat")
    assert [found.split(" 1970")[0] for found in house.look(Schedule())] == ["jobs 1 and 2 are both of", "job 2 of"]


def test_liquid_that_moved_without_its_debit_is_seen(house: House) -> None:
    house.told.draws["a"] = {"red": 8.0, "yellow": 0.0, "pieces": 2}
    house.job(1, "draw", "interrupted", "a")
    insert = f"INSERT INTO inventory_movement VALUES ({', '.join('?' * 11)})"
    house.write(insert, "red", 1, "restock", 100_000_000, 0, 100_000_000, 0, 0, 0, "initialized", None)
    house.write(insert, "red", 2, "consumption", -4_000_000, 100_000_000, 96_000_000, 0, 0, 0, "draw", 1)
    stock = Stock(house.trace)
    assert house.look(stock) == []  # debited, and killed before it moved
    house.tell(house.trace, kind="drew", key="a", job=1, reservoir="red", volume_ul=4.0)
    assert house.look(stock) == []
    house.tell(house.trace, kind="drew", key="a", job=1, reservoir="red", volume_ul=4.0)
    assert house.look(stock) == ["job 1 (interrupted): 8000000 pl of red moved, 4000000 pl were debited"]


def test_paint_that_was_filled_in_and_is_not_in_the_ledger_is_seen(house: House) -> None:
    house.told.restocks["r1"] = {"reservoir": "red", "volume_ul": 16.0, "told": False}
    assert house.look(Stock(house.trace)) == []
    house.told.restocks["r1"]["told"] = True
    assert [found.partition(":")[0] for found in house.look(Stock(house.trace))] == ["restock r1"]


def test_an_audit_entry_that_was_changed_or_taken_away_is_seen(house: House) -> None:
    head = GENESIS
    for number in (1, 2, 3):
        entry = [number, repr(1.5), "ann", "job.submit", "job 1", "{}", head]
        digest = hashlib.sha256(json.dumps(entry, separators=(",", ":")).encode()).hexdigest()
        house.write("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", number, 1.5, *entry[2:], digest)
        head = digest
    audit = Audit()
    assert house.look(audit) == []
    house.write("DELETE FROM audit WHERE id = 3")
    assert house.look(audit) == ["entry 3 of the audit is gone or another one"]
    house.write("UPDATE audit SET actor = 'bob' WHERE id = 2")
    assert house.look(Audit()) == ["entry 2 of the audit does not follow entry 1: job.submit job 1"]


def test_a_latch_that_is_lost_and_a_move_under_it_are_seen(house: House) -> None:
    latch = Latch(house.record)
    house.told.stopped()
    (house.world.daemon.state / "resort-main.stop-latched").touch()
    assert house.look(latch) == []
    (house.world.daemon.state / "resort-main.stop-latched").unlink()
    assert house.look(latch) == [
        "a stop was acknowledged and not reset, and its latch is in none of its three places"
    ]  # fmt: skip
    house.write("INSERT INTO facts VALUES ('resort:main:stop_latch', '{}')")
    begin = house.told.latch_spans[-1][0]
    house.tell(house.record, kind="move_started", mono=begin + 1.0)
    assert [found.partition(" at ")[0] for found in house.look(latch)] == ["1 moves began between an acknowledged stop"]


def test_a_draft_that_nobody_clears_away_is_seen(house: House) -> None:
    (house.world.daemon.state / "half.part").touch()
    house.told.at_rest = True
    litter = Litter()
    assert [len(house.look(litter)) for _ in range(4)] == [0, 0, 1, 0]

"""Each witness of the parties sees the harm that it is there for, laid into records, ledgers and stores by hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.party_neo4j import Neo4j
from tests.chaos.port import World
from tests.chaos.witness_carousel import Motor
from tests.chaos.witness_graph import Alias
from tests.chaos.witness_lake import Lake, tokens_twice
from tests.chaos.witness_mongodb import Mirror
from tests.chaos.witness_mqtt import Asker, Request
from tests.chaos.witness_robot import Runs
from tests.fakes.neo4j_catalogue import Graph

JOBS = "CREATE TABLE jobs (id INTEGER, task TEXT, state TEXT, attempt INTEGER, args TEXT, idempotency_key TEXT)"
MOVEMENTS = (
    "CREATE TABLE inventory_movement (operation INTEGER, reservoir TEXT, ordinal INTEGER, kind TEXT, volume_pl INTEGER,"
    " level_after_pl INTEGER, cause TEXT, job_id INTEGER)"
)
REST = {"at_rest": True, "lakes": {}, "snapshots": {}}
QUARTER = 1024
Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A world whose daemon left these rows, and whose parties are what the test says."""

    def made(jobs: Any = (), movements: Any = (), **parties: Any) -> World:
        state = tmp_path / "state"
        state.mkdir()
        database = sqlite3.connect(state / "labd.db")
        database.execute(JOBS)
        database.execute(MOVEMENTS)
        database.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", jobs)
        database.executemany("INSERT INTO inventory_movement VALUES (?, ?, ?, ?, ?, ?, ?, ?)", movements)
        database.commit()
        database.close()
        daemon: Any = SimpleNamespace(state=state, pid=1)
        return World(tmp_path, daemon, parties, Random(1))

    return made


def record_of(folder: Path, *lines: dict[str, Any]) -> Any:
    path = folder / "record.jsonl"
    path.write_text("".join(json.dumps({"seq": number, **line}) + "\n" for number, line in enumerate(lines)))
    return SimpleNamespace(record=path)


# -- the carousel

TURN = (1, "resort.move_to_angle", "succeeded", 1, '{"degrees": 90.0}', "a")
HEARD = {"kind": "frame", "direction": "rx", "mono": 1.0}
ARMED = {"kind": "watchdog_set", "value": 25, "mono": 1.0}
BEGUN = {"kind": "move_started", "start": 0, "goal": QUARTER, "mono": 1.0}
ENDED = {"kind": "move_ended", "how": "arrived", "mono": 1.4}


@pytest.mark.parametrize(
    ("lines", "breach"),
    [
        ((HEARD, ARMED, BEGUN, ENDED), ""),
        ((HEARD, ARMED, BEGUN, ENDED, {**BEGUN, "start": 900}, ENDED), ""),  # told to keep its place
        ((HEARD, ARMED, BEGUN, ENDED, BEGUN, ENDED), "sent to step 1024 2 times, by 1 jobs that began"),
        ((HEARD, BEGUN, ENDED), "a move began with the watchdog at 0, line 1"),
        ((HEARD, ARMED, BEGUN, {**ARMED, "value": 0}), "the watchdog was set to 0 in the middle of a move"),
        ((HEARD, ARMED, BEGUN, {**ENDED, "mono": 1.9}), "moved on for 0.90 s after the last word of its host"),
    ],
)
def test_the_bus_tells_of_a_second_move_and_of_one_without_a_host(
    make: Make, tmp_path: Path, lines: Any, breach: str
) -> None:
    found = Motor().look(make([TURN], carousel=record_of(tmp_path, *lines)), REST)
    assert [breach in each for each in found] == [True] * bool(breach), found


def test_a_goal_of_a_job_that_never_began_is_a_breach(make: Make, tmp_path: Path) -> None:
    queued = (*TURN[:2], "queued", 0, *TURN[4:])
    world = make([queued], carousel=record_of(tmp_path, HEARD, ARMED, BEGUN, ENDED))
    assert "1 times, by 0 jobs" in Motor().look(world, REST)[0]


# -- the robot


def played(run: str, *, token: str = "t", volume: float = 10.0, plays: int = 1) -> list[dict[str, Any]]:
    action = {"what": "action", "run": run, "action": "play"}
    comment = {"what": "command", "run": run, "type": "comment", "params": {"message": token}}
    drew = {"what": "command", "run": run, "type": "aspirate", "params": {"wellName": "A1", "volume": volume}}
    return [*([action] * plays), comment, drew]


@pytest.mark.parametrize(
    ("lines", "debited", "breach"),
    [
        (played("r1"), 10, ""),
        (played("r1") + played("r2"), 20, "t: 2 runs of it were played: ['r1', 'r2']"),
        (played("r1", plays=2), 10, "run r1: play was asked twice"),
        (played("r1"), 11, "11000000 pl were debited for runs, the robot drew 10000000 pl"),
        (played("r1"), 9, "drew 10000000 pl, 9000000 pl were debited, and everything is at rest"),
    ],
)
def test_the_robot_tells_of_a_second_run_and_of_other_volumes(
    make: Make, tmp_path: Path, lines: Any, debited: int, breach: str
) -> None:
    took = (1, "red", 1, "consumption", -debited * 1_000_000, 0, "", 1)
    job = (1, "ot2.run_protocol", "succeeded", 1, "{}", "a")
    found = Runs().look(make([job], [took], robot=record_of(tmp_path, *lines)), REST)
    assert [breach in each for each in found] == [True] * bool(breach), found


# -- MongoDB


class Mongo:
    """Two collections."""

    def __init__(self, log: list[dict[str, Any]], levels: list[dict[str, Any]]) -> None:
        self._found = {"simulated_restock_log": log, "simulated_inventory": levels}

    def looked_at(self) -> Any:
        return self

    def __enter__(self) -> dict[str, Any]:
        return {name: SimpleNamespace(find=lambda _, rows=rows: rows) for name, rows in self._found.items()}

    def __exit__(self, *_: object) -> None:
        pass


SHOWN = {"movement_id": 1, "restock_data": {"R": {"color": "red", "added_ul": 5.0}}}
LEVEL = {"color": "red", "volume_ul": 5.0}


@pytest.mark.parametrize(
    ("log", "levels", "breach"),
    [
        ([SHOWN], [LEVEL], ""),
        ([SHOWN, SHOWN], [LEVEL], "restock 1 stands 2 times in MongoDB"),
        ([], [LEVEL], "1 restocks are not in MongoDB: [1]"),
        ([SHOWN], [{**LEVEL, "volume_ul": 6.0}], "red: MongoDB shows 6.0 ul, the ledger has 5.0"),
        ([SHOWN, {**SHOWN, "movement_id": 2}], [LEVEL], "restock 2: MongoDB has {'red': 5.0}, the ledger None"),
    ],
)
def test_mongodb_is_compared_restock_by_restock(make: Make, log: Any, levels: Any, breach: str) -> None:
    world = make((), [(1, "red", 1, "restock", 5_000_000, 5_000_000, "", None)], mongodb=Mongo(log, levels))
    found = Mirror(arrives_s=0.0).look(world, REST)
    assert [breach in each for each in found] == [True] * bool(breach), found


# -- the graph


@pytest.mark.parametrize(
    ("harm", "breach"),
    [
        ("", ""),
        ("older", "the newest snapshot is 1700000002, the alias leads to acme-v1700000001"),
        ("fewer", "has (20, 10) nodes and relationships, the footers of 1700000002 (21, 10)"),
        ("gone", "the newest snapshot is 1700000002, the alias leads to None"),
    ],
)
def test_the_server_must_hold_what_the_footers_say(make: Make, tmp_path: Path, harm: str, breach: str) -> None:
    server = Neo4j(tmp_path / "neo4j")
    server.base.mkdir()
    laid = [{"timestamp": server.lay_down("acme", nodes)} for nodes in (20, 21)]
    for each, nodes in zip(laid, (20, 20 if harm == "fewer" else 21), strict=True):
        server.catalogue.databases[f"acme-v{each['timestamp']}"] = Graph(nodes, 10)
    if harm != "gone":
        server.catalogue.aliases["acme"] = f"acme-v{laid[0 if harm == 'older' else 1]['timestamp']}"
    found = Alias().look(make(neo4j=server), {**REST, "snapshots": {"acme": laid}})
    assert [breach in each for each in found] == [True] * bool(breach), found


def test_the_reader_sees_an_alias_that_was_away_for_a_moment(make: Make, tmp_path: Path) -> None:
    server, alias = Neo4j(tmp_path / "neo4j"), Alias()
    server.start()
    try:
        laid = {"timestamp": server.lay_down("acme", 20)}
        target = f"acme-v{laid['timestamp']}"
        server.catalogue.databases[target] = Graph(20, 10)
        server.catalogue.aliases["acme"] = target
        alias.begin(make(neo4j=server))
        looked(alias, 2)
        del server.catalogue.aliases["acme"]
        looked(alias, 2)
        server.catalogue.aliases["acme"] = target
    finally:
        alias.end()
        server.end()
    found = alias.look(World(tmp_path, None, {"neo4j": server}, Random(1)), {**REST, "at_rest": False})  # type: ignore[arg-type]
    assert found
    assert all(each.startswith("acme: the alias does not resolve") for each in found)


def looked(alias: Alias, more: int) -> None:
    from tests.acceptance.waiting import eventually

    before = alias.figures["looks"]
    eventually(lambda: alias.figures["looks"] > before + more, 20.0, "looks")


# -- the tables


def snapshots(*tokens: str | None) -> Any:
    line = [
        SimpleNamespace(
            snapshot_id=number, parent_snapshot_id=number - 1, summary={"labd.token": token} if token else {}
        )
        for number, token in enumerate(tokens, 1)
    ]
    return SimpleNamespace(metadata=SimpleNamespace(snapshots=line, current_snapshot_id=len(line)))


@pytest.mark.parametrize(
    ("tokens", "breach"),
    [
        (("a", "b", "c"), ""),
        (("a", "b", "b", "c"), ""),  # one commit: what went and what came
        (("a", "b", "a"), "token a was committed twice"),
        (("a", None), "snapshot 2 has no token of labd"),
    ],
)
def test_a_token_that_comes_again_is_seen(tokens: Any, breach: str) -> None:
    found = tokens_twice(snapshots(*tokens))
    assert [breach in each for each in found] == [True] * bool(breach), found


@pytest.mark.parametrize(
    ("rows", "breach"),
    [
        ([1, 2, 3], ""),
        ([1, 2, 3, 3], "1 rows are there more than once: [3]"),
        ([1, 2], "1 rows of the files are missing: [3]"),
        ([1, 2, 3, 4], "1 rows are in no file any more: [4]"),
    ],
)
def test_a_table_is_read_as_anybody_would(make: Make, tmp_path: Path, rows: list[int], breach: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyiceberg.catalog.sql import SqlCatalog

    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.jsonl").write_text('{"id": 1}\n{"id": 2}\n{"id": 3}\n')
    world = make()
    folder = world.daemon.state / "ingest"
    folder.mkdir()
    warehouse = (folder / "warehouse").as_uri()
    catalog = SqlCatalog("default", uri=f"sqlite:///{folder}/catalog.db", warehouse=warehouse)
    catalog.create_namespace("default")
    content = pa.table({"id": pa.array(rows, pa.int64())})
    catalog.create_table("default.sales", content.schema).append(content, {"labd.token": "a"})
    catalog.close()
    found = Lake().look(world, {**REST, "lakes": {"sales": {"folder": str(inbox), "table": "sales"}}})
    assert any(breach in each for each in found) if breach else found == []


# -- the broker's client


@pytest.mark.parametrize(
    ("ends", "jobs", "done", "breach"),
    [
        (['{"job": 1}'], 1, 1, ""),
        (['{"job": 1}', '{"job": 1}'], 1, 1, ""),  # the broker gave it twice
        (['{"job": 1}', '{"job": 1, "status": "error"}'], 1, 1, "answered in 2 ways"),
        (['{"job": 1}'], 1, 2, "done 2 times"),
        (['{"job": 1}'], 1, 0, "and there are 1 jobs and 0 movements"),
        ([], 1, 1, "never answered"),
    ],
)
def test_a_request_is_done_once_and_answered_once(
    make: Make, ends: list[str], jobs: int, done: int, breach: str
) -> None:
    request, asker = Request(1), Asker()
    request.ends = ends
    asker._requests[request.correlation] = request
    asker.end() if ends else asker._ended.set()
    key = f"mqtt:alice:{request.correlation.hex()}"
    rows = [(number, "inventory.restock", "succeeded", 1, "{}", key) for number in range(jobs)]
    moved = [(1, "green", 1, "restock", 1, 1, request.correlation.decode(), 1)] * done
    found = asker.look(make(rows, moved), REST)
    assert any(breach in each for each in found) if breach else found == []

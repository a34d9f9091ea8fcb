"""What labd says over Bolt, to a real Neo4j Community server: statements, codes and values as that server has them.

The Community edition has one database and no alias, so the suite of all stores cannot run on it; what can is here: the
loader with `UNWIND` into the one database, counts, queries, health, and how each refusal reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labd.errors import DatasetRefused, GraphRefused, GraphUnreachable
from labd.snapshots import demo_data, layout
from labd.snapshots.neo4j_bolt import Address, Bolt
from labd.snapshots.neo4j_store import Neo4jStore
from labd.snapshots.neo4j_unwind import UnwindLoader
from labd.snapshots.port import Dataset, Progress
from tests.conftest import NEO4J_JARS, requires, requires_program
from tests.fakes.neo4j_community import community_server
from tests.fakes.neo4j_real import held_open
from tests.fakes.neo4j_rig import no_sleep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    requires("LABD_TEST_NEO4J_JARS", NEO4J_JARS is not None, "see tests/data/neo4j_community/pom.xml")
    java = requires_program("java", "a Java runtime of 17 or later")
    with community_server(java, Path(NEO4J_JARS or ""), tmp_path_factory.mktemp("neo4j")) as found:
        yield found


@pytest.fixture
async def bolt(address: Address) -> AsyncIterator[Bolt]:
    made = Bolt(address)
    await made.run("neo4j", "MATCH (n) DETACH DELETE n", doing="empty it")
    yield made
    await made.close()


@pytest.fixture
async def store(address: Address, bolt: Bolt) -> AsyncIterator[Neo4jStore]:
    made = Neo4jStore(address, sleep=no_sleep)
    yield made
    await made.close()


def quiet(_: Progress) -> None:
    """Nobody looks."""


def write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return layout.read(demo_data.write_snapshot(tmp_path / "data", "acme", "7", 200, Random(7)))


async def test_unwind_makes_the_graph_that_the_files_hold(store: Neo4jStore, bolt: Bolt, dataset: Dataset) -> None:
    told: list[Progress] = []
    await UnwindLoader(bolt, "neo4j", dataset, told.append).load()
    counts = await store.counts("neo4j")
    assert (counts.nodes, counts.relationships) == (202, 800)
    assert counts.types == {"KNOWS": 600, "LIVES_IN": 200}
    assert (counts.labels["Person"], counts.labels["City"]) == (200, 2)
    assert not [label for label in counts.labels if label.startswith("__")]
    assert told[-1].rows == told[-1].total_rows == 1002
    query = "MATCH (p:Person)-[l:LIVES_IN]->(c:City) WHERE p.id < $limit RETURN p.id AS id, l.since, c.name ORDER BY id"
    rows = await store.query("neo4j", query, {"limit": 3}, timeout_s=10, limit=100)
    assert rows.columns == ("id", "l.since", "c.name")
    assert [row[0] for row in rows.rows] == [0, 1, 2]
    left = (await bolt.run("neo4j", "SHOW CONSTRAINTS YIELD name", doing="look")).rows
    assert left == []


async def test_hostile_labels_types_and_properties_are_only_names(
    store: Neo4jStore, bolt: Bolt, tmp_path: Path
) -> None:
    evil = "A`) DETACH DELETE n //"
    write(tmp_path / "nodes/x/0.parquet", {"id": [1, 2], "labels": [[evil, "B"], ["B"]], "a`b": ["x", None]})
    write(tmp_path / "relationships/y/0.parquet", {"s": [1], "t": [2], "k": ["R`]->() //"]})
    await UnwindLoader(bolt, "neo4j", layout.read(tmp_path), quiet).load()
    counts = await store.counts("neo4j")
    assert counts.labels == {evil: 1, "B": 2}
    assert counts.types == {"R`]->() //": 1}


async def test_values_come_back_as_they_went_in(store: Neo4jStore, bolt: Bolt, tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    columns = {
        "id": pa.array([7], pa.uint32()), "labels": ["T"], "f": pa.array([0.5], pa.float32()),
        "day": [date(2026, 1, 2)],
        "at": pa.array([moment], pa.timestamp("ns", "UTC")), "list": [[1, 2]], "yes": [True],
        "text": pa.array(["é"], pa.large_string()).dictionary_encode(), "none": pa.array([None], pa.int64()),
    }  # fmt: skip
    write(tmp_path / "nodes/T/0.parquet", columns)
    await UnwindLoader(bolt, "neo4j", layout.read(tmp_path), quiet).load()
    found = (await store.query("neo4j", "MATCH (n:T) RETURN n", {}, timeout_s=10, limit=1)).rows[0][0]
    assert found["labels"] == ["T"]
    assert found["properties"] == {
        "id": 7, "f": 0.5, "day": "2026-01-02", "at": "2026-01-02T03:04:05.000000000Z", "list": [1, 2], "yes": True,
        "text": "é",
    }  # fmt: skip


async def test_an_id_that_comes_twice_is_refused(bolt: Bolt, tmp_path: Path) -> None:
    write(tmp_path / "nodes/T/0.parquet", {"id": [1, 1], "labels": ["T", "T"]})
    with pytest.raises(DatasetRefused, match="comes twice"):
        await UnwindLoader(bolt, "neo4j", layout.read(tmp_path), quiet).load()


async def test_an_end_that_no_node_has_is_refused(bolt: Bolt, tmp_path: Path) -> None:
    write(tmp_path / "nodes/T/0.parquet", {"id": [1], "labels": ["T"]})
    write(tmp_path / "relationships/R/0.parquet", {"s": [1, 1], "t": [1, 2], "k": ["R", "R"]})
    with pytest.raises(DatasetRefused, match="1 of 2 rows name a node that no table has"):
        await UnwindLoader(bolt, "neo4j", layout.read(tmp_path), quiet).load()


async def test_the_edition_is_told_where_a_second_database_is_wanted(store: Neo4jStore, dataset: Dataset) -> None:
    with pytest.raises(GraphRefused, match="cannot create database acme-v7: the Community edition has one database"):
        await store.load("acme-v7", dataset, quiet)
    assert await store.databases() == []
    assert await store.aliases() == {}


async def test_the_loader_arrow_is_refused_where_it_is_absent(address: Address, dataset: Dataset) -> None:
    store = Neo4jStore(address, loader="arrow")
    with pytest.raises(GraphRefused, match="no Graph Data Science with Arrow"):
        await store.load("acme-v7", dataset, quiet)
    await store.close()


async def test_health_knows_the_heap_and_says_what_it_does_not_know(store: Neo4jStore) -> None:
    health = await store.health()
    assert (health.reachable, health.problem) == (True, "")
    assert (health.version, health.edition, health.databases) == ("5.26.30", "community", 0)
    assert health.heap_percent is not None
    assert 0.0 < health.heap_percent < 100.0
    assert health.page_cache_percent is None
    assert any(text.startswith("page cache: no bean") for text in health.unknown)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE (:Person)", "MATCH (n) SET n.x = 1", "MATCH (n) DETACH DELETE n", "DROP DATABASE neo4j",
        "CREATE INDEX FOR (n:X) ON (n.y)", "CREATE USER eve SET PASSWORD 'abcdefgh'", "SHOW DATABASES",
        "CALL db.createLabel('x')", "MATCH (n) RETURN 1; MATCH (n) DELETE n", "CALL { CREATE (:X) } IN TRANSACTIONS",
    ],
)  # fmt: skip
async def test_what_does_not_only_read_is_refused(store: Neo4jStore, bolt: Bolt, statement: str) -> None:
    with pytest.raises(GraphRefused):
        await store.query("neo4j", statement, {}, timeout_s=10, limit=1)
    assert (await store.counts("neo4j")).nodes == 0


async def test_rows_end_at_the_limit_and_a_query_at_its_time(store: Neo4jStore) -> None:
    rows = await store.query("neo4j", "UNWIND range(1, 5000) AS x RETURN x", {}, timeout_s=10, limit=2500)
    assert (len(rows.rows), rows.more) == (2500, True)
    endless = "UNWIND range(1, 99999) AS a UNWIND range(1, 99999) AS b UNWIND range(1, 99999) AS c RETURN count(*)"
    with pytest.raises(GraphRefused, match="terminated"):
        await store.query("neo4j", endless, {}, timeout_s=0.2, limit=1)


async def test_readers_are_counted_and_this_one_is_not(store: Neo4jStore, address: Address) -> None:
    assert await store.transactions("neo4j") == 0
    async with held_open(address, "neo4j"):
        assert await store.transactions("neo4j") == 1


async def test_a_cancelled_query_leaves_nothing_running(store: Neo4jStore) -> None:
    endless = "UNWIND range(1, 99999) AS a UNWIND range(1, 99999) AS b UNWIND range(1, 99999) AS c RETURN count(*)"
    task = asyncio.create_task(store.query("neo4j", endless, {}, timeout_s=60, limit=1))
    async with asyncio.timeout(30):
        while not await store.transactions("neo4j"):
            pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while await store.transactions("neo4j"):
            pass


async def test_the_wrong_password_is_told_as_such(address: Address) -> None:
    store = Neo4jStore(Address(address.host, address.bolt_port, 8491, "neo4j", "not this one"))
    with pytest.raises(GraphRefused, match=r"does not let labd in; check neo4j\.user and neo4j\.password"):
        await store.databases()
    await store.close()


async def test_tls_to_a_server_without_is_told_as_away(address: Address) -> None:
    store = Neo4jStore(Address(address.host, address.bolt_port, 8491, "neo4j", "x", tls=True), answer_timeout_s=3)
    with pytest.raises(GraphUnreachable, match="check host, port, tls"):
        await store.databases()
    await store.close()

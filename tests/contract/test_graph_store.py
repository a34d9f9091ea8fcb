"""What every graph store does, whichever stands behind the port.

A store joins with one entry in `RIGS`: a context manager that makes a rig in an empty folder and, on the way out, shows
that nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labd.errors import GraphRefused
from labd.snapshots import demo_data, layout
from labd.snapshots.embedded import EmbeddedStore
from labd.snapshots.neo4j_store import Loader, Neo4jStore
from labd.snapshots.port import Dataset, GraphStore, Progress
from tests.fakes.neo4j_real import NEO4J_URL, address_of, held_open
from tests.fakes.neo4j_rig import neo4j_rig

DEADLINE_S = 30.0
# Ten thousand million pairs, each looked at: a count alone would be a product.
ENDLESS = "UNWIND range(1, 99999) AS a UNWIND range(1, 99999) AS b WITH a, b WHERE (a + b) % 7 = 8 RETURN count(*)"
PEOPLE = 200


@dataclass
class Rig:
    """A store and what only its maker can do to it.

    Args:
        store: With nothing in it.
        again: Another store on the same data, as after a restart.
        reading: Somebody reads a database from the first to the last moment of the context.
    """

    store: GraphStore
    again: Callable[[], Awaitable[GraphStore]]
    reading: Callable[[str], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Rig]:
    """Ladybug in child processes."""
    made: list[EmbeddedStore] = []

    async def make() -> EmbeddedStore:
        made.append(EmbeddedStore(folder / "snapshots", load_memory_mib=128, query_memory_mib=64))
        return made[-1]

    store = await make()

    @asynccontextmanager
    async def reading(database: str) -> AsyncIterator[None]:
        task = asyncio.create_task(store.query(database, ENDLESS, {}, timeout_s=DEADLINE_S, limit=1))
        for _ in range(10):  # turns of the loop until it holds the database
            await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    with no_child_left():
        yield Rig(store, make, reading)
        for one in made:
            await one.close()


@asynccontextmanager
async def neo4j_emulated(folder: Path, loader: Loader = "arrow") -> AsyncIterator[Rig]:
    """Neo4j's two ports, emulated; rows are counted and not connected."""
    with neo4j_rig() as server:
        made: list[Neo4jStore] = []

        async def make() -> Neo4jStore:
            made.append(server.store(loader=loader))
            return made[-1]

        @asynccontextmanager
        async def reading(database: str) -> AsyncIterator[None]:
            server.catalogue.transactions.append((database, f"{database}-transaction-1"))
            yield
            server.catalogue.transactions.clear()

        yield Rig(await make(), make, reading)
        for one in made:
            await one.close()


def neo4j_emulated_over_bolt(folder: Path) -> AbstractAsyncContextManager[Rig]:
    """The same server, loaded the slow way."""
    return neo4j_emulated(folder, "bolt")


@asynccontextmanager
async def neo4j_real(folder: Path) -> AsyncIterator[Rig]:
    """An Enterprise server with nothing of its own in it: `LABD_TEST_NEO4J_URL=bolt://user:password@host:port`."""
    address = address_of(NEO4J_URL or "")
    made: list[Neo4jStore] = []

    async def make() -> Neo4jStore:
        made.append(Neo4jStore(address, streams=4))
        return made[-1]

    store = await make()
    assert await names_of(store) == {}, "the server of LABD_TEST_NEO4J_URL holds databases; give an empty one"

    @asynccontextmanager
    async def reading(database: str) -> AsyncIterator[None]:
        async with held_open(address, database):
            yield

    yield Rig(store, make, reading)
    cleaner = await make()
    for alias in await cleaner.aliases():
        await cleaner.drop_alias(alias)
    for name in await names_of(cleaner):
        await cleaner.drop(name)
    for one in made:
        await one.close()


RIGS: dict[str, Callable[[Path], AbstractAsyncContextManager[Rig]]] = {
    "embedded": embedded,
    "neo4j_emulated": neo4j_emulated,
    "neo4j_emulated_over_bolt": neo4j_emulated_over_bolt,
    **({"neo4j_real": neo4j_real} if NEO4J_URL else {}),
}
# The emulated server has the size of a graph and not the graph; whoever else joins answers Cypher.
ANSWER_CYPHER = sorted(set(RIGS) - {"neo4j_emulated", "neo4j_emulated_over_bolt"})
of_the_graph = pytest.mark.parametrize("rig", ANSWER_CYPHER, indirect=True)


@contextmanager
def no_child_left() -> Iterator[None]:
    """Whatever was started has ended."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert left == []


@pytest.fixture(params=sorted(RIGS))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with RIGS[request.param](tmp_path / "store") as made:
        yield made


@pytest.fixture
def store(rig: Rig) -> GraphStore:
    return rig.store


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return layout.read(demo_data.write_snapshot(tmp_path / "data", "acme", "7", PEOPLE, Random(7)))


def quiet(_: Progress) -> None:
    """Nobody looks."""


async def names_of(store: GraphStore) -> dict[str, str]:
    return {database.name: database.status for database in await store.databases()}


async def test_a_loaded_database_serves_and_holds_what_was_in_the_files(store: GraphStore, dataset: Dataset) -> None:
    counts = await store.load("acme-v7", dataset, quiet)
    assert (counts.nodes, counts.relationships) == (dataset.nodes, dataset.relationships) == (PEOPLE + 2, 4 * PEOPLE)
    assert counts.types == {"KNOWS": 3 * PEOPLE, "LIVES_IN": PEOPLE}
    assert counts.labels["Person"] == PEOPLE
    assert counts.labels["City"] == 2
    assert 0 < counts.labels["Employee"] < PEOPLE
    assert await store.counts("acme-v7") == counts
    assert await names_of(store) == {"acme-v7": "online"}


async def test_progress_grows_to_the_whole(store: GraphStore, dataset: Dataset) -> None:
    told: list[Progress] = []
    await store.load("acme-v7", dataset, told.append)
    rows = [progress.rows for progress in told]
    assert rows == sorted(rows)
    assert rows[-1] == dataset.nodes + dataset.relationships
    assert {progress.total_rows for progress in told} == {dataset.nodes + dataset.relationships}
    assert told[-1].size_bytes <= dataset.size_bytes


async def test_what_is_there_is_not_loaded_over_unless_asked(
    store: GraphStore, dataset: Dataset, tmp_path: Path
) -> None:
    first = await store.load("acme-v7", dataset, quiet)
    smaller = layout.read(demo_data.write_snapshot(tmp_path / "data", "acme", "8", 10, Random(8)))
    with pytest.raises(GraphRefused):
        await store.load("acme-v7", smaller, quiet)
    assert await store.counts("acme-v7") == first
    await store.load("acme-v7", smaller, quiet, replace=True)
    assert (await store.counts("acme-v7")).nodes == smaller.nodes


async def test_replace_of_what_is_not_there_loads(store: GraphStore, dataset: Dataset) -> None:
    assert (await store.load("acme-v7", dataset, quiet, replace=True)).nodes == dataset.nodes


async def test_a_cancelled_load_has_ended_and_can_be_done_again(rig: Rig, dataset: Dataset, tmp_path: Path) -> None:
    begun = asyncio.Event()
    big = layout.read(demo_data.write_snapshot(tmp_path / "data", "acme", "9", 20_000, Random(9)))
    task = asyncio.create_task(rig.store.load("acme-v9", big, lambda _: begun.set()))
    async with asyncio.timeout(DEADLINE_S):
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await names_of(rig.store)).get("acme-v9") != "online"
    assert (await rig.store.load("acme-v9", dataset, quiet, replace=True)).nodes == dataset.nodes


async def test_an_alias_moves_and_is_read_back(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    await store.load("acme-v8", dataset, quiet)
    assert await store.aliases() == {}
    await store.switch("acme", "acme-v7")
    assert await store.aliases() == {"acme": "acme-v7"}
    await store.switch("acme", "acme-v8")
    await store.switch("acme", "acme-v8")
    await store.switch("acme-eu", "acme-v7")
    assert await store.aliases() == {"acme": "acme-v8", "acme-eu": "acme-v7"}
    await store.drop_alias("acme-eu")
    await store.drop_alias("acme-eu")
    assert await store.aliases() == {"acme": "acme-v8"}


async def test_an_alias_points_at_nothing_that_does_not_serve(store: GraphStore, dataset: Dataset) -> None:
    with pytest.raises(GraphRefused):
        await store.switch("acme", "acme-v7")
    assert await store.aliases() == {}
    await store.load("acme-v7", dataset, quiet)
    await store.switch("acme", "acme-v7")
    with pytest.raises(GraphRefused):
        await store.switch("acme", "acme-v8")
    assert await store.aliases() == {"acme": "acme-v7"}


async def test_databases_and_aliases_share_their_names(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    with pytest.raises(GraphRefused):
        await store.switch("acme-v7", "acme-v7")
    await store.switch("acme", "acme-v7")
    with pytest.raises(GraphRefused):
        await store.load("acme", dataset, quiet)
    with pytest.raises(GraphRefused):
        await store.load("acme", dataset, quiet, replace=True)
    assert await names_of(store) == {"acme-v7": "online"}


async def test_the_target_of_an_alias_stays(store: GraphStore, dataset: Dataset) -> None:
    counts = await store.load("acme-v7", dataset, quiet)
    await store.switch("acme", "acme-v7")
    with pytest.raises(GraphRefused):
        await store.drop("acme-v7")
    with pytest.raises(GraphRefused):
        await store.load("acme-v7", dataset, quiet, replace=True)
    assert await store.counts("acme-v7") == counts
    await store.drop_alias("acme")
    await store.drop("acme-v7")
    assert await names_of(store) == {}


async def test_a_dropped_database_is_gone_and_stays_gone(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    await store.load("acme-eu-v7", dataset, quiet)
    await store.drop("acme-v7")
    await store.drop("acme-v7")
    assert await names_of(store) == {"acme-eu-v7": "online"}
    with pytest.raises(GraphRefused):
        await store.counts("acme-v7")
    await store.load("acme-v7", dataset, quiet)


async def test_names_are_no_paths_and_no_statements(store: GraphStore, dataset: Dataset) -> None:
    for name in ("../x", "a`; DROP DATABASE neo4j; //", "", "system", "x" * 64, "a/b", ".loading.x"):
        with pytest.raises(GraphRefused):
            await store.load(name, dataset, quiet)
    assert await store.databases() == []


async def test_case_makes_no_second_database(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    with pytest.raises(GraphRefused):
        await store.load("ACME-V7", dataset, quiet)
    assert await names_of(store) == {"acme-v7": "online"}


async def test_everything_is_there_after_a_restart(rig: Rig, dataset: Dataset) -> None:
    counts = await rig.store.load("acme-v7", dataset, quiet)
    await rig.store.switch("acme", "acme-v7")
    await rig.store.close()
    again = await rig.again()
    assert await names_of(again) == {"acme-v7": "online"}
    assert await again.aliases() == {"acme": "acme-v7"}
    assert await again.counts("acme-v7") == counts


async def test_health_says_what_is_known_and_nothing_else(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    health = await store.health()
    assert health.reachable
    assert health.problem == ""
    assert health.version
    assert health.databases == 1
    for percent in (health.heap_percent, health.page_cache_percent):
        assert percent is None or 0.0 <= percent <= 100.0


async def test_readers_are_counted(rig: Rig, dataset: Dataset) -> None:
    await rig.store.load("acme-v7", dataset, quiet)
    await rig.store.load("acme-v8", dataset, quiet)
    assert await rig.store.transactions("acme-v7") == 0
    async with rig.reading("acme-v7"):
        assert await rig.store.transactions("acme-v7") == 1
        assert await rig.store.transactions("acme-v8") == 0
    assert await rig.store.transactions("acme-v7") == 0


async def test_closing_twice_does_nothing(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    await store.close()
    await store.close()


@of_the_graph
async def test_a_query_reads_the_graph_through_an_alias(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    await store.switch("acme", "acme-v7")
    query = "MATCH (p:Person)-[l:LIVES_IN]->(c:City) WHERE p.id < $limit RETURN p.id AS id, l.since, c.name ORDER BY id"
    for name in ("acme", "acme-v7"):
        rows = await store.query(name, query, {"limit": 3}, timeout_s=10, limit=100)
        assert rows.columns == ("id", "l.since", "c.name")
        assert [row[0] for row in rows.rows] == [0, 1, 2]
        assert not rows.more


@of_the_graph
async def test_rows_end_at_the_limit_and_say_so(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    exact = await store.query("acme-v7", "MATCH (p:Person) RETURN p.id", {}, timeout_s=10, limit=PEOPLE)
    assert (len(exact.rows), exact.more) == (PEOPLE, False)
    cut = await store.query("acme-v7", "MATCH (p:Person) RETURN p.id", {}, timeout_s=10, limit=PEOPLE - 1)
    assert (len(cut.rows), cut.more) == (PEOPLE - 1, True)


@of_the_graph
async def test_a_query_that_writes_is_refused_and_writes_nothing(store: GraphStore, dataset: Dataset) -> None:
    counts = await store.load("acme-v7", dataset, quiet)
    for query in ("CREATE (:Person {id: -1})", "MATCH (p:Person) SET p.name = 'x'", "MATCH (p) DETACH DELETE p"):
        with pytest.raises(GraphRefused):
            await store.query("acme-v7", query, {}, timeout_s=10, limit=1)
    assert await store.counts("acme-v7") == counts


@of_the_graph
async def test_a_query_on_nothing_is_refused(store: GraphStore, dataset: Dataset) -> None:
    with pytest.raises(GraphRefused):
        await store.query("acme-v7", "RETURN 1", {}, timeout_s=10, limit=1)


@of_the_graph
async def test_a_query_ends_at_its_timeout(store: GraphStore, dataset: Dataset) -> None:
    await store.load("acme-v7", dataset, quiet)
    with pytest.raises(GraphRefused):
        await store.query("acme-v7", ENDLESS, {}, timeout_s=0.1, limit=1)
    assert (await store.query("acme-v7", "RETURN 1 AS one", {}, timeout_s=10, limit=1)).rows == [[1]]


def write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


async def test_several_files_and_ids_of_text(store: GraphStore, tmp_path: Path) -> None:
    root = tmp_path / "text"
    for number in range(3):
        write(root / f"nodes/Dog/{number}.parquet", {"id": [f"d{number}"], "labels": ["Dog"], "n": [number]})
        write(root / f"relationships/OWNS/{number}.parquet", {"s": ["p"], "t": [f"d{number}"], "k": ["OWNS"]})
    write(root / "nodes/Person/0.parquet", {"id": ["p"], "labels": ["Person"]})
    counts = await store.load("zoo-v1", layout.read(root), quiet)
    assert counts.labels == {"Dog": 3, "Person": 1}
    assert counts.types == {"OWNS": 3}


async def test_labels_and_types_come_from_the_rows(store: GraphStore, tmp_path: Path) -> None:
    root = tmp_path / "mixed"
    write(root / "nodes/part/0.parquet", {"id": [1, 2, 3], "labels": ["Dog", "Cat", "Dog"]})
    write(root / "relationships/part/0.parquet", {"s": [1, 2, 3], "t": [2, 3, 1], "k": ["BITES", "FEARS", "BITES"]})
    counts = await store.load("zoo-v1", layout.read(root), quiet)
    assert counts.labels == {"Cat": 1, "Dog": 2}
    assert counts.types == {"BITES": 2, "FEARS": 1}

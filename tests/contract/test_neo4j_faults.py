"""What the neo4j engine does when server, network or edition are not as they should be; both ports are emulated."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import neo4j
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labd.errors import DatasetRefused, GraphRefused, GraphUnreachable
from labd.snapshots import demo_data, layout
from labd.snapshots.neo4j_bolt import Address
from labd.snapshots.neo4j_flight import TOKEN_AGE_S, Token
from labd.snapshots.neo4j_store import Neo4jStore
from labd.snapshots.port import Dataset, Progress, Table
from tests.fakes.neo4j_catalogue import Catalogue, Graph, Import
from tests.fakes.neo4j_rig import Neo4jRig, neo4j_rig, no_sleep

DEADLINE_S = 20.0


def quiet(_: Progress) -> None:
    """Nobody looks."""


@pytest.fixture
def rig() -> Iterator[Neo4jRig]:
    with neo4j_rig() as made:
        yield made


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return layout.read(demo_data.write_snapshot(tmp_path / "data", "acme", "7", 200, Random(7)))


async def streaming(rig: Neo4jRig, streams: int) -> Import:
    """Wait until the import of acme-v7 has so many open streams; the emulator is in other threads and cannot tell."""
    catalogue = rig.catalogue

    def wait() -> Import:
        with catalogue.changed:
            assert catalogue.changed.wait_for(
                lambda: "acme-v7" in catalogue.imports and catalogue.imports["acme-v7"].streams >= streams, DEADLINE_S
            )
            return catalogue.imports["acme-v7"]

    return await asyncio.to_thread(wait)


def write(path: Path, columns: dict[str, Any], rows: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows)


async def test_both_ports_speak_tls_under_an_authority_of_ones_own(dataset: Dataset, tmp_path: Path) -> None:
    with neo4j_rig(tls_folder=tmp_path / "tls") as rig:
        store = rig.store()
        assert (await store.load("acme-v7", dataset, quiet)).nodes == dataset.nodes
        await store.close()
        stranger = Neo4jStore(
            Address("127.0.0.1", rig.address.bolt_port, rig.address.arrow_port, "neo4j", rig.catalogue.password, True),
            answer_timeout_s=3,
        )
        with pytest.raises(GraphUnreachable):
            await stranger.databases()
        await stranger.close()


async def test_row_groups_go_in_parallel_streams(rig: Neo4jRig, tmp_path: Path) -> None:
    number = 40_000
    write(tmp_path / "nodes/N/0.parquet", {"id": range(number), "labels": ["N"] * number}, rows=5000)
    rig.catalogue.faults.no_ack_after = 0  # holds every stream open until all three are there
    store = rig.store(streams=3)
    task = asyncio.create_task(store.load("acme-v7", layout.read(tmp_path), quiet))
    async with asyncio.timeout(DEADLINE_S):
        running = await streaming(rig, 3)
    assert running.peak_streams == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.close()


async def test_a_cancelled_load_leaves_no_thread_and_no_import(rig: Neo4jRig, dataset: Dataset) -> None:
    rig.catalogue.faults.no_ack_after = 0
    store = rig.store()
    task = asyncio.create_task(store.load("acme-v7", dataset, quiet))
    async with asyncio.timeout(DEADLINE_S):
        await streaming(rig, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("labd-arrow")]
    assert rig.catalogue.imports == {}
    assert "acme-v7" not in rig.catalogue.databases
    rig.catalogue.faults.no_ack_after = None
    assert (await store.load("acme-v7", dataset, quiet)).nodes == dataset.nodes
    await store.close()


async def test_a_server_that_never_acknowledges_ends_the_load_at_the_deadline(rig: Neo4jRig, dataset: Dataset) -> None:
    rig.catalogue.faults.no_ack_after = 0
    store = rig.store(answer_timeout_s=0.5)
    with pytest.raises(GraphUnreachable, match="no answer in time"):
        await store.load("acme-v7", dataset, quiet)
    await store.close()


async def test_a_broken_stream_can_be_tried_again_and_leaves_nothing(rig: Neo4jRig, dataset: Dataset) -> None:
    rig.catalogue.faults.die_after = 0
    store = rig.store()
    with pytest.raises(GraphUnreachable, match="broke off"):
        await store.load("acme-v7", dataset, quiet)
    assert rig.catalogue.imports == {}
    rig.catalogue.faults.die_after = None
    assert (await store.load("acme-v7", dataset, quiet, replace=True)).nodes == dataset.nodes
    await store.close()


async def test_an_import_that_a_dead_daemon_left_is_taken_back_first(rig: Neo4jRig, dataset: Dataset) -> None:
    store = rig.store()
    rig.catalogue.imports["acme-v7"] = Import(Graph(nodes=5), "INTEGER", "id")
    assert (await store.load("acme-v7", dataset, quiet, replace=True)).nodes == dataset.nodes
    await store.close()


async def test_nodes_that_the_server_lost_are_no_success(rig: Neo4jRig, dataset: Dataset) -> None:
    rig.catalogue.faults.lose_rows = 1
    store = rig.store()
    with pytest.raises(GraphRefused, match="201 nodes of 202 of acme-v7 were taken"):
        await store.load("acme-v7", dataset, quiet)
    assert rig.catalogue.imports == {}
    await store.close()


async def test_a_token_that_expires_is_fetched_again(rig: Neo4jRig, dataset: Dataset) -> None:
    rig.catalogue.faults.expired_tokens = 4
    store = rig.store()
    assert (await store.load("acme-v7", dataset, quiet)).relationships == dataset.relationships
    assert rig.catalogue.faults.expired_tokens == 0
    assert len([call for call in rig.catalogue.calls if call.startswith("Basic")]) >= 5
    await store.close()


def test_an_old_token_is_not_sent() -> None:
    now = [0.0]
    token = Token("neo4j", "secret", lambda: now[0])
    assert token.header() == "Basic bmVvNGo6c2VjcmV0"
    token.take("Bearer abc")
    now[0] = TOKEN_AGE_S - 1
    token.take("Bearer abc")
    assert token.header() == "Bearer abc"
    now[0] = TOKEN_AGE_S
    assert token.header().startswith("Basic")


async def test_the_wrong_password_is_told_and_not_tried_again(rig: Neo4jRig, dataset: Dataset) -> None:
    rig.catalogue.password = "changed"
    store = rig.store()
    with pytest.raises(GraphRefused, match="does not let labd in"):
        await store.databases()
    assert rig.catalogue.statements == []
    await store.close()


async def test_the_community_edition_is_told_and_nothing_is_sent(dataset: Dataset) -> None:
    with neo4j_rig(Catalogue(edition="community")) as rig:
        store = rig.store()
        with pytest.raises(GraphRefused, match="the Community edition has one database and no alias"):
            await store.load("acme-v7", dataset, quiet)
        assert await store.aliases() == {}
        assert (await store.health()).edition == "community"
        await store.close()


@pytest.mark.parametrize(
    ("arrow", "words"), [("absent", "no Graph Data Science with Arrow"), ("off", "gds.arrow.enabled=true")]
)
async def test_a_server_without_arrow_is_loaded_over_bolt_or_refused(
    arrow: str, words: str, dataset: Dataset
) -> None:  # fmt: skip
    with neo4j_rig(Catalogue(arrow=arrow)) as rig:
        strict, lenient = rig.store(loader="arrow"), rig.store()
        with pytest.raises(GraphRefused, match=words):
            await strict.load("acme-v7", dataset, quiet)
        assert "acme-v7" not in rig.catalogue.databases
        counts = await lenient.load("acme-v7", dataset, quiet)
        assert (counts.nodes, counts.relationships) == (dataset.nodes, dataset.relationships)
        assert not any("DO_" in call for call in rig.catalogue.calls)
        await strict.close()
        await lenient.close()


async def test_a_failed_slow_load_leaves_no_database(rig: Neo4jRig, tmp_path: Path) -> None:
    write(tmp_path / "nodes/T/0.parquet", {"id": [1], "labels": ["T"]})
    write(tmp_path / "relationships/R/0.parquet", {"s": [1], "t": [2], "k": ["R"]})
    store = rig.store(loader="bolt")
    with pytest.raises(DatasetRefused, match="relationships/R: 1 of 1 rows name a node that no table has"):
        await store.load("acme-v7", layout.read(tmp_path), quiet)
    assert "acme-v7" not in rig.catalogue.databases
    await store.close()


async def test_a_creation_that_fails_behind_its_answer_is_told(rig: Neo4jRig, dataset: Dataset) -> None:
    rig.catalogue.faults.creation_message = "Unable to start: store is of an unknown version"
    store = rig.store()
    with pytest.raises(GraphRefused, match="acme-v7 is offline: Unable to start"):
        await store.load("acme-v7", dataset, quiet)
    await store.close()


async def test_a_database_that_starts_slowly_is_waited_for(rig: Neo4jRig, dataset: Dataset) -> None:
    store = rig.store()
    rig.catalogue.faults.starting = 7
    assert (await store.load("acme-v7", dataset, quiet)).nodes == dataset.nodes
    await store.close()


async def test_a_switch_whose_answer_is_lost_is_read_back(rig: Neo4jRig, dataset: Dataset) -> None:
    store = rig.store()
    await store.load("acme-v7", dataset, quiet)
    await store.load("acme-v8", dataset, quiet)
    rig.catalogue.faults.drop_after = {"CREATE ALIAS": 1, "ALTER ALIAS": 1}
    await store.switch("acme", "acme-v7")
    await store.switch("acme", "acme-v8")
    assert await store.aliases() == {"acme": "acme-v8"}
    sent = [statement for statement in rig.catalogue.statements if "ALIAS `" in statement]
    assert sent == ["CREATE ALIAS `acme` FOR DATABASE `acme-v7`", "ALTER ALIAS `acme` SET DATABASE TARGET `acme-v8`"]
    await store.close()


async def test_a_switch_that_was_not_carried_out_is_no_success(rig: Neo4jRig, dataset: Dataset) -> None:
    store = rig.store()
    await store.load("acme-v7", dataset, quiet)
    rig.catalogue.faults.drop_at = {"CREATE ALIAS": 1}
    with pytest.raises(GraphUnreachable, match="cannot point acme at acme-v7"):
        await store.switch("acme", "acme-v7")
    assert await store.aliases() == {}
    await store.close()


@pytest.mark.parametrize(
    "statement", ["SHOW DATABASES", "SHOW ALIASES", "CREATE DATABASE", "gds.debug.arrow", "db.labels", "count(r)"]
)
async def test_a_connection_cut_at_any_statement_of_a_load_is_away_and_the_next_try_goes_through(
    rig: Neo4jRig, dataset: Dataset, statement: str
) -> None:
    store = rig.store()
    rig.catalogue.faults.drop_at = {statement: 1}
    with pytest.raises(GraphUnreachable):
        await store.load("acme-v7", dataset, quiet)
    counts = await store.load("acme-v7", dataset, quiet, replace=True)
    assert (counts.nodes, counts.relationships) == (dataset.nodes, dataset.relationships)
    await store.close()


async def test_a_server_that_is_away_is_told_by_health_and_raised_by_the_rest() -> None:
    store = Neo4jStore(Address("127.0.0.1", 1, 1, "neo4j", "x"), answer_timeout_s=1, sleep=no_sleep)
    health = await store.health()
    assert not health.reachable
    assert "127.0.0.1:1" in health.problem
    with pytest.raises(GraphUnreachable):
        await store.databases()
    await store.close()


async def test_the_heap_is_the_least_of_its_samples_and_the_ratio_has_a_name(rig: Neo4jRig) -> None:
    store = rig.store()
    health = await store.health()
    assert (health.version, health.edition) == ("5.26.30", "enterprise")  # not those of Cypher, listed first
    assert health.heap_percent == 10.0  # 400, 300, 100, 500, 200 of 1000
    assert health.page_cache_percent == pytest.approx(3.0)
    assert health.page_cache_ratio == "misses, 100 % less hit_ratio"
    full = rig.store(page_cache="usage")
    assert ((await full.health()).page_cache_percent, (await full.health()).page_cache_ratio) == (100.0, "usage_ratio")
    await store.close()
    await full.close()


async def test_missing_beans_are_unknown_and_never_zero(rig: Neo4jRig) -> None:
    rig.catalogue.beans, rig.catalogue.heap_used = {}, []
    store = rig.store()
    health = await store.health()
    assert (health.reachable, health.heap_percent, health.page_cache_percent) == (True, None, None)
    assert [text.partition(":")[0] for text in health.unknown] == ["disk space of the server", "heap", "page cache"]
    await store.close()


async def test_the_servers_own_database_is_not_shown_filled_or_dropped(rig: Neo4jRig, dataset: Dataset) -> None:
    store = rig.store()
    assert await store.databases() == []
    for act in (store.load("neo4j", dataset, quiet, replace=True), store.drop("neo4j")):
        with pytest.raises(GraphRefused, match="neo4j is the server's default database"):
            await act
    assert "neo4j" in rig.catalogue.databases
    await store.close()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": [1.5], "labels": ["T"]}, "nodes/T: id is double"),
        ({"id": [-1], "labels": ["T"]}, "nodes/T: id is -1; Neo4j takes ids from 0 on"),
        ({"id": [1, None], "labels": ["T", "T"]}, "nodes/T: id is empty in 1 of 2 rows"),
        ({"id": [1], "labels": ["T"], "x": [b"bytes"]}, "nodes/T: x is binary, for which Neo4j has no property type"),
        ({"id": [1], "labels": ["T"], "x": [{"a": 1}]}, "nodes/T: x is struct<a: int64>"),
        ({"id": [1], "labels": ["T"], "nodeId": [1]}, "a property cannot be called 'nodeId'"),
        ({"id": [1], "labels": ["T"], "x": pa.array([2**63], pa.uint64())}, "nodes/T: x does not fit int64"),
    ],
)
async def test_what_neo4j_cannot_hold_is_refused_by_name(
    rig: Neo4jRig, tmp_path: Path, columns: dict[str, Any], words: str
) -> None:
    path = tmp_path / "T.parquet"
    write(path, columns)
    table = Table("node", "T", (path,), {"id": "id", "labels": "labels"}, 1, path.stat().st_size)
    store = rig.store()
    with pytest.raises(DatasetRefused) as refused:
        await store.load("acme-v7", Dataset((table,)), quiet)
    assert words in refused.value.message
    assert "acme-v7" not in {*rig.catalogue.databases, *rig.catalogue.imports, *rig.catalogue.stores}
    await store.close()


async def test_ids_of_two_kinds_are_refused(rig: Neo4jRig, tmp_path: Path) -> None:
    write(tmp_path / "nodes/T/0.parquet", {"id": [1], "labels": ["T"]})
    write(tmp_path / "nodes/U/0.parquet", {"id": ["1"], "labels": ["U"]})
    store = rig.store()
    with pytest.raises(DatasetRefused, match=r"whole numbers in nodes/T\.id and text in nodes/U\.id"):
        await store.load("acme-v7", layout.read(tmp_path), quiet)
    await store.close()


async def test_a_query_ends_at_its_time_and_the_connection_serves_the_next(rig: Neo4jRig) -> None:
    rig.catalogue.databases["acme-v7"] = rig.catalogue.databases["neo4j"]
    rig.catalogue.faults.slow_s = {"RETURN 2": 0.5}
    store = rig.store()
    with pytest.raises(GraphRefused, match="terminated"):
        await store.query("acme-v7", "RETURN 2", {}, timeout_s=0.1, limit=1)
    rows = await store.query("acme-v7", "UNWIND range(1, 2500) AS x RETURN x", {}, timeout_s=10, limit=2400)
    assert (len(rows.rows), rows.more) == (2400, True)
    await store.close()


async def test_the_emulated_server_routes(rig: Neo4jRig) -> None:
    """A reader of the graph with `neo4j://` finds the server, and the alias resolves when its transaction begins."""
    catalogue = rig.catalogue
    catalogue.databases["acme-v7"] = catalogue.databases["neo4j"]
    catalogue.aliases["acme"] = "acme-v7"
    async with neo4j.AsyncGraphDatabase.driver(
        f"neo4j://127.0.0.1:{rig.address.bolt_port}", auth=(catalogue.user, catalogue.password)
    ) as driver:
        found = await driver.execute_query("UNWIND range(1, 2500) AS x RETURN x", database_="acme")
        assert len(found.records) == 2500
        with pytest.raises(neo4j.exceptions.ClientError):
            await driver.execute_query("RETURN 1", database_="nobody")

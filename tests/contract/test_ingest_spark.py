"""What only Spark's engine does: Spark Connect, one catalogue with the arrow engine, commits that land late, ends."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tests.acceptance.waiting import eventually
from tests.fakes.broker import DEADLINE_S
from tests.fakes.ingest_rig import IngestRig, Refused
from tests.fakes.spark_kills import SparkKills
from tests.fakes.spark_lab import TOKEN, ConnectServer, SparkChild, conf, shared_child, spark_rigs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
REFUSED_WITHIN_S = 20.0
SEED = 3


@pytest.fixture(scope="module")
def rigs() -> Callable[[Path], IngestRig]:
    return spark_rigs()


def properties(rig: IngestRig, table: str) -> dict[str, str]:
    """Of a table, as plain PyIceberg reads them."""
    catalog = SqlCatalog("default", **rig.catalog["properties"])
    try:
        return dict(catalog.load_table(("lab", table)).properties)
    finally:
        catalog.engine.dispose()


@pytest.fixture(scope="module")
def server() -> Iterator[ConnectServer]:
    with tempfile.TemporaryDirectory(prefix="labd-connect-", ignore_cleanup_errors=True) as folder:
        started = ConnectServer(Path(folder), TOKEN).start()
        yield started
        started.kill()


def test_both_engines_see_one_catalogue_and_each_others_tokens(
    rigs: Callable[[Path], IngestRig], tmp_path: Path
) -> None:
    spark = rigs(tmp_path)
    arrow = IngestRig(tmp_path)
    spark.write("a.jsonl", [{"id": 1, "at": "2026-01-01T00:00:00Z"}])
    spark.write("b.jsonl", [{"id": 2, "more": 1.5}])
    first, second = arrow.batch(arrow.files("a.jsonl")), arrow.batch(arrow.files("b.jsonl"))
    made = arrow.ask("load", batch=first)
    assert spark.ask("load", batch=first)["state"] == "already"
    assert spark.ask("describe", table=spark.table)["uuid"] == made["table_uuid"]
    assert spark.ask("load", batch={**second, "expected_uuid": made["table_uuid"]})["state"] == "committed"
    again = arrow.ask("load", batch=second)
    assert (again["state"], again["rows"]) == ("already", 1)
    assert arrow.ask("describe", table=arrow.table) == spark.ask("describe", table=spark.table)
    assert arrow.rows("id", "at", "more") == spark.rows("id", "at", "more")
    spark.write("a.jsonl", [{"id": 3}])
    arrow.ask("load", batch=arrow.batch(arrow.files("a.jsonl", policy="replace"), number=77, token="sales/77"))
    assert spark.rows("id") == [(2,), (3,)]


@pytest.mark.parametrize(
    ("replaced", "faults", "expected"),
    [
        (False, ["Found conflicting files"], [(1, 1), (100, 99)]),
        (True, ["Found conflicting files", "somebody committed since the look"], [(100, 99)]),
    ],
)
def test_of_two_tries_one_lands_whichever_comes_first(
    rigs: Callable[[Path], IngestRig], tmp_path: Path, replaced: bool, faults: list[str], expected: list[Any]
) -> None:
    spark = rigs(tmp_path)
    spark.write("a.jsonl", [{"id": 1}])
    spark.load()
    urls = [f"file://{spark.inbox}/a.jsonl"] if replaced else []
    words = {"engine": "test", "table": spark.table, "replaced": urls, "folder": str(tmp_path)}
    told = shared_child().ask("late_commit", words)["answer"]
    assert len(told) == len(faults), told
    for fault, text in zip(told, faults, strict=True):
        assert text in fault, told
    assert spark.rows("id", "_labd_batch") == expected


def test_without_provenance_it_says_at_least_once(rigs: Callable[[Path], IngestRig], tmp_path: Path) -> None:
    spark, arrow = rigs(tmp_path), IngestRig(tmp_path)
    for name in ("a", "b", "c"):
        spark.write(f"{name}.jsonl", [{"id": name}])
    report = spark.ask("load", batch=spark.batch(spark.files("a.jsonl"), provenance=False))
    assert (report["state"], report["exactly_once"]) == ("committed", False)
    spark.table = arrow.table_named("by_arrow")
    arrow.ask("load", batch=spark.batch(spark.files("b.jsonl"), provenance=False))
    spark.ask("load", batch=spark.batch(spark.files("c.jsonl"), provenance=False))
    kept = json.loads(properties(spark, "by_arrow")["labd.tokens.sales"])
    assert [token for token, _ in kept] == ["sales/2", "sales/3"], "each engine notes its token in the other's table"


def test_a_connect_server_loads_replaces_and_knows_what_it_has(server: ConnectServer, tmp_path: Path) -> None:
    child = SparkChild({"url": server.url, "secrets": {"token": TOKEN}}, tmp_path)
    try:
        rig = IngestRig(tmp_path, "spark", child.ask)
        rig.write("a.jsonl", '{"id": 1, "at": "2026-01-01T00:00:00Z"}\n{broken\n')
        rig.write("bad.jsonl.gz", b"no gzip")
        batch = rig.batch(rig.files())
        report = rig.ask("load", batch=batch)
        assert rig.states(report) == {"a.jsonl": "loaded", "bad.jsonl.gz": "quarantined"}
        assert (report["rows"], report["files"][0]["rescued"], report["exactly_once"]) == (2, 1, True)
        assert rig.ask("load", batch=batch)["state"] == "already"
        rig.write("a.jsonl", [{"id": 2, "more": [1]}])
        rig.ask("load", batch=rig.batch(rig.files("a.jsonl", policy="replace")))
        assert rig.rows("id", "more") == [(2, [1])]
        assert rig.ask("find_tokens", table=rig.table, tokens=["sales/2", "x"]) == ["sales/2"]
    finally:
        child.close()


def test_what_cannot_be_connected_to_is_told_at_once(server: ConnectServer, tmp_path: Path) -> None:
    silent, free = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    silent_port, port = silent.getsockname()[1], free.getsockname()[1]
    free.close()
    wrong, tls = "UNAUTHENTICATED: Invalid authentication token", "a token goes over plain text to `localhost` only"
    child = SparkChild({}, tmp_path)
    try:
        for host, token, text in (
            (
                f"localhost:{server.port}",
                "wr0ng-canary",
                f"{server.port}: {wrong}",
            ),
            (f"127.0.0.1:{server.port}", TOKEN, tls),
            (f"localhost:{port}", "", f"Spark Connect at localhost:{port}: .*refused"),
            (f"localhost:{silent_port}", "", f"{silent_port}: no answer within 2 s"),
        ):
            child.spark = {"url": f"sc://{host}", "secrets": {"token": token}, "connect_timeout_s": 1.0}
            begun = time.monotonic()
            with pytest.raises(Refused, match=text) as refused:
                IngestRig(tmp_path, "spark", child.ask).rows("id")
            assert time.monotonic() - begun < REFUSED_WITHIN_S
            assert refused.value.code == "cluster_unreachable"
            assert not token or token not in str(refused.value)
    finally:
        silent.close()
        child.close()


@pytest.mark.timeout(420)
def test_nothing_is_twice_or_missing_when_child_or_server_are_killed(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    own = ConnectServer(folder, TOKEN)
    try:
        figures = SparkKills(tmp_path, Random(SEED), own.start()).play(3, 2)
    finally:
        own.kill()
    assert figures["kills"]["child"] and figures["kills"]["server"]


def test_a_jvm_that_dies_is_started_again_and_dies_with_its_child(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    spark = {"url": "local[1]", "conf": conf(), "memory_mib": 512, "scratch": str(scratch)}
    child = SparkChild(spark, tmp_path)
    try:
        rig = IngestRig(tmp_path, "spark", child.ask)
        assert rig.ask("describe", table=rig.table) is None
        below = psutil.Process(child.process.pid).children(recursive=True)
        java = next(one for one in below if "java" in one.name())
        java.kill()
        eventually(lambda: java.status() == psutil.STATUS_ZOMBIE, DEADLINE_S)
        with pytest.raises(Refused) as refused:
            rig.ask("describe", table=rig.table)
        assert refused.value.code == "cluster_unreachable"
        assert rig.ask("describe", table=rig.table) is None
        below = psutil.Process(child.process.pid).children(recursive=True)
        assert any("java" in one.name() for one in below)
        child.process.kill()
        assert psutil.wait_procs(below, timeout=DEADLINE_S)[1] == []
        assert len(list(scratch.iterdir())) == 1
        assert list(tmp_path.glob("labd-spark-*")) == []
    finally:
        child.close()

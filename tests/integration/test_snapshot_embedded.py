"""The embedded store where things go wrong: kills, crashes of its processes, hostile queries, swaps under readers."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.errors import GraphRefused, GraphUnreachable
from labd.snapshots import demo_data, embedded_statement, layout
from labd.snapshots.embedded import EmbeddedStore
from labd.snapshots.embedded_child import Child
from labd.snapshots.port import Dataset, Progress

DEADLINE_S = 30.0
# Ten thousand million pairs, each looked at: a count alone would be a product.
ENDLESS = "UNWIND range(1, 99999) AS a UNWIND range(1, 99999) AS b WITH a, b WHERE (a + b) % 7 = 8 RETURN count(*)"
# Runs one act on the store in `argv[1]` and is killed right before the call number `argv[4]` of `argv[3]`; says what it
# did, so the test sees that there was such a call.
ACT = """
import asyncio, os, pathlib, signal, sys
from labd.snapshots import layout
from labd.snapshots.embedded import EmbeddedStore
from labd.snapshots.embedded_child import Child

root, act, name, number = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
owner = {"fsync": os, "replace": pathlib.Path, "rename": pathlib.Path, "rmtree": __import__("shutil")}[name]
real, calls = getattr(owner, name), 0

def counted(*args, **options):
    global calls
    if calls == number:
        os.kill(os.getpid(), signal.SIGKILL)
    calls += 1
    return real(*args, **options)

async def main():
    store = EmbeddedStore(root / "store", load_memory_mib=128)
    await store.databases()
    setattr(owner, name, counted)
    if act == "load":
        await store.load("acme-v9", layout.read(root / "data/acme/9"), lambda _: None)
    elif act == "switch":
        await store.switch("acme", "acme-v8")
    else:
        await store.drop("acme-v8")
    await store.close()

asyncio.run(main())
"""


def quiet(_: Progress) -> None:
    """Nobody looks."""


def snapshot(root: Path, timestamp: int, rows: int = 50) -> Dataset:
    return layout.read(demo_data.write_snapshot(root / "data", "acme", str(timestamp), rows, Random(timestamp)))


def make(root: Path) -> EmbeddedStore:
    return EmbeddedStore(root / "store", load_memory_mib=128, query_memory_mib=64)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    made = make(tmp_path)
    yield made
    await made.close()
    assert [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE] == []


async def ask(store: EmbeddedStore, query: str, database: str = "acme-v7", timeout_s: float = 10.0) -> object:
    return (await store.query(database, query, {}, timeout_s=timeout_s, limit=10)).rows


def wait_until_busy(process: psutil.Process) -> None:
    """Until a process computes."""
    while process.cpu_percent(interval=0.05) < 20.0:
        pass


async def killed(root: Path, act: str, name: str, number: int) -> bool:
    """Do one act in a process that is killed at a point; False if it ended before it came there."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ACT, str(root), act, name, str(number))
    async with asyncio.timeout(DEADLINE_S):
        code = await process.wait()
    assert code in (0, -signal.SIGKILL)
    return code != 0


POINTS = [("fsync", number) for number in range(4)] + [("rename", 0), ("rmtree", 0)]


@pytest.mark.parametrize(("name", "number"), POINTS)
async def test_a_load_killed_at_its_end_is_whole_or_known_as_half(tmp_path: Path, name: str, number: int) -> None:
    dataset = snapshot(tmp_path, 9)
    was_killed = await killed(tmp_path, "load", name, number)
    store = make(tmp_path)
    ((found,),) = [await store.databases()]
    if found.status == "online":
        assert (await store.counts("acme-v9")).nodes == dataset.nodes
    else:
        assert was_killed
        assert (found.status, found.message) == (
            "incomplete", "its load did not end; load it again with replace, or drop it"
        )  # fmt: skip
        with pytest.raises(GraphRefused):
            await store.load("acme-v9", dataset, quiet)
        with pytest.raises(GraphRefused):
            await store.switch("acme", "acme-v9")
        with pytest.raises(GraphRefused):
            await store.counts("acme-v9")
    assert (await store.load("acme-v9", dataset, quiet, replace=True)).nodes == dataset.nodes
    assert [database.status for database in await store.databases()] == ["online"]
    await store.close()
    assert sorted(path.name for path in (tmp_path / "store/graphs").iterdir()) == ["acme-v9"]


async def test_a_load_killed_in_its_middle_takes_its_child_along(tmp_path: Path) -> None:
    dataset = snapshot(tmp_path, 9, 20_000)
    told = "import builtins; builtins.told = lambda p: print(p.rows, flush=True)\n"
    script = told + ACT.replace("lambda _: None", "told")
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), "load", "rename", "9"], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        children = psutil.Process(process.pid).children()
        process.kill()
    assert len(children) == 1
    assert psutil.wait_procs(children, timeout=DEADLINE_S)[1] == []
    store = make(tmp_path)
    assert [database.status for database in await store.databases()] == ["incomplete"]
    assert (await store.load("acme-v9", dataset, quiet, replace=True)).nodes == dataset.nodes
    await store.close()


@pytest.mark.parametrize(("name", "number"), [("fsync", 0), ("replace", 0), ("fsync", 1), ("fsync", 2)])
async def test_a_switch_killed_at_any_point_leaves_the_old_or_the_new(tmp_path: Path, name: str, number: int) -> None:
    store = make(tmp_path)
    for timestamp in (7, 8):
        await store.load(f"acme-v{timestamp}", snapshot(tmp_path, timestamp, timestamp), quiet)
    await store.switch("acme", "acme-v7")
    await store.close()
    was_killed = await killed(tmp_path, "switch", name, number)
    assert was_killed == (number < 2)
    store = make(tmp_path)
    target = (await store.aliases())["acme"]
    assert target == ("acme-v7" if was_killed and (name, number) != ("fsync", 1) else "acme-v8")
    assert await ask(store, "MATCH (p:Person) RETURN count(*)", "acme") == [[int(target[-1])]]
    await store.switch("acme", "acme-v8")
    await store.close()
    assert sorted(path.name for path in (tmp_path / "store/aliases").iterdir()) == ["acme"]


@pytest.mark.parametrize(("name", "number"), [("rename", 0), ("fsync", 0), ("rmtree", 0)])
async def test_a_drop_killed_at_any_point_leaves_a_whole_database_or_none(
    tmp_path: Path, name: str, number: int
) -> None:
    store = make(tmp_path)
    counts = await store.load("acme-v8", snapshot(tmp_path, 8), quiet)
    await store.close()
    assert await killed(tmp_path, "drop", name, number)
    store = make(tmp_path)
    if await store.databases():
        assert await store.counts("acme-v8") == counts
        assert name == "rename"
    await store.drop("acme-v8")
    assert await store.databases() == []
    await store.close()
    assert list((tmp_path / "store/graphs").iterdir()) == []


async def test_the_death_of_a_reader_is_told_and_the_next_query_answered(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store", load_memory_mib=128, query_memory_mib=64, readers=1)
    await store.load("acme-v7", snapshot(tmp_path, 7), quiet)
    await ask(store, "RETURN 1")
    (reader,) = psutil.Process().children()
    task = asyncio.create_task(ask(store, ENDLESS))
    waiting = asyncio.create_task(ask(store, "RETURN 2"))
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.to_thread(wait_until_busy, reader)
        while await store.transactions("acme-v7") != 2:  # noqa: ASYNC110 the second reader is on its way
            await asyncio.sleep(0)
    reader.send_signal(signal.SIGSEGV)
    with pytest.raises(GraphUnreachable, match=r"its process was ended by SIGSEGV"):
        await task
    assert await waiting == [[2]]
    assert await ask(store, "RETURN 3") == [[3]]
    assert await store.transactions("acme-v7") == 0
    await store.close()
    assert psutil.Process().children() == []


async def test_the_death_of_a_loader_is_told_and_leaves_nothing(store: EmbeddedStore, tmp_path: Path) -> None:
    dataset = snapshot(tmp_path, 7, 20_000)

    def kill(_: Progress) -> None:
        for child in psutil.Process().children():
            child.send_signal(signal.SIGABRT)

    with pytest.raises(GraphUnreachable, match="its process was ended by SIGABRT"):
        await store.load("acme-v7", dataset, kill)
    assert await store.databases() == []


async def test_the_loop_goes_on_while_a_load_and_a_query_run(store: EmbeddedStore, tmp_path: Path) -> None:
    await store.load("acme-v7", snapshot(tmp_path, 7), quiet)
    loop, gaps = asyncio.get_running_loop(), [0.0]
    ended = asyncio.Event()

    async def watch() -> None:
        while not ended.is_set():
            before = loop.time()
            try:
                await asyncio.wait_for(ended.wait(), 0.01)
            except TimeoutError:
                gaps.append(loop.time() - before)

    watching = asyncio.create_task(watch())
    query = "UNWIND range(1, 20000) AS a UNWIND range(1, 3000) AS b WITH a, b WHERE (a + b) % 7 = 8 RETURN count(*)"
    slow = ask(store, query, timeout_s=DEADLINE_S)
    await asyncio.gather(store.load("acme-v8", snapshot(tmp_path, 8, 20_000), quiet), slow)
    ended.set()
    await watching
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.1


async def test_a_database_that_is_read_is_not_dropped(store: EmbeddedStore, tmp_path: Path) -> None:
    dataset = snapshot(tmp_path, 7)
    await store.load("acme-v7", dataset, quiet)
    task = asyncio.create_task(ask(store, "UNWIND range(1, 3000) AS a UNWIND range(1, 3000) AS b RETURN count(*)"))
    for _ in range(10):
        await asyncio.sleep(0)
    with pytest.raises(GraphRefused, match="1 queries read database acme-v7; it goes when they have ended"):
        await store.drop("acme-v7")
    with pytest.raises(GraphRefused):
        await store.load("acme-v7", dataset, quiet, replace=True)
    assert await task == [[9_000_000]]
    await store.drop("acme-v7")
    assert await store.databases() == []


async def test_a_database_that_was_replaced_is_read_anew(store: EmbeddedStore, tmp_path: Path) -> None:
    await store.load("acme-v7", snapshot(tmp_path, 7, 5), quiet)
    assert await ask(store, "MATCH (p:Person) RETURN count(*)") == [[5]]
    await store.load("acme-v7", snapshot(tmp_path, 8, 6), quiet, replace=True)
    assert await ask(store, "MATCH (p:Person) RETURN count(*)") == [[6]]


@pytest.mark.timeout(120)
async def test_fifty_swaps_under_eight_readers(store: EmbeddedStore, tmp_path: Path) -> None:
    for timestamp in (7, 8):
        await store.load(f"acme-v{timestamp}", snapshot(tmp_path, timestamp, 10 * timestamp), quiet)
    await store.switch("acme", "acme-v7")
    seen: set[int] = set()
    ended, answered = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        query = "MATCH (a:Person) WITH count(*) AS one MATCH (b:Person) RETURN one, count(*)"
        while not ended.is_set():
            rows = await store.query("acme", query, {}, timeout_s=DEADLINE_S, limit=1)
            ((one, other),) = rows.rows
            assert one == other
            seen.add(one)
            answered.set()

    readers = [asyncio.create_task(read()) for _ in range(8)]
    for number in range(50):
        await store.switch("acme", f"acme-v{8 - number % 2}")
        assert (await store.aliases())["acme"] == f"acme-v{8 - number % 2}"
        answered.clear()
        await answered.wait()
    ended.set()
    await asyncio.gather(*readers)
    assert seen == {70, 80}


async def test_a_query_that_wants_more_memory_than_it_may_is_refused(store: EmbeddedStore, tmp_path: Path) -> None:
    await store.load("acme-v7", snapshot(tmp_path, 7), quiet)
    with pytest.raises((GraphRefused, GraphUnreachable)):
        await ask(store, "UNWIND range(1, 10000000000) AS a RETURN count(a)", timeout_s=DEADLINE_S)
    assert await ask(store, "RETURN 1") == [[1]]


async def test_an_answer_is_cut_by_its_size(store: EmbeddedStore, tmp_path: Path) -> None:
    await store.load("acme-v7", snapshot(tmp_path, 7), quiet)
    query = "UNWIND range(1, 100) AS a RETURN repeat('x', 300000)"
    rows = await store.query("acme-v7", query, {}, timeout_s=DEADLINE_S, limit=100)
    assert (len(rows.rows), rows.more) == (13, True)


HOSTILE = [
    "LOAD FROM '/etc/passwd' (file_format='csv') RETURN *",
    "MATCH (n) LOAD FROM '/etc/passwd' RETURN *",
    "COPY (MATCH (n) RETURN n) TO '/tmp/x.csv'",
    "EXPLAIN COPY (MATCH (n) RETURN n) TO '/tmp/x.csv'",
    "EXPORT DATABASE '/tmp/x'",
    "INSTALL httpfs",
    "LOAD EXTENSION httpfs",
    "ATTACH '/tmp/x' AS x",
    "USE x",
    "RETURN 1; COPY (RETURN 1) TO '/tmp/x.csv'",
    "RETURN 1 /* ' */ ; COPY (RETURN 1) TO '/tmp/x.csv' /* ' */",
    "RETURN 'a\\' LOAD FROM x",
    "RETURN 'a\\q' //' LOAD FROM '/etc/passwd' RETURN *",
    'RETURN "a" // " \n LOAD FROM \'/etc/passwd\' RETURN *',
    "/* /* */ LOAD FROM '/etc/passwd' RETURN * /* */ */",
    "CALL threads=1",
    "CALL READ_CSV_SERIAL('/etc/passwd') RETURN *",
    "CALL show_tables = 1",
    "BEGIN TRANSACTION",
    "CREATE (:Person {id: 1})",
    "MATCH (n) SET n.name = 1",
    "match (n) detach delete n",
    "MERGE (n:Person {id: 1}) RETURN n",
    "DROP TABLE Person",
    "CREATE MACRO f(x) AS x",
    "",
    ";",
    "// nothing",
    "RETURN '",
    "RETURN `",
    "RETURN 1 /*",
]


@pytest.mark.parametrize("query", HOSTILE)
def test_what_does_more_than_read_is_refused(query: str) -> None:
    with pytest.raises(GraphRefused):
        embedded_statement.reading(query)


READING = [
    "MATCH (n) RETURN n",
    "match (n:Set) where n.load = 'COPY x; DROP' return n.set;",
    "OPTIONAL MATCH (n:`LOAD FROM`) RETURN n",
    "WITH \"it's\" AS x RETURN x, 'a\\'b', 4 / 2",
    "UNWIND [1, 2] AS x RETURN x ORDER BY x LIMIT 1",
    "EXPLAIN MATCH (n) RETURN n",
    "CALL show_tables() RETURN *",
    "RETURN 1 // SET this",
    "MATCH (n) RETURN n /* CREATE */ LIMIT 1",
    "RETURN $load",
]


@pytest.mark.parametrize("query", READING)
def test_what_only_reads_passes(query: str) -> None:
    kept = embedded_statement.reading(query)
    assert "//" not in kept and "/*" not in kept


@given(st.text(alphabet="'\"`\\/*;\n aLOADFROM", max_size=40))
def test_no_arrangement_of_quotes_hides_a_file(middle: str) -> None:
    """What passes has `LOAD` only in a text, a quoted name, or as part of another word."""
    try:
        kept = embedded_statement.reading(f"RETURN {middle} LOAD FROM 'x'")
    except GraphRefused:
        return
    assert kept.count("'") % 2 == 0 or '"' in kept or "`" in kept
    assert embedded_statement.reading(kept) == kept


async def test_ladybug_agrees_about_where_texts_end(store: EmbeddedStore, tmp_path: Path) -> None:
    await store.load("acme-v7", snapshot(tmp_path, 7), quiet)
    assert await ask(store, "RETURN 'a\\' // LOAD FROM', \"b\\\" /* \", '`'") == [["a' // LOAD FROM", 'b" /* ', "`"]]


async def test_secrets_of_the_daemon_do_not_reach_the_child(
    store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "a secret")
    await store.load("acme-v7", snapshot(tmp_path, 7), quiet)
    await ask(store, "RETURN 1")
    (reader,) = psutil.Process().children()
    assert "NEO4J_PASSWORD" not in reader.environ()
    assert os.environ["NEO4J_PASSWORD"] == "a secret"


async def test_a_damaged_alias_is_left_out_and_made_whole_by_a_switch(tmp_path: Path) -> None:
    store = make(tmp_path)
    await store.load("acme-v7", snapshot(tmp_path, 7), quiet)
    for alias in ("acme", "other"):
        await store.switch(alias, "acme-v7")
    await store.close()
    (tmp_path / "store/aliases/acme").write_bytes(b"\xff/../x")
    (tmp_path / "store/graphs/lost+found").mkdir()
    store = make(tmp_path)
    assert await store.aliases() == {"other": "acme-v7"}
    assert [database.name for database in await store.databases()] == ["acme-v7"]
    await store.switch("acme", "acme-v7")
    assert await store.aliases() == {"acme": "acme-v7", "other": "acme-v7"}
    await store.close()


async def test_a_damaged_database_is_told_and_replaced(tmp_path: Path) -> None:
    store = make(tmp_path)
    dataset = snapshot(tmp_path, 7)
    await store.load("acme-v7", dataset, quiet)
    file = tmp_path / "store/graphs/acme-v7/graph.lbug"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises((GraphRefused, GraphUnreachable)):
        await ask(store, "MATCH (n) RETURN count(*)")
    file.unlink()
    assert [database.status for database in await store.databases()] == ["damaged"]
    assert (await store.load("acme-v7", dataset, quiet, replace=True)).nodes == dataset.nodes
    await store.close()


async def test_a_disk_that_takes_no_more_and_files_that_are_away_are_faults_that_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, dataset = make(tmp_path), snapshot(tmp_path, 7)
    begin = Child.start

    async def begin_bounded() -> Child:
        child = await begin()
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (8192, 8192))
        return child

    monkeypatch.setattr(Child, "start", begin_bounded)
    with pytest.raises(GraphUnreachable, match=r"its disk failed while .* was loaded: .*IO exception"):
        await store.load("acme-v7", dataset, quiet)
    monkeypatch.setattr(Child, "start", begin)
    away = dataset.tables[0].files[0]
    away.rename(tmp_path / "away.parquet")
    with pytest.raises(GraphUnreachable, match="No such file or directory"):
        await store.load("acme-v7", dataset, quiet)
    (tmp_path / "away.parquet").rename(away)
    assert (await store.load("acme-v7", dataset, quiet)).nodes == dataset.nodes
    await store.close()


def test_what_the_child_needs_stays_out_of_the_daemon() -> None:
    daemon = "import sys, labd.snapshots.embedded, labd.snapshots.layout, labd.snapshots.demo_data; "
    told = (
        "print(sorted(name for name in sys.modules if name in ('pyarrow', 'ladybug') or 'snapshots.dataset_' in name))"
    )
    done = subprocess.run([sys.executable, "-c", daemon + told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

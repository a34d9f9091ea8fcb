"""The verbs on the embedded graph store: made-up snapshots, real Cypher, readers under swaps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

pytest.importorskip("ladybug")

from labctl import AsyncClient
from labctl.__main__ import answer
from labd.snapshots.embedded import EmbeddedStore
from tests.fakes.snapshot_house import SnapshotHouse

Labctl = Callable[..., Awaitable[tuple[int, str, str]]]
READERS = 4
SWAPS = 5


@pytest.fixture
async def house(state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SnapshotHouse]:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("LABD_TOKEN", raising=False)
    yard = SnapshotHouse(state_dir, allow_simulate=True)
    yard.graph = EmbeddedStore(state_dir / "snapshots", simulated=True)
    async with yard.open_door() as opened:
        monkeypatch.setenv("LABD_HOST", opened.url)
        yield opened


@pytest.fixture
def labctl(house: SnapshotHouse, capsys: pytest.CaptureFixture[str]) -> Labctl:
    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(answer, ["snapshot", *words])
        out, err = capsys.readouterr()
        lines = [line for line in out.splitlines(keepends=True) if not line.startswith("20") or "[" not in line]
        return code, "".join(lines), err

    return run


async def test_from_demo_data_to_an_answer_and_back(labctl: Labctl) -> None:
    assert (await labctl("demo-data", "--rows", "200"))[0] == 0
    code, out, err = await labctl("load")
    assert code == 0, err
    code, out, err = await labctl("simulate", "--customer", "customer2", "--wait")
    assert code == 0, out + err
    assert "customer2 serves" in out
    assert ", before it " in out
    code, out, _ = await labctl("query", "customer1", "MATCH (p:Person) RETURN count(p) AS people", "--csv")
    assert (code, out) == (0, "people\n200\n")
    cypher = "MATCH (p:Person)-[:LIVES_IN]->(c:City) WHERE p.born > $year RETURN c.name, p.name LIMIT 3"
    found = json.loads((await labctl("query", "customer1", cypher, "-p", "year=1900", "--limit", "2", "--json"))[1])
    assert (found["columns"], len(found["rows"]), found["more"]) == (["c.name", "p.name"], 2, True)
    for cypher in ("CREATE (p:Person {id: 1})", "MATCH (p:Person) DELETE p", "MATCH (p:", "MATCH (x:Nobody) RETURN x"):
        code, out, err = await labctl("query", "customer1", cypher)
        assert (code, out) == (4, ""), cypher
        assert err.startswith("labctl: "), cypher
    code, out, _ = await labctl("rollback", "customer2")
    assert code == 0
    assert (await labctl("cleanup", "--dry-run"))[1].splitlines()[-1] == "would drop 0 of 4 databases"


async def test_readers_under_swaps_see_one_version_in_each_answer_and_never_none(house: SnapshotHouse) -> None:
    """Every made-up version has another number of people; an answer counts them twice."""
    cypher = "MATCH (p:Person) WITH count(p) AS people MATCH (q:Person) RETURN people, count(q)"
    await house.post("/simulate", {"rows": 100}, status=201)
    first = (await house.get(""))["snapshots"][0]["timestamp"]
    await house.settled("customer1", first)
    over = asyncio.Event()
    seen: set[tuple[str, int]] = set()

    async def read() -> int:
        asked = 0
        async with AsyncClient(house.url) as lab:
            while not over.is_set():
                found = await lab.query_snapshot("customer1", cypher)
                people, again = found["rows"][0]
                assert people == again
                seen.add((found["database"], people))
                asked += 1
        return asked

    async with asyncio.TaskGroup() as readers:
        work = [readers.create_task(read()) for _ in range(READERS)]
        for swap in range(SWAPS):
            laid = await house.post("/simulate", {"rows": 101 + swap}, status=201)
            await house.settled("customer1", laid["snapshots"][0]["timestamp"])
        over.set()
    assert all(task.result() > SWAPS for task in work)
    assert len({database for database, _ in seen}) == len(seen)
    assert len(seen) > 1

"""`labctl snapshot` and the Python clients over the daemon's socket, with the small graph store."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from labctl.__main__ import answer
from labd.errors import GraphRefused
from labd.snapshots.record import State
from tests.fakes.small_graph import nothing
from tests.fakes.snapshot_house import SnapshotHouse
from tests.fakes.snapshot_yard import lay_down

Labctl = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def house(state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SnapshotHouse]:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("LABD_TOKEN", raising=False)
    async with SnapshotHouse(state_dir, allow_simulate=True).open_door() as opened:
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


async def test_load_follows_every_step_and_says_who_serves(house: SnapshotHouse, labctl: Labctl) -> None:
    lay_down(house.base, "acme", "100")
    code, out, err = await labctl("load", "acme")
    assert code == 0, err
    assert out.splitlines()[0].startswith("acme/100: alias acme -> acme-v100 after ")
    assert out.splitlines()[1] == "acme serves 100 (alias acme -> database acme-v100), nothing before it"
    steps = [line.split(",")[0] for line in err.splitlines() if line.startswith("  ")]
    assert steps == [
        "  load: database acme-v100", "  verify: it is what the snapshot says", "  switch: alias acme -> acme-v100",
        "  cleanup: nothing to drop",
    ]  # fmt: skip


async def test_load_without_a_name_takes_all_that_is_new(house: SnapshotHouse, labctl: Labctl) -> None:
    for customer in ("acme", "acme-eu"):
        lay_down(house.base, customer, "100")
    code, out, err = await labctl("load")
    assert code == 0, err
    assert [line for line in out.splitlines() if " serves " in line] == [
        "acme serves 100 (alias acme -> database acme-v100), nothing before it",
        "acme-eu serves 100 (alias acme-eu -> database acme-eu-v100), nothing before it",
    ]
    assert (await labctl("load"))[:2] == (0, "nothing new; `labctl snapshot list` shows all\n")


async def test_the_worst_end_of_several_loads_is_the_exit_code_and_json_is_one_document(
    house: SnapshotHouse, labctl: Labctl
) -> None:
    await house.take("acme", "100", nodes=100)
    lay_down(house.base, "acme", "200", nodes=60)
    lay_down(house.base, "beta", "1")
    code, out, _ = await labctl("load", "--json")
    assert code == 6
    assert [(job["args"]["customer"], job["state"]) for job in json.loads(out)["jobs"]] == [
        ("acme", "succeeded"), ("beta", "succeeded"),
    ]  # fmt: skip
    house.graph.heap_percent = 99.0
    await house.service.ask_health()
    lay_down(house.base, "beta", "2")
    code, out, _ = await labctl("load", "--timeout", "0.1")
    assert code == 5
    assert out.startswith("beta/2: job ")
    house.graph.heap_percent = 10.0
    await house.service.ask_health()
    await house.settled("beta", "2")


async def test_verify_and_switch_say_what_they_find(house: SnapshotHouse, labctl: Labctl) -> None:
    await house.take("acme", "100")
    await house.take("acme", "200")
    code, out, _ = await labctl("verify", "acme", "200")
    assert (code, out.startswith("acme/200: it is what the snapshot says after ")) == (0, True)
    state = house.graph._read()
    state["databases"]["acme-v200"]["nodes"] = 7
    house.graph._write(state)
    code, out, _ = await labctl("verify", "acme", "200")
    assert code == 6
    assert "  ! nodes: expected 20 as the parquet footers say, found 7" in out
    assert (await house.record("acme", "200")).state is State.ACTIVE
    assert (await labctl("switch", "acme", "100"))[0] == 0
    assert await house.graph.aliases() == {"acme": "acme-v100"}
    await labctl("drop", "acme", "200")
    code, _, err = await labctl("switch", "acme", "300")
    assert (code, "no snapshot acme/300 is known" in err) == (4, True)


async def test_a_drop_of_what_serves_or_is_the_way_back_is_refused(house: SnapshotHouse, labctl: Labctl) -> None:
    await house.take("acme", "100")
    await house.take("acme", "200")
    for timestamp in ("100", "200"):
        code, _, err = await labctl("drop", "acme", timestamp)
        assert (code, f"acme/{timestamp} is not dropped: " in err) == (4, True), timestamp


async def test_load_without_a_switch_leaves_the_alias_until_it_is_asked_for(
    house: SnapshotHouse, labctl: Labctl
) -> None:
    lay_down(house.base, "acme", "100")
    code, out, _ = await labctl("load", "--no-switch")
    assert code == 0
    assert "not switched: asked for without a switch" in out
    assert "acme serves nothing yet" in out
    assert await house.graph.aliases() == {}
    code, out, _ = await labctl("switch", "acme", "100")
    assert code == 0
    assert "acme/100: alias acme -> acme-v100 after" in out
    assert await house.graph.aliases() == {"acme": "acme-v100"}


async def test_a_load_under_way_with_another_word_on_the_switch_is_told(house: SnapshotHouse, labctl: Labctl) -> None:
    house.graph.heap_percent = 99.0
    lay_down(house.base, "acme", "100")
    assert (await labctl("load", "acme", "--no-wait"))[0] == 0
    code, _, err = await labctl("load", "acme", "100", "--no-switch")
    assert code == 4
    assert "loads acme/100 already and will switch; `labctl job cancel" in err


async def test_a_load_that_waits_for_the_store_says_for_what(house: SnapshotHouse, labctl: Labctl) -> None:
    house.graph.heap_percent = 99.0
    await house.service.ask_health()
    lay_down(house.base, "acme", "100")
    code, _, err = await labctl("load", "acme", "--timeout", "1.5")
    assert code == 5
    assert "its heap is 99 % full, loads wait from 85 %" in err
    code, out, _ = await labctl("health")
    assert code == 6
    assert "! loads wait: its heap is 99 % full" in out
    house.graph.heap_percent = 10.0
    assert (await labctl("health"))[0] == 0
    await house.settled("acme", "100")


async def test_a_held_snapshot_is_shown_approved_and_rolled_back(house: SnapshotHouse, labctl: Labctl) -> None:
    await house.take("acme", "100", nodes=100)
    lay_down(house.base, "acme", "200", nodes=60)
    code, out, _ = await labctl("load", "acme", "200")
    assert code == 6
    lines = out.splitlines()
    assert lines[0].startswith("acme/200: HELD after ")
    assert lines[1:] == [
        "  ! nodes: expected 100 within 20 %, as in the active version, found 60 (-40.0 %)",
        "  next: labctl snapshot approve acme 200, or labctl snapshot reject acme 200 --reason TEXT",
        "acme serves 100 (alias acme -> database acme-v100), nothing before it",
    ]
    assert "! nodes: expected 100" in (await labctl("show", "acme", "200"))[1]
    assert (await labctl("verify", "acme", "200"))[0] == 6
    code, out, _ = await labctl("approve", "acme", "200", "--reason", "half moved away")
    assert code == 0
    assert out.splitlines()[-1] == "acme serves 200 (alias acme -> database acme-v200), before it 100"
    code, out, _ = await labctl("rollback", "acme", "--reason", "they came back")
    assert code == 0
    assert out.splitlines()[-1] == "acme serves 100 (alias acme -> database acme-v100), before it 200"
    assert await house.graph.aliases() == {"acme": "acme-v100"}
    assert "rolled back by" in (await labctl("show", "acme", "200"))[1]


async def test_a_rejected_snapshot_is_gone(house: SnapshotHouse, labctl: Labctl) -> None:
    await house.take("acme", "100", nodes=100)
    await house.take("acme", "200", nodes=60)
    assert (await labctl("reject", "acme", "200"))[0] == 2
    code, out, _ = await labctl("reject", "acme", "200", "--reason", "half is missing")
    assert (code, out.splitlines()[0]) == (0, "acme/200 is rejected")
    assert (await labctl("approve", "acme", "200"))[0] == 4


async def test_lists_and_pages(house: SnapshotHouse, labctl: Labctl) -> None:
    for timestamp in ("99", "100", "101"):
        await house.take("acme", timestamp)
    await house.take("beta", "7")
    code, out, _ = await labctl("list")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["acme", "101", "active"], ["acme", "100", "superseded"], ["acme", "99", "dropped"], ["beta", "7", "active"],
    ]  # fmt: skip
    assert [line.split()[1] for line in (await labctl("list", "acme", "--state", "active"))[1].splitlines()[1:]] == [
        "101"
    ]
    rows = list(csv.DictReader(io.StringIO((await labctl("list", "--format", "csv"))[1])))
    assert (rows[0]["nodes"], rows[0]["database"], rows[0]["pinned"]) == ("20", "acme-v101", "no")
    found = json.loads((await labctl("list", "--limit", "2", "--json"))[1])
    assert (len(found["snapshots"]), found["next"]) == (2, 2)
    assert (await house.get("?limit=3&offset=2"))["next"] is None
    out = (await labctl("show", "acme"))[1]
    assert out.splitlines()[0] == "acme serves 101 (alias acme -> database acme-v101), before it 100"
    assert [one["customer"] for one in (await house.get("/customers"))["customers"]] == ["acme", "beta"]


async def test_pins_drops_and_a_dry_run_that_tells_what_the_real_one_does(house: SnapshotHouse, labctl: Labctl) -> None:
    await house.take("acme", "1")
    assert (await labctl("pin", "acme", "1"))[1] == "acme/1 is pinned; no cleanup drops it\n"
    for timestamp in ("2", "3", "4"):
        await house.take("acme", timestamp)
    code, _, err = await labctl("drop", "acme", "1")
    assert (code, "it is pinned" in err) == (4, True)
    await labctl("unpin", "acme", "1")
    code, dry, _ = await labctl("cleanup", "--dry-run")
    assert (code, dry.splitlines()[-1]) == (0, "would drop 1 of 3 databases")
    assert (await house.record("acme", "1")).database == "acme-v1"
    code, wet, _ = await labctl("cleanup")
    assert (code, wet.replace("dropped", "would drop").split()) == (0, dry.split())
    assert (await house.record("acme", "1")).state is State.DROPPED
    assert (await labctl("drop", "acme", "1"))[1] == "acme/1 is dropped; it has no database\n"


async def test_queries_as_table_json_and_csv(house: SnapshotHouse, labctl: Labctl) -> None:
    code, _, err = await labctl("query", "acme", "RETURN 1")
    assert (code, "acme serves nothing yet" in err) == (4, True)
    await house.take("acme", "100")
    await house.take("acme", "200")
    house.graph.answers["which"] = lambda database: database
    code, out, err = await labctl("query", "acme", "which")
    assert (code, out.split()) == (0, ["answer", "acme-v200"])
    assert err.startswith("1 row of acme-v200 in ")
    assert (await labctl("query", "acme", "which", "--csv"))[1] == "answer\nacme-v200\n"
    for database in ("100", "acme-v100", "ACME-v100"):
        found = json.loads((await labctl("query", "acme", "which", "--database", database, "--json"))[1])
        assert (found["rows"], found["database"]) == ([["acme-v100"]], "acme-v100")
    for words, part in (
        (("--database", "beta-v1"), "'beta-v1' is no version of acme"),
        (("--timeout", "11"), "timeout_s 11 s is more than the 10 s of [snapshots.query]"),
        (("--limit", "1001"), "limit 1001 rows is more than the 1000 rows of [snapshots.query]"),
        (("-p", "x"), "x: a parameter is written NAME=VALUE"),
    ):
        code, out, err = await labctl("query", "acme", "which", *words)
        assert (code, out) == (2, ""), words
        assert part in err


async def test_a_query_whose_version_goes_while_it_is_asked_is_asked_of_the_next(house: SnapshotHouse) -> None:
    await house.take("acme", "100")
    await house.take("acme", "200")
    await house.graph.switch("acme", "acme-v100")
    house.graph.answers["which"] = lambda database: database

    async def move(act: str, name: str) -> None:
        if act == "query":
            house.graph.before = nothing
            await house.graph.switch("acme", "acme-v200")
            raise GraphRefused("no database acme-v100")

    house.graph.before = move
    found = await house.post("/customers/acme/query", {"cypher": "which"})
    assert (found["database"], found["rows"]) == ("acme-v200", [["acme-v200"]])


async def test_simulate_drops_a_snapshot_that_comes_to_serve(house: SnapshotHouse, labctl: Labctl) -> None:
    code, out, err = await labctl("simulate", "--customer", "customer1", "--rows", "30", "--wait")
    assert code == 0, err
    first = (await house.get("/customers/customer1"))["active"]
    assert f"customer1 serves {first}" in out
    code, out, _ = await labctl("simulate", "--rows", "31")
    assert code == 0
    assert out.startswith("customer1/") and "; loaded by job " in out
    second = out.split(":")[0].partition("/")[2]
    await house.settled("customer1", second)
    assert int(second) > int(first)
    assert (await house.record("customer1", second)).state is State.ACTIVE
    code, out, _ = await labctl("simulate", "--damage", "cut", "--wait")
    assert code in (1, 4), out
    code, out, _ = await labctl("demo-data", "--rows", "20")
    assert [line.split("/")[0] for line in out.splitlines()] == ["customer2", "customer3"]
    assert "nothing was laid down" in (await labctl("demo-data"))[1]


async def test_made_up_snapshots_need_the_settings_word(state_dir: Path) -> None:
    async with SnapshotHouse(state_dir).open_door() as house:
        for verb in ("/simulate", "/demo-data"):
            told = await house.post(verb, status=412)
            assert "[snapshots] allow_simulate is false" in told["message"]
        assert not list(house.base.iterdir())
        made_up = msgspec.structs.replace(house.service.settings, allow_simulate=True)
        assert house.service.change(made_up) == ["snapshots.allow_simulate"]
        assert (await house.post("/simulate", status=412))["code"] == "refused"


async def test_scan_tells_what_is_new_unsettled_and_skipped(house: SnapshotHouse, labctl: Labctl) -> None:
    lay_down(house.base, "acme", "100")
    lay_down(house.base, "acme", "101", marker=False)
    (house.base / "-rm -rf").mkdir()
    (house.base / "acme" / "latest").mkdir()
    code, out, _ = await labctl("scan")
    assert code == 0
    assert "new: acme/100" in out
    assert "still written: acme/101, quiet for 0 s" in out
    assert "-rm -rf: '-rm -rf' is no customer" in out
    assert "'latest' is no timestamp" in out
    await house.settled("acme", "100")


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["show", "acme", "5"], 4, "no snapshot acme/5 is known"),
        (["show", "acme", "5x"], 2, "'5x' is no timestamp"),
        (["show", "../etc"], 2, "'../etc' is no customer"),
        (["load", "acme"], 4, "customer acme has no snapshot under"),
        (["rollback", "acme"], 4, "customer acme has no snapshot"),
        (["approve", "acme", "5"], 4, "no snapshot acme/5 is known"),
        (["list", "--state", "ripe"], 2, "ripe"),
        (["simulate", "--customer", "a/b"], 2, "'a/b' is no customer"),
        (["simulate", "--rows", "0"], 2, "0"),
        (["cleanup", "a b", "--dry-run"], 2, "'a b' is no customer"),
    ],
)
async def test_what_cannot_be_is_refused(
    house: SnapshotHouse, labctl: Labctl, words: list[str], code: int, part: str
) -> None:
    told, out, err = await labctl(*words)
    assert (told, out) == (code, ""), err
    assert part in err

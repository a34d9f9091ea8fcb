"""`labctl ingest` and the Python clients over the daemon's socket, with the lake in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labctl import AsyncClient
from labd.engine.job import JobState
from labd.errors import UnknownIngestion
from tests.fakes.broker import until
from tests.fakes.ingest_door import IngestDoor, Labctl, labctl_of
from tests.fakes.ingest_house import ANNA

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
async def house(state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IngestDoor]:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("LABD_TOKEN", raising=False)
    async with IngestDoor(state_dir).open_door() as opened:
        monkeypatch.setenv("LABD_HOST", opened.url)
        yield opened


@pytest.fixture
def labctl(house: IngestDoor, capsys: pytest.CaptureFixture[str]) -> Labctl:
    return labctl_of(capsys)


async def made(house: IngestDoor, labctl: Labctl, *words: str) -> None:
    code, _, err = await labctl(
        "create", "sales", "--source", house.inbox.as_uri(), "--format", "jsonl", "--table", "lab.sales",
        "--settle", "0", *words,
    )  # fmt: skip
    assert code == 0, err


async def test_create_says_what_it_made_and_run_what_came_in(house: IngestDoor, labctl: Labctl) -> None:
    house.put("a.jsonl", 1, 2)
    house.put("b.jsonl", 3)
    code, out, _ = await labctl(
        "create", "sales", "--source", house.inbox.as_uri(), "--format", "jsonl", "--table", "lab.sales",
        "--settle", "0", "--every", "3600", "--partition-by", "id", "--tag", "eu", "--set", "limits.batch_files=1",
    )  # fmt: skip
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "sales: active"
    assert "  table: default/lab.sales, by id" in lines
    assert "  schedule: every 1 h 0 min" in lines
    assert lines[-1] == "  next: labctl ingest run sales"
    code, out, err = await labctl("run", "sales")
    assert code == 0
    assert out.splitlines()[0].startswith("sales: run 1 succeeded after ")
    assert out.splitlines()[1] == "  2 of 2 files, 3 rows, 30 B in, 3 B out, 2 batches"
    steps = [line for line in err.splitlines() if line.startswith("  ")]
    assert steps == [
        "  discover: 2 of 2 files in 2 commits", "  load: committed, 2 rows", "  load: committed, 1 row",
    ]  # fmt: skip
    code, out, _ = await labctl("run", "sales")
    assert (code, out.splitlines()[1]) == (0, "  nothing new")
    runs = json.loads((await labctl("runs", "sales", "--json"))[1])["runs"]
    assert [run["trigger"] for run in runs] == ["manual", "manual"]


async def test_bad_files_are_named_shown_and_taken_again(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl)
    house.put("a.jsonl", 1)
    house.put("b.jsonl", "{no json")
    code, out, _ = await labctl("run", "sales")
    assert code == 6
    assert out.splitlines()[-2:] == [
        "  ! b.jsonl", "  next: labctl ingest files sales --bad, then labctl ingest retry sales",
    ]  # fmt: skip
    code, out, _ = await labctl("files", "sales", "--bad")
    assert code == 6
    assert [line.split()[0] for line in out.splitlines()] == ["path", "b.jsonl"]
    assert "line 1" in out
    code, out, _ = await labctl("show", "sales")
    assert (code, out.splitlines()[-1]) == (
        6, "  ! 1 bad file for a person to see to; `labctl ingest files sales --bad`",
    )  # fmt: skip
    code, out, _ = await labctl("runs", "sales", "1")
    assert code == 0
    assert "  ! b.jsonl, line 1: " in out
    code, out, _ = await labctl("retry", "sales", "--no-run")
    assert (code, out) == (0, "sales: 1 file taken again by the next run\n")
    house.put("b.jsonl", 2)
    assert (await labctl("run", "sales"))[0] == 0
    assert (await labctl("files", "sales", "--bad"))[0] == 0
    code, _, err = await labctl("retry", "sales")
    assert code == 4
    assert "no file that is quarantined" in err


async def test_a_run_with_nothing_but_failures_is_a_failed_job(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl)
    house.put("b.jsonl", "{no json")
    code, out, _ = await labctl("run", "sales")
    assert code == 1
    assert "ingest_failed: ingestion sales: run 1 failed: " in out


async def test_an_evolution_that_asks_is_shown_and_answered(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl, "--evolution", "approve")
    house.put("a.jsonl", {"id": 1})
    assert (await labctl("run", "sales"))[0] == 0
    house.put("b.jsonl", {"id": 2, "region": "eu"})
    code, _, _ = await labctl("run", "sales", "--timeout", "0.2")
    assert code == 5
    code, out, _ = await labctl("schema", "sales")
    assert code == 6
    assert "! waits for a person: add region string" in out
    code, out, _ = await labctl("show", "sales")
    assert "  waits for: add region string; `labctl job list --state waiting`" in out
    run = house.service.runs.going()[0]
    assert run.job_id is not None
    await house.engine.answer(run.job_id, "approve", ANNA)
    assert (await house.engine.wait(run.job_id, 20)).state is JobState.SUCCEEDED
    assert (await labctl("schema", "sales"))[0] == 0


async def test_edit_changes_what_is_said_and_refuses_what_cannot_be(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl, "--every", "60")
    code, out, _ = await labctl("edit", "sales", "--cron", "@daily", "--min-rows", "10", "--set", 'tags=["eu"]')
    assert code == 0
    assert "  schedule: @daily (UTC)" in out or "  schedule: 0 0 * * * (UTC)" in out
    assert "  quality: min_rows 10" in out
    code, out, _ = await labctl("edit", "sales", "--unset", "schedule", "--unset", "quality")
    assert (code, "  schedule: only when asked" in out, "quality" in out) == (0, True, False)
    code, out, _ = await labctl("edit", "sales", "--name", "turnover")
    assert (code, out.splitlines()[0]) == (0, "turnover: active")
    for words, part in (
        (("edit", "turnover"), "say what is to change"), (("edit", "turnover", "--set", "surce=1"), "surce"),
        (("edit", "turnover", "--cron", "99 * * * *"), "schedule.cron"),
        (("create", "x"), "--source, --format, --table"),
        (("create",), "say the NAME"), (("refresh", "turnover"), "say --full"), (("preview",), "say INGESTION"),
    ):  # fmt: skip
        code, _, err = await labctl(*words)
        assert (code, part in err) == (2, True), (words, err)
    house.put("a.jsonl", 1)
    assert (await labctl("run", "turnover"))[0] == 0
    code, _, err = await labctl("edit", "turnover", "--table", "lab.other")
    assert (code, "destination cannot change" in err) == (4, True)


async def test_a_definition_from_a_file_is_tried_and_then_made(
    house: IngestDoor, labctl: Labctl, tmp_path: Path
) -> None:
    house.put("a.jsonl", 1, 2)
    file = tmp_path / "sales.toml"
    file.write_text(
        f'[ingest.definition.sales]\nformat = {{ type = "jsonl" }}\ndestination = {{ table = "sales" }}\n'
        f'source = {{ url = "{house.inbox.as_uri()}", settle_s = 0 }}\n'
    )
    code, out, err = await labctl("preview", "--from", str(file), "--rows", "1")
    assert (code, out.splitlines()) == (0, ["id", "1"])
    assert "1 file listed, 1 read, nothing written" in err
    assert (await labctl("list"))[1] == "nothing to show\n"
    code, out, _ = await labctl("create", "--from", str(file), "--description", "by file")
    assert (code, "  description: by file" in out) == (0, True)
    whole = json.loads((await labctl("show", "sales", "--json"))[1])["definition"]
    again = tmp_path / "again.json"
    again.write_text(json.dumps({**whole, "name": "again", "destination": {"table": "again"}}))
    assert (await labctl("create", "--from", str(again)))[0] == 0
    code, _, err = await labctl("create", "--from", str(tmp_path / "none.toml"))
    assert (code, "cannot be read" in err) == (2, True)


async def test_estimate_backfill_and_refresh_tell_before_they_do(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl)
    house.put("2024/a.jsonl", 1)
    assert (await labctl("run", "sales"))[0] == 0
    house.put("2024/b.jsonl", 2)
    house.put("2025/c.jsonl", 3)
    code, out, _ = await labctl("estimate", "sales")
    assert (code, out.splitlines()[0].startswith("sales: 2 of 3 files to load, 20 B, in about ")) == (0, True)
    code, out, _ = await labctl("backfill", "sales", "--match", "2024/*", "--since", "1d", "--dry-run")
    assert out.splitlines()[0] == "sales: 2 of 3 files match, 1 in already, 1 to load, 10 B"
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [["2024/b.jsonl", "new"]]
    assert (await labctl("backfill", "sales", "--match", "2024/*"))[0] == 0
    assert house.lake.values("sales") == [1, 2]
    code, out, _ = await labctl("refresh", "sales", "--full", "--dry-run")
    assert out.splitlines()[0] == "sales: refresh full would do"
    assert "  1. drop_table: default/lab.sales" in out
    assert out.splitlines()[-1] == "  next: labctl ingest refresh sales --full --confirm"
    code, _, err = await labctl("refresh", "sales", "--full")
    assert (code, "then say --confirm" in err) == (4, True)
    code, out, _ = await labctl("refresh", "sales", "--full", "--confirm")
    assert (code, "3 of 3 files, 3 rows" in out) == (0, True)
    assert house.lake.values("sales") == [1, 2, 3]


async def test_query_and_lists_speak_csv_and_json(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl)
    house.put("a.jsonl", {"id": 1, "name": "x"}, {"id": 2, "name": None})
    assert (await labctl("run", "sales"))[0] == 0
    code, out, _ = await labctl("query", "lab.sales", "--csv")
    assert (code, out.splitlines()) == (0, ["id,name", "1,x", "2,"])
    assert json.loads((await labctl("query", "sales", "--limit", "1", "--json"))[1])["rows"] == [[1, "x"]]
    (one,) = list(csv.DictReader(io.StringIO((await labctl("list", "--format", "csv"))[1])))
    assert (one["name"], one["loaded"], one["rows"], len(one["id"])) == ("sales", "1", "2", 36)
    (run,) = list(csv.DictReader(io.StringIO((await labctl("runs", "--format", "csv"))[1])))
    assert (run["status"], run["records"]) == ("succeeded", "2")
    (file,) = list(csv.DictReader(io.StringIO((await labctl("files", "sales", "--format", "csv"))[1])))
    assert (file["path"], file["state"], file["rows"]) == ("a.jsonl", "loaded", "2")
    code, out, _ = await labctl("schema", "sales")
    assert (code, [line.split()[0] for line in out.splitlines()[:3]]) == (0, ["column", "id", "name"])


async def test_import_tells_each_row_and_what_the_settings_need(
    house: IngestDoor, labctl: Labctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = await labctl("import", str(DATA / "ingestions.csv"), "--dry-run")
    assert code == 6
    assert "8 definitions: 4 waits, 3 left out, 1 would create" in out
    assert 'account_key = "env:TELEMETRY_ACCOUNT_KEY"' in out
    assert "canary" not in out.lower()
    code, out, _ = await labctl("import", str(DATA / "ingestions.csv"), "--tenant", "tenant_456")
    assert (code, "1 definition: 1 created" in out) == (0, True)
    for words, part in (
        (("import",), "one of them"), (("import", str(DATA / "nothing.csv")), "cannot be read"),
        (("import", "--database-url", "env:NOT_THERE_AT_ALL"), "the environment has no NOT_THERE_AT_ALL"),
        (("import", str(DATA / "README.md")), "import: "),
    ):  # fmt: skip
        code, _, err = await labctl(*words)
        assert (code, part in err) == (2, True), (words, err)
    monkeypatch.setenv("OLD_DB", "oracle://u:canarypw@h/d")
    code, _, err = await labctl("import", "--database-url", "env:OLD_DB")
    assert code != 0
    assert "canarypw" not in err


async def test_an_export_to_a_file_comes_back(house: IngestDoor, labctl: Labctl, tmp_path: Path) -> None:
    await made(house, labctl)
    file = tmp_path / "out.json"
    assert (await labctl("export", "--out", str(file)))[0] == 0
    assert (await labctl("delete", "sales"))[0] == 0
    code, out, _ = await labctl("import", str(file))
    assert (code, "1 definition: 1 created" in out) == (0, True)
    assert (await labctl("show", "sales"))[0] == 0


async def test_spark_is_refused_when_it_is_asked_for_and_not_when_it_should_run(
    house: IngestDoor, labctl: Labctl, tmp_path: Path
) -> None:
    words = ("--source", house.inbox.as_uri(), "--format", "jsonl", "--table", "lab.sales")
    told = "engine: spark needs `url` in [ingest.spark] of the settings, and a restart; or take arrow or auto"
    code, _, err = await labctl("create", "sales", *words, "--engine", "spark")
    assert (code, told in err) == (2, True), err
    assert (await labctl("show", "sales"))[0] == 4
    assert (await labctl("create", "sales", *words, "--engine", "auto"))[0] == 0
    code, _, err = await labctl("edit", "sales", "--engine", "spark")
    assert (code, told in err) == (2, True), err
    file = tmp_path / "out.json"
    assert (await labctl("export", "--out", str(file)))[0] == 0
    assert (await labctl("delete", "sales"))[0] == 0
    document = json.loads(file.read_text())
    document["ingestions"][0]["definition"]["engine"] = "spark"
    file.write_text(json.dumps(document))
    code, out, _ = await labctl("import", str(file))
    assert "the settings need [ingest.spark] url; then import again" in out, out


async def test_delete_keeps_the_table_unless_asked_twice(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl)
    house.put("a.jsonl", 1)
    assert (await labctl("run", "sales"))[0] == 0
    code, _, err = await labctl("delete", "sales", "--drop-table")
    assert (code, "--confirm sales" in err) == (4, True)
    assert (await labctl("delete", "sales"))[0] == 0
    assert house.lake.values("sales") == [1]
    await made(house, labctl)
    assert (await labctl("delete", "sales", "--drop-table", "--confirm", "sales"))[0] == 0
    assert "sales" not in house.lake.tables
    code, _, err = await labctl("show", "sales")
    assert (code, "labctl ingest list" in err) == (4, True)


async def test_pause_and_resume_are_told(house: IngestDoor, labctl: Labctl) -> None:
    await made(house, labctl, "--cron", "0 0 1 1 *")
    assert (await labctl("pause", "sales"))[1] == "sales is paused\n"
    code, out, _ = await labctl("resume", "sales")
    assert (code, out.startswith("sales is active, next run 20")) == (0, True)


async def test_the_asynchronous_client_says_the_same(house: IngestDoor) -> None:
    house.put("a.jsonl", 1, 2)
    async with AsyncClient(house.url) as lab:
        await lab.create_ingestion(house.body())
        job = await lab.run_ingestion("sales", idempotency_key="once")
        assert (await lab.run_ingestion("sales", idempotency_key="once"))["id"] == job["id"]
        assert (await lab.wait(job["id"]))["result"]["records"] == 2
        assert (await lab.query_table("sales", limit=1))["rows"] == [[1]]
        assert [run["status"] for run in (await lab.ingestion_runs("sales"))["runs"]] == ["succeeded"]
        page = await lab.ingestion_files("sales", match="a*")
        assert [one["path"] for one in page["files"]] == ["a.jsonl"]
        with pytest.raises(UnknownIngestion):
            await lab.ingestion("nothing")
        with pytest.raises(UnknownIngestion):
            await lab.ingestion_schema("../sales")
    await until(lambda: not house.service.runs.going())

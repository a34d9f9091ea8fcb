"""Ingestions over HTTP: definitions, runs, files, refresh, backfill, transfer, and what OpenAPI tells."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from labd.errors import SourceUnreachable
from labd.ingest.record import FileMark
from tests.fakes.broker import until
from tests.fakes.ingest_door import IngestDoor

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[IngestDoor]:
    async with IngestDoor(state_dir).open_door() as opened:
        yield opened


@pytest.fixture
async def with_children(state_dir: Path) -> AsyncIterator[IngestDoor]:
    async with IngestDoor(state_dir, children=True).open_door() as opened:
        yield opened


async def loaded(house: IngestDoor, name: str = "sales") -> None:
    """An ingestion with two files in its table and a bad one."""
    await house.post("", house.body(name), status=201)
    house.put("a.jsonl", 1, 2)
    house.put("2024/b.jsonl", 3)
    house.put("c.jsonl", "{no json")
    await house.job(await house.post(f"/{name}/run", status=202))


async def test_a_definition_is_made_shown_changed_paused_and_deleted(house: IngestDoor) -> None:
    made = await house.post("", house.body(schedule={"interval_s": 3600}), status=201)
    assert (made["name"], made["status"], made["destination"]) == ("sales", "active", "default/default.sales")
    assert made["next_run_at"] is not None
    assert (await house.get(f"/{made['id']}"))["name"] == "sales"
    changed = await house.ask("PATCH", "/sales", {"quality": {"min_rows": 3}, "schedule": None, "tags": ["eu"]})
    assert changed["definition"]["quality"]["min_rows"] == 3
    assert changed["definition"]["schedule"] is None
    assert changed["next_run_at"] is None
    assert [one["name"] for one in (await house.get("?tag=eu"))["ingestions"]] == ["sales"]
    assert (await house.get("?tag=us"))["ingestions"] == []
    assert (await house.post("/sales/pause"))["status"] == "paused"
    assert (await house.post("/sales/resume"))["status"] == "active"
    whole = house.body(description="anew")
    assert (await house.ask("PUT", "/sales", whole))["definition"]["quality"]["min_rows"] is None
    gone = await house.ask("DELETE", "/sales")
    assert (gone["table_kept"], gone["job"]) == (True, None)
    assert (await house.get("/sales", status=404))["code"] == "unknown_ingestion"
    assert (await house.get(f"/{made['id']}"))["status"] == "deleted"
    assert (await house.get(""))["ingestions"] == []
    assert len((await house.get("?status=deleted"))["ingestions"]) == 1


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"source": {"url": "ftp://x/y"}}, "url"), ({"surce": {}}, "surce"), ({"changed": "maybe"}, "changed"),
        ({"schedule": {"cron": "99 * * * *"}}, "schedule.cron"), ({"destination": None}, "destination"),
        ({"source": {"options": {"secret_key": "x"}}}, "secret"), ({"name": "runs"}, "word of the API"),
        ({"limits": {"batch_files": 0}}, "batch_files"), ({"source": {"credentials": "none"}}, "credentials"),
    ],
)  # fmt: skip
async def test_a_change_that_cannot_be_is_refused_by_field_and_changes_nothing(
    house: IngestDoor, change: dict[str, Any], part: str
) -> None:
    made = await house.post("", house.body(), status=201)
    told = await house.ask("PATCH", "/sales", change, status=400)
    assert part in told["message"]
    assert (await house.get("/sales"))["definition"] == made["definition"]


async def test_names_and_tables_are_taken_once(house: IngestDoor) -> None:
    await house.post("", house.body(), status=201)
    assert "the name is taken" in (await house.post("", house.body(), status=409))["message"]
    twin = {**house.body("other"), "destination": {"table": "sales"}}
    assert "is written by ingestion sales" in (await house.post("", twin, status=409))["message"]
    assert (await house.post("", house.body("export"), status=400))["code"] == "bad_request"


async def test_a_run_is_told_with_its_files_and_errors(house: IngestDoor) -> None:
    await loaded(house)
    (run,) = (await house.get("/sales/runs"))["runs"]
    assert run["status"] == "partial"
    assert (run["trigger"], run["files_discovered"], run["files_processed"], run["files_failed"]) == ("api", 3, 2, 1)
    assert (run["records"], run["errors"][0]["path"], run["error_count"]) == (3, "c.jsonl", 1)
    assert (await house.get(f"/sales/runs/{run['id']}")) == run
    assert (await house.get("/runs?state=partial"))["runs"] == [run]
    assert (await house.get("/runs?state=failed"))["runs"] == []
    files = (await house.get("/sales/files"))["files"]
    assert [(one["path"], one["state"], one["rows"]) for one in files] == [
        ("2024/b.jsonl", "loaded", 1), ("a.jsonl", "loaded", 2), ("c.jsonl", "quarantined", 0),
    ]  # fmt: skip
    first = await house.get("/sales/files?limit=2")
    rest = await house.get(f"/sales/files?limit=2&after={quote(first['next'])}")
    assert [one["path"] for one in first["files"] + rest["files"]] == [one["path"] for one in files]
    assert rest["next"] is None
    (bad,) = (await house.get("/sales/files?state=quarantined"))["files"]
    assert bad["fault"]["code"] == "wrong_format"
    assert [one["path"] for one in (await house.get("/sales/files?match=2024/*"))["files"]] == ["2024/b.jsonl"]
    schema = await house.get("/sales/schema")
    assert (schema["columns"], schema["waits"]) == ([{"name": "id", "type": "long"}], [])
    assert schema["versions"][0]["run"] == run["id"]
    assert (await house.get("/sales"))["files"]["loaded"] == {"files": 2, "rows": 3, "size_bytes": 30}


async def test_runs_that_are_none_are_not_found(house: IngestDoor) -> None:
    await loaded(house)
    await house.post("", house.body("other"), status=201)
    assert "none of other" in (await house.get("/other/runs/1", status=404))["message"]
    assert (await house.get("/sales/runs/99", status=404))["code"] == "not_found"
    for number in ("x", "-1", "1.5", "9" * 30):
        assert (await house.get(f"/sales/runs/{number}", status=400))["code"] == "bad_request"
    for name in ("salse", "..", "a b", "`", "sales/", "x" * 500):
        answer = await house.client.ask("GET", f"/api/v1/ingestions/{quote(name, safe='')}")
        assert answer.status == 404, name
    assert "did you mean sales" in (await house.get("/salse", status=404))["message"]


async def test_bad_files_are_taken_again_when_asked_for(house: IngestDoor) -> None:
    await loaded(house)
    told = await house.post("/sales/retry", {"run": False})
    assert (told["files"], told["job"]) == (1, None)
    house.put("c.jsonl", 4)
    await house.job(await house.post("/sales/run", status=202))
    assert house.lake.values("sales") == [1, 2, 3, 4]
    told = await house.post("/sales/retry", {}, status=412)
    assert "no file that is quarantined" in told["message"]
    told = await house.post("/sales/retry", {"paths": ["a.jsonl"]}, status=412)
    assert "no file of these names" in told["message"]
    assert house.lake.values("sales") == [1, 2, 3, 4]


async def test_an_estimate_counts_and_a_preview_reads_and_neither_writes(house: IngestDoor) -> None:
    await loaded(house)
    house.put("d.jsonl", 5)
    house.put("a.jsonl", 1, 2, 3)
    found = await house.post("/sales/estimate")
    assert (found["listed"], found["files"], found["new"], found["changed"], found["batches"]) == (4, 2, 1, 1, 1)
    assert "1 earlier runs" in found["basis"]
    assert (await house.post("/sales/estimate", {"full": True}))["files"] == 4
    shown = await house.post("/sales/preview", {"rows": 2, "files": 4})
    assert len(shown["rows"]) == 2
    assert {one["path"]: one["state"] for one in shown["files"]}["c.jsonl"] == "quarantined"
    draft = await house.post("/preview", {"definition": house.body("draft"), "files": 1})
    assert draft["listed"] == 4
    assert (await house.post("/estimate", house.body("draft", schedule={"interval_s": 86400})))["runs_per_month"] == 30
    assert house.lake.loads == 1
    assert "draft" not in house.lake.tables
    assert (await house.get("/draft", status=404))["code"] == "unknown_ingestion"


async def test_a_backfill_lists_the_exact_files_and_then_loads_those(house: IngestDoor) -> None:
    await loaded(house)
    house.put("2024/old.jsonl", 7)
    house.put("2025/new.jsonl", 8)
    plan = await house.post("/sales/backfill", {"match": "2024/*", "dry_run": True})
    assert [(one["path"], one["state"]) for one in plan["files"]] == [("2024/old.jsonl", "new")]
    assert (plan["listed"], plan["matching"], plan["loaded"], plan["job"]) == (5, 2, 1, None)
    assert (await house.post("/sales/backfill", {"until": "2001-01-01"}))["matching"] == 0
    assert (await house.post("/sales/backfill", {"since": "2001-01-01", "dry_run": True}))["count"] == 3
    told = await house.post("/sales/backfill", {"match": "2024/*"})
    assert (await house.job(told["job"])).result["files_processed"] == 1
    assert house.lake.values("sales") == [1, 2, 3, 7]
    for body, part in (({}, "say since"), ({"since": "lately"}, "no instant")):
        assert part in (await house.post("/sales/backfill", body, status=400))["message"]


async def test_what_another_loader_has_loaded_is_noted_and_never_read(house: IngestDoor) -> None:
    await house.post("", house.body(), status=201)
    for name in ("a.jsonl", "b.jsonl", "new/c.jsonl"):
        house.put(name, 1)
    plan = await house.post("/sales/adopt", {"match": "?.jsonl", "dry_run": True})
    assert ([one["path"] for one in plan["files"]], plan["job"]) == (["a.jsonl", "b.jsonl"], None)
    told = await house.post("/sales/adopt", {"match": "?.jsonl"})
    assert (await house.job(told["job"])).result["noted"] == 2
    assert (await house.get("/sales"))["files"]["loaded"]["files"] == 2
    assert (await house.run())["files_discovered"] == 1
    assert house.lake.values("sales") == [1]
    house.put("a.jsonl", 5, 6)
    assert (await house.run())["files_discovered"] == 1
    assert house.lake.values("sales") == [1, 5, 6]
    assert (await house.post("/sales/adopt", {"until": "2001-01-01"}))["count"] == 0
    assert [run["status"] for run in (await house.get("/sales/runs"))["runs"]] == ["succeeded"] * 3


async def test_a_refresh_tells_first_and_drops_only_when_confirmed(house: IngestDoor) -> None:
    await loaded(house)
    plan = await house.post("/sales/refresh", {"mode": "full", "dry_run": True})
    assert [one["operation"] for one in plan["operations"]] == ["drop_table", "forget_files", "run"]
    assert (plan["files"], plan["job"]) == (3, None)
    told = await house.post("/sales/refresh", {"mode": "full"}, status=412)
    assert "then say --confirm" in told["message"]
    assert house.lake.values("sales") == [1, 2, 3]
    house.put("c.jsonl", 4)
    told = await house.post("/sales/refresh", {"mode": "full", "confirm": True})
    ended = await house.job(told["job"])
    await house.ended(await house.engine.job(ended.result["job"]))
    assert house.lake.values("sales") == [1, 2, 3, 4]
    assert ended.result["forgotten"] == 3


async def test_a_new_only_refresh_leaves_out_what_was_loaded_before(house: IngestDoor) -> None:
    await loaded(house)
    house.put("d.jsonl", 9)
    told = await house.post("/sales/refresh", {"mode": "new_only", "confirm": True})
    assert "the rows of 2 loaded files do not come back" in told["warnings"]
    ended = await house.job(told["job"])
    await house.ended(await house.engine.job(ended.result["job"]))
    assert house.lake.values("sales") == [9]
    assert (await house.marks())["a.jsonl"] is FileMark.LOADED


async def test_a_refresh_frees_the_files_of_a_batch_whose_table_somebody_dropped(house: IngestDoor) -> None:
    await loaded(house)
    del house.lake.tables["sales"]
    house.put("d.jsonl", 9)
    assert "is not the one" in await house.fails()
    told = await house.post("/sales/refresh", {"mode": "full", "confirm": True})
    ended = await house.job(told["job"])
    await house.ended(await house.engine.job(ended.result["job"]))
    assert house.lake.values("sales") == [1, 2, 3, 9]


async def test_while_a_run_is_going_its_table_is_neither_refreshed_nor_dropped(house: IngestDoor) -> None:
    await house.post("", house.body(), status=201)
    house.put("a.jsonl", 1)
    house.lake.gate.clear()
    job = await house.post("/sales/run", status=202)
    await until(lambda: house.lake.loads == 1)
    told = await house.post("/sales/refresh", {"mode": "full", "confirm": True}, status=412)
    assert "run 1 is going on" in told["message"]
    told = await house.ask("DELETE", "/sales?drop_table=true&confirm=sales", status=412)
    assert "run 1 is going on" in told["message"]
    house.lake.gate.set()
    await house.job(job)
    assert house.lake.values("sales") == [1]


async def test_a_table_is_dropped_only_where_that_is_asked_twice(house: IngestDoor) -> None:
    await loaded(house)
    for query in ("?drop_table=true", "?drop_table=true&confirm=yes"):
        told = await house.ask("DELETE", f"/sales{query}", status=412)
        assert "--confirm sales" in told["message"]
    assert house.lake.values("sales") == [1, 2, 3]
    told = await house.ask("DELETE", "/sales?drop_table=true&confirm=sales")
    assert (await house.job(told["job"])).result["dropped"] is True
    assert "sales" not in house.lake.tables


async def test_a_table_that_another_ingestion_writes_by_now_is_not_dropped(house: IngestDoor) -> None:
    made = await house.post("", house.body(), status=201)
    await house.ask("DELETE", "/sales")
    await house.post("", house.body("heir", destination={"table": "sales"}), status=201)
    job = await house.submit_and_end(made["id"], task="ingest.drop_table")
    assert job.error is not None
    assert "ingestion heir writes it" in job.error.message


async def test_rows_are_asked_by_ingestion_or_table(house: IngestDoor) -> None:
    await loaded(house)
    for name in ("sales", "default.sales", "default/default.sales"):
        found = await house.post("/query", {"table": name, "limit": 2})
        assert ([one["name"] for one in found["columns"]], len(found["rows"])) == (["id"], 2)
    for name, part in (("nothing", "no ingestion and no namespace.table"), ("a.b;c", "no name of a table")):
        assert part in (await house.post("/query", {"table": name}, status=400))["message"]


async def test_a_source_that_says_no_is_told_as_it_is(house: IngestDoor) -> None:
    await house.post("", house.body(), status=201)
    house.lake.listing.append(SourceUnreachable("the store is away"))
    assert (await house.post("/sales/estimate", status=503))["code"] == "source_unreachable"


async def test_an_import_keeps_what_it_can_and_a_second_one_passes_over_it(house: IngestDoor) -> None:
    text = (DATA / "ingestions.json").read_text()
    told = await house.post("/import", {"text": text, "dry_run": True})
    verdicts = {one["name"]: one["verdict"] for one in told["ingestions"]}
    assert verdicts["Device-events"] == "waits"
    assert verdicts["Device-events-00000006"] == "would_create"
    assert (await house.get(""))["ingestions"] == []
    events = next(one for one in told["credentials"] if one["name"] == "Device-events")
    assert (events["ingestions"], events["is_set"]) == (["Device-events", "Orders-Uni"], False)
    assert events["toml"].splitlines() == [
        "[ingest.credentials.Device-events.secrets]",
        'access_key_id = "env:DEVICE_EVENTS_ACCESS_KEY_ID"',
        'secret_access_key = "env:DEVICE_EVENTS_SECRET_ACCESS_KEY"',
    ]
    told = await house.post("/import", {"text": text})
    assert {one["verdict"] for one in told["ingestions"]} == {"waits", "left_out", "created"}
    secrets = {"secrets": {"access_key_id": "env:A", "secret_access_key": "env:B"}}
    house.rules["credentials"] = dict.fromkeys(("Device-events", "telemetry", "assays"), secrets)
    house.service.change(house.settings)
    told = await house.post("/import", {"text": text, "activate": True})
    verdicts = {one["name"]: one["verdict"] for one in told["ingestions"]}
    assert (verdicts["Device-events"], verdicts["Device-events-00000006"]) == ("created", "there")
    statuses = {one["name"]: one["status"] for one in (await house.get(""))["ingestions"]}
    assert statuses == {
        "Device-events": "active", "Orders-Uni": "active", "telemetry": "paused", "assays": "active",
        "Device-events-00000006": "paused",
    }  # fmt: skip


async def test_an_export_comes_back_into_another_daemon(house: IngestDoor) -> None:
    await house.post("", house.body("one"), status=201)
    await house.post("?paused=true", house.body("two", schedule={"cron": "@daily"}), status=201)
    document = await house.get("/export")
    assert [one["state"] for one in document["ingestions"]] == ["active", "paused"]
    assert len((await house.get("/export?name=two"))["ingestions"]) == 1
    assert {one["verdict"] for one in (await house.post("/import", {"document": document}))["ingestions"]} == {"there"}
    for name in ("one", "two"):
        await house.ask("DELETE", f"/{name}")
    told = await house.post("/import", {"document": document})
    assert [(one["verdict"], one["status"]) for one in told["ingestions"]] == [
        ("created", "active"), ("created", "paused"),
    ]  # fmt: skip
    again = await house.get("/export")
    assert again["ingestions"] == document["ingestions"]


async def test_an_older_database_is_read_by_its_url_in_a_worker(with_children: IngestDoor) -> None:
    house = with_children
    rows = json.loads((DATA / "ingestions.json").read_text())
    path = house.state_dir / "autoloader.db"
    with sqlite3.connect(path) as database:
        names = list(rows[0])
        database.execute(f"CREATE TABLE ingestions ({', '.join(f'{name} TEXT' for name in names)})")
        values = [[json.dumps(v) if isinstance(v, dict | list) else v for v in row.values()] for row in rows]
        database.executemany(f"INSERT INTO ingestions VALUES ({', '.join('?' * len(names))})", values)
        database.execute("CREATE TABLE processed_files (ingestion_id TEXT, status TEXT)")
        done = rows[5]["id"]
        database.executemany(
            "INSERT INTO processed_files VALUES (?, ?)", [(done, "SUCCESS")] * 12 + [(done, "FAILED")]
        )  # fmt: skip
    database.close()
    told = await house.post("/import", {"database_url": f"sqlite:///{path}", "tenant": "tenant_456"})
    (one,) = told["ingestions"]
    assert (one["verdict"], one["status"], one["files"]) == ("created", "paused", 12)
    assert "(12 were loaded there)" in one["notes"][-1]
    told = await house.post("/import", {"database_url": f"sqlite:///{path}", "dry_run": True})
    assert len(told["ingestions"]) == len(rows)
    before = set(house.state_dir.iterdir())
    for url, part in (
        (f"sqlite:///{house.state_dir}/none.db", "no SQLite file"), ("nonsense", "none that SQLAlchemy knows"),
        ("oracle://u:canarypw@h/d", "none of sqlite"), ("postgresql://u:canarypw@127.0.0.1:1/d", "import: "),
    ):  # fmt: skip
        answer = await house.client.ask("POST", "/api/v1/ingestions/import", {"database_url": url})
        assert answer.code in ("source_refused", "source_unreachable"), answer.json
        assert part in answer.json["message"]
        assert "canarypw" not in json.dumps(answer.json)
    assert set(house.state_dir.iterdir()) == before
    await house.engine.journal.settle()
    kept = [path for path in house.state_dir.rglob("*") if path.is_file() and path != house.state_dir / "autoloader.db"]
    assert len(kept) > 3
    assert not [path for path in kept if b"canarypw" in path.read_bytes()]


async def test_the_real_engine_previews_loads_shows_and_refreshes(with_children: IngestDoor) -> None:
    house = with_children
    house.put("a.jsonl", 1)
    draft = await house.post("/preview", {"definition": house.body("draft")})
    assert (draft["rows"], draft["files"][0]["state"]) == ([[1, None]], "loaded")
    await loaded(house)
    (run,) = (await house.get("/sales/runs"))["runs"]
    assert (run["status"], run["records"], run["rescued"]) == ("partial", 3, 0)
    found = await house.post("/query", {"table": "sales", "columns": ["id"], "where": "id >= 2"})
    assert sorted(row[0] for row in found["rows"]) == [2, 3]
    shown = await house.post("/sales/preview", {"files": 3, "rows": 10})
    assert {one["path"] for one in shown["files"]} == {"a.jsonl", "2024/b.jsonl", "c.jsonl"}
    refused = await house.client.ask("POST", "/api/v1/ingestions/query", {"table": "sales", "where": "no such thing"})
    assert (refused.status, refused.code) == (412, "table_refused")
    told = await house.post("/sales/refresh", {"mode": "full", "confirm": True})
    ended = await house.job(told["job"])
    await house.ended(await house.engine.job(ended.result["job"]))
    assert len((await house.post("/query", {"table": "sales"}))["rows"]) == 3


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/import", {}, "give one of"), ("/import", {"text": "[]", "document": []}, "give one of"),
        ("/import", {"text": "[]"}, "no `ingestions`"), ("/sales/run", {"force": True}, "force"),
        ("/sales/refresh", {}, "mode"), ("/sales/refresh", {"mode": "some"}, "some"),
        ("/sales/retry", {"states": []}, "states"), ("/sales/retry", {"states": ["loaded"]}, "loaded"),
        ("/sales/preview", {"rows": 0}, "rows"), ("/query", {"table": "x", "limit": 99999}, "limit"),
    ],
)  # fmt: skip
async def test_bodies_that_are_none_are_refused_by_field(
    house: IngestDoor, path: str, body: dict[str, Any], part: str
) -> None:
    await house.post("", house.body(), status=201)
    assert part in (await house.post(path, body, status=400))["message"]


async def test_no_secret_of_an_import_is_in_the_journal_or_the_audit(house: IngestDoor) -> None:
    house.rules["credentials"] = {name: {} for name in ("Device-events", "telemetry", "assays")}
    house.service.change(house.settings)
    told = await house.post("/import", {"text": (DATA / "ingestions.csv").read_text(), "activate": True})
    assert [one["verdict"] for one in told["ingestions"]].count("created") == 5
    await house.engine.journal.settle()
    kept = b"".join(path.read_bytes() for path in house.state_dir.rglob("*") if path.is_file())
    assert b"Orders-Uni" in kept
    assert b"canary" not in kept.lower()
    assert "canary" not in json.dumps([told, await house.get("/export"), await house.get("")]).lower()


async def test_openapi_has_every_route_with_its_types(house: IngestDoor) -> None:
    document = (await house.client.ask("GET", "/api/v1/openapi.json")).json
    routes = {
        (method, path): route
        for path, methods in document["paths"].items() if "/ingestions" in path
        for method, route in methods.items()
    }  # fmt: skip
    assert len(routes) == len(house.service.endpoints()) == 25
    for (method, path), route in routes.items():
        good = next(answer for status, answer in route["responses"].items() if status.startswith("2"))
        assert good["content"]["application/json"]["schema"], (method, path)
        if method in ("post", "put", "patch") and not path.endswith(("pause", "resume")):
            assert route["requestBody"]["content"]["application/json"]["schema"], path
    assert msgspec.json.encode(document)

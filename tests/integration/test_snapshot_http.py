"""The snapshots over HTTP: hostile names from everywhere, bodies that are none, and what OpenAPI tells."""

from __future__ import annotations

import os
import string
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest

from labd.snapshots import names
from labd.snapshots.record import State
from tests.fakes.snapshot_house import SnapshotHouse
from tests.fakes.snapshot_yard import lay_down

HOSTILE = [
    *("..", ".", "...", "../../etc", "a/b", "/etc/passwd", "a\\b", "a\0b", "a\nb", "a b", " a", "a ", "-a", "a-", "_a"),
    *("`", "a`b", "a``) DROP DATABASE x //", "'; DROP", "$alias", "{a}", "é", "ａｃｍｅ", "аcme", "İ", "ß"),
    *("\u202eacme", "%2e%2e", "%00", "a%2Fb", "+", "?", "#", "a?b=c", "a" * 129, "a" * 5000),
    *("\U0001f4a9", "\x7f", "CON:"),
]  # fmt: skip
ALLOWED = [
    *("acme", "Acme", "ACME", "acme-eu", "acme.eu", "acme_eu", "acme-e-u", "a", "1", "acme-v1", "acme-v1-v2", "system"),
    *("neo4j", "query", "load", "versions", "health", "a" * 128, "a" * 42, "a" * 43, "a--b", "x.y-z_0", "None", "0"),
]  # fmt: skip


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[SnapshotHouse]:
    async with SnapshotHouse(state_dir, allow_simulate=True).open_door() as opened:
        yield opened


def made_up(count: int) -> list[str]:
    """Names by chance; the seed is in the output of a test that fails."""
    seed = int.from_bytes(os.urandom(4))
    print(f"names from seed {seed}")
    random = Random(seed)
    signs = string.ascii_letters + string.digits + "._-" * 6 + "`'\"\\/%é\u202e\0\n {}$"
    return ["".join(random.choices(signs, k=random.randint(1, 12))) for _ in range(count)]


async def test_no_name_in_a_path_gets_further_than_the_list_of_what_is_allowed(house: SnapshotHouse) -> None:
    for name in [*HOSTILE, *ALLOWED, *made_up(60)]:
        where = f"/api/v1/snapshots/customers/{quote(name, safe='')}"
        is_allowed = names.customer_fault(name) is None
        for method, path, body in (
            ("GET", where, None), ("GET", f"{where}/versions/1", None), ("POST", f"{where}/versions/1/drop", {}),
            ("POST", f"{where}/query", {"cypher": "RETURN 1"}), ("POST", f"{where}/load", {}),
            ("POST", f"{where}/rollback", {}),
        ):  # fmt: skip
            answer = await house.client.ask(method, path, body)
            told = (name, method, path, answer.status, answer.code)
            if is_allowed:
                assert answer.status in (404, 412), told
            else:
                assert answer.status in (400, 404, 414, 431), told
    assert house.graph.acts.count("aliases") < len(ALLOWED) + 200
    assert not [act for act in house.graph.acts if act.startswith(("load", "drop", "switch"))]


async def test_no_timestamp_gets_further_either(house: SnapshotHouse) -> None:
    for stamp in ("..", "1x", "01", "-1", "+1", "1e3", "1.0", "٣", "9" * 20, " 1", "1 ", "`", "\0", "1%2F2"):
        for verb in ("", "/load", "/drop", "/approve"):
            path = f"/api/v1/snapshots/customers/acme/versions/{quote(stamp, safe='')}{verb}"
            answer = await house.client.ask("POST" if verb else "GET", path, {} if verb else None)
            assert answer.status in (400, 404), (stamp, verb, answer.status)
            assert answer.code in ("bad_request", "not_found"), (stamp, verb)


async def test_every_allowed_customer_gets_a_database_of_its_own_below_the_folder(house: SnapshotHouse) -> None:
    chosen = [name for name in made_up(200) if names.customer_fault(name) is None][:12]
    folders = sorted({*ALLOWED, *chosen})
    before = {path.name for path in house.state_dir.iterdir()}
    for name in folders:
        laid = await house.post("/simulate", {"customer": name, "rows": 1}, status=201)
        stamp = laid["snapshots"][0]["timestamp"]
        await house.settled(name, stamp)
        assert (await house.record(name, stamp)).state is State.ACTIVE
        assert Path(laid["snapshots"][0]["path"]).parent.parent == house.base
    for name in HOSTILE:
        assert (await house.client.ask("POST", "/api/v1/snapshots/simulate", {"customer": name})).status == 400, name
    assert sorted(path.name for path in house.base.iterdir()) == folders
    assert {path.name for path in house.state_dir.iterdir()} - before <= {"graph.json"}
    aliases = await house.graph.aliases()
    assert len(aliases) == len(set(aliases.values())) == len(folders)
    house.graph.answers["which"] = lambda database: database
    for name in folders:
        found = await house.post(f"/customers/{name}/query", {"cypher": "which"})
        assert names.belongs(found["rows"][0][0], name)


async def test_hostile_folders_are_told_and_skipped_and_the_others_go_on(house: SnapshotHouse) -> None:
    made = 0
    for name in [*HOSTILE, *made_up(40)]:
        if names.customer_fault(name) is None or "/" in name or "\0" in name or name in (".", ".."):
            continue
        if len(os.fsencode(name)) <= 255 and not name.startswith("."):
            (house.base / name).mkdir(exist_ok=True)
            made += 1
    Path(os.fsdecode(os.fsencode(house.base) + b"/\xff\xfe")).mkdir()
    lay_down(house.base, "acme", "100")
    found = await house.post("/scan")
    assert found["new"] == ["acme/100"]
    assert made > 15
    assert len(found["skipped"]) == len(list(house.base.iterdir())) - 1
    assert (await house.get("/health"))["skipped"] == found["skipped"]
    await house.settled("acme", "100")


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/customers/acme/query", {}, "cypher"),
        ("/customers/acme/query", {"cypher": ""}, "cypher"),
        ("/customers/acme/query", {"cypher": "RETURN 1", "limit": 0}, "limit"),
        ("/customers/acme/query", {"cypher": "RETURN 1", "timeout_s": -1}, "timeout_s"),
        ("/customers/acme/query", {"cypher": "RETURN 1", "parameters": [1]}, "parameters"),
        ("/customers/acme/query", {"cypher": "RETURN 1", "write": True}, "write"),
        ("/customers/acme/load", {"switch": "yes"}, "switch"),
        ("/customers/acme/rollback", {"reason": "x" * 501}, "reason"),
        ("/load", {"customer": "acme"}, "customer"),
        ("/simulate", {"rows": 1_000_001}, "rows"),
        ("/simulate", {"damage": "fire"}, "fire"),
    ],
)
async def test_bodies_that_are_none_are_refused_by_field(
    house: SnapshotHouse, path: str, body: dict[str, object], part: str
) -> None:
    told = await house.post(path, body, status=400)
    assert part in told["message"]


async def test_a_state_that_is_none_and_a_page_that_is_too_long_are_refused(house: SnapshotHouse) -> None:
    for query in ("?state=ripe", "?limit=0", "?limit=1001", "?offset=-1", "?customer=a%20b"):
        assert (await house.get(query, status=400))["code"] == "bad_request", query


async def test_openapi_has_every_route_with_its_types(house: SnapshotHouse) -> None:
    document = (await house.client.ask("GET", "/api/v1/openapi.json")).json
    routes = {
        (method, path): route
        for path, methods in document["paths"].items()
        if "/snapshots" in path
        for method, route in methods.items()
    }
    assert len(routes) == len(house.service.endpoints()) == 22
    for (method, path), route in routes.items():
        good = next(answer for status, answer in route["responses"].items() if status.startswith("2"))
        assert good["content"]["application/json"]["schema"], (method, path)
        if method == "post" and not path.endswith(("scan", "verify", "switch", "pin", "drop")):
            assert route["requestBody"]["content"]["application/json"]["schema"], path

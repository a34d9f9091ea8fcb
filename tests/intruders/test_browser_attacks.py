"""What a page from elsewhere can make a browser on this host send, and what it must not get by it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from labd.api.gate import COOKIE
from tests.fakes.raw_http import RawClient
from tests.intruders.whole_house import House

FORM_TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
STOP = "/api/v1/resort/stop"
SUBMIT = {"task": "resort.go_home", "args": {}}


async def session(house: House, scope: str = "admin") -> str:
    """The cookie header of a browser that is logged in."""
    api = house.app._api
    assert api is not None

    async def make() -> str:
        _, secret = await api._tokens.make(f"b-{scope}", (scope,), "test", None)
        return f"{COOKIE}={await api._gate._sessions.open(secret)}"

    return await asyncio.to_thread(house.run, make())


async def jobs(house: House) -> int:
    """How many jobs there are."""
    async with await house.unix() as client:
        return len((await client.ask("GET", "/api/v1/jobs")).json["jobs"])


@pytest.mark.parametrize("content_type", FORM_TYPES)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
async def test_a_form_of_another_page_moves_nothing(house: House, content_type: str, origin: str | None) -> None:
    before = await jobs(house)
    headers = {"Cookie": await session(house), "Content-Type": content_type}
    if origin is not None:
        headers["Origin"] = origin
    async with await house.tcp() as client:
        for method, path, body in (
            ("POST", "/api/v1/jobs", SUBMIT),
            ("POST", STOP, {}),
            ("POST", "/api/v1/reload", {}),
        ):
            answer = await client.ask(method, path, body, headers)
            assert (answer.status, answer.code) == (403, "origin_refused")
    assert await jobs(house) == before


PORTS = ["http://127.0.0.1:1", "http://localhost:{port}", "https://127.0.0.1", "{scheme}://127.0.0.1:{port}.evil.example",
         "{scheme}://127.0.0.1:{port}@evil.example", "{scheme}://evil.example#127.0.0.1:{port}"]  # fmt: skip


@pytest.mark.parametrize("form", PORTS)
async def test_another_program_of_this_host_is_another_origin(house: House, form: str) -> None:
    scheme = house.origin.partition(":")[0]
    origin = form.format(port=house.address[1], scheme=scheme)
    headers = {"Cookie": await session(house), "Origin": origin}
    async with await house.tcp() as client:
        answer = await client.ask("POST", "/api/v1/jobs", SUBMIT, headers)
        assert (answer.status, answer.code) == (403, "origin_refused")


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
async def test_a_picture_of_another_page_reads_nothing_with_a_session(house: House, site: str, status: int) -> None:
    headers = {"Cookie": await session(house), "Sec-Fetch-Site": site}
    async with await house.tcp() as client:
        assert (await client.ask("GET", "/api/v1/status", headers=headers)).status == status
        assert (await client.ask("GET", "/", headers={**headers, "Accept": "text/html"})).status == 200  # a link to it


async def test_a_page_is_never_told_that_it_may(house: House) -> None:
    async with await house.tcp() as client:
        for method in ("OPTIONS", "GET", "POST"):
            for path in ("/", "/api/v1/jobs", "/api/v1/session", "/nowhere"):
                asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
                answer = await client.ask(method, path, headers=asked)
                assert answer.status in (403, 405)
                assert not [name for name in answer.headers if name.startswith("access-control-")]


NAMES = [
    "evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "127.0.0.1:{port}.evil.example", "localhost.evil",
    "127.0.0.1@evil.example", "evil.example#127.0.0.1", "[::1]evil.example", "[::1].evil.example", "127.0.0.1:80:90",
    "127.0.0.1:x", "127.1", "2130706433", "0x7f.1", "0", "[::ffff:127.0.0.1]", "\xff\xfe", "127.0.0.1,evil", " ",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_resolves_to_this_host_is_no_name_of_it(house: House, name: str) -> None:
    host = name.format(port=house.address[1]).encode("latin-1")
    cookie = (await session(house)).encode()
    async with await house.tcp() as client:
        for path in (b"/", b"/healthz", b"/api/v1/status"):
            client.writer.write(b"GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n" % (path, host, cookie))
            answer = await client.answer()
            assert (answer.status, answer.code) == (403, "origin_refused"), name


async def test_a_login_by_another_page_is_refused(house: House) -> None:
    api = house.app._api
    assert api is not None
    _, secret = await asyncio.to_thread(house.run, api._tokens.make("mallory", ("read",), "test", None))
    async with await house.tcp() as client:
        for origin in ("https://evil.example", "null"):
            answer = await client.ask("POST", "/api/v1/session", {"token": secret}, {"Origin": origin})
            assert (answer.status, answer.code) == (403, "origin_refused")
            assert "set-cookie" not in answer.headers


TWICE = [("Authorization", "Bearer {token}", "Bearer x"), ("Authorization", "Bearer x", "Bearer {token}"),
         ("Origin", "{origin}", "https://evil.example"), ("Host", "127.0.0.1", "evil.example"),
         ("Content-Length", "0", "2")]  # fmt: skip


@pytest.mark.parametrize(("name", "one", "two"), TWICE)
async def test_a_header_that_decides_something_stands_once(house: House, name: str, one: str, two: str) -> None:
    api = house.app._api
    assert api is not None
    _, secret = await asyncio.to_thread(house.run, api._tokens.make("twice", ("read",), "test", None))
    values = [text.format(token=secret, origin=house.origin) for text in (one, two)]
    lines = [f"{name}: {value}" for value in values]
    if name != "Host":
        lines.append(f"Host: 127.0.0.1:{house.address[1]}")
    if name != "Authorization":
        lines.append(f"Authorization: Bearer {secret}")
    async with await house.tcp() as client:
        client.writer.write(("GET /api/v1/status HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        answer = await client.answer()
        assert (answer.status, answer.code) == (400, "bad_request")


PAGES: list[tuple[str, dict[str, Any]]] = [("/", {"Accept": "text/html"}), ("/docs", {}), ("/docs/runbook", {})]


@pytest.mark.parametrize(("path", "headers"), PAGES)
async def test_no_page_may_be_framed_or_run_what_is_not_labds(house: House, path: str, headers: dict[str, str]) -> None:
    async with await house.tcp() as client:
        answer = await client.ask("GET", path, headers=headers)
    assert answer.status == 200
    rules = {part.split()[0]: part.split()[1:] for part in answer.headers["content-security-policy"].split(";")}
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert "'unsafe-inline'" not in str(rules)
    assert "'unsafe-eval'" not in str(rules)
    assert (answer.headers["x-frame-options"], answer.headers["x-content-type-options"]) == ("DENY", "nosniff")


async def test_an_answer_of_the_api_is_no_page_and_is_not_kept(house: House) -> None:
    async with await house.unix() as client:
        for path in (
            "/api/v1/status",
            "/api/v1/jobs",
            "/api/v1/nothing",
            "/api/v1/openapi.json",
            "/api/v1/inventory/export",
        ):
            answer = await client.ask("GET", path)
            assert answer.headers["content-type"].startswith("application/json")
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers.get("x-content-type-options") == "nosniff", path


async def test_a_cookie_is_out_of_reach_of_scripts_and_of_other_sites(house: House) -> None:
    api = house.app._api
    assert api is not None
    _, secret = await asyncio.to_thread(house.run, api._tokens.make("cookie", ("read",), "test", None))
    async with await house.tcp() as client:
        answer = await client.ask("POST", "/api/v1/session", {"token": secret}, {"Origin": house.origin})
    marks = set(answer.headers["set-cookie"].split("; ")[1:])
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= marks
    assert ("Secure" in marks) == (house.tls is not None)
    assert not [mark for mark in marks if mark.lower().startswith("domain")]


async def test_a_client_without_a_name_for_the_host_is_no_client_of_tcp(house: House) -> None:
    async with await house.tcp() as client:
        client.writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await client.answer()).status == 403


async def test_two_requests_of_one_connection_are_looked_at_one_by_one(house: House) -> None:
    async with await house.tcp() as client:
        await _status(client, {}, 200)
        await _status(client, {"Origin": "https://evil.example"}, 403)
        await _status(client, {"Host": "evil.example"}, 403)
        await _status(client, {"Origin": house.origin}, 200)
        await _status(client, {"Origin": house.origin, "Host": f"localhost:{house.address[1]}"}, 403)


async def _status(client: RawClient, headers: dict[str, str], status: int) -> None:
    assert (await client.ask("GET", "/healthz", headers=headers)).status == status

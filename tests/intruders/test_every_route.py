"""Bodies, verbs and headers that are well-formed and mean harm, tried at every route of a whole daemon."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.intruders.whole_house import House, temporary_house


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One daemon over plain loopback is enough: what is tried here comes after TLS."""
    with temporary_house() as found:
        yield found


DEEP = [900, 5000, 100_000]
BODIES = [
    *(b'{"task":"x","args":{"a":' + b"[" * depth + b"]" * depth + b"}}" for depth in DEEP),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in DEEP),
    b"[" * 400_000,
    b'{"task":"\\ud800 half"}',
    b'{"task":"x","args":{"\\udfff half":1}}',
    b'{"task":"x","args":{"a":' + b"9" * 100_000 + b"}}",
    b'{"task":"x","args":{"a":1e999999}}',
    b'{"task":"x","delay_s":1e300}',
    b'{"task":"x","priority":' + b"9" * 30 + b"}",
    b'{"task":"' + b"x" * 1_000_000 + b'"}',
    b'{"task":"x",' + b'"task":"x",' * 100_000 + b'"task":"x"}',
    b"[" + b"{}," * 1001 + b"{}]",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"task":NaN}',
    b"\x1f\x8b\x08\x00",
    b'"' + b"\\u0000" * 1000 + b'"',
]


@pytest.mark.parametrize("number", range(len(BODIES)))
async def test_a_body_made_to_break_readers_breaks_no_route(house: House, number: int) -> None:
    wrong = []
    async with await house.unix() as client:
        for endpoint in house.endpoints:
            if endpoint.method != "GET" and endpoint.body is not None:
                path = re.sub(r"\{[^}]*\}", "no-such-thing", endpoint.path)
                answer = await client.ask(endpoint.method, path, BODIES[number])
                if answer.status >= 500:
                    wrong.append(f"{endpoint.method} {path}: {answer.status} {answer.body[:200]!r}")
                told = json.loads(answer.body)
                if answer.status == 202:  # a disconnect, which takes the bus away from a reading that comes meanwhile
                    await client.ask("GET", f"/api/v1/jobs/{told['job']}?wait=10")
                if answer.headers.get("connection") == "close":
                    await client.close()
                    client = await house.unix()
    assert not wrong, "\n".join(wrong)


NAMES = [
    "Host", "Origin", "Authorization", "Cookie", "Content-Length", "Transfer-Encoding", "Connection", "Expect",
    "Upgrade", "Accept", "Last-Event-ID", "If-None-Match", "Range", "Sec-Fetch-Site", "X",
]  # fmt: skip
VALUES = st.sampled_from([b"chunked", b"close", b"127.0.0.1", b"Bearer x", b"labd_session=x", b"5"])
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=40) | VALUES), max_size=6)
METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"DELETE", b"PUT", b"OPTIONS"]) | st.binary(min_size=1, max_size=8)
PATHS = st.sampled_from([b"/", b"/healthz", b"/api/v1/session", b"/api/v1/jobs?limit=1", b"/api/v1/jobs/1?wait=nan"])


@given(method=METHODS, path=PATHS | st.binary(max_size=30).map(lambda text: b"/" + text), headers=HEADERS,
       body=st.binary(max_size=60))  # fmt: skip
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
def test_whatever_is_sent_gets_answers_that_are_no_fault_of_labd(
    house: House, method: bytes, path: bytes, headers: list[tuple[str, bytes]], body: bytes
) -> None:
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    text = method + b" " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + lines + b"\r\n" + body

    async def ask() -> bytes:
        client = await house.tcp()
        async with client:
            client.writer.write(text)
            client.writer.write_eof()
            found = b""
            try:
                async with asyncio.timeout(3.0):
                    while part := await client.reader.read(65536):
                        found += part
            except (TimeoutError, ConnectionError):
                pass
            return found

    for status in re.findall(rb"HTTP/1\.1 (\d+) ", asyncio.run(ask())):
        assert status < b"500"


VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "SEARCH", "PURGE")


async def test_a_path_takes_its_own_verbs_only_and_says_which(house: House) -> None:
    takes: dict[str, set[str]] = {}
    for endpoint in house.endpoints:
        takes.setdefault(endpoint.path, set()).add(endpoint.method)
    wrong = []
    async with await house.unix() as client:
        for path, verbs in takes.items():
            if path == "/api/v1/tasks/{name:.+}":
                continue  # it takes whatever the paths of its neighbours are not
            for verb in VERBS:
                if verb not in verbs:
                    answer = await client.ask(verb, re.sub(r"\{[^}]*\}", "no-such-thing", path), headers={"X": "1"})
                    allowed = set(answer.headers.get("allow", "").split(", "))
                    if answer.status != 405 or not verbs <= allowed or verb in allowed:
                        wrong.append(f"{verb} {path}: {answer.status} {allowed}")
    assert not wrong, "\n".join(wrong)


HEADERS_OF_PROXIES = (
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL",
    "X-Forwarded-Host", "X-Forwarded-For", "X-Real-IP", "Forwarded",
)  # fmt: skip


@pytest.mark.parametrize("header", HEADERS_OF_PROXIES)
async def test_no_header_makes_another_request_of_it(house: House, header: str) -> None:
    for value in ("POST", "DELETE", "/api/v1/tokens", "127.0.0.1", "localhost", "for=127.0.0.1;host=localhost"):
        async with await house.tcp() as client:
            answer = await client.ask("GET", "/api/v1/status", headers={header: value})
            assert (answer.status, answer.code) == (401, "not_authenticated")
            answer = await client.ask("GET", "/healthz", headers={header: value, "Host": "evil.example"})
            assert (answer.status, answer.code) == (403, "origin_refused")

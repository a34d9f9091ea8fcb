"""Requests that no honest client sends: two in one, huge, endless, slow, or aimed past the routes.

Each is tried with both of aiohttp's parsers: the one in C that is installed where there is one, and the one in Python
that stands in for it elsewhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp.web_protocol
import pytest
from aiohttp.http_parser import HttpRequestParserPy

from tests.fakes.api_door import open_door
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import Answer, RawClient
from tests.intruders.whole_house import House, temporary_house

HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /api/v1/session HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One daemon over plain loopback is enough: what is tried here comes after TLS."""
    with temporary_house() as found:
        yield found


@pytest.fixture(params=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Python":
        monkeypatch.setattr(aiohttp.web_protocol, "HttpRequestParser", HttpRequestParserPy)
    return str(request.param)


@pytest.fixture
async def door(state_dir: Path, parser: str) -> AsyncIterator[tuple[str, int]]:
    async with open_door(MemoryEngine(), state_dir, listen="127.0.0.1:0", request_timeout_s=2.0) as server:
        assert server.tcp_address is not None
        yield server.tcp_address


async def answers(address: tuple[str, int], text: bytes) -> list[Answer]:
    """All that comes back before the daemon hangs up."""
    found = []
    async with await RawClient.tcp(address) as client:
        client.writer.write(text)
        try:
            while True:
                found.append(await client.answer())
        except (asyncio.IncompleteReadError, ConnectionError):
            return found


TWO_IN_ONE = {
    "length and chunks": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "two lengths in one": b"Content-Length: 0, 44\r\n\r\n",
    "a length with a sign": b"Content-Length: +0\r\n\r\n",
    "a length below nought": b"Content-Length: -1\r\n\r\n",
    "a length in hex": b"Content-Length: 0x0\r\n\r\n",
    "a length with a line": b"Content-Length: 0_0\r\n\r\n",
    "a length beyond all": b"Content-Length: 99999999999999999999999999\r\n\r\n",
    "no length": b"Content-Length: \r\n\r\n",
    "digits of another script": "Content-Length: ٠\r\n\r\n".encode(),
    "another coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks first": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a tab before the name": b"\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding after vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a line that ends in CR only": b"X-A: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a NUL in a value": b"X-A: 1\x002\r\n\r\n",
    "a NUL in a name": b"X\x00A: 12\r\n\r\n",
    "no name": b": 12\r\n\r\n",
    "no colon": b"nonsense\r\n\r\n",
    "a chunk of no size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a chunk with a sign": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "a chunk below nought": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk in Python's hex": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "a chunk with a line": b"Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n",
    "a chunk that ends in LF only": b"Transfer-Encoding: chunked\r\n\r\n2;\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond all": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", TWO_IN_ONE)
async def test_no_request_is_read_as_two(door: tuple[str, int], name: str) -> None:
    found = await answers(door, POST + TWO_IN_ONE[name] + SMUGGLED)
    assert [answer.code for answer in found] in (["bad_request"], ["body_too_large"], ["request_timeout"])


LINES = [
    b"GET /healthz HTTP/1.1 x", b"GET\t/healthz HTTP/1.1",
    b"GET /healthz", b"GET /heal\x00thz HTTP/1.1", b"G\x00T /healthz HTTP/1.1", b"GET /heal thz HTTP/1.1",
    b"PRI * HTTP/2.0", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"get /healthz http/1.1",
    b"GET /healthz HTTP/1.10", b"GET /healthz HTTP/0.9", b"GET /healthz HTTP/1.\xc2\xb9", b"G(T) /healthz HTTP/1.1",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
async def test_a_line_that_is_no_request_ends_the_connection(door: tuple[str, int], line: bytes) -> None:
    found = await answers(door, line + b"\r\n" + HOST + b"\r\n" + SMUGGLED)
    assert [answer.status for answer in found] == [400]


ELSEWHERE = [
    b"http://evil.example/healthz", b"http://127.0.0.1/healthz", b"//evil.example/healthz", b"evil.example:80", b"*",
    b"/healthz#x", b"/./healthz", b"/x/../healthz", b"/%68ealthz", b"/healthz/", b"/healthz;x", b"//healthz",
    b"/healthz%00", b"/healthz%2f", b"/API/v1/status", b"/api/v1/status/", b"/api//v1/status",
    b"/api/v1/../v1/status", b"/web/x/../../labd.db", b"/web/x/%2e%2e/%2e%2e/app.py", b"/web/x/..%2f..%2fapp.py",
    b"/web/x//etc/passwd", b"/web/x/%2fetc%2fpasswd", b"/web/x/%5c..%5c..%5capp.py", b"/web/%00/index.html",
    b"/web/x/index.html", b"/docs/../api/v1/status", b"/docs/runbook/..", b"/web/x/%252e%252e%252fapp.py",
    b"/web/x/%c0%ae%c0%ae/app.py", b"/web/x/js/%2e%2e%2findex.html", b"/[::1]/", b"/?",
]  # fmt: skip


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"CONNECT", b"TRACE", b"PROPFIND"])
async def test_a_path_means_what_it_says_and_leads_nowhere_else(door: tuple[str, int], method: bytes) -> None:
    wrong = []
    for path in ELSEWHERE:
        async with await RawClient.tcp(door) as client:
            client.writer.write(b"%s %s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (method, path, HOST))
            answer = await client.answer()
        if answer.status not in (400, 404, 405) and not (method == b"GET" and path == b"/?"):
            wrong.append(f"{path!r}: {answer.status} {answer.body[:80]!r}")
    assert not wrong, "\n".join(wrong)


async def test_head_says_what_get_says_and_sends_no_body(house: House) -> None:
    """Where an answer would go on without end, or be written piece by piece, HEAD is refused."""
    async with await house.unix() as client:
        for endpoint in house.endpoints:
            if endpoint.method == "GET":
                path = re.sub(r"\{[^}]*\}", "1", endpoint.path)
                head = await client.ask("HEAD", path)
                assert (head.status == 405) == endpoint.streams, path
                # What follows would be read out of a body, if there were one.
                assert (await client.ask("GET", "/healthz")).body == b"ok", path


async def test_a_fault_in_mid_answer_ends_the_connection(state_dir: Path) -> None:
    from aiohttp import web

    from labd.api.endpoint import Call, Endpoint
    from labd.errors import Unavailable

    async def broken(call: Call) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(call.request)
        await answer.write(b"half")
        raise Unavailable("away") if call.path["how"] == "told" else RuntimeError("unforeseen")

    wing = [Endpoint("GET", "/half/{how}", broken, "none", "Half", tags=("x",), streams=True)]
    async with open_door(MemoryEngine(), state_dir, of_wings=wing):
        for how in ("told", "unforeseen"):
            async with await RawClient.unix(state_dir / "labd.sock") as client:
                client.send("GET", f"/half/{how}")
                client.send("GET", "/healthz")
                status, headers = await client.head()
                assert (status, headers["transfer-encoding"]) == (200, "chunked")
                assert await client.chunk() == b"half"
                assert await client.reader.read() == b"", "nothing may follow, the end of the chunks neither"


HUGE = {
    "a long path": (b"GET /%s HTTP/1.1\r\n" % (b"a" * 20_000) + HOST + b"\r\n", (431,)),
    "a long query": (b"GET /healthz?%s HTTP/1.1\r\n" % (b"a=1&" * 5000) + HOST + b"\r\n", (431,)),
    "a long method": (b"A" * 20_000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", (400, 431)),
    "a long name": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"A" * 20_000 + b": 1\r\n\r\n", (431,)),
    "a long value": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: " + b"1" * 20_000 + b"\r\n\r\n", (431,)),
    "a long cookie": (b"GET /api/v1/status HTTP/1.1\r\n" + HOST + b"Cookie: " + b"a=b; " * 4000 + b"\r\n\r\n", (431,)),
    "a line without end": (b"G" * 200_000, (400, 431)),
    "many headers": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"A: 1\r\n" * 5000 + b"\r\n", (400, 431)),
}


@pytest.mark.parametrize("name", HUGE)
async def test_what_is_too_long_is_refused_before_it_is_whole(door: tuple[str, int], name: str) -> None:
    text, statuses = HUGE[name]
    found = await answers(door, text)
    assert len(found) == 1
    assert found[0].status in statuses


async def test_who_is_not_known_yet_cannot_fill_the_memory(door: tuple[str, int]) -> None:
    """A login takes some hundred bytes; what a stranger announces or sends beyond 4 KiB is refused."""
    for length in (4097, 4 * 1024 * 1024):
        async with await RawClient.tcp(door) as client:
            answer = await client.ask("POST", "/api/v1/session", b"", {"Content-Length": str(length)})
            assert (answer.status, answer.code) == (413, "body_too_large")
    async with await RawClient.tcp(door) as client:
        client.send("POST", "/api/v1/session", b"", {"Transfer-Encoding": "chunked"})
        client.writer.write(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        assert (await client.answer()).code == "body_too_large"
    async with await RawClient.tcp(door) as client:
        # Before a body is looked at, it is settled who asks: nobody's four megabytes are not read.
        answer = await client.ask("POST", "/api/v1/jobs", b"", {"Content-Length": "4000000", "Expect": "100-continue"})
        assert (answer.status, answer.code) == (401, "not_authenticated")


async def cut_off(client: RawClient, piece: bytes) -> int:
    """How many pieces, 20 ms from one to the next, were taken before the connection was ended with a 408."""
    asked = asyncio.ensure_future(client.answer())
    count = 0
    while not asked.done():
        client.writer.write(piece)
        count += 1
        await asyncio.wait({asked}, timeout=0.02)
    try:
        assert (await asked).code == "request_timeout"
    except ConnectionError:
        pass  # the piece that came after the answer made the system throw the answer away
    return count


async def test_a_body_that_comes_byte_by_byte_has_one_deadline_in_all(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, request_timeout_s=0.3),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.send("POST", "/api/v1/jobs", b"", {"Content-Length": "1000"})
        assert await cut_off(client, b" ") < 200


async def test_headers_that_come_byte_by_byte_have_one_deadline_in_all(state_dir: Path, parser: str) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, request_timeout_s=0.3),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        assert await cut_off(client, b"A: 1\r\n") < 120

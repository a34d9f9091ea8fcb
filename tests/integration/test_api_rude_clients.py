"""Clients that are slow, huge, malformed or many get a plain answer and harm nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from labd.api.endpoint import Call, Endpoint
from tests.fakes.api_door import House, open_door, open_house
from tests.fakes.api_engine import MemoryEngine
from tests.fakes.raw_http import RawClient


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[House]:
    async with open_house(state_dir) as found:
        yield found


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(house: House) -> None:
    answer = await house.client.ask("POST", "/api/v1/jobs", b"", {"Content-Length": "50001"})
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert answer.json["details"]["limit_bytes"] == 50_000


async def test_a_chunked_body_that_grows_too_long_is_refused(house: House) -> None:
    house.client.send("POST", "/api/v1/jobs", b"", {"Transfer-Encoding": "chunked"})
    for _ in range(6):
        house.client.writer.write(b"2710\r\n" + b" " * 10_000 + b"\r\n")
    assert (await house.client.answer()).code == "body_too_large"


async def test_a_chunked_body_counts_as_any_other(house: House) -> None:
    text = b'{"task":"test.add","args":{"a":1}}'
    house.client.send("POST", "/api/v1/jobs", b"", {"Transfer-Encoding": "chunked"})
    house.client.writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text))
    assert (await house.client.answer()).status == 201


async def test_a_body_without_a_length(house: House) -> None:
    house.client.writer.write(b"POST /api/v1/jobs HTTP/1.1\r\nHost: labd\r\n\r\n")
    answer = await house.client.answer()
    assert (answer.status, answer.code) == (411, "length_required")


async def test_a_body_after_100_continue(house: House) -> None:
    text = b'{"task":"test.add","args":{"a":1}}'
    house.client.send("POST", "/api/v1/jobs", b"", {"Expect": "100-continue", "Content-Length": str(len(text))})
    assert (await house.client.head())[0] == 100
    house.client.writer.write(text)
    assert (await house.client.answer()).status == 201


async def test_a_slow_body_is_cut_off(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, request_timeout_s=0.1),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.send("POST", "/api/v1/jobs", b"{", {"Content-Length": "100"})
        answer = await client.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert await client.at_end()


async def test_slow_headers_are_cut_off_on_the_first_and_on_a_later_request(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, request_timeout_s=0.1):
        for earlier_requests in (0, 2):
            async with await RawClient.unix(state_dir / "labd.sock") as client:
                for _ in range(earlier_requests):
                    assert (await client.ask("GET", "/healthz")).status == 200
                client.writer.write(b"GET /healthz HTTP/1.1\r\nHost: la")
                answer = await client.answer()
                assert (answer.status, answer.code) == (408, "request_timeout")
                assert await client.at_end()


async def test_a_connection_that_never_speaks_is_closed(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, request_timeout_s=0.1),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        assert (await client.answer()).status == 408
        assert await client.at_end()


async def test_an_idle_connection_is_kept_for_its_time_only(state_dir: Path) -> None:
    async with (
        open_door(MemoryEngine(), state_dir, keepalive_s=0.1),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        assert (await client.ask("GET", "/healthz")).status == 200
        assert (await client.ask("GET", "/healthz")).status == 200
        assert await client.at_end()


async def test_a_huge_header_is_refused(house: House) -> None:
    answer = await house.client.ask("GET", "/healthz", headers={"X-Huge": "x" * 20_000})
    assert (answer.status, answer.code) == (431, "header_too_large")
    assert await house.client.at_end()


@pytest.mark.parametrize(
    "text", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"]
)
async def test_malformed_requests_get_json_too(text: bytes, house: House) -> None:
    house.client.writer.write(text)
    answer = await house.client.answer()
    assert (answer.status, answer.code) == (400, "bad_request")
    assert await house.client.at_end()


async def test_two_lengths_are_no_request(house: House) -> None:
    house.client.writer.write(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    assert (await house.client.answer()).status == 400


TRAVERSALS = [
    "/docs/../../etc/passwd",
    "/docs/%2e%2e/%2e%2e/etc/passwd",
    "/docs/..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/docs/style.css/../../x",
    "/api/v1/../../etc/passwd",
    "/%00",
    "/api/v1/queues/..%2f..",
    "/api/v1/tasks/..%2f..%2fetc%2fpasswd",
    "/api/v1/schedules/%ff",
]


async def test_paths_lead_nowhere_else(house: House) -> None:
    for path in TRAVERSALS:
        answer = await house.client.ask("GET", path)
        assert answer.status in (400, 404, 405), path
        assert answer.code in ("bad_request", "not_found", "method_not_allowed", "unknown_task", "unknown_schedule")


async def test_wrong_methods_are_told_which_are_right(house: House) -> None:
    answer = await house.client.ask("DELETE", "/api/v1/jobs")
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", "GET, POST")


async def test_a_body_where_none_belongs(house: House) -> None:
    assert (await house.client.ask("POST", "/api/v1/jobs/1/retry", {"x": 1})).code == "bad_request"


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    for number in range(5):
        house.client.send("POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": number}, "delay_s": 60})
    assert [(await house.client.answer()).json["args"]["a"] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_answers_to_clients_that_want_it_otherwise(house: House) -> None:
    ways = [
        (b"GET /api/v1/session HTTP/1.0\r\n\r\n", True),
        (b"GET /api/v1/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", True),
        (b"GET /api/v1/session HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
        (b"GET /api/v1/session HTTP/1.1\r\nHost: x\r\n\r\n", False),
    ]
    for text, ends in ways:
        async with await RawClient.unix(house.socket) as client:
            client.writer.write(text)
            answer = await client.answer()
            assert answer.json["via"] == "unix"
            assert "date" in answer.headers
            if ends:
                assert await client.at_end()
            else:
                assert (await client.ask("GET", "/healthz")).status == 200
    async with await RawClient.unix(house.socket) as client:
        head = await client.ask("HEAD", "/api/v1/session")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert (await client.ask("GET", "/healthz")).body == b"ok"


async def test_a_client_that_asks_and_never_reads_waits_for_itself(house: House) -> None:
    async with await RawClient.unix(house.socket) as deaf:
        for _ in range(2000):
            deaf.send("GET", "/api/v1/status")
        assert (await house.client.ask("GET", "/healthz")).status == 200
        for _ in range(2000):
            assert (await deaf.answer()).status == 200


async def test_a_flood_of_connections_is_refused_and_leaves_again(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, connections_at_most=3, listen="127.0.0.1:0") as server:
        assert server.tcp_address is not None
        flood = [await RawClient.tcp(server.tcp_address) for _ in range(5)]
        last = await flood[-1].answer()
        assert (last.status, last.code) == (503, "overloaded")
        async with await RawClient.unix(state_dir / "labd.sock") as client:
            assert (await client.ask("GET", "/healthz")).status == 200
            for each in flood:
                await each.close()
            async with asyncio.timeout(5):
                while server.connections > 1:
                    await client.ask("GET", "/healthz")
        async with await RawClient.tcp(server.tcp_address) as client:
            assert (await client.ask("GET", "/healthz")).status == 200


async def test_an_unexpected_exception_is_a_500_with_an_id_and_the_door_stays_open(state_dir: Path) -> None:
    async def broken(call: Call) -> None:
        raise RuntimeError("secret of the house")

    wing = [Endpoint("GET", "/api/v1/broken", broken, "read", "Broken", tags=("x",))]
    async with (
        open_door(MemoryEngine(), state_dir, of_wings=wing),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        with structlog.testing.capture_logs() as lines:
            answer = await client.ask("GET", "/api/v1/broken")
        assert (answer.status, answer.code) == (500, "internal")
        assert b"secret" not in answer.body
        assert [line["incident"] for line in lines] == [answer.json["details"]["incident"]]
        assert (await client.ask("GET", "/healthz")).status == 200


async def test_a_full_store_refuses_jobs_and_answers_the_rest(state_dir: Path) -> None:
    engine = MemoryEngine()
    async with open_door(engine, state_dir), await RawClient.unix(state_dir / "labd.sock") as client:
        engine.store_full = True
        refused = await client.ask("POST", "/api/v1/jobs", {"task": "x"})
        assert (refused.status, refused.code) == (507, "store_full")
        status = (await client.ask("GET", "/api/v1/status")).json
        assert (status["state"], status["attention"][0]["code"]) == ("store_full", "store_full")

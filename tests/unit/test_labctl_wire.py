"""HTTP answers as bytes: every form a server may choose, and what is not HTTP."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from labctl.wire import BadAnswer, Wire


@pytest.fixture
def ends() -> Iterator[tuple[Wire, socket.socket]]:
    here, there = socket.socketpair()
    here.settimeout(5)
    there.settimeout(5)
    wire = Wire(here, "localhost")
    yield wire, there
    wire.close()
    there.close()


def answer(ends: tuple[Wire, socket.socket], data: bytes, end: bool = True) -> Wire:
    wire, there = ends
    there.sendall(data)
    if end:
        there.shutdown(socket.SHUT_WR)
    wire.ask("GET", "/x", {}, None)
    return wire


def test_a_request_is_one_piece_of_bytes(ends: tuple[Wire, socket.socket]) -> None:
    wire, there = ends
    there.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    wire.ask("POST", "/api?a=1", {"Accept": "text/plain"}, b"{}")
    assert there.recv(4096) == (
        b"POST /api?a=1 HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert (wire.status, wire.read(), wire.closes) == (204, b"", False)


@pytest.mark.parametrize(
    ("data", "body", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", b"abc", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n",
            b"abc0123456789",
            False,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: x\r\n\r\n", b"a", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", False),
        (b"HTTP/1.1 200 OK\nContent-Length: 1\n\na", b"a", False),
    ],
)
def test_bodies(ends: tuple[Wire, socket.socket], data: bytes, body: bytes, closes: bool) -> None:
    wire = answer(ends, data)
    assert (wire.status, wire.read()) == (200, body)
    assert wire.closes == closes


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the connection ended before an answer"),
        (b"HTTP/1.1 200", "an answer that ends in its head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "in the middle of an answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "in the middle of an answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no length but 'zz'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no length but 'x'"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP answer but b'SSH-2.0-OpenSSH_9.2'"),
        (b"HTTP/1.1 abc\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n", "an answer that ends in its head"),
    ],
)
def test_what_is_no_whole_answer_is_said(ends: tuple[Wire, socket.socket], data: bytes, problem: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        answer(ends, data).read()
    assert problem in str(caught.value)


def test_lines_come_whole_however_they_are_cut(ends: tuple[Wire, socket.socket]) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nid: \r\n5\r\n1\nda\n\r\n1\r\nx\r\n0\r\n\r\n"
    assert list(answer(ends, data).lines()) == [b"id: 1", b"da", b"x"]


def test_a_line_of_a_stream_is_there_before_the_stream_ends(ends: tuple[Wire, socket.socket]) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"
    assert next(iter(answer(ends, data, end=False).lines())) == b"data: 1"


def test_no_header_can_break_the_request(ends: tuple[Wire, socket.socket]) -> None:
    with pytest.raises(BadAnswer, match="a line break in a request's head"):
        ends[0].ask("GET", "/", {"Authorization": "Bearer a\r\nX: y"}, None)


@pytest.mark.parametrize("size", [1, 7, 18, 19, 40])
def test_a_head_that_comes_in_pieces_is_the_same_head(ends: tuple[Wire, socket.socket], size: int) -> None:
    wire, there = ends
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\nab"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    told = threading.Thread(target=lambda: [_tell(there, wire, piece) for piece in pieces])
    told.start()
    wire.ask("GET", "/x", {}, None)
    assert (wire.status, wire.headers, wire.read()) == (200, {"content-length": "2", "retry-after": "7"}, b"ab")
    told.join(5)


def _tell(there: socket.socket, wire: Wire, piece: bytes) -> None:
    """The next piece when the one before was taken."""
    until = time.monotonic() + 5
    while select.select([wire.sock], [], [], 0)[0] and time.monotonic() < until:
        continue
    there.sendall(piece)


def test_a_connection_is_used_again(ends: tuple[Wire, socket.socket]) -> None:
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
    wire = answer(ends, one + b"a" + one + b"b")
    assert wire.read() == b"a"
    wire.ask("GET", "/y", {}, None)
    assert wire.read() == b"b"

"""labctl waits in line where a daemon's socket has no place left just now."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labctl.transport import Request, Transport, parse_address
from labd.errors import DaemonUnreachable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket whose queue takes nobody any more."""
    with ExitStack() as opened, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "labd.sock"))
        listening.listen(0)
        while True:
            caller = opened.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            try:
                caller.connect(listening.getsockname())
            except BlockingIOError:
                break
        yield listening


def test_a_request_waits_for_a_place_and_is_answered(full: socket.socket) -> None:
    transport = Transport([parse_address(full.getsockname())], connect_timeout_s=20.0)
    answered = threading.Thread(target=_answer_all, args=(full,), daemon=True)
    timer = threading.Timer(0.2, answered.start)  # when it has begun to wait
    timer.start()
    assert transport.exchange(Request("POST", "/api/v1/resort/stop", {})).status == 200
    transport.close()
    timer.join()


def test_who_waited_in_vain_is_told_that_nobody_answered_in_time(full: socket.socket) -> None:
    transport = Transport([parse_address(full.getsockname())], connect_timeout_s=0.2)
    with pytest.raises(DaemonUnreachable, match="no answer in time"):
        transport.exchange(Request("GET", "/healthz"))


def _answer_all(listening: socket.socket) -> None:
    with ExitStack() as opened:
        while True:
            taken, _ = listening.accept()
            opened.enter_context(taken)
            taken.settimeout(0.2)
            try:
                if taken.recv(65536):
                    taken.sendall(ANSWER)
                    return
            except TimeoutError:
                continue

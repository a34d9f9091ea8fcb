"""Who comes in a flood to a full house is turned away quickly, so that who comes behind them is seen soon."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from labd.api import door as door_module
from labd.api import porch
from tests.fakes.api_door import RawClient, Tasks, open_door, open_engine
from tests.fakes.broker import until

FLOOD = 150
POLL = b"GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_a_whole_flood_is_turned_away_in_a_turn_or_two(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    take = porch.Porch._take

    def counted(self: porch.Porch) -> None:
        nonlocal turns
        turns += 1
        take(self)

    monkeypatch.setattr(porch.Porch, "_take", counted)
    monkeypatch.setattr(porch, "TURNING_AWAY_S", 60.0)  # a busy machine is no reason
    tasks = Tasks()
    async with (
        open_engine(state_dir, tasks) as engine,
        open_door(engine, state_dir, connections_at_most=1),
        await RawClient.unix(state_dir / "labd.sock") as first,
    ):
        first.send("POST", "/execute/test.hold", {})
        await until(lambda: engine.counts()["running"])
        turns = 0
        with ExitStack() as opened:
            flood = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(FLOOD)]
            for each in flood:
                each.connect(str(state_dir / "labd.sock"))
                each.sendall(POLL)
                each.setblocking(False)
            await until(lambda: all(_is_answered(each) for each in flood))
            assert {each.recv(12) for each in flood} == {b"HTTP/1.1 503"}
        assert turns <= 3  # one that sees nobody left, and a blink
        tasks.go_on.set()
        assert (await first.answer()).status == 200


def _is_answered(each: socket.socket) -> bool:
    try:
        return bool(each.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_a_stop_that_a_busy_loop_has_not_read_yet_is_not_sent_away(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "LATE_AT_MOST", 1)
    tasks = Tasks()
    async with (
        open_engine(state_dir, tasks) as engine,
        open_door(engine, state_dir, connections_at_most=1) as server,
        await RawClient.unix(state_dir / "labd.sock") as first,
    ):
        first.send("POST", "/execute/test.hold", {})
        await until(lambda: engine.counts()["running"])
        door = server._door
        assert door is not None
        async with await RawClient.unix(state_dir / "labd.sock") as late:
            await until(lambda: door._late and next(iter(door._late)).transport is not None)
            monkeypatch.setattr(door_module, "BLINK_S", 0.0)
            late.send("POST", "/execute/test.stop", {})
            assert not door.takes_more()  # in the same turn of the loop: nothing of it has been read
            assert (await late.answer()).status == 200
        assert len(tasks.stops) == 1
        tasks.go_on.set()
        assert (await first.answer()).status == 200

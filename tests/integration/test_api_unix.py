"""The Unix socket itself: whose it is, who may take it over, and how it is closed."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.api.endpoint import Call, Endpoint
from labd.api.listeners import bind_unix
from labd.api.options import ApiOptions
from labd.api.server import build
from labd.errors import AlreadyServing, SettingsFault
from tests.fakes.api_door import House, nothing_changed, open_door, open_house
from tests.fakes.api_engine import FakeStatus, MemoryEngine
from tests.fakes.raw_http import RawClient


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[House]:
    async with open_house(state_dir) as found:
        yield found


async def test_the_socket_is_for_user_and_group(house: House) -> None:
    assert stat.S_IMODE(house.socket.stat().st_mode) == 0o660


async def test_a_leftover_is_taken_over_and_a_live_one_is_not(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(str(path))
    leftover.close()
    async with open_door(MemoryEngine(), state_dir):
        with pytest.raises(AlreadyServing, match="another process answers there"):
            await asyncio.to_thread(bind_unix, path)
        async with await RawClient.unix(path) as client:
            assert (await client.ask("GET", "/healthz")).status == 200


def test_a_file_that_is_no_socket_is_left_alone(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    path.write_text("precious")
    with pytest.raises(SettingsFault, match="something that is no socket is there"):
        bind_unix(path)
    assert path.read_text() == "precious"


def test_paths_that_no_socket_can_have(state_dir: Path) -> None:
    with pytest.raises(SettingsFault, match="a Unix socket takes 107"):
        bind_unix(state_dir / ("x" * 120))
    with pytest.raises(SettingsFault, match="its folder must exist and be writable"):
        bind_unix(state_dir / "missing" / "labd.sock")


async def test_an_inherited_socket_is_served_and_stays(state_dir: Path) -> None:
    path = state_dir / "inherited.sock"
    inherited = socket.socket(socket.AF_UNIX)
    inherited.bind(str(path))
    inherited.listen()
    options = ApiOptions(socket=path, state_dir=state_dir)
    server = build(MemoryEngine(), options, [], FakeStatus(), nothing_changed, inherited=inherited)  # type: ignore[arg-type]
    await server.start()
    async with await RawClient.unix(path) as client:
        assert (await client.ask("GET", "/healthz")).status == 200
    await server.stop()
    assert path.exists()


async def test_stop_lets_a_running_request_finish(state_dir: Path) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> dict[str, bool]:
        started.set()
        await go_on.wait()
        return {"done": True}

    wing = [Endpoint("GET", "/api/v1/slow", slow, "read", "Slow", tags=("x",))]
    async with (
        open_door(MemoryEngine(), state_dir, of_wings=wing) as server,
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.send("GET", "/api/v1/slow")
        await started.wait()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.wait({stopping}, timeout=0)
        assert not stopping.done()
        assert not (state_dir / "labd.sock").exists()
        go_on.set()
        assert (await client.answer()).json == {"done": True}
        await stopping
        await server.stop()


async def test_stop_cuts_off_what_does_not_end(state_dir: Path) -> None:
    started = asyncio.Event()

    async def endless(call: Call) -> None:
        started.set()
        await asyncio.Event().wait()

    wing = [Endpoint("GET", "/api/v1/endless", endless, "read", "Endless", tags=("x",))]
    async with (
        open_door(MemoryEngine(), state_dir, of_wings=wing, stop_grace_s=0.05) as server,
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        client.send("GET", "/api/v1/endless")
        await started.wait()
        async with asyncio.timeout(5):
            await server.stop()
        assert await client.at_end()


async def test_another_file_at_the_path_is_not_removed(state_dir: Path) -> None:
    path = state_dir / "labd.sock"
    options = ApiOptions(socket=path, state_dir=state_dir)
    server = build(MemoryEngine(), options, [], FakeStatus(), nothing_changed)  # type: ignore[arg-type]
    await server.start()
    path.unlink()
    path.write_text("somebody else's")
    await server.stop()
    assert path.read_text() == "somebody else's"

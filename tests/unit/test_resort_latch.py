"""The stop latch over restarts and on disks that refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labd.clock import SystemClock
from labd.errors import Unavailable
from labd.resort.latch import StopLatch
from tests.fakes.engine import FakeEngine


class Disk:
    """The three places of a latch, and daemons that come and go over them."""

    def __init__(self, root: Path) -> None:
        self.state, self.runtime = root / "state", root / "run"
        self.state.mkdir()
        self.runtime.mkdir()
        self.engine = FakeEngine()
        self._latches: list[StopLatch] = []

    def latch(self) -> StopLatch:
        latch = StopLatch("main", self.engine, self.state, self.runtime, SystemClock(), lambda: None)
        self._latches.append(latch)
        return latch

    async def restarted(self) -> StopLatch:
        latch = self.latch()
        await latch.load()
        return latch

    @property
    def files(self) -> list[Path]:
        return sorted([*self.state.iterdir(), *self.runtime.iterdir()])

    async def close(self) -> None:
        for latch in self._latches:
            await latch.close()


@pytest.fixture
async def disk(tmp_path: Path):
    disk = Disk(tmp_path)
    yield disk
    await disk.close()


async def landed(latch: StopLatch) -> None:
    for writer in list(latch._writers):
        await writer


async def test_a_stop_is_in_memory_at_once_and_then_in_three_places(disk: Disk) -> None:
    latch = await disk.restarted()
    assert not latch.latched
    latch.set("alice", "plate fell")
    assert latch.latched
    assert await latch.wait_durable(5)
    await landed(latch)
    assert len(disk.files) == 2
    assert disk.engine.facts["resort:main:stop_latch"]["by"] == "alice"
    assert latch.note == ""


@pytest.mark.parametrize("left", ["store", "state", "runtime"])
async def test_one_place_of_three_is_enough_to_be_latched_again(disk: Disk, left: str) -> None:
    latch = await disk.restarted()
    latch.set("alice", "plate fell")
    await landed(latch)
    if left != "store":
        disk.engine.facts.clear()
    for place in ("state", "runtime"):
        if left != place:
            (disk.state if place == "state" else disk.runtime).joinpath("resort-main.stop-latched").unlink()
    again = await disk.restarted()
    assert again.record is not None
    assert (again.record.by, again.record.reason) == ("alice", "plate fell")
    await landed(again)
    assert len(disk.files) == 2
    assert disk.engine.facts


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"by": "x", "at": "yesterday"}'])
async def test_a_latch_that_cannot_be_read_is_a_latch(disk: Disk, content: bytes) -> None:
    (disk.runtime / "resort-main.stop-latched").write_bytes(content)
    assert (await disk.restarted()).latched


async def test_reset_empties_all_places(disk: Disk) -> None:
    latch = await disk.restarted()
    latch.set("alice", "")
    await landed(latch)
    await latch.reset()
    assert not latch.latched
    assert disk.files == []
    assert disk.engine.facts == {}
    assert not (await disk.restarted()).latched


async def test_the_first_stop_keeps_its_name(disk: Disk) -> None:
    latch = await disk.restarted()
    latch.set("alice", "one")
    assert latch.set("bob", "two").by == "alice"


async def test_a_full_disk_leaves_the_latch_in_the_runtime_folder_and_says_so(disk: Disk) -> None:
    disk.engine.faulty_store = True
    (disk.state / "resort-main.stop-latched").mkdir()  # root may write to read-only folders, but to no folder as a file
    latch = disk.latch()
    latch.known = True
    latch.set("alice", "")
    assert await latch.wait_durable(0.05) is False
    assert latch.survives_restart
    assert latch.note.startswith("the stop is latched, but a power cut would not be survived (")
    assert "no space left" in latch.note


async def test_a_latch_lands_as_soon_as_the_disk_takes_it(disk: Disk) -> None:
    disk.engine.faulty_store = True
    (disk.state / "resort-main.stop-latched").mkdir()
    latch = disk.latch()
    latch.set("alice", "")
    assert await latch.wait_durable(0.05) is False
    disk.engine.faulty_store = False
    assert await latch.wait_durable(5)
    assert latch.note == ""


async def test_a_reset_that_cannot_be_kept_leaves_the_stop_latched(disk: Disk) -> None:
    latch = await disk.restarted()
    latch.set("alice", "")
    await landed(latch)
    disk.engine.faulty_store = True
    with pytest.raises(Unavailable, match=r"the stop stays latched \(.*no space left"):
        await latch.reset()
    assert latch.latched
    assert (await disk.restarted()).latched


async def test_a_stop_during_a_reset_wins(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    latch = await disk.restarted()
    latch.set("alice", "")
    await landed(latch)
    plain: Callable[..., object] = disk.engine.store_value

    async def pressed_meanwhile(key: str, value: object) -> None:
        monkeypatch.undo()
        await disk.engine.store_value(key, value)
        latch.set("bob", "again")

    monkeypatch.setattr(disk.engine, "store_value", pressed_meanwhile)
    with pytest.raises(Unavailable, match="it was stopped again meanwhile"):
        await latch.reset()
    assert plain
    assert latch.latched
    await landed(latch)
    assert (await disk.restarted()).latched


async def test_a_reset_right_after_a_stop_leaves_nothing_behind(disk: Disk) -> None:
    latch = await disk.restarted()
    for _ in range(20):
        latch.set("alice", "")
        await latch.reset()
        assert disk.files == []
        assert disk.engine.facts == {}

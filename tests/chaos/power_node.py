"""One file as a disk has it: what surely lasts, and what was written since and may or may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

SECTOR = 512
PAGE = 4096


@dataclass(slots=True)
class Write:
    """Bytes at an offset; `data` None: the size was set to `offset`."""

    offset: int
    data: bytes | None
    is_lost: bool = False


@dataclass(eq=False, slots=True)
class Node:
    """A file, folder or link.

    Attributes:
        load: Reads what it held when the base was taken; None for what came later.
        lasting: What is on disk for sure; None until somebody wrote.
        latest: What a reader saw last.
        writes: All since the base; the first `kept` of them are in `lasting`.
    """

    kind: str
    mode: int
    load: Callable[[], bytes] | None = None
    target: str = ""
    lasting: bytearray | None = None
    latest: bytearray = field(default_factory=bytearray)
    writes: list[Write] = field(default_factory=list)
    kept: int = 0
    lost_pages: set[int] = field(default_factory=set)

    @property
    def is_touched(self) -> bool:
        """Whether anything was written since the base was taken."""
        return self.lasting is not None

    def write(self, offset: int, data: bytes | None) -> None:
        """A write, or a new size where there is no data, that is in memory only so far."""
        self._touch()
        _apply(self.latest, offset, data)
        if data and self.lost_pages:
            pages = range(offset // PAGE, (offset + len(data) - 1) // PAGE + 1)
            if self.lost_pages.intersection(pages):  # the page goes to the disk whole, with what a failed sync left
                self.lost_pages.difference_update(pages)
                offset, data = pages[0] * PAGE, bytes(self.latest[pages[0] * PAGE : (pages[-1] + 1) * PAGE])
        self.writes.append(Write(offset, data))

    def sync(self, count: int) -> None:
        """The first so many writes last from now on."""
        for write in self.writes[self.kept : count]:
            if self.lasting is not None and not write.is_lost:
                _apply(self.lasting, write.offset, write.data)
        self.kept = max(self.kept, count)

    def sync_failed(self, count: int, dice: Random) -> None:
        """The kernel takes these pages for clean now: no later sync writes them, whoever waits for it."""
        for write in self.writes[self.kept : count]:
            if write.data and dice.random() < 0.7:
                write.is_lost = True
                self.lost_pages.update(range(write.offset // PAGE, (write.offset + len(write.data) - 1) // PAGE + 1))

    def after_loss(self, dice: Random) -> bytes:
        """What a disk may hold that lost power now: nothing since the sync, everything, or each sector as it fell."""
        self._touch()
        assert self.lasting is not None
        later = [write for write in self.writes[self.kept :] if not write.is_lost]
        fate = dice.choice(("nothing", "everything", "torn", "torn"))
        if not later or fate == "nothing":
            return bytes(self.lasting)
        found = bytearray(self.lasting)
        if fate == "everything":
            for write in later:
                _apply(found, write.offset, write.data)
            return bytes(found)
        return _torn(found, later, dice)

    def trust(self, content: bytes) -> None:
        """Take this for lasting: somebody wrote past the shim, and it is not known what he synced."""
        self._touch()
        self.lasting, self.latest, self.kept = bytearray(content), bytearray(content), len(self.writes)

    def _touch(self) -> None:
        if self.lasting is None:
            self.lasting = bytearray(self.load() if self.load is not None else b"")
            self.latest = bytearray(self.lasting)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _torn(found: bytearray, later: list[Write], dice: Random) -> bytes:
    """Each sector as it was after some write of those that never were synced, and so the size."""
    turns: dict[int, int] = {}
    size_turn = dice.randint(0, len(later))
    size = seen = len(found)
    for number, write in enumerate(later, start=1):
        if write.data is None:
            seen = write.offset
            for sector in range(write.offset // SECTOR, (len(found) + SECTOR - 1) // SECTOR):
                if number <= turns.setdefault(sector, dice.randint(0, len(later))):
                    begin = max(sector * SECTOR, write.offset)
                    end = min((sector + 1) * SECTOR, len(found))
                    found[begin:end] = bytes(max(0, end - begin))
        else:
            end = write.offset + len(write.data)
            seen = max(seen, end)
            if end > len(found):
                found.extend(bytes(end - len(found)))
            for sector in range(write.offset // SECTOR, (end - 1) // SECTOR + 1):
                if number <= turns.setdefault(sector, dice.randint(0, len(later))):
                    first, last = max(sector * SECTOR, write.offset), min((sector + 1) * SECTOR, end)
                    found[first:last] = write.data[first - write.offset : last - write.offset]
        if number <= size_turn:
            size = seen
    found.extend(bytes(max(0, size - len(found))))
    return bytes(found[:size])

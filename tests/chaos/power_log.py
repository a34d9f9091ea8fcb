"""The shim's log, record by record."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct("<IBBHHHI5Q")  # struct head of shim.h


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that was done.

    Attributes:
        kind: W written, T size set, C made, L linked, R renamed, U removed, B sync begun, E sync done, F sync failed.
        flag: f, d, l or o for what it is; `a` where a sync meant everything.
    """

    kind: str
    flag: str
    path: str
    path2: str
    inode: int
    parent: int
    parent2: int
    offset: int
    token: int
    data: bytes


def records(log: Path) -> Iterator[Record]:
    """All of it; a last record that is not whole was written by a process as it died, and counts for nothing."""
    if not log.exists():
        return
    everything = memoryview(log.read_bytes())
    at = 0
    while at + _HEAD.size <= len(everything):
        size, kind, flag, path, path2, _, data, inode, parent, parent2, offset, token = _HEAD.unpack_from(
            everything, at
        )
        if at + size > len(everything):
            return
        begin = at + _HEAD.size
        yield Record(
            chr(kind), chr(flag) if flag else "", os.fsdecode(bytes(everything[begin : begin + path])),
            os.fsdecode(bytes(everything[begin + path : begin + path + path2])), inode, parent, parent2, offset, token,
            bytes(everything[begin + path + path2 : begin + path + path2 + data]),
        )  # fmt: skip
        at += size

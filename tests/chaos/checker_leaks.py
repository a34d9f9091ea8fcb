"""What a daemon may not gather: processes, threads, open files, sockets, and files that nobody will look for again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.daemon import ChaosDaemon
from tests.chaos.port import World

MORE_THREADS = 12
MORE_FILES = 24
MORE_CHILDREN = 8
LITTER = (".new", ".tmp", ".part", ".partial", ".draft")


class Orphans:
    """Children of a daemon that died are gone soon."""

    name = "no orphan process"

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """Those that were there when it died; and what the daemon itself noted of its ends."""
        if not isinstance(world.daemon, ChaosDaemon):
            return []
        found, world.daemon.breaches = world.daemon.breaches, []
        return [*found, *world.daemon.orphans()]


class Leaks:
    """Threads, open files and children at rest stay where they were when the world first came to rest.

    Why with room: pools open more as they are needed, up to their size; a leak goes on.
    """

    name = "no leaked thread, file, socket or process"

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self.figures: dict[str, dict[str, int]] = {}

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """Only at rest."""
        if not told["at_rest"] or world.daemon.pid is None:
            return []
        now = measured(world.daemon.pid)
        if not self._first:
            self._first = now
        self.figures = {"first": self._first, "last": now}
        room = {"threads": MORE_THREADS, "files": MORE_FILES, "children": MORE_CHILDREN}
        return [
            f"the daemon has {now[what]} {what} at rest, it had {self._first[what]} when it first came to rest"
            for what, more in room.items() if now[what] > self._first[what] + more
        ]  # fmt: skip


class Litter:
    """Drafts and temporary files that crashes left are cleared away by the next daemon."""

    name = "no leaked files"

    def __init__(self) -> None:
        self._seen: dict[Path, int] = {}

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """Only at rest; what stood there at three rests in a row belongs to nobody."""
        if not told["at_rest"]:
            return []
        now = [path for path in world.daemon.state.rglob("*") if path.name.endswith(LITTER) and path.is_file()]
        self._seen = {path: self._seen.get(path, 0) + 1 for path in now}
        return [f"{path} is still there" for path, times in self._seen.items() if times == 3]


def measured(pid: int) -> dict[str, int]:
    """Of one process: threads, descriptors and children at any depth."""
    process = psutil.Process(pid)
    return {
        "threads": process.num_threads(),
        "files": process.num_fds(),
        "children": len(process.children(recursive=True)),
    }

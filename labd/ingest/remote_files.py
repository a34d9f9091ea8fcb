"""What sources have in common: the entries of a listing, its pages, and a file that was fetched."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

Entry = tuple[str, str, int, float]
"""Path below the source's URL, version, size in bytes, seconds since 1970."""
Json = dict[str, Any]
State = Literal["ready", "vanished", "changed", "denied"]
SMALL_BYTES = 8 * 2**20
DENIED_LIMIT = 100  # of a page
PAGE_S = 5.0
"""A page is answered after so long with what there is, so that a long search can be watched and ended."""


@dataclass
class Fetched:
    """Exactly the version that was listed, or why not; see `labd.ingest.remote_sources`."""

    path: str
    version: str
    state: State
    size_bytes: int = 0
    sha256: str | None = None
    data: bytes | None = None
    file: str | None = None
    message: str = ""
    is_copy: bool = False
    looked: Callable[[], State] | None = field(default=None, repr=False)

    def open(self) -> BinaryIO:
        """The content from its beginning."""
        if self.data is not None:
            return io.BytesIO(self.data)
        assert self.file is not None, f"{self.path} is {self.state}"
        return open(self.file, "rb")  # noqa: PTH123 the caller closes it

    def check(self) -> State:
        """Whether what was read until now was the listed version; to be asked after the last byte was read."""
        return self.looked() if self.looked is not None else self.state

    def close(self) -> None:
        """Remove the copy, if there is one."""
        self.data = None
        if self.is_copy and self.file is not None:
            Path(self.file).unlink(missing_ok=True)


class Walk:
    """A listing under way: `chunks` gives what was found, in order; what was not is counted and told apart.

    An empty chunk says that the walk goes on although nothing was found.
    """

    def __init__(self) -> None:
        self.chunks: Iterator[list[Entry]] = iter(())
        self.unsettled = 0
        self.denied: list[tuple[str, str]] = []


class Pages:
    """Cuts walks into pages, and keeps the walk under way for the next page.

    Why the cursor is the last path as well: a child that was started anew walks again, from behind that path.
    """

    def __init__(self, begin: Callable[[str | None, str | None], Walk], clock: Callable[[], float]) -> None:
        self._begin = begin
        self._clock = clock
        self._walk: Walk | None = None
        self._rest: list[Entry] = []
        self._cursor: str | None = None
        self._last: str | None = None
        self._number = 0

    def page(self, cursor: str | None, after: str | None, count: int) -> Json:
        """The next page as `port.Page` has it."""
        if cursor is None or cursor != self._cursor or self._walk is None:
            self._rest, self._last = [], json.loads(cursor)[1] if cursor else None
            self._walk = self._begin(after, self._last)
        walk, found = self._walk, self._rest
        self._walk, self._cursor, self._rest = None, None, []
        until = self._clock() + PAGE_S
        is_end = False
        while len(found) < count and self._clock() < until:
            more = next(walk.chunks, None)
            if more is None:
                is_end = True
                break
            found += more
        self._rest = found[count:]
        found = found[:count]
        if not is_end or self._rest:
            self._number += 1
            self._walk = walk
            self._last = found[-1][0] if found else self._last
            self._cursor = json.dumps([self._number, self._last], ensure_ascii=False)
        denied, walk.denied = walk.denied, []
        if len(denied) > DENIED_LIMIT:
            denied[DENIED_LIMIT:] = [(denied[-1][0], f"{denied[-1][1]}; and {len(denied) - DENIED_LIMIT - 1} more")]
        unsettled, walk.unsettled = walk.unsettled, 0
        entries = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        return {
            "entries": entries, "count": len(found), "cursor": self._cursor, "unsettled": unsettled, "denied": denied,
        }  # fmt: skip

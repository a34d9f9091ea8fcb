"""A local folder as a source: a sorted walk that keeps one folder's names at a time, and reads that notice a change.

A version is size, time, inode and time of the last change of either (`st_ctime_ns`), so a file that was replaced by one
of the same size and time is another version.

Why the settle time counts from the younger of the two times: `cp -p`, `mv` and rsync set `st_mtime` to one long ago,
`st_ctime` they cannot set. Why links out of the folder are left alone unless `links = "all"`: whoever may put a file
there could have labd read, and publish, any file that labd may read.
Why `os.stat` and not `Path`: a million times.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from labd.ingest.remote_files import SMALL_BYTES, Entry, Fetched, Pages, State, Walk
from labd.ingest.remote_globs import Exclusions, Glob, States
from labd.ingest.remote_marks import FUTURE_S, Marks
from labd.ingest.remote_refusal import Refusal

CHUNK = 1000
PIECE_BYTES = 2**20
_Names = tuple[list[str], set[str]]
LINKS = ("inside", "all", "none")
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_UNREACHABLE = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH)


def version_of(found: os.stat_result) -> str:
    """What stays the same exactly as long as the file does."""
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}-{found.st_ctime_ns}"


class LocalSource:
    """The files below one folder.

    Args:
        access: As `port.SourceAccess`; options: `links` (`inside`, `all` or `none`).
        now: Seconds since 1970.
        clock: Seconds that never go back.
    """

    def __init__(self, access: dict[str, Any], now: Callable[[], float], clock: Callable[[], float]) -> None:
        self._folder = unquote(access["url"].removeprefix("file://"))
        self.root = os.path.realpath(self._folder)
        options = access.get("options") or {}
        self._links = options.get("links", "inside")
        if unknown := sorted(set(options) - {"links"}):
            raise Refusal("source_refused", f"a local folder has no option {', '.join(unknown)}; it has: links")
        if self._links not in LINKS:
            raise Refusal("source_refused", f"option links = {self._links!r}; use one of {', '.join(LINKS)}")
        self._glob = Glob(access.get("pattern") or "**/*")
        self._exclusions = Exclusions(access.get("exclude") or ())
        self._marks = Marks(access)
        self._is_picky = bool(self._marks) or bool(self._exclusions)
        self._now = now
        self._pages = Pages(self._begin, clock)

    def pages(self, cursor: str | None, after: str | None, count: int) -> dict[str, Any]:
        """The next page; see `labd.ingest.remote_sources`."""
        return self._pages.page(cursor, after, count)

    def _begin(self, after: str | None, resumed: str | None) -> Walk:
        self.root = os.path.realpath(self._folder)  # a link that was set anew leads elsewhere now
        try:
            names = self._names(self.root)
        except OSError as fault:
            code = "source_unreachable" if fault.errno in _UNREACHABLE else "source_refused"
            raise Refusal(
                code, f"folder {self.root} cannot be listed: {fault.strerror}; check that it is there and readable"
            ) from None
        walk = Walk()
        walk.chunks = self._chunks(walk, names, max(after or "", resumed or ""))
        return walk

    def _names(self, folder: str) -> _Names:
        """Sorted as their paths sort: the name of a folder, or of a link to one, ends in `/`."""
        names, links = [], set()
        with os.scandir(folder) as found:
            for entry in found:
                name = entry.name
                is_link = entry.is_symlink()
                try:
                    if entry.is_dir(follow_symlinks=is_link):
                        name += "/"
                except OSError:
                    pass  # what it is cannot be told: the look at the file will say so
                if is_link:
                    links.add(name)
                names.append(name)
        names.sort()
        return names, links

    def _chunks(self, walk: Walk, names: _Names, start: str) -> Iterator[list[Entry]]:
        """The whole walk without recursion; `open_folders` holds where it is, with what it knows there."""
        chunk: list[Entry] = []
        looked = 0
        open_folders = [_Folder(self, "", names, self._glob.start, is_above_marked=False)]
        while open_folders:
            folder = open_folders[-1]
            for name in folder.rest:
                looked += 1
                if looked % CHUNK == 0 and not chunk:
                    yield []
                if folder.links and name in folder.links and not self._may_follow(walk, open_folders, name):
                    continue
                if name[-1] == "/":
                    below = self._enter(walk, folder, name, start)
                    if below is not None:
                        open_folders.append(below)
                        break
                elif folder.matches is not None and folder.matches(name) and folder.path + name > start:
                    self._look(walk, folder, name, chunk)
                    if len(chunk) >= CHUNK:
                        yield chunk
                        chunk = []
            else:
                open_folders.pop()
        yield chunk

    def _look(self, walk: Walk, folder: _Folder, name: str, chunk: list[Entry]) -> None:
        """Put a file into the chunk if it may be taken."""
        path = folder.path + name
        try:
            found = os.stat(f"{self.root}/{path}")  # noqa: PTH116
            if not path.isascii():
                path.encode()
        except UnicodeEncodeError:
            walk.denied.append((_shown(path), "its name is not UTF-8; rename it"))
            return
        except OSError as fault:
            if fault.errno not in _GONE:
                walk.denied.append((_shown(path), fault.strerror or str(fault)))
            return
        if not stat.S_ISREG(found.st_mode) or (self._is_picky and self._is_left_out(name, path)):
            return
        if self._is_complete(walk, folder, name, path, found):
            chunk.append((path, version_of(found), found.st_size, found.st_mtime))
        else:
            walk.unsettled += 1

    def _is_left_out(self, name: str, path: str) -> bool:
        return self._marks.is_marker(name) or self._exclusions.leave_out(path)

    def _is_complete(self, walk: Walk, folder: _Folder, name: str, path: str, found: os.stat_result) -> bool:
        if self._marks.marker:
            return self._marks.has(name, folder.all_names, is_folder_marked=folder.is_marked)
        if self._marks.settle_s == 0:
            return True
        now = self._now()
        # A time ahead of the clock says nothing about when the file was written, `st_ctime` does.
        changed_at = max(found.st_ctime, found.st_mtime if found.st_mtime <= now else 0.0)
        if changed_at > now + FUTURE_S:
            walk.denied.append(
                (path, f"its time is {changed_at - now:.0f} s ahead of this host's clock; set the clock")
            )
        return now - changed_at >= self._marks.settle_s

    def _enter(self, walk: Walk, folder: _Folder, name: str, start: str) -> _Folder | None:
        """The folder to go on in, if this is one that is worth it."""
        beneath = folder.path + name
        path = beneath[:-1]
        states = self._glob.down(folder.states, name[:-1])
        if not states or (beneath < start and not start.startswith(beneath)) or self._exclusions.leave_out(path):
            return None
        try:
            names = self._names(f"{self.root}/{path}")
        except OSError as fault:
            if fault.errno not in _GONE:
                walk.denied.append((_shown(path), fault.strerror or str(fault)))
            return None
        return _Folder(self, beneath, names, states, is_above_marked=folder.is_marked)

    def _may_follow(self, walk: Walk, open_folders: list[_Folder], name: str) -> bool:
        """Whether a link is taken for what it leads to."""
        if self._links == "none":
            return False
        path = open_folders[-1].path + name.rstrip("/")
        full = f"{self.root}/{path}"
        target = os.path.realpath(full)
        if self._links == "inside" and not (target + "/").startswith(self.root.rstrip("/") + "/"):
            walk.denied.append((_shown(path), "a link that leaves the source's folder; to follow it, set links = all"))
            return False
        if name[-1] != "/":
            return True
        try:
            here = Path(target).stat()
            return all(folder.identity(self.root) != (here.st_dev, here.st_ino) for folder in open_folders)  # no loop
        except OSError:
            return False

    def fetch(self, file: dict[str, Any], folder: str) -> Fetched:
        """The listed version of a file, read where it lies; see `labd.ingest.remote_sources`."""
        path, version = file["path"], file["version"]
        full = f"{self.root}/{path}"

        def look() -> State:
            try:
                return "ready" if version_of(Path(full).stat()) == version else "changed"
            except FileNotFoundError:
                return "vanished"
            except OSError:
                return "denied"

        try:
            # Without O_NONBLOCK a pipe that took the file's place would hold the child for ever.
            with open(os.open(full, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0) as source:  # noqa: PTH123
                before = os.fstat(source.fileno())
                if version_of(before) != version or not stat.S_ISREG(before.st_mode):
                    return Fetched(path, version, "changed", message="another version was there than the listed one")
                digest, data = hashlib.sha256(), bytearray()
                is_small = before.st_size <= SMALL_BYTES
                while piece := source.read(PIECE_BYTES):
                    digest.update(piece)
                    if is_small:
                        data += piece
                if version_of(os.fstat(source.fileno())) != version:
                    return Fetched(path, version, "changed", message="it was written to while it was read")
        except FileNotFoundError:
            return Fetched(path, version, "vanished", message="it is no longer there")
        except OSError as fault:
            text = f"it cannot be read ({fault.strerror or fault}); mend that, then `labctl ingest retry`"
            return Fetched(path, version, "denied", message=text)
        return Fetched(
            path, version, "ready", before.st_size, digest.hexdigest(),
            data=bytes(data) if is_small else None, file=None if is_small else full, looked=None if is_small else look,
        )  # fmt: skip


class _Folder:
    """A folder that the walk is in."""

    def __init__(self, source: LocalSource, path: str, names: _Names, states: States, *, is_above_marked: bool) -> None:
        self.path = path
        self.rest, self.links = iter(names[0]), names[1]
        self.states = states
        expression = source._glob.names(states)
        self.matches = expression.fullmatch if expression is not None else None
        self.all_names = frozenset(name.rstrip("/") for name in names[0]) if source._marks else frozenset()
        self.is_marked = source._marks.folder(
            Path(path).name, self.all_names, is_above_marked=is_above_marked
        ) if source._marks else False  # fmt: skip

    def identity(self, root: str) -> tuple[int, int]:
        """Device and inode."""
        found = Path(root, self.path).stat()
        return found.st_dev, found.st_ino


def _shown(path: str) -> str:
    r"""A path for people and for JSON: what is not UTF-8 in it as `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")

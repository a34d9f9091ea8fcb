"""The listing of a bucket or container that asks for no prefix without need.

Where `**` may match, everything below is listed in one stream, 1,000 objects a request. Where only names of one folder
can match, its stream is read from the first name on that could, and jumps over folders. Folders between are listed by
delimiter. A prefix that may not be listed is told and the rest goes on.

Why not the delimiter everywhere: obstore gives a folder as one list, which for a million objects is a gigabyte, and a
request for each folder makes 100,000 of them for a tree that 1,000 requests list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import obstore as typed_obstore
from obstore.exceptions import BaseError, InvalidPathError

from labd.ingest import remote_stores
from labd.ingest.remote_files import Entry, Walk
from labd.ingest.remote_globs import Exclusions, Glob, States
from labd.ingest.remote_marks import Marks
from labd.ingest.remote_refusal import Refusal

obstore: Any = typed_obstore  # its types want literal dictionaries
CHUNK = 1000
JUMPS = 20
LAST = "\U0010ffff"
FAULTS = (BaseError, OSError, ValueError)
_UNNAMEABLE = "holds an object with an empty name or `.` in its path; rename it"


class ObjectLister:
    """Begins walks below one prefix.

    Args:
        access: As `port.SourceAccess`.
    """

    def __init__(self, place: remote_stores.Place, access: dict[str, Any]) -> None:
        self.place = place
        self._lister = remote_stores.open_store(place, access, for_reading=False)
        self._root = place.prefix + "/" if place.prefix else ""
        self._glob = Glob(access.get("pattern") or "**/*")
        self._exclusions = Exclusions(access.get("exclude") or ())
        self._marks = Marks(access)
        # Azure lists in an order of its own where it has real folders, and cannot begin behind a name.
        self._is_sorted = place.kind != "az"

    def begin(self, after: str | None, resumed: str | None) -> Walk:
        """A walk that leaves out all up to `after`, and goes on behind `resumed`."""
        walk = _ObjectWalk()
        start = max(after or "", resumed or "") if self._is_sorted else after or ""
        chunks = self._below(walk, "", self._glob.start, start, is_marked=False)
        if resumed and not self._is_sorted:
            chunks = self._behind(chunks, resumed)
        walk.chunks = self._told(walk, chunks)
        return walk

    def _behind(self, chunks: Iterator[list[Entry]], resumed: str) -> Iterator[list[Entry]]:
        for chunk in chunks:
            place = next((number for number, entry in enumerate(chunk) if entry[0] == resumed), None)
            if place is not None:
                yield chunk[place + 1 :]
                yield from chunks
                return
            yield []
        raise Refusal(
            "source_unreachable",
            f"{self.place}: {resumed} is gone, where the listing was to go on; list it from the start",
        )

    def _told(self, walk: _ObjectWalk, chunks: Iterator[list[Entry]]) -> Iterator[list[Entry]]:
        """Say so where nothing at all could be listed."""
        yield from chunks
        if walk.denial is not None and not walk.is_any_listed:
            raise remote_stores.refusal_of(self.place, walk.denial)

    def _full(self, path: str) -> str:
        return self._root + path

    def _below(
        self, walk: _ObjectWalk, path: str, states: States, start: str, *, is_marked: bool
    ) -> Iterator[list[Entry]]:
        """All that match below `path`, which is empty or ends in `/`."""
        folders = self._glob.folders(states)
        if self._marks:
            yield from self._by_folder(walk, path, states, start, is_above_marked=is_marked)
        elif self._glob.is_deep(states):
            yield from self._stream(walk, path, states, start)
        elif folders and self._glob.names(states) is None:
            for name in sorted(folders, key=lambda name: name + "/"):
                yield from self._enter(walk, f"{path}{name}/", self._glob.down(states, name), start, is_marked=False)
        elif folders == [] and self._is_sorted:
            yield from self._scan(walk, path, states, start)
        else:
            yield from self._by_folder(walk, path, states, start, is_above_marked=is_marked)

    def _enter(
        self, walk: _ObjectWalk, beneath: str, states: States, start: str, *, is_marked: bool
    ) -> Iterator[list[Entry]]:
        is_behind = beneath < start and not start.startswith(beneath)
        if states and not is_behind and not self._exclusions.leave_out(beneath[:-1]):
            yield from self._below(walk, beneath, states, start, is_marked=is_marked)

    def _stream(self, walk: _ObjectWalk, path: str, states: States, start: str) -> Iterator[list[Entry]]:
        """Everything below, in one listing; folder by folder where that is not allowed or not possible."""
        known = {path: states}
        try:
            for objects in self._listing(walk, path, start):
                chunk: list[Entry] = []
                for found in objects:
                    relative = found["path"][len(self._root) :]
                    folder, slash, name = relative.rpartition("/")
                    here = self._states_of(folder + slash, path, known)
                    expression = self._glob.names(here) if here else None
                    if expression is not None and expression.fullmatch(name) and relative > start:
                        self._look(relative, name, found, chunk)
                yield chunk
                if self._is_sorted and objects:
                    start = max(start, objects[-1]["path"][len(self._root) :])
        except FAULTS as fault:
            if not (remote_stores.is_denial(fault) or _is_unnameable(fault)):
                raise
            yield from self._by_folder(walk, path, states, start, is_above_marked=False)

    def _states_of(self, folder: str, path: str, known: dict[str, States]) -> States:
        if folder in known:
            return known[folder]
        if not folder.startswith(path):
            return frozenset()  # the marker object of `path` itself
        above, _, name = folder[:-1].rpartition("/")
        states = self._states_of(above + "/" if above else "", path, known)
        if len(known) > CHUNK:
            kept = known[path]
            known.clear()
            known[path] = kept
        known[folder] = self._glob.down(states, name) if states else frozenset()
        return known[folder]

    def _scan(self, walk: _ObjectWalk, path: str, states: States, start: str) -> Iterator[list[Entry]]:
        """The files of one folder, without its folders."""
        begins = self._glob.beginning(states)
        expression = self._glob.names(states)
        behind = start
        if begins and " " < begins[-1] < "\x7f":
            behind = max(behind, path + begins[:-1] + chr(ord(begins[-1]) - 1) + LAST)
        for _ in range(JUMPS):
            jump = None
            try:
                for objects in self._listing(walk, path, behind):
                    chunk: list[Entry] = []
                    for found in objects:
                        relative = found["path"][len(self._root) :]
                        if relative <= behind:
                            continue  # a store that cannot begin behind a name
                        name = relative[len(path) :]
                        folder, slash, _ = name.partition("/")
                        if slash:
                            jump = f"{path}{folder}/{LAST}"
                            break
                        if begins and name > begins + LAST:
                            yield chunk
                            return
                        if expression is not None and expression.fullmatch(name):
                            self._look(relative, name, found, chunk)
                    yield chunk
                    if jump is not None:
                        break
                    if objects:
                        behind = max(behind, objects[-1]["path"][len(self._root) :])
            except FAULTS as fault:
                if not (remote_stores.is_denial(fault) or _is_unnameable(fault)):
                    raise
                break
            if jump is None:
                return
            behind = jump
        yield from self._by_folder(walk, path, states, behind, is_above_marked=False)

    def _by_folder(
        self, walk: _ObjectWalk, path: str, states: States, start: str, *, is_above_marked: bool
    ) -> Iterator[list[Entry]]:
        """What is in one folder, then each folder in it, in the order of their paths."""
        try:
            listed = obstore.list_with_delimiter(self._lister, self._full(path).rstrip("/") or None)
        except FAULTS as fault:
            self._deny(walk, path, fault)
            return
        walk.is_any_listed = True
        size = len(self._root) + len(path)
        files = {found["path"][size:]: found for found in listed["objects"] if len(found["path"]) > size}
        folders = [prefix.rstrip("/")[size:] + "/" for prefix in listed["common_prefixes"]]
        is_marked = bool(self._marks) and self._marks.folder(
            path[:-1].rpartition("/")[2], files, is_above_marked=is_above_marked
        )
        expression = self._glob.names(states)
        chunk: list[Entry] = []
        for name in sorted([*files, *folders]):
            relative = path + name
            if name[-1] == "/":
                yield chunk
                chunk = []
                below = self._glob.down(states, name[:-1])
                yield from self._enter(walk, relative, below, start, is_marked=is_marked)
            elif expression is not None and expression.fullmatch(name) and relative > start:
                if self._marks.is_marker(name):
                    continue
                if self._marks and not self._marks.has(name, files, is_folder_marked=is_marked):
                    walk.unsettled += not self._exclusions.leave_out(relative)
                    continue
                self._look(relative, name, files[name], chunk)
        yield chunk

    def _listing(self, walk: _ObjectWalk, path: str, behind: str) -> Iterator[list[dict[str, Any]]]:
        """Objects below `path` in pages; errors that concern the whole source are refusals."""
        offset = self._full(behind) if behind > path else None
        try:
            stream = obstore.list(self._lister, self._full(path).rstrip("/") or None, offset=offset, chunk_size=CHUNK)
            for objects in stream:
                walk.is_any_listed = True
                yield objects
            walk.is_any_listed = True
        except FAULTS as fault:
            if remote_stores.is_denial(fault) or _is_unnameable(fault):
                raise
            raise remote_stores.refusal_of(self.place, fault) from None

    def _deny(self, walk: _ObjectWalk, path: str, fault: Exception) -> None:
        """Tell that a prefix was not listed, or end the walk if nothing of the source can be."""
        if remote_stores.is_wrong_key(fault):
            raise remote_stores.refusal_of(self.place, fault) from None
        if remote_stores.is_denial(fault):
            walk.denial = walk.denial or fault
            walk.denied.append((path.rstrip("/"), remote_stores.words_of(fault)))
        elif _is_unnameable(fault):
            walk.denied.append((path.rstrip("/"), _UNNAMEABLE))
        else:
            raise remote_stores.refusal_of(self.place, fault) from None

    def _look(self, relative: str, name: str, found: dict[str, Any], chunk: list[Entry]) -> None:
        if self._exclusions.leave_out_below(relative):
            return
        # Consoles make a folder as the empty object `name/`; obstore takes its `/` away.
        if found["size"] == 0 and "." not in name and self.is_gone(found["path"]):
            return
        chunk.append((relative, version_of(found), found["size"], found["last_modified"].timestamp()))

    def is_gone(self, key: str) -> bool:
        """Whether there is no object of exactly this name."""
        try:
            obstore.head(self._lister, key)
        except FileNotFoundError:
            return True
        except FAULTS:  # the read will tell
            return False
        return False


class _ObjectWalk(Walk):
    """With what is known of permissions."""

    def __init__(self) -> None:
        super().__init__()
        self.is_any_listed = False
        self.denial: Exception | None = None


def version_of(found: dict[str, Any]) -> str:
    """The ETag without its quotes, or size and time where a store gives none."""
    tag = found.get("e_tag")
    return tag.strip('"') if tag else f"{found['size']}@{found['last_modified'].timestamp():.6f}"


def _is_unnameable(fault: Exception) -> bool:
    return isinstance(fault, InvalidPathError)

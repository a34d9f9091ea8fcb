"""Finds snapshots under a folder: who is there, what is new, and whether somebody still writes to it. No jobs here.

`<base>/<customer>/<timestamp>/{nodes,relationships}/<Name>/*.parquet`

A snapshot is complete when it holds a marker file, or when nothing in it has changed for the settle time. Whether it is
sound is not asked here: reading footers belongs to a job, so that one damaged file never holds up a scan.

Why folders are remembered by their change time: 100,000 snapshots of a quiet night are answered by one `stat` a
customer. A change time that is younger than `GRAIN_S` when it is read is not trusted, because another entry may still
come in under the same one; and every `full_scan_s` all of it is read again, for file systems that tell no change times.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

GRAIN_S = 2.0  # the coarsest change time among usual file systems (FAT)
FILES_LIMIT = 100_000  # in one snapshot


class SnapshotKey(NamedTuple):
    """Which snapshot."""

    customer: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A snapshot that is not known yet, as one scan saw it.

    Args:
        fingerprint: Of names, sizes and change times of all its files.
        files, size_bytes: Of all files.
        marked: It holds a marker: whoever writes it says that it is complete.
    """

    key: SnapshotKey
    path: Path
    fingerprint: str
    files: int
    size_bytes: int
    marked: bool


@dataclass(frozen=True, slots=True)
class Oddity:
    """A folder that is no snapshot, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Findings:
    """What one scan found.

    Args:
        complete: New snapshots that may be taken.
        unsettled: New ones that are still being written, and how long they have been quiet.
        oddities: Folders that cannot be snapshots.
        customers, listed: Folders looked at, and those of them that had to be read.
    """

    complete: list[Sighting] = field(default_factory=list)
    unsettled: dict[SnapshotKey, float] = field(default_factory=dict)
    oddities: list[Oddity] = field(default_factory=list)
    customers: int = 0
    listed: int = 0


@dataclass(slots=True)
class _Folder:
    """A customer's folder as it was last read."""

    changed_ns: int
    fresh: tuple[str, ...]


class Scanner:
    """Scans one base folder; blocking, for a thread, one scan at a time.

    Args:
        base: Where the customers' folders are.
        settle_s: How long nothing may have changed.
        markers: Names of files that say a snapshot is complete.
        is_known: Whether a snapshot has a record already; those are not looked into again.
        fault_of: Why a customer or a timestamp cannot be one, or None; called with its kind and the name.
        monotonic_s, wall_s: Both clocks.
    """

    def __init__(
        self, base: Path, settle_s: float, markers: tuple[str, ...], is_known: Callable[[SnapshotKey], bool],
        fault_of: Callable[[str, str], str | None], monotonic_s: Callable[[], float], wall_s: Callable[[], float],
        full_scan_s: float = 3600.0,
    ) -> None:  # fmt: skip
        self.base = base
        self._settle_s = settle_s
        self._markers = frozenset(markers)
        self._is_known = is_known
        self._fault_of = fault_of
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self._full_scan_s = full_scan_s
        self._full_at = float("-inf")
        self._folders: dict[str, _Folder] = {}
        self._quiet_since: dict[SnapshotKey, tuple[str, float]] = {}

    def scan(self) -> Findings:
        """Look once.

        Raises:
            OSError: The base folder cannot be read; nothing is forgotten.
        """
        found = Findings()
        now_s = self._monotonic_s()
        whole = now_s - self._full_at >= self._full_scan_s
        seen: set[str] = set()
        with os.scandir(self.base) as entries:
            for entry in entries:
                if not _is_folder(entry, found):
                    continue
                fault = self._fault_of("customer", entry.name)
                if fault is not None:
                    found.oddities.append(Oddity(_shown(entry.path), fault))
                    continue
                seen.add(entry.name)
                found.customers += 1
                self._scan_customer(entry, found, whole)
        for gone in self._folders.keys() - seen:
            del self._folders[gone]
        self._settle(found, now_s)
        if whole:
            self._full_at = now_s
        return found

    def _scan_customer(self, entry: os.DirEntry[str], found: Findings, whole: bool) -> None:
        try:
            changed_ns = entry.stat(follow_symlinks=False).st_mtime_ns
            folder = self._folders.get(entry.name)
            if whole or folder is None or folder.changed_ns != changed_ns:
                found.listed += 1
                fresh = self._list(entry, found)
                trusted = self._wall_s() - changed_ns / 1e9 > GRAIN_S
                folder = self._folders[entry.name] = _Folder(changed_ns if trusted else -1, fresh)
        except OSError as fault:
            found.oddities.append(Oddity(_shown(entry.path), f"cannot be read: {fault.strerror or fault}"))
            return
        left = []
        for name in folder.fresh:
            key = SnapshotKey(entry.name, name)
            if self._is_known(key):
                self._quiet_since.pop(key, None)
                continue
            left.append(name)
            self._look(key, found)
        folder.fresh = tuple(left)

    def _list(self, customer: os.DirEntry[str], found: Findings) -> tuple[str, ...]:
        """Timestamps of a customer that have no record yet."""
        fresh = []
        with os.scandir(customer.path) as entries:
            for entry in entries:
                if self._is_known(SnapshotKey(customer.name, entry.name)) or not _is_folder(entry, found):
                    continue
                fault = self._fault_of("timestamp", entry.name)
                if fault is not None:
                    found.oddities.append(Oddity(_shown(entry.path), fault))
                else:
                    fresh.append(entry.name)
        return tuple(fresh)

    def _look(self, key: SnapshotKey, found: Findings) -> None:
        path = self.base / key.customer / key.timestamp
        try:
            seen = sight(key, path, self._markers)
        except OSError as fault:
            found.oddities.append(Oddity(_shown(str(path)), f"cannot be read: {fault.strerror or fault}"))
            return
        found.complete.append(seen)

    def _settle(self, found: Findings, now_s: float) -> None:
        """Keep back what has no marker and has not been quiet for long enough."""
        ready = []
        present: set[SnapshotKey] = set()
        for seen in found.complete:
            present.add(seen.key)
            if seen.marked:
                ready.append(seen)
                continue
            fingerprint, since_s = self._quiet_since.get(seen.key, ("", now_s))
            if fingerprint != seen.fingerprint:
                since_s = now_s
                self._quiet_since[seen.key] = (seen.fingerprint, now_s)
            if seen.files and now_s - since_s >= self._settle_s:
                ready.append(seen)
            else:
                found.unsettled[seen.key] = now_s - since_s
        for gone in self._quiet_since.keys() - present:
            del self._quiet_since[gone]
        found.complete = ready


def sight(key: SnapshotKey, path: Path, markers: frozenset[str]) -> Sighting:
    """A snapshot's folder as it stands; links are not followed out of it.

    Raises:
        OSError: It cannot be read, or holds more than `FILES_LIMIT` files.
    """
    digest = hashlib.sha256()
    files = size_bytes = 0
    marked = False
    pending = [str(path)]
    while pending:
        here = pending.pop()
        with os.scandir(here) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
                continue
            facts = entry.stat(follow_symlinks=False)
            files += 1
            if files > FILES_LIMIT:
                raise OSError(f"more than {FILES_LIMIT} files")
            size_bytes += facts.st_size
            marked = marked or (here == str(path) and entry.name in markers)
            name = os.fsencode(os.path.relpath(entry.path, path))
            digest.update(b"%b\0%d\0%d\n" % (name, facts.st_size, facts.st_mtime_ns))
    return Sighting(key, path, digest.hexdigest(), files, size_bytes, marked)


def _is_folder(entry: os.DirEntry[str], found: Findings) -> bool:
    """A plain folder; a link is told, a file and a hidden entry are passed over."""
    if entry.name.startswith("."):
        return False
    if entry.is_symlink():
        found.oddities.append(Oddity(_shown(entry.path), "is a link; links are not followed"))
        return False
    return entry.is_dir(follow_symlinks=False)


def _shown(path: str) -> str:
    """A path as it may be printed: what is no text is escaped."""
    return path.encode("utf-8", "backslashreplace").decode()

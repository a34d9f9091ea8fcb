"""What of a listing is loaded, and in which batches: rules over values, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from labd.ingest.definition import Changed, Limits
from labd.ingest.port import FileFault, FileRef, SchemaChange
from labd.ingest.record import FileMark, Seen

TOLD = 5  # names in a message; the ledger has all


class Sorted(NamedTuple):
    """What becomes of the files of a page."""

    taken: list[FileRef]
    ignored: list[Seen]
    held: list[Seen]


def sort(seen: Iterable[Seen], changed: Changed, only: frozenset[str] | None) -> Sorted:
    """Apply the policy for changed files; one that was asked for again is taken whatever the policy says.

    Args:
        only: Paths that the run was asked for; None: all.
    """
    found = Sorted([], [], [])
    policy: Literal["append", "replace"] = "replace" if changed == "replace-rows" else "append"
    for file in seen:
        if only is not None and file.path not in only:
            continue
        asked = file.old is not None and file.old.state is FileMark.PENDING
        if file.was_loaded and not asked and changed == "ignore":
            found.ignored.append(file)
        elif file.was_loaded and not asked and changed == "alert":
            found.held.append(file)
        else:
            found.taken.append(file.to_ref(policy))
    return found


IGNORED = FileFault(
    "changed", "it changed after it was loaded, and `changed` is ignore; `labctl ingest retry` loads it"
)
HELD = FileFault("changed", "it changed after it was loaded, and `changed` is alert; `labctl ingest retry` loads it")


class Batcher:
    """Gathers files until a batch is full, by count or by bytes; a single larger file is a batch of its own.

    Args:
        most: Files that may be taken in all; None for no limit.
    """

    def __init__(self, limits: Limits, most: int | None) -> None:
        self._limits = limits
        self._left = most
        self._files: list[FileRef] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the run may take no more."""
        return self._left is not None and self._left <= 0

    def add(self, files: Iterable[FileRef]) -> list[list[FileRef]]:
        """Batches that became full."""
        full: list[list[FileRef]] = []
        for file in files:
            if self.is_full:
                break
            if self._files and self._bytes + file.size_bytes > self._limits.batch_bytes:
                full.append(self.rest())
            self._files.append(file)
            self._bytes += file.size_bytes
            if self._left is not None:
                self._left -= 1
            if len(self._files) >= self._limits.batch_files:
                full.append(self.rest())
        return full

    def rest(self) -> list[FileRef]:
        """What has been gathered, which may be nothing."""
        files, self._files, self._bytes = self._files, [], 0
        return files


def question(name: str, changes: list[SchemaChange]) -> str:
    """What a person is asked about changes of the schema."""
    told = ", ".join(f"{change.key} (from {change.path})" if change.path else change.key for change in changes[:TOLD])
    more = f" and {len(changes) - TOLD} more" if len(changes) > TOLD else ""
    return f"ingestion {name}: its files bring {told}{more}; change the table?"

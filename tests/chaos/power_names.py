"""Which names a folder has after the power went: what its sync kept, and what the journal of names got to by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.chaos.power_node import Node

Folders = dict[Node, dict[str, Node]]


@dataclass(slots=True)
class Change:
    """One change of names: `node` leaves `(parent, name)` and comes to `(parent2, name2)`; either may be None."""

    node: Node
    parent: Node | None
    name: str
    parent2: Node | None
    name2: str
    lasts: bool = False


class Names:
    """All names, as they were and as they changed.

    Args:
        root: The folder that everything is below.
    """

    def __init__(self, root: Node) -> None:
        self.root = root
        self.before: Folders = {root: {}}
        self.now: Folders = {root: {}}
        self.changes: list[Change] = []
        self._of_folder: dict[Node, list[int]] = defaultdict(list)
        self._came: dict[Node, list[int]] = defaultdict(list)

    def had(self, parent: Node, name: str, node: Node) -> None:
        """A name of the base."""
        for folders in (self.before, self.now):
            folders.setdefault(parent, {})[name] = node
            if node.kind == "d":
                folders.setdefault(node, {})

    def change(self, change: Change) -> None:
        """A change that is in memory only so far."""
        number = len(self.changes)
        self.changes.append(change)
        for parent in {change.parent, change.parent2} - {None}:
            if parent is not None:
                self._of_folder[parent].append(number)
        if change.parent2 is not None and change.parent is None:
            self._came[change.node].append(number)
        _do(self.now, change)

    def sync_folder(self, folder: Node, count: int) -> None:
        """What was changed in a folder, among the first so many changes, lasts; and the folder's own name."""
        for number in self._of_folder.pop(folder, []):
            if number < count:
                self.changes[number].lasts = True
            else:
                self._of_folder[folder].append(number)
        self.sync_entry(folder, count)

    def sync_entry(self, node: Node, count: int) -> None:
        """A new file's sync keeps the name that it was made with, and the folders above it."""
        for number in self._came.pop(node, []):
            if number >= count:
                self._came[node].append(number)
                continue
            self.changes[number].lasts = True
            above = self.changes[number].parent2
            if above is not None and above is not self.root:
                self.sync_entry(above, count)

    def after_loss(self, dice: Random) -> Folders:
        """Names that a disk may have: in the order of the journal up to some moment, or each by itself."""
        folders: Folders = {folder: dict(names) for folder, names in self.before.items()}
        cut = dice.randint(0, len(self.changes))
        in_order = dice.random() < 0.5
        for number, change in enumerate(self.changes):
            if change.lasts or (number < cut if in_order else dice.random() < 0.5):
                _do(folders, change)
        return folders

    def walk(self, folders: Folders) -> Iterator[tuple[str, Node]]:
        """Relative paths from the top down, folders before what is in them."""
        yield from _walk(folders, self.root, "", set())


def _walk(folders: Folders, folder: Node, before: str, seen: set[Node]) -> Iterator[tuple[str, Node]]:
    seen.add(folder)
    for name, node in sorted(folders.get(folder, {}).items()):
        yield before + name, node
        if node.kind == "d" and node not in seen:
            yield from _walk(folders, node, f"{before}{name}/", seen)


def _do(folders: Folders, change: Change) -> None:
    if change.parent is not None:
        names = folders.setdefault(change.parent, {})
        if names.get(change.name) is change.node:
            del names[change.name]
    if change.parent2 is not None:
        folders.setdefault(change.parent2, {})[change.name2] = change.node
        if change.node.kind == "d":
            folders.setdefault(change.node, {})

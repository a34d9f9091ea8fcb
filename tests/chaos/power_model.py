"""What is left of a folder after the power went: its base, what was synced since, and chance.

The model is ext4 with `data=ordered` at the worst that POSIX allows it: a file's sync keeps its content, the name it
was made with and the folders above; a folder's sync keeps what was renamed and removed in it; everything else is there
or not, each sector of 512 bytes by itself, in no order between files. What a failed sync did not write is written by
no later one, unless its page is written anew. Stores into mapped files count when they are synced. Modes and owners
are kept.

Why the whole log is held against what is there: a write that went past the shim would be taken for lost, and the
promise for broken; `unseen` names each such file, and it is kept as it is.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from random import Random
from uuid import UUID

from tests.chaos.power_log import Record, records
from tests.chaos.power_names import Change, Folders, Names
from tests.chaos.power_node import Node
from tests.chaos.shim import Shim

MAPPED = "-shm"  # SQLite's index of its log is only ever mapped, and made anew by whoever opens first


class Power:
    """The power supply of one folder; `take_base` when it is at rest, `cut` when all who wrote are dead.

    Args:
        shim: Whose log tells what was done.
    """

    def __init__(self, shim: Shim) -> None:
        self._shim = shim
        self._base = shim.place / "base"
        self._inodes: dict[str, int] = {}

    def take_base(self) -> None:
        """All that is there is on disk; nobody may write meanwhile."""
        shutil.rmtree(self._base, ignore_errors=True)
        self._base.mkdir()
        self._inodes.clear()
        self._shim.log.unlink(missing_ok=True)
        for path in _below(self._shim.root):
            relative = str(path.relative_to(self._shim.root))
            self._inodes[relative] = path.lstat().st_ino
            copy = self._base / relative
            if path.is_symlink():
                copy.symlink_to(path.readlink())
            elif path.is_dir():
                copy.mkdir()
            else:
                shutil.copyfile(path, copy)

    def cut(self, dice: Random) -> tuple[str, list[str]]:
        """Leave the folder as a disk may have it, and take that for the new base.

        Returns:
            A few words on what was lost, and the files that were written past the shim.
        """
        replay = Replay(self._shim.root, self._base, self._inodes, dice)
        for record in records(self._shim.log):
            replay.take(record)
        unseen = replay.unseen()
        folders = replay.names.after_loss(dice)
        torn = self._rebuild(replay, folders, dice)
        self._shim.boot_anew(str(UUID(int=dice.getrandbits(128), version=4)))
        undone = sum(not change.lasts for change in replay.names.changes)
        self.take_base()
        return f"{torn} files lost writes, {undone} changes of names were not synced", unseen

    def _rebuild(self, replay: Replay, folders: Folders, dice: Random) -> int:
        root, torn = self._shim.root, 0
        wanted = dict(replay.names.walk(folders))
        there = {str(path.relative_to(root)): path for path in _below(root)}
        contents = {
            path: node.after_loss(dice) for path, node in wanted.items() if node.kind == "f" and node.is_touched
        }
        for relative, path in sorted(there.items(), reverse=True):
            node = wanted.get(relative)
            if node is None or node.kind != _kind(path.lstat().st_mode):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for relative, node in wanted.items():
            path = root / relative
            if node.kind == "d":
                path.mkdir(mode=node.mode, exist_ok=True)
            elif node.kind == "l":
                path.unlink(missing_ok=True)
                path.symlink_to(node.target)
            elif node.kind == "f" and (node.is_touched or replay.moved(relative, node)):
                content = contents.get(relative)
                if content is None:
                    content = node.load() if node.load is not None else b""
                torn += node.is_touched and content != node.latest
                path.write_bytes(content)
                path.chmod(node.mode)
        return torn


class Replay:
    """The log, done again on a model."""

    def __init__(self, root: Path, base: Path, inodes: dict[str, int], dice: Random) -> None:
        self._root, self._dice, self._inodes = root, dice, inodes
        top = Node("d", 0o700)
        self.names = Names(top)
        self._nodes: dict[int, Node] = {root.stat().st_ino: top} if root.exists() else {}
        self._syncs: dict[int, list[tuple[Node, int, int]]] = {}
        self._modes = {path.lstat().st_ino: stat.S_IMODE(path.lstat().st_mode) for path in _below(root)}
        folders = {"": top}
        self._first: dict[str, Node] = {}
        for path in _below(base):
            relative = str(path.relative_to(base))
            kind = _kind(path.lstat().st_mode)
            inode = inodes[relative]
            mode = self._modes.get(inode, 0o700 if kind == "d" else 0o600)
            node = Node(kind, mode, path.read_bytes if kind == "f" else None)
            if kind == "l":
                node.target = str(path.readlink())
            folders[relative] = self._nodes[inode] = self._first[relative] = node
            self.names.had(folders[relative.rpartition("/")[0]], path.name, node)

    def moved(self, relative: str, node: Node) -> bool:
        """Whether a file is elsewhere than in the base, or not what lies at its place now."""
        path = self._root / relative
        return (
            self._first.get(relative) is not node
            or not path.exists()
            or self._nodes.get(path.stat().st_ino) is not node
        )

    def take(self, record: Record) -> None:
        """One record more."""
        if record.kind in "WT":
            self._file(record).write(record.offset, record.data if record.kind == "W" else None)
        elif record.kind == "C":
            mode = self._modes.get(record.inode, record.offset)
            node = Node(record.flag, mode, target=os.fsdecode(record.data))
            self._nodes[record.inode] = node
            self._add(node, record.path, record.parent)
        elif record.kind == "L":
            self._add(self._file(record), record.path, record.parent)
        elif record.kind == "U":
            node = self._nodes.get(record.inode) or self._at(record.path, record.flag)
            parent = self._folder(record.parent, record.path)
            self.names.change(Change(node, parent, _last(record.path), None, ""))
        elif record.kind == "R":
            self._rename(record)
        else:
            self._sync(record)

    def _rename(self, record: Record) -> None:
        node = self._nodes.get(record.inode)
        if node is None:
            node = self._nodes[record.inode] = self._at(record.path or record.path2, record.flag)
        parent = self._folder(record.parent, record.path) if record.path else None
        parent2 = self._folder(record.parent2, record.path2) if record.path2 else None
        self.names.change(Change(node, parent, _last(record.path), parent2, _last(record.path2)))

    def _sync(self, record: Record) -> None:
        if record.kind == "B":
            nodes = list(self._nodes.values()) if record.flag == "a" else [self._nodes.get(record.inode)]
            changes = len(self.names.changes)
            self._syncs[record.token] = [(node, len(node.writes), changes) for node in nodes if node is not None]
            return
        for node, writes, changes in self._syncs.pop(record.token, []):
            if record.kind == "F":
                node.sync_failed(writes, self._dice)
            elif node.kind == "d":
                self.names.sync_folder(node, changes)
            else:
                node.sync(writes)
                self.names.sync_entry(node, changes)

    def unseen(self) -> list[str]:
        """Files that are not as the log says; they are kept as they are, as if they had been synced."""
        known = dict(self.names.walk(self.names.now))
        found = []
        for path in _below(self._root):
            relative, about = str(path.relative_to(self._root)), path.lstat()
            node = known.pop(relative, None)
            if not stat.S_ISREG(about.st_mode):
                continue
            content = path.read_bytes()
            if node is not None and node.kind == "f":
                expected = node.latest if node.is_touched else node.load() if node.load is not None else b""
                if content == expected:
                    continue
                if relative.endswith(MAPPED):
                    node.write(0, content)
                    continue
            else:
                node = self._at(str(path), "f")
            node.trust(content)
            for change in self.names.changes:
                change.lasts |= change.node is node
            found.append(relative)
        return found

    def _add(self, node: Node, path: str, parent: int) -> None:
        self.names.change(Change(node, None, "", self._folder(parent, path), _last(path)))

    def _file(self, record: Record) -> Node:
        node = self._nodes.get(record.inode)
        if node is None:
            node = self._nodes[record.inode] = self._at(record.path, "f")
        return node

    def _folder(self, inode: int, path: str) -> Node:
        node = self._nodes.get(inode)
        if node is None:
            node = self._nodes[inode] = self._at(path.rpartition("/")[0], "d")
        return node

    def _at(self, path: str, kind: str) -> Node:
        """What the model has at a path; made, without its name being synced, where nobody was seen to make it."""
        folder, names = self.names.root, self.names.now
        parts = Path(path).relative_to(self._root).parts if Path(path) != self._root else ()
        for number, part in enumerate(parts, start=1):
            node = names.get(folder, {}).get(part)
            if node is None:
                is_last = number == len(parts)
                node = Node(kind if is_last else "d", 0o600 if is_last and kind == "f" else 0o700)
                if part.endswith(" (deleted)"):
                    return node
                self.names.change(Change(node, None, "", folder, part))
            folder = node
        return folder


def _kind(mode: int) -> str:
    return "d" if stat.S_ISDIR(mode) else "l" if stat.S_ISLNK(mode) else "f" if stat.S_ISREG(mode) else "o"


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _below(root: Path) -> list[Path]:
    """Folders, files and links, each folder before what is in it; sockets and the like are nobody's content."""
    if not root.is_dir():
        return []
    return [path for path in sorted(root.rglob("*")) if _kind(path.lstat().st_mode) != "o"]

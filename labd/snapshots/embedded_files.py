"""The folder of the embedded store: a folder for each database, a small file for each alias. Everything here blocks.

    <root>/graphs/<database>/graph.lbug        a whole database
    <root>/graphs/.loading.<database>/...      one that is being filled, or was when the host went down
    <root>/graphs/.dropped.<database>.<n>/...  one that is being deleted; swept when the store opens
    <root>/aliases/<alias>                     the name of its database and a line's end

Why a database is filled elsewhere and then renamed: a name in `graphs` without a dot in front was synced whole before
it got that name, so a kill at any point leaves nothing that could be taken for more than it is. Names of databases
begin with a letter (`names.check_database`), so none of them can be one of ours.
Why an alias is renamed into place: a reader opens the old file or the new one, there is no third.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from labd.errors import GraphRefused
from labd.snapshots.names import check_database
from labd.snapshots.port import Database

FILE = "graph.lbug"
LOADING = ".loading."
DROPPED = ".dropped."
NEW = ".new."


class GraphFolder:
    """What is on disk of one embedded store.

    Args:
        root: Such as `<state_dir>/snapshots`; made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.graphs = root / "graphs"
        self.aliases_folder = root / "aliases"

    def open(self) -> None:
        """Make the folders, and delete what earlier deletions left."""
        for folder in (self.graphs, self.aliases_folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in [*self.graphs.glob(f"{DROPPED}*"), *self.aliases_folder.glob(f"{NEW}*")]:
            _delete(path)

    def file(self, database: str) -> Path:
        """Where a whole database is, whether it is there or not."""
        return self.graphs / database / FILE

    def is_whole(self, database: str) -> bool:
        """Whether a database of the name serves."""
        return self.file(database).is_file()

    def is_there(self, database: str) -> bool:
        """Whether anything of the name is there, whole or not."""
        return (self.graphs / database).exists() or self._loading(database).exists()

    def databases(self, loading: frozenset[str]) -> list[Database]:
        """All, by name; what is half made is never `online`.

        Args:
            loading: Those that are being filled now.
        """
        found: dict[str, Database] = {}
        for path in self.graphs.iterdir():
            name = path.name
            if name.startswith(LOADING):
                name = name.removeprefix(LOADING)
                status = "loading" if name in loading else "incomplete"
                text = "" if name in loading else "its load did not end; load it again with replace, or drop it"
                found.setdefault(name, Database(name, status, text, _size(path)))
            elif _is_name(name):
                whole = self.is_whole(name)
                text = "" if whole else f"{FILE} is missing; load it again with replace, or drop it"
                found[name] = Database(name, "online" if whole else "damaged", text, _size(path))
        return [found[name] for name in sorted(found)]

    def begin(self, database: str) -> Path:
        """An empty folder to fill."""
        folder = self._loading(database)
        _delete(folder)
        folder.mkdir(mode=0o700)
        (folder / "scratch").mkdir()
        return folder

    def finish(self, database: str) -> None:
        """A filled folder becomes a database: everything of it on disk first, then its name."""
        folder = self._loading(database)
        _delete(folder / "scratch")
        for path in folder.iterdir():
            _sync(path)
        _sync(folder)
        folder.rename(self.graphs / database)
        _sync(self.graphs)

    def abandon(self, database: str) -> None:
        """Delete what was being filled."""
        _delete(self._loading(database))

    def drop(self, database: str) -> None:
        """Delete a database, whole or not; its name goes first and at once."""
        path = self.graphs / database
        if path.exists():
            number = 0
            while (away := self.graphs / f"{DROPPED}{database}.{number}").exists():
                number += 1
            path.rename(away)
            _sync(self.graphs)
            _delete(away)
        self.abandon(database)

    def aliases(self) -> dict[str, str]:
        """Alias -> database.

        Why a damaged one is left out and no error: the others serve, and switching it makes it whole.
        """
        found = {}
        for path in sorted(self.aliases_folder.iterdir()):
            try:
                target = self.target(check_database(path.name))
            except GraphRefused:
                continue
            if target is not None:
                found[path.name] = target
        return found

    def target(self, alias: str) -> str | None:
        """What an alias points at, None if there is no such alias.

        Raises:
            GraphRefused: Its file has something else in it.
        """
        try:
            text = (self.aliases_folder / alias).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as fault:
            raise GraphRefused(f"the alias {alias} cannot be read ({fault}); switch it again") from fault
        return check_database(text.rstrip("\n"))

    def point(self, alias: str, database: str) -> None:
        """Point an alias at a database; old or new at every instant, new for good when this returns."""
        fresh = self.aliases_folder / f"{NEW}{alias}"
        with fresh.open("w", encoding="ascii") as file:
            file.write(f"{database}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.aliases_folder / alias)
        _sync(self.aliases_folder)

    def unpoint(self, alias: str) -> None:
        """Forget an alias."""
        (self.aliases_folder / alias).unlink(missing_ok=True)
        _sync(self.aliases_folder)

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self.graphs).free

    def _loading(self, database: str) -> Path:
        return self.graphs / f"{LOADING}{database}"


def _is_name(name: str) -> bool:
    """Whether a folder can be a database of ours, and not `lost+found`."""
    try:
        return check_database(name) == name
    except GraphRefused:
        return False


def _size(folder: Path) -> int:
    """Bytes of all files; a folder that is being deleted or filled meanwhile counts as far as it is there."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except FileNotFoundError:
            continue
    return total


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

"""What must hold of the files: a database that is whole, an audit chain by its published rule, a latch that is kept."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.witnesses import Lines
from tests.chaos.checker_jobs import opened
from tests.chaos.port import World

GENESIS = "0" * 64
DATABASES = ("labd.db", "logbook.db")
LATCH_FILE = "resort-*.stop-latched"
KEPT_MOVES = 2000


class Audit:
    """Every entry names the hash of the one before it; recomputed here, with no code of labd."""

    name = "the audit chain is whole"

    def __init__(self) -> None:
        self._last, self._head = 0, GENESIS

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """From where the last look ended; what was there then is still there and the same."""
        statement = (
            "SELECT id, at, actor, action, subject, details, prev_hash, hash FROM audit WHERE id >= ? ORDER BY id"
        )
        with opened(world.daemon.state / "labd.db") as database:
            rows = database.execute(statement, (self._last,)).fetchall()
        if self._last:
            if not rows or rows[0][0] != self._last or rows[0][-1] != self._head:
                return [f"entry {self._last} of the audit is gone or another one"]
            rows = rows[1:]
        for entry, at, actor, action, subject, details, before, digest in rows:
            text = [entry, repr(at), actor, action, subject, details, before]
            again = hashlib.sha256(json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
            if entry != self._last + 1 or before != self._head or digest != again:
                return [f"entry {entry} of the audit does not follow entry {self._last}: {action} {subject}"]
            self._last, self._head = entry, digest
        return []


class WholeDatabase:
    """SQLite finds nothing wrong with a copy of the files as they lie there."""

    name = "the databases are whole"

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """`integrity_check` of copies, WAL included; the daemon goes on beside it, so the backup's way is taken."""
        found = []
        with tempfile.TemporaryDirectory(dir=world.folder) as folder:
            for name in DATABASES:
                copy = Path(folder) / name
                with opened(world.daemon.state / name) as source:
                    target = sqlite3.connect(copy)
                    try:
                        source.backup(target)
                        said = [row[0] for row in target.execute("PRAGMA integrity_check")]
                    except sqlite3.DatabaseError as fault:
                        said = [str(fault)]
                    finally:
                        target.close()
                if said != ["ok"]:
                    found.append(f"{name}: {said[:3]}")
        return found


class Latch:
    """A stop that was acknowledged stands, in at least one of its three places, until its reset is asked.

    While it stands nothing moves: the record of the bus has no beginning of a move in that time.
    """

    name = "the stop latch is kept over crashes"

    def __init__(self, record: Path) -> None:
        self._record = Lines(record)
        self._moves: list[float] = []

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """Beside the clients: what they changed meanwhile is looked at the next time."""
        before = (told["latched"], len(told["latch_spans"]))
        places = self._places(world)
        found = []
        if before[0] is not None and before == (told["latched"], len(told["latch_spans"])):
            if before[0] and not places:
                found.append("a stop was acknowledged and not reset, and its latch is in none of its three places")
            if before[0] is False and places:
                found.append(f"the latch stands in {places}, and its reset was acknowledged")
        self._moves += [line["mono"] for line in self._record.fresh() if line["kind"] == "move_started"]
        for begin, end in list(told["latch_spans"]):
            moved = [moment for moment in self._moves if begin < moment < end]
            if moved:
                found.append(f"{len(moved)} moves began between an acknowledged stop at {begin:.3f} and its reset")
        self._moves = self._moves[-KEPT_MOVES:]
        return found

    def _places(self, world: World) -> list[str]:
        files = [*world.daemon.state.glob(LATCH_FILE), *(world.folder / "run").glob(LATCH_FILE)]
        with opened(world.daemon.state / "labd.db") as database:
            keys = database.execute("SELECT key FROM facts WHERE key LIKE 'resort:%:stop_latch'").fetchall()
        return [*map(str, files), *(f"fact {key}" for (key,) in keys)]

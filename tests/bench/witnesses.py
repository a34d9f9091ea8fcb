"""What the checker hears its witnesses say: rows of the database, lines of growing files, SQLite's and the audit's own.

Why the database of a killed daemon is read from a copy: opening it recovers the WAL and may fold it into the file, so
the next daemon would meet another file than the killed one left.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd.engine.audit_file import verify_file

COLUMNS = "id, task, state, attempt, effect, idempotency_key, started_at, args, result, more"


@dataclass(frozen=True)
class Row:
    """One job as the database has it."""

    id: int
    task: str
    state: str
    attempt: int
    effect: str
    key: str | None
    started_at: float | None
    args: str
    result: str | None
    more: str

    @property
    def crashes(self) -> int:
        """How many daemons died under it."""
        return int(json.loads(self.more).get("crashes", 0))


class Lines:
    """A growing file of JSON lines, each read once; a last line without its end is left for later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def fresh(self) -> list[dict[str, Any]]:
        """Lines since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._at += whole
        return [json.loads(line) for line in data[:whole].splitlines()]


def rows_of(database: Path) -> dict[int, Row]:
    """All jobs, by a reader beside the daemon."""
    opened = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10.0)
    try:
        return {row[0]: Row(*row) for row in opened.execute(f"SELECT {COLUMNS} FROM jobs")}
    finally:
        opened.close()


def rows_of_copy(database: Path) -> dict[int, Row]:
    """All jobs of a file that nobody has open; read from a copy, because reading recovers and truncates the WAL."""
    if not database.exists():
        return {}
    with tempfile.TemporaryDirectory(dir=database.parent.parent) as folder:
        for name in (database.name, database.name + "-wal"):
            if database.with_name(name).exists():
                shutil.copy(database.with_name(name), Path(folder) / name)
        opened = sqlite3.connect(Path(folder) / database.name)
        try:
            return {row[0]: Row(*row) for row in opened.execute(f"SELECT {COLUMNS} FROM jobs")}
        except sqlite3.OperationalError as fault:
            if "no such table" in str(fault):
                return {}  # killed before the schema was there
            raise
        finally:
            opened.close()


def faults_of(database: Path) -> list[str]:
    """SQLite's own check, and the audit's chain by its published rule."""
    opened = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        found = [row[0] for row in opened.execute("PRAGMA integrity_check")]
    finally:
        opened.close()
    report = verify_file(database)
    problems = [] if found == ["ok"] else [f"integrity_check: {found[:3]}"]
    return problems if report.ok else [*problems, f"audit: {report.problem}"]

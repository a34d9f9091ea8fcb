"""The audit of a database file, checked without a daemon and without writing a byte."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from labd.engine import sql
from labd.engine.audit import AuditReport, verify
from labd.errors import StoreDamaged


def verify_file(path: Path) -> AuditReport:
    """Follow the chain of the file.

    Raises:
        StoreDamaged: Not there, or not a journal of labd.
    """
    if not path.exists():
        raise StoreDamaged(f"{path} is not there; name the state folder with --state", path=str(path))
    statement = sql.queries()["audit_after"]
    try:
        opened = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return verify(opened.execute(statement, (0, -1)))
        finally:
            opened.close()
    except sqlite3.DatabaseError as fault:
        raise StoreDamaged(
            f"{path} cannot be read: {fault}; restore a backup with `labd restore`", path=str(path)
        ) from fault

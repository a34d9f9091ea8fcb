"""The catalogue of tables that ingestions keep in the state folder, as a backup takes it and a restore puts it back.

Why the tables' files are not taken: they may be larger than any backup, they are only ever added to, and any tool that
copies folders does it; a catalogue copied before them names nothing that a later copy of them lacks.
Why a catalogue that is there is never replaced: it goes with the files that are there. One of an older day would lose
every row that has come since, while the ledger finds out by itself what the newer one holds.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from labd.errors import StoreDamaged

NAME = "catalog.db"
FOLDER = "ingest"
WAREHOUSE = "ingest/warehouse"
BUSY_S = 30.0


def catalog_path(state_dir: Path) -> Path:
    """Where it is."""
    return state_dir / FOLDER / NAME


def copy(state_dir: Path, folder: Path) -> Path | None:
    """A consistent copy in an existing folder, while children write to it; None where there is none.

    Raises:
        StoreDamaged: It cannot be read.
    """
    source, target = catalog_path(state_dir), folder / NAME
    if not source.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(source, timeout=BUSY_S, isolation_level=None)) as database:
            database.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.DatabaseError as fault:
        raise StoreDamaged(f"{source} cannot be copied: {fault}", path=str(source)) from fault
    target.chmod(0o600)
    return target


def put_back(draft: Path, state_dir: Path) -> bool:
    """Move it to its place, unless one is there; whether it was moved. The folder's names are the caller's to sync."""
    place = catalog_path(state_dir)
    if place.exists():
        draft.unlink()
        return False
    place.parent.mkdir(mode=0o750, exist_ok=True)
    draft.rename(place)
    return True

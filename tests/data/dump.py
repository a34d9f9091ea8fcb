"""Writes the databases of a state folder as SQL, for the fixtures of released schemas.

python -m tests.data.dump STATE_FOLDER
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def main(folder: Path) -> None:
    """One file a database: `<name>_v<schema>.sql` beside this one."""
    for file, name in (("labd.db", "journal"), ("logbook.db", "logbook")):
        with closing(sqlite3.connect(folder / file)) as opened:
            version = opened.execute("PRAGMA user_version").fetchone()[0]
            lines = [*opened.iterdump(), f"PRAGMA user_version = {version};"]
        Path(__file__).with_name(f"{name}_v{version}.sql").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Every statement and every migration, kept as .sql files and read by name."""

from __future__ import annotations

import re
from importlib.resources import files

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def queries() -> dict[str, str]:
    """Statements of `queries.sql` by name."""
    parts = _HEADER.split(files(__package__).joinpath("queries.sql").read_text())
    return {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def migrations(database: str) -> list[str]:
    """Scripts of one database in order; script n brings version n - 1 to version n."""
    folder = files(__package__).joinpath(database)
    return [
        entry.read_text() for entry in sorted(folder.iterdir(), key=lambda f: f.name) if entry.name.endswith(".sql")
    ]

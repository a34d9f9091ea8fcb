"""Every statement and every migration, kept as .sql files and read by name."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

_SCRIPT = re.compile(r"\d{4}_\w+\.sql")
_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def queries(package: str = __package__) -> dict[str, str]:
    """Statements of a package's `queries.sql` by name."""
    parts = _HEADER.split(files(package).joinpath("queries.sql").read_text())
    return {name: body.strip().rstrip(";") for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def migrations(database: str) -> list[str]:
    """Scripts of one database in order; script n brings version n - 1 to version n."""
    return scripts(files(__package__).joinpath(database))


def scripts(folder: Traversable) -> list[str]:
    """The numbered scripts of a folder, in order."""
    found = sorted((entry for entry in folder.iterdir() if _SCRIPT.fullmatch(entry.name)), key=lambda f: f.name)
    return [entry.read_text() for entry in found]

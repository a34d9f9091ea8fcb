"""Who else offers something to labd: what installed packages have registered in an entry-point group.

Why a look into the files first: on most hosts nobody has, and `importlib.metadata` with all that it imports would be a
tenth of labd's start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

RECORDS = (".dist-info", ".egg-info")


def entry_points_beside_labd(group: str, path: Iterable[str] | None = None) -> list[EntryPoint]:
    """What other packages than labd itself offer in the group.

    Args:
        path: Where packages lie; `sys.path` unless said.
    """
    if not any(_may_offer(Path(folder or "."), f"[{group}]") for folder in (sys.path if path is None else path)):
        return []
    from importlib.metadata import entry_points

    return [found for found in entry_points(group=group) if found.dist is None or found.dist.name != "labd"]


def _may_offer(folder: Path, heading: str) -> bool:
    """Whether a package of this place has the heading; true of a place that is no folder, such as an archive."""
    try:
        entries = [Path(entry) for entry in os.scandir(folder) if entry.name.endswith(RECORDS)]
    except NotADirectoryError:
        return True
    except OSError:
        return False
    return any(heading in _text(entry / "entry_points.txt") for entry in entries if not entry.name.startswith("labd-"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

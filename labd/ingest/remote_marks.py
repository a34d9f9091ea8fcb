"""When a file may be taken: unchanged for the settle time, or marked as complete by another file."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

FUTURE_S = 60.0
"""A file whose time lies further ahead of this host's clock than this is told about."""


class Marks:
    """The rule of one source: `_SUCCESS` for all files of its folder, or `{name}.done` for a file of its own.

    Folders named `key=value` share the marker of the folder that holds them, as Spark writes it.
    """

    def __init__(self, access: dict[str, Any]) -> None:
        self.marker = str(access.get("marker") or "")
        self.settle_s = float(access.get("settle_s", 10.0))
        self.is_own = "{name}" in self.marker
        before, _, after = self.marker.partition("{name}")
        self._own = re.compile(re.escape(before) + ".+" + re.escape(after), re.DOTALL)

    def __bool__(self) -> bool:
        return bool(self.marker)

    def is_marker(self, name: str) -> bool:
        """Whether this name is a marker and so no file to be taken."""
        if not self.marker:
            return False
        return self._own.fullmatch(name) is not None if self.is_own else name == self.marker

    def folder(self, name: str, names: Collection[str], *, is_above_marked: bool) -> bool:
        """Whether the files of a folder are complete; `name` is its own, `names` are those in it."""
        return self.marker in names or (is_above_marked and "=" in name)

    def has(self, name: str, names: Collection[str], *, is_folder_marked: bool) -> bool:
        """Whether a file is complete."""
        return self.marker.replace("{name}", name) in names if self.is_own else is_folder_marked

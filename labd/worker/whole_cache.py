"""Compiled files of what labd lends are whole or not there; run as text before a worker's first import from labd.

Why: a disk that is full takes the first part of a compiled file and says how much. Python before 3.12.8 and 3.13.1
does not listen (gh-126606), and every later import of that module ends with "marshal data too short" until somebody
deletes the file.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader


class WholeCacheLoader(SourceFileLoader):
    """Imports a module from its source, and keeps what it compiled only if all of it is on disk."""

    def set_data(self, path: str, data: bytes, *, _mode: int = 0o666) -> None:  # type: ignore[override]
        """Write the compiled file."""
        super().set_data(path, data, _mode=_mode)
        try:
            if os.stat(path).st_size != len(data):  # noqa: PTH116 nothing more is imported yet
                os.unlink(path)  # noqa: PTH108
        except OSError:
            pass  # it was not written at all, which is as good


def install(root: str) -> None:
    """For everything below `root`, and nothing else."""

    def finder(path: str) -> FileFinder:
        if path != root and not path.startswith(root + os.sep):
            raise ImportError("not lent by labd", path=path)
        return FileFinder(path, (WholeCacheLoader, SOURCE_SUFFIXES))

    sys.path_hooks.insert(0, finder)

"""The Pythons of this machine that a worker may be started with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

OLDEST, NEWEST = (3, 8), (3, 14)
PLACES = (".pyenv/versions/*/bin/python", ".local/share/uv/python/*/bin/python")


@lru_cache(maxsize=1)
def found() -> dict[str, str]:
    """Version ("3.8") -> executable, the oldest first; the running one is always there."""
    paths = [sys.executable]
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        path = shutil.which(f"python3.{minor}")
        paths += [path] if path else []
    for place in PLACES:
        paths += [str(path) for path in sorted(Path.home().glob(place))]
    versions: dict[str, str] = {}
    for path in paths:
        if os.sep + "shims" + os.sep not in path:  # scripts that stand for another one, or for none
            version = _version(path)
            if OLDEST <= version <= NEWEST:
                versions.setdefault(f"{version[0]}.{version[1]}", path)
    return dict(sorted(versions.items(), key=lambda item: int(item[0].split(".")[1])))


def _version(path: str) -> tuple[int, int]:
    """From the name where it tells, else asked."""
    named = re.search(r"(?:python|cpython-|versions/)(\d)\.(\d+)", path)
    if named:
        return int(named[1]), int(named[2])
    code = "import sys; print(*sys.version_info[:2])"
    try:
        told = subprocess.run([path, "-S", "-c", code], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    major, minor = told.split()
    return int(major), int(minor)

"""axe-core, which looks for what keeps people from using a page; `python -m tests.fakes.axe_core` fetches it by npm."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import requires

VERSION = "4.10.3"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labd-tests"
SCRIPT = CACHE / f"axe-core-{VERSION}.js"


def fetch() -> Path:
    """Put its one file into the cache, unless it is there."""
    if SCRIPT.exists():
        return SCRIPT
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        words = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", f"axe-core@{VERSION}"]
        subprocess.run(words, cwd=folder, check=True)
        (Path(folder) / "node_modules" / "axe-core" / "axe.min.js").replace(SCRIPT)
    return SCRIPT


def script() -> str:
    """Its text, or a skip by name."""
    requires("axe-core", SCRIPT.exists(), "python -m tests.fakes.axe_core")
    return SCRIPT.read_text()


if __name__ == "__main__":
    fetch()

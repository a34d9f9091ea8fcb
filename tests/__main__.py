"""`python3 -m tests [pytest's arguments]`: the whole test run, set-up included. Exit code and last line are its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from labd import bootstrap

NEEDED = (
    "aiohttp", "aiosqlite", "click", "cronsim", "msgspec", "rich", "structlog",
    "dynamixel_sdk", "serial", "prompt_toolkit", "hypothesis", "importlinter", "psutil",
    "pytest", "pytest_asyncio", "pytest_timeout",
)  # fmt: skip


def main() -> None:
    """Make sure of the packages, then become pytest."""
    bootstrap.ensure("tests", NEEDED)
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])


if __name__ == "__main__":
    main()

"""An environment with the real opentrons 9.0, made once for all tests and kept outside the repository."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import requires
from tests.fakes import simulated_once

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labd-tests" / "opentrons-9.0"
REQUIREMENT = "opentrons>=9.0,<9.1"
MAKE_S = 900.0


def interpreter() -> Path:
    """Python of the environment; a skip by name where it cannot be made."""
    python = FOLDER / "bin" / "python"
    problem = ""
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / "opentrons-9.0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (FOLDER / "complete").exists():
            problem = _make(python)
    requires("opentrons 9.0", not problem, problem)
    return python


def once(folder: Path) -> Path:
    """The same for `ot2.python`, which simulates each protocol once and keeps the answers in this folder."""
    return simulated_once.interpreter(interpreter(), folder)


def _make(python: Path) -> str:
    """Why it could not be made; empty if it was."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is not None:
        steps = [
            [uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(FOLDER)],
            [uv, "pip", "install", "--quiet", "--python", str(python), REQUIREMENT],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(FOLDER)],
            [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT],
        ]
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=MAKE_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as fault:
            return str(fault)
        if done.returncode != 0:
            return f"{' '.join(step[:3])}: {done.stderr.strip()[-300:]}"
    (FOLDER / "complete").write_text(REQUIREMENT)
    return ""

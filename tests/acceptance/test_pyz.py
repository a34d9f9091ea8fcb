"""`labd.pyz`, the whole base install as one file, on every Python that is here."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.processes import FAST, Daemon, environment, toml
from tests.conftest import PYZ, requires
from tests.fakes.interpreters import found

RESORT = toml("resort", driver="simulated", **FAST)
START_S = 1.5
PYTHONS = {version: Path(path) for version, path in found().items() if int(version.split(".")[1]) >= 11}
PYTHON = next(iter(PYTHONS.values()))


@pytest.fixture
def pyz(state_dir: Path) -> Path:
    """A copy of the file in an empty folder: nothing beside it helps it."""
    requires("labd.pyz", PYZ is not None, "LABD_TEST_PYZ names it; `python3 .ci/pyz.py` builds it")
    assert PYZ is not None
    return Path(shutil.copy(PYZ, state_dir / "labd.pyz"))


def run(python: Path, pyz: Path, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), str(pyz), *map(str, words)], capture_output=True, text=True, timeout=60, check=False,
        cwd=pyz.parent, env=environment(pyz.parent, SHIV_ROOT=str(pyz.parent / "shiv"), **more),
    )  # fmt: skip


@pytest.mark.parametrize("version", PYTHONS)
def test_both_programs_start_quickly_from_the_file(pyz: Path, version: str) -> None:
    python = PYTHONS[version]
    first = run(python, pyz, "--version")
    assert first.stdout.startswith("labd, version "), first.stderr
    took_s = []
    for words, told in ((["--version"], "labd, version"), (["labctl", "--help"], "Ask labd for things.")):
        started = time.monotonic()
        done = run(python, pyz, *words)
        took_s.append(time.monotonic() - started)
        assert told in done.stdout, done.stderr
    assert min(took_s) < START_S


def test_a_file_that_is_called_labctl_is_labctl(pyz: Path) -> None:
    link = pyz.with_name("labctl")
    link.symlink_to(pyz)
    done = run(PYTHON, link, "--help")
    assert "Usage: labctl" in done.stdout, done.stderr


def test_a_carousel_turns_from_the_file_and_workers_run_tasks(
    pyz: Path, daemons: Callable[..., Daemon], state_dir: Path
) -> None:
    tasks = state_dir / "tasks"
    tasks.mkdir()
    (tasks / "double.py").write_text(
        "from labd import task\n\n\n@task\ndef double(number: int) -> int:\n    return 2 * number\n"
    )
    daemon = daemons(RESORT + toml("tasks", folders=[str(tasks)]))
    daemon.env = environment(state_dir, SHIV_ROOT=str(state_dir / "shiv"))
    daemon.run_instead = [
        str(PYTHON), str(pyz), "run", "--config", str(daemon.config), "--state", str(daemon.state),
        "--socket", str(daemon.socket),
    ]  # fmt: skip
    daemon.start()

    def labctl(*words: object) -> subprocess.CompletedProcess[str]:
        return run(PYTHON, pyz, "labctl", *words, LABD_HOST=daemon.host)

    daemon.ready()
    moved = labctl("resort", "activate", "B")
    assert "hotel: B" in moved.stdout, moved.stderr
    doubled = labctl("--json", "task", "run", "double", "number=21")
    assert json.loads(doubled.stdout)["result"] == 42, doubled.stderr
    assert labctl("doctor").returncode == 0

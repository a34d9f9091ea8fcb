"""A copy of the tree and a bare interpreter: the first command really makes `.venv`, two at once do not collide."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import requires

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pyproject.toml", "README.md", "LICENSE", "labd", "labctl", "etc", "tests")


def bare_python() -> str:
    """The interpreter below the one that runs the tests; packages it may have do not matter, labd is not among them."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = Path(sys.base_prefix) / "bin" / name
    return str(path) if path.exists() else sys.executable


def started(tree: Path) -> subprocess.Popen[str]:
    hidden = ("LABD_", "VIRTUAL_ENV", "PYTHONPATH", "PYTEST_", "UV_PROJECT")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    beside = Path(sys.executable).parent
    if (beside / "uv").exists():
        environ["PATH"] = f"{environ.get('PATH', '')}:{beside}"
    command = [bare_python(), "-m", "tests", "--version"]
    return subprocess.Popen(
        command, cwd=tree, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_first_command_makes_the_environment_and_goes_on_inside_it(tmp_path: Path) -> None:
    tree = tmp_path / "labd"
    tree.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree)
    runs = [started(tree), started(tree)]
    outcomes = [(*run.communicate(timeout=350), run.returncode) for run in runs]
    unreachable = any("registry cannot be reached" in errors for _, errors, _ in outcomes)
    requires("a package registry", not unreachable)
    assert [code for _, _, code in outcomes] == [0, 0], outcomes
    assert all(output.startswith("pytest ") for output, _, _ in outcomes)
    assert sum("making" in errors and "this happens once" in errors for _, errors, _ in outcomes) == 1
    assert (tree / ".venv" / "bin" / "labd").exists()
    assert (tree / ".venv" / "bin" / "labctl").exists()
    again = started(tree)
    output, errors = again.communicate(timeout=60)
    assert (output.startswith("pytest "), errors, again.returncode) == (True, "", 0)

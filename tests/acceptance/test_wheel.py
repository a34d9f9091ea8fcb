"""Wheel and sdist: built clean, nothing missing, nothing too much, and a carousel turns from the wheel alone.

The whole of these tests runs against the wheel by `python -m tests.from_wheel`.
"""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from tests import from_wheel
from tests.acceptance.processes import ROOT

CORE = ("tests/acceptance/test_start.py", "tests/acceptance/test_seed_sequence.py")
NOT_IN_A_WHEEL = (".pyc", ".orig", ".db")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> from_wheel.Built:
    return from_wheel.build(tmp_path_factory.mktemp("dist"))


def tracked(*folders: str) -> set[str]:
    """Files of this checkout that git does not ignore; where there is no git, the files that are there."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = done.stdout.split() if done.returncode == 0 else []
    found = names or [str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()]
    return {name for name in found if "__pycache__" not in name and (ROOT / name).exists()}


def test_the_wheel_has_every_file_of_both_packages_and_no_other(built: from_wheel.Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        assert wheel.testzip() is None
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    packages = tracked("labd", "labctl")
    settings = {
        name for name in inside if name.startswith(("labd/tasks.d/", "labd/protocols/")) or name.endswith(".toml")
    }
    assert packages <= inside
    assert inside - packages <= settings
    assert {"labd/labd.toml", "labd/labd.demo.toml", "labd/web/index.html", "labd/engine/sql/queries.sql"} <= inside
    assert not [name for name in inside if name.endswith(NOT_IN_A_WHEEL)]


def test_the_sdist_has_what_building_and_testing_need(built: from_wheel.Built) -> None:
    there = {str(path.relative_to(built.house)) for path in built.house.rglob("*") if path.is_file()}
    assert tracked("tests", "etc", "contrib", ".ci") <= there
    assert {"README.md", "LICENSE", "pyproject.toml"} <= there


@pytest.mark.timeout(180)
def test_a_carousel_turns_from_the_wheel_alone(built: from_wheel.Built, tmp_path: Path) -> None:
    """With its extra and that of the prompt: what the daemon needs beyond it would be missed here."""
    python = from_wheel.install(built, tmp_path / "venv", extra="resort,shell")
    where = subprocess.run(
        [str(python), "-c", "import labd, labctl; print(labd.__file__, labctl.__file__)"], cwd=tmp_path,
        capture_output=True, text=True, check=True, env=from_wheel.tools(),
    ).stdout  # fmt: skip
    assert where.count(str(tmp_path / "venv")) == 2
    assert from_wheel.tests(built, python, *CORE).returncode == 0

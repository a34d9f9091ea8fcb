"""Imports run one way, and heavy packages stay off the common path."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "pyarrow": 1,
    "pyspark": 1,
    "neo4j": 1,
    "motor": 1,
    "dynamixel_sdk": 1,
    "ladybug": 1,
    "pyiceberg": 1,
    "opentrons": 3,  # the simulator, the worker on a robot and its runs
    "aiomqtt": 1,
    "apprise": 1,
    "watchfiles": 1,
}


# Run in the child process of the embedded store, and behind the server's store once it loads; see the test below.
DATASETS = ("dataset_load", "dataset_types", "dataset_rows", "dataset_ends", "dataset_mapping")
GRAPHS = frozenset(f"labd/snapshots/{name}.py" for name in ("remote", *DATASETS, "neo4j_flight", "neo4j_columns"))
# Run in the workers that read files and write tables, and nowhere else.
TABLES = frozenset(path.relative_to(ROOT).as_posix() for path in (ROOT / "labd" / "ingest").glob("remote*.py"))
LATE = GRAPHS | TABLES


def sources() -> list[Path]:
    return sorted([*(ROOT / "labd").rglob("*.py"), *(ROOT / "labctl").rglob("*.py")])


class Import(NamedTuple):
    """An absolute import: its top package, whether it is done when the module is imported, and how it is written."""

    package: str
    at_top: bool
    text: str


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Every absolute import of a file, which is parsed once for all tests."""
    tree = ast.parse(path.read_text())
    at_top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        found += [Import(name.partition(".")[0], id(node) in at_top, ast.unparse(node)) for name in names]
    return tuple(found)


def test_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", HEAVY)
def test_a_heavy_package_is_imported_in_few_modules_and_only_when_used(package: str) -> None:
    importers = []
    for path in sources():
        if path.relative_to(ROOT).as_posix() in LATE:
            continue
        for one in imports(path):
            if one.package == package:
                importers.append(path.relative_to(ROOT).as_posix())
                assert not one.at_top, f"{path}: {package} is imported when the module is"
    assert len(set(importers)) <= HEAVY[package], importers


def test_a_daemon_with_all_its_wings_has_imported_no_heavy_package_before_one_is_used() -> None:
    found = (path.relative_to(ROOT) for path in sources())
    names = [".".join(path.with_suffix("").parts) for path in found if path.as_posix() not in LATE]
    looked_at = ("labd.app", "labd.snapshots", "labd.inventory", "labd.ingest", "labd.ot2.s")
    wings = [name for name in names if name.startswith(looked_at)]
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *wings], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(HEAVY) & set(done.stdout.split()) == set()


READ_SETTINGS = """
import sys
from labd import app
from labd.settings_table import Problems
wing, problems = app.factories()["resort"], Problems()
before = set(sys.modules)
wing.parse({"driver": "simulated"}, "labd.toml", problems)
assert not problems.lines(), problems.lines()
print(*before, "|", *sys.modules)
"""


def test_settings_of_wings_are_read_when_they_are_there_and_without_what_drives_a_device() -> None:
    done = subprocess.run([sys.executable, "-c", READ_SETTINGS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = (set(words.split()) for words in done.stdout.split("|"))
    assert not {f"labd.{name}.settings" for name in ("resort", "ot2", "inventory", "snapshots", "ingest")} & before
    assert "labd.resort.drive.drive_settings" in after
    assert not {f"labd.resort.{name}" for name in ("service", "drive.carousel", "drive.connecting")} & after


def test_the_web_server_is_no_part_of_what_the_app_waits_for_before_its_first_worker() -> None:
    code = "import sys; from labd import lean; lean.import_lightly(); from labd import process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {"aiohttp.web_protocol", "labd.doors", "labd.api.server", "importlib.metadata"} & set(
        done.stdout.split()
    )


def test_the_daemon_imports_nothing_of_what_its_workers_run() -> None:
    assert len(TABLES) > 20
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        if name not in TABLES:
            named = [one.text for one in imports(path) if one.package == "labd"]
            assert not [line for line in named if "labd.ingest.remote" in line], name


@pytest.mark.parametrize("name", ["labd/__init__.py", "labd/bootstrap.py"])
def test_what_runs_before_any_package_imports_the_standard_library_only(name: str) -> None:
    found = {one.package for one in imports(ROOT / name)}
    assert found - {"labd"} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", ["labd/__init__.py", "labd/bootstrap.py", "labd/__main__.py", "tests/__main__.py"])
def test_what_an_old_python_meets_first_can_be_parsed_by_it(name: str) -> None:
    path = ROOT / name
    if path.exists():
        ast.parse(path.read_text(), feature_version=(3, 8))


def test_no_module_is_named_like_one_of_the_standard_library_or_says_nothing() -> None:
    empty_words = {"utils", "common", "helpers", "base", "manager"}
    stems = {path.stem for path in sources()} - {"__init__", "__main__"}
    assert not stems & empty_words
    assert not {path.stem for path in (ROOT / "labd").glob("*.py")} & (sys.stdlib_module_names - {"__main__"})

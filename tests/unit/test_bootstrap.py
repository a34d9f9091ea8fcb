"""The bare checkout's set-up, on fake executables."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import tomllib
from pathlib import Path

import pytest

from labd import bootstrap
from labd.bootstrap import BootstrapFailed

PROJECT = """
[project]
name = "labd"
description = "{description}"
dependencies = ["aiohttp>={aiohttp}"]

[dependency-groups]
demo = ["pyserial>=3"]
dev = [{{ include-group = "demo" }}, "pytest>=8"]
"""


class Checkout:
    """A source tree and a uv that writes down what it was asked for."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root / "tree"
        self.root.mkdir()
        self.log = root / "log"
        self.said: list[str] = []
        self.project()
        self.uv = root / "uv"
        self.program()
        monkeypatch.setattr(bootstrap.shutil, "which", lambda name: str(self.uv))
        monkeypatch.setattr(bootstrap, "_say", self.said.append)

    def project(self, aiohttp: str = "3", description: str = "x") -> None:
        (self.root / "pyproject.toml").write_text(PROJECT.format(aiohttp=aiohttp, description=description))

    def program(self, install: str = "exit 0") -> None:
        self.uv.write_text(
            f'#!/bin/sh\necho "$@" >> {self.log}\n'
            'if [ "$1" = venv ]; then for last; do :; done\n'
            f'mkdir -p "$last/bin"; ln -sf {sys.executable} "$last/bin/python"; exit 0; fi\n{install}\n'
        )
        self.uv.chmod(self.uv.stat().st_mode | stat.S_IXUSR)

    def make(self, group: str = "demo") -> Path:
        return bootstrap.make(self.root, group, ["aiohttp"])

    def asked(self) -> list[str]:
        """What uv was asked since the last look, shortened."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.replace(str(self.root), "ROOT").partition(" --python ")[0] for line in lines]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    return Checkout(tmp_path, monkeypatch)


def test_a_group_is_read_with_the_groups_it_includes(checkout: Checkout) -> None:
    assert bootstrap.requirements(checkout.root, ["dev"]) == ["pyserial>=3", "pytest>=8"]


def test_the_demo_has_what_its_extras_ask_for() -> None:
    root = Path(__file__).resolve().parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {line for name in ("resort", "shell", "graph", "ingest") for line in extras[name]}
    assert bootstrap.requirements(root, ["demo"]) == sorted(asked)


def test_the_first_run_says_so_and_makes_the_folder(checkout: Checkout) -> None:
    assert checkout.make() == checkout.root / ".venv" / "bin" / "python"
    assert checkout.asked() == ["venv --quiet", "pip install --quiet"]
    assert checkout.said == [
        "packages are missing (aiohttp)",
        f"making {checkout.root}/.venv with uv; this happens once and takes a minute or two",
        f"{checkout.root}/.venv is ready; going on inside it",
    ]


def test_this_checkout_goes_in_editable_beside_the_packages_of_the_group(checkout: Checkout) -> None:
    checkout.make("dev")
    installed = checkout.log.read_text().splitlines()[1]
    assert installed.endswith(f"--editable {checkout.root} pyserial>=3 pytest>=8")


def test_the_second_run_installs_nothing_and_says_nothing(checkout: Checkout) -> None:
    checkout.make()
    checkout.asked()
    checkout.said.clear()
    checkout.make()
    assert (checkout.asked(), checkout.said) == ([], [])


def test_changed_dependencies_refresh_the_folder_and_other_changes_do_not(checkout: Checkout) -> None:
    checkout.make()
    checkout.asked()
    checkout.project(description="another")
    checkout.make()
    assert checkout.asked() == []
    checkout.project(aiohttp="4")
    checkout.make()
    assert checkout.asked() == ["pip install --quiet"]


def test_the_packages_of_the_tests_join_those_of_the_demo(checkout: Checkout) -> None:
    checkout.make("demo")
    checkout.make("dev")
    checkout.asked()
    checkout.make("demo")
    checkout.make("dev")
    assert checkout.asked() == []
    checkout.project(aiohttp="4")
    checkout.make("demo")
    assert checkout.log.read_text().endswith(f"--editable {checkout.root} pyserial>=3 pytest>=8\n")


def test_an_interrupted_run_is_repaired(checkout: Checkout) -> None:
    checkout.make()
    checkout.asked()
    (checkout.root / ".venv" / "labd-made.json").unlink()
    (checkout.root / ".venv" / "labd-making").touch()
    checkout.make()
    assert checkout.asked() == ["venv --quiet", "pip install --quiet"]
    assert f"{checkout.root}/.venv is only half made; it is made anew" in checkout.said
    assert not (checkout.root / ".venv" / "labd-making").exists()


@pytest.mark.parametrize("damage", ["no interpreter", "no stamp, no interpreter", "torn stamp"])
def test_a_damaged_folder_is_repaired(checkout: Checkout, damage: str) -> None:
    python = checkout.make()
    checkout.asked()
    stamp = checkout.root / ".venv" / "labd-made.json"
    if "interpreter" in damage:
        python.unlink()
    if "no stamp" in damage:
        stamp.unlink()
    if damage == "torn stamp":
        stamp.write_text('{"finger')
    checkout.make()
    assert checkout.asked()[-1] == "pip install --quiet"
    assert json.loads(stamp.read_text())["groups"] == ["demo"]
    assert python.exists()


def test_an_environment_somebody_made_by_hand_is_kept(checkout: Checkout) -> None:
    checkout.make()
    (checkout.root / ".venv" / "labd-made.json").unlink()
    (checkout.root / ".venv" / "mine").touch()
    checkout.make()
    assert (checkout.root / ".venv" / "mine").exists()


@pytest.mark.parametrize(
    ("install", "message"),
    [
        (
            "echo 'error: error sending request for url: dns error'; exit 2",
            "the package registry cannot be reached; connect this machine (or set a mirror) and run again",
        ),
        (
            "echo 'No module named ensurepip'; exit 1",
            "python3 -m venv does not work here; on Debian and Ubuntu: apt install python3-venv (or get uv)",
        ),
        ("echo 'error: no solution'; echo trailing; exit 3", "ended with code 3: error: no solution"),
    ],
)
def test_a_failure_is_one_clear_line_and_the_next_run_starts_anew(
    checkout: Checkout, install: str, message: str
) -> None:
    checkout.program(install)
    with pytest.raises(BootstrapFailed) as caught:
        checkout.make()
    assert str(caught.value).endswith(message)
    assert "\n" not in str(caught.value)
    checkout.program()
    checkout.make()
    assert bootstrap.is_made(checkout.root, "demo")


def test_two_runs_at_once_do_not_collide(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()
    monkeypatch.setattr(bootstrap, "_say", lambda text: waits.set() if "another run" in text else None)
    first = bootstrap._lock(checkout.root)
    assert first is not None
    second = threading.Thread(target=checkout.make)
    second.start()
    assert waits.wait(10)
    assert checkout.asked() == []  # the second has not begun
    bootstrap._fill(checkout.root, checkout.root / ".venv", "demo", str(checkout.uv), first)
    checkout.asked()
    os.close(first)
    second.join(10)
    assert not second.is_alive()
    assert checkout.asked() == []  # nothing was left to do


class Ended(Exception):
    pass


@pytest.fixture
def ensured(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.setattr(bootstrap, "__file__", str(checkout.root / "labd" / "bootstrap.py"))
    monkeypatch.setattr(bootstrap, "is_installed", lambda: False)
    monkeypatch.setattr(sys, "argv", ["labd", "demo", "--exit"])

    def execv(path: str, arguments: list[str]) -> None:
        checkout.said.append("exec " + " ".join(arguments).replace(str(checkout.root), "ROOT"))
        raise Ended

    monkeypatch.setattr(os, "execv", execv)
    return checkout


def test_it_goes_on_inside_the_folder_with_the_same_arguments(ensured: Checkout) -> None:
    with pytest.raises(Ended):
        bootstrap.ensure("labd", ("no_such_module_of_anybody",))
    assert ensured.said[-1] == "exec ROOT/.venv/bin/python -m labd demo --exit"
    assert os.environ.pop(bootstrap.GUARD) == "1"


def test_it_never_goes_round_in_circles(ensured: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bootstrap.GUARD, "1")
    with pytest.raises(SystemExit):
        bootstrap.ensure("labd", ("no_such_module_of_anybody",))
    assert "lacks no_such_module_of_anybody although it was made" in ensured.said[-1]
    assert ensured.asked() == []
    assert bootstrap.GUARD not in os.environ


@pytest.mark.parametrize("where", ["installed from the checkout", "no checkout"])
def test_an_installed_labd_installs_nothing(ensured: Checkout, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    if where == "no checkout":
        (ensured.root / "pyproject.toml").unlink()
    monkeypatch.setattr(bootstrap, "is_installed", lambda: True)
    with pytest.raises(SystemExit) as ended:
        bootstrap.ensure("labd", ("no_such_module_of_anybody",))
    assert ended.value.code == 1
    assert ensured.said == [
        "packages are missing: no_such_module_of_anybody; install them with: pip install 'labd[all]'"
    ]
    assert ensured.asked() == []


def test_where_nothing_is_missing_nothing_happens(ensured: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "is_installed", lambda: True)
    bootstrap.ensure("labd", ("json", "pytest"))
    assert (ensured.said, ensured.asked()) == ([], [])


def test_an_old_python_gets_one_clear_line(ensured: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST_PYTHON", (99, 1))
    with pytest.raises(SystemExit) as ended:
        bootstrap.ensure("labd", ("json",))
    assert ended.value.code == 1
    version = sys.version.split()[0]
    assert ensured.said == [f"needs Python 99.1 or later; {sys.executable} is {version}; start it with a newer one"]

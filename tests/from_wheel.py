"""`python -m tests.from_wheel [TESTS]`: the acceptance tests against the built wheel, with no source of labd in reach.

Wheel and sdist are built from this checkout. The wheel, its extras and the tools of the tests go into an environment of
their own; the tests come out of the sdist, from which `labd` and `labctl` have been taken away. So what the wheel lacks
is missed, and what the sdist lacks too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("labd", "labctl")
WHOLE = ("tests/acceptance",)


@dataclass(frozen=True)
class Built:
    """What one build made.

    Attributes:
        wheel: The file that `pip install` takes.
        house: The unpacked sdist without labd's sources.
    """

    wheel: Path
    house: Path


def build(folder: Path) -> Built:
    """Wheel and sdist of this checkout, the second unpacked; raises where either has a fault or a warning."""
    done = subprocess.run(
        ["uv", "build", "--quiet", "--out-dir", str(folder), str(ROOT)], capture_output=True, text=True, check=False,
        env=tools(),
    )  # fmt: skip
    if done.returncode or "warning" in done.stderr.lower():
        raise RuntimeError(f"the build is not clean: {done.stdout}{done.stderr}")
    (wheel,) = folder.glob("*.whl")
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    house = folder / packed.name.removesuffix(".tar.gz")
    for name in SOURCES:
        shutil.rmtree(house / name)
    return Built(wheel, house)


def install(built: Built, folder: Path, extra: str = "all") -> Path:
    """Its interpreter: an environment with the wheel, one extra, and the tools of the tests."""
    python = folder / "bin/python"
    with (built.house / "pyproject.toml").open("rb") as file:
        tested_with = tomllib.load(file)["dependency-groups"]["test"]
    wheel = f"labd[{extra}] @ {built.wheel.as_uri()}"
    for words in (
        ["uv", "venv", "--quiet", "--python", sys.executable, str(folder)],
        ["uv", "pip", "install", "--quiet", "--python", str(python), wheel, *tested_with],
    ):
        subprocess.run(words, check=True, env=tools())
    return python


def tests(built: Built, python: Path, *words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run tests of the house by that interpreter."""
    return subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *words], cwd=built.house, check=False,
        env={**tools(), **more},
    )  # fmt: skip


def tools() -> dict[str, str]:
    """Ours, with the programs beside this interpreter in reach, such as uv."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def main() -> int:
    """The command; the exit code is that of the tests."""
    with tempfile.TemporaryDirectory(prefix="labd-wheel-") as scratch:
        folder = Path(scratch)
        built = build(folder / "dist")
        python = install(built, folder / "venv")
        return tests(built, python, *(sys.argv[1:] or WHOLE)).returncode


if __name__ == "__main__":
    sys.exit(main())

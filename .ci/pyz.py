"""Builds `labd.pyz`: the base install, with carousel and shell, as one file for every Python from 3.11 on.

    python3 .ci/pyz.py [--output dist/labd.pyz] [--platform aarch64-unknown-linux-gnu]

Why one tree for all versions: extension modules carry the version in their names, so those of several Pythons lie side
by side; everything else is the same. Each platform has a file of its own: modules for the stable ABI carry no platform.
shiv unpacks it once, into `~/.shiv`, and starts it from there.
Needs uv and shiv beside the interpreter (`pip install uv shiv`).
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from platform import machine

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
EXTRAS = "resort,shell"
SCRATCH = ("__pycache__", "bin")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Build labd.pyz.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "labd.pyz")
    parser.add_argument("--platform", default=f"{machine()}-unknown-linux-gnu", help="As uv names it; this host's.")
    wanted = parser.parse_args()
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory(prefix="labd-pyz-") as scratch:
        folder = Path(scratch)
        run(tools / "uv", "build", "--quiet", "--wheel", "--out-dir", folder / "wheel", ROOT)
        (wheel,) = (folder / "wheel").glob("labd-*.whl")
        tree = folder / "tree"
        for version in VERSIONS:
            target = folder / version
            run(tools / "uv", "pip", "install", "--quiet", "--target", target, "--python-version", version,
                "--python-platform", wanted.platform, "--only-binary", ":all:",
                f"labd[{EXTRAS}] @ {wheel.as_uri()}")  # fmt: skip
            merge(target, tree)
        wanted.output.parent.mkdir(parents=True, exist_ok=True)
        run(tools / "shiv", "--site-packages", tree, "--entry-point", "labd.carried:main", "--compressed",
            "--reproducible", "--python", "/usr/bin/env python3", "--output-file", wanted.output)  # fmt: skip
    print(f"{wanted.output}: {wanted.output.stat().st_size / 2**20:.1f} MiB")


def run(*words: object) -> None:
    """A command that must succeed."""
    subprocess.run([str(word) for word in words], check=True, cwd=ROOT)


def merge(source: Path, tree: Path) -> None:
    """Lay one install over the others; a file that is another one there is a fault, not a choice."""
    for path in sorted(source.rglob("*")):
        inner = path.relative_to(source)
        if path.is_dir() or set(inner.parts) & set(SCRATCH) or inner.name == ".lock":
            continue
        target = tree / inner
        if target.exists():
            described = inner.parts[0].endswith(".dist-info")  # lists its own variant's files and tags
            if not described and not filecmp.cmp(path, target, shallow=False):
                raise SystemExit(f"{inner} differs between two installs; they cannot share one tree")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


if __name__ == "__main__":
    main()

"""Compiled files of what workers are lent: a disk that took a part of one must not spoil every later import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labd.worker import whole_cache

TAKES_BYTES = 4096
LENT = "VALUES = [" + ", ".join(f"'value {number}'" for number in range(2000)) + "]\n"
IMPORT = """
import resource, signal, sys
lend, limit, guarded = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "guarded"
if guarded:
    early = {}
    exec(open(sys.argv[4]).read(), early)
    early["install"](lend)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.path.insert(0, lend)
from lent.values import VALUES
print(len(VALUES), type(sys.modules["lent.values"].__loader__).__name__)
"""


@pytest.fixture
def lend(tmp_path: Path) -> Path:
    """A package to import; on a disk that takes no more than a part of what is compiled of it."""
    folder = tmp_path / "lend"
    (folder / "lent").mkdir(parents=True)
    (folder / "lent" / "__init__.py").touch()
    (folder / "lent" / "values.py").write_text(LENT)
    return folder


def imported(lend: Path, limit: int, how: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", IMPORT, str(lend), str(limit), how, str(whole_cache.__file__)]
    keeps = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, env=keeps)


def compiled(lend: Path) -> list[int]:
    return [path.stat().st_size for path in (lend / "lent" / "__pycache__").glob("values.*.pyc")]


def test_a_part_of_a_compiled_file_is_not_kept(lend: Path) -> None:
    first = imported(lend, TAKES_BYTES, "guarded")
    assert first.stdout == "2000 WholeCacheLoader\n", first.stderr
    assert compiled(lend) == []
    second = imported(lend, 0, "guarded")
    assert second.stdout == "2000 WholeCacheLoader\n", second.stderr
    [size] = compiled(lend)
    assert size > TAKES_BYTES
    assert imported(lend, 0, "guarded").stdout == second.stdout


def test_python_alone_keeps_what_the_guard_is_for(lend: Path) -> None:
    assert imported(lend, TAKES_BYTES, "alone").returncode == 0
    looks = sys.version_info >= (3, 12, 8)
    assert compiled(lend) == ([] if looks else [TAKES_BYTES])
    assert ("marshal data too short" in imported(lend, 0, "alone").stderr) is not looks

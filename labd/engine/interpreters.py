"""Python interpreters of this host: which are there, which fit.

Looked for: labd's own, `pythonX.Y` on PATH, those of pyenv, those that uv has already. Nothing is downloaded. Each is
asked for its version before it counts: a shim of pyenv stands on PATH for versions that are not active.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

NEWEST_MINOR = 20
OLDEST = (3, 8)
ASK = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable)"
ASK_TIMEOUT_S = 20.0
_CLAUSE = re.compile(r"\s*([<>=!~]=|[<>])?\s*(\d+(?:\.\d+)*)\s*")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One interpreter that answered."""

    path: Path
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        """Such as `3.10.13`."""
        return ".".join(map(str, self.version))


def fits(version: tuple[int, ...], wanted: str) -> bool:
    """Whether a version is what is wanted, such as `>=3.10,<3.13`; a bare `3.11` means any 3.11."""
    return all(_clause(version, clause) for clause in wanted.split(","))


def _clause(version: tuple[int, ...], clause: str) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        return False
    number = tuple(int(part) for part in match.group(2).split("."))
    near = version[: len(number)]
    padded = number + (0,) * (len(version) - len(number))
    comparison = match.group(1) or "=="
    if comparison == "~=":
        return version >= padded and version[: len(number) - 1] == number[:-1]
    return {
        "==": near == number, "!=": near != number, ">=": version >= padded, "<": version < padded,
        "<=": near <= number, ">": near > number,
    }[comparison]  # fmt: skip


def ask(path: Path) -> Interpreter | None:
    """The interpreter at a path, or None if it does not answer as a Python that workers run on.

    An answer is kept as long as the file is the same, for a reload looks at every interpreter again.
    """
    try:
        facts = path.stat()
        return _ask(path, facts.st_mtime_ns, facts.st_size, facts.st_ino)
    except (OSError, subprocess.TimeoutExpired):
        return None


@lru_cache(maxsize=256)
def _ask(path: Path, *_file: int) -> Interpreter | None:
    done = subprocess.run(
        [str(path), "-I", "-c", ASK], capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    if done.returncode != 0 or len(lines) < 1 or not re.fullmatch(r"3\.\d+\.\d+", lines[0]):
        return None
    major, minor, micro = map(int, lines[0].split("."))
    return Interpreter(path, (major, minor, micro)) if (major, minor) >= OLDEST else None


def own() -> Interpreter:
    """The interpreter that runs labd."""
    return Interpreter(Path(sys.executable), sys.version_info[:3])


def candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Paths where an interpreter may be, newest versions first in each place."""
    yield Path(getattr(sys, "_base_executable", "") or sys.executable)
    search = environ.get("PATH", os.defpath)
    for minor in range(NEWEST_MINOR, 7, -1):
        found = shutil.which(f"python3.{minor}", path=search)
        if found:
            yield Path(found)
    root = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME", "/nonexistent")) / ".pyenv")
    yield from sorted((root / "versions").glob("3.*/bin/python3"), key=_version_in_name, reverse=True)
    yield from _from_uv(environ)


def _version_in_name(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", path.parts[-3]))


def _from_uv(environ: Mapping[str, str]) -> list[Path]:
    uv = find_uv(environ)
    if uv is None:
        return []
    command = [str(uv), "python", "list", "--only-installed", "--offline", "--no-config", "--output-format", "json"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
        )
        return [Path(entry["path"]) for entry in json.loads(done.stdout) if entry.get("path")]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return []


def find_uv(environ: Mapping[str, str]) -> Path | None:
    """uv on PATH, or the one beside labd's own interpreter."""
    found = shutil.which("uv", path=environ.get("PATH", os.defpath))
    if found:
        return Path(found)
    beside = Path(sys.executable).parent / "uv"
    return beside if beside.exists() else None


def find(wanted: str | None, environ: Mapping[str, str]) -> tuple[Interpreter | None, list[Interpreter]]:
    """The first interpreter that fits, and all that were looked at until then.

    labd's own version is preferred, then the newest.
    """
    seen: list[Interpreter] = []
    known: set[Path] = set()
    for path in candidates(environ):
        try:
            real = path.resolve()
        except OSError:
            continue
        if real in known:
            continue
        known.add(real)
        interpreter = ask(path)
        if interpreter is None:
            continue
        seen.append(interpreter)
        if wanted is None or fits(interpreter.version, wanted):
            return interpreter, seen
    return None, seen

"""`python -m tests.in_parts`: all tests, in several processes side by side; what fails there is run once more, alone.

Why several: most tests wait for processes and disks, and leave more than half of two cores idle even by twos. Why
pieces that are taken one after another, not one part for each process: nobody has to know which part takes how long,
and none waits for the other at the end. Why once more: beside the others a test may miss its deadline for want of a
core; a fault fails again. What needed a second try is named.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIECES = {"integration": 4, "acceptance": 3, "contract": 2, "browser": 2, "intruders": 1, "unit": 1}  # else 1
TOGETHER = (("test_ingest_engine.py", "test_ingest_spark.py"),)  # in one process, as they share its Spark session
SECOND_TRIES_AT_MOST = 40  # more is no want of a core
TOLD_S = 60.0
LOOK_S = 0.2
SLOWEST = 15
OUTCOMES = ("failure", "error", "skipped")


@dataclass
class Piece:
    """One process over some files of a folder."""

    name: str
    files: tuple[Path, ...]
    scratch: Path
    began: float = 0.0
    took_s: float = 0.0

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Run it; its output goes into a file."""
        self.began = time.monotonic()
        words = [
            sys.executable, "-m", "pytest", *map(str, self.files), "-q", "-o", f"cache_dir={self._path('cache')}",
            f"--junitxml={self.report}", *options,
        ]  # fmt: skip
        with self.output.open("wb") as out:
            return subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)

    def _path(self, ending: str) -> Path:
        return self.scratch / f"{self.name.replace(' ', '-').replace('/', '-of-')}.{ending}"

    @property
    def report(self) -> Path:
        """What it says for programs."""
        return self._path("xml")

    @property
    def output(self) -> Path:
        """What it says for people."""
        return self._path("txt")

    def cases(self) -> list[tuple[str, str, float]]:
        """Name, outcome and seconds of each test; a process that told nothing is one error."""
        if not self.report.exists():
            return [(f"{self.name} (no report)", "error", 0.0)]
        found = []
        for case in ET.parse(self.report).iter("testcase"):
            outcome = next((word for word in OUTCOMES if case.find(word) is not None), "passed")
            found.append((f"{case.get('classname')}::{case.get('name')}", outcome, float(case.get("time") or 0)))
        return found

    def failed(self) -> list[str]:
        """Names of what failed."""
        return [name for name, outcome, _ in self.cases() if outcome in ("failure", "error")]


def pieces(folder: Path, scratch: Path) -> list[Piece]:
    """Every file of tests below this folder, in exactly one piece; the long ones first."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        files.setdefault(path.relative_to(folder).parts[0], []).append(path)
    made = []
    for name in sorted(files, key=lambda name: list(PIECES).index(name) if name in PIECES else -1):
        units = list(units_of(files[name]))
        count = min(PIECES.get(name, 1), len(units))
        for number in range(count):
            dealt = tuple(path for unit in units[number::count] for path in unit)
            made.append(Piece(f"{name} {number + 1}/{count}" if count > 1 else name, dealt, scratch))
    return made


def units_of(files: list[Path]) -> Iterator[list[Path]]:
    """Files that are dealt as one: each by itself, save those that stand together."""
    first = {name: names[0] for names in TOGETHER for name in names}
    units: dict[str, list[Path]] = {}
    for path in files:
        units.setdefault(first.get(path.name, str(path)), []).append(path)
    yield from units.values()


def main(words: list[str] | None = None) -> int:
    """The command; 0 only if everything passed, at the latest alone."""
    parser = argparse.ArgumentParser(description="Run all tests, in several processes side by side.")
    parser.add_argument("--lanes", type=int, default=(os.cpu_count() or 1) + 1, help="Processes at a time.")
    parser.add_argument("--folder", type=Path, default=ROOT / "tests", help="Whose tests; all of them unless said.")
    wanted = parser.parse_args(words)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labd-tests-") as scratch:
        made = pieces(wanted.folder, Path(scratch))
        codes = run(made, wanted.lanes, began)
        tried = sum(len(piece.failed()) for piece in made) <= SECOND_TRIES_AT_MOST
        total: Counter[str] = Counter()
        took: list[tuple[float, str]] = []
        again: list[str] = []
        worst = 0 if made else 5
        for piece, code in zip(made, codes, strict=True):
            sys.stdout.write(piece.output.read_text(errors="replace"))
            first = piece.cases()
            failed = piece.failed()
            took += [(seconds, name) for name, _, seconds in first]
            counted = Counter(outcome for _, outcome, _ in first)
            if code == 1 and failed and tried:
                say(f"once more, alone: {', '.join(failed)}")
                piece.report.unlink(missing_ok=True)
                (code,) = run([piece], 1, began, "--last-failed", "--last-failed-no-failures=none")
                sys.stdout.write(piece.output.read_text(errors="replace"))
                second = Counter(outcome for _, outcome, _ in piece.cases())
                again += failed
                counted = counted - Counter({"failure": counted["failure"], "error": counted["error"]}) + second
                still = piece.failed()
                say(f"still failing: {', '.join(still)}" if still else "all of them pass alone")
            worst = worst or code or int(not piece.report.exists())  # a process may end with 0 before its tests do
            total += counted
    told = [f"{total['passed']} passed", f"{total['skipped']} skipped"]
    bad = total["failure"] + total["error"]
    told += [f"{bad} failed"] if bad else []
    told += [f"{len(again)} of them only alone"] if again and not bad else []
    for seconds, name in sorted(took, reverse=True)[:SLOWEST]:
        say(f"{seconds:6.1f} s {name}")
    say(f"{', '.join(told)} in {time.monotonic() - began:.0f} s, {wanted.lanes} at a time")
    return worst


def run(made: list[Piece], lanes: int, began: float, *options: str) -> list[int]:
    """Their exit codes; so many at a time, and now and then a word that it still waits."""
    waiting = list(made)
    going: dict[str, tuple[Piece, subprocess.Popen[bytes]]] = {}
    codes: dict[str, int] = {}
    told = time.monotonic()
    while waiting or going:
        while waiting and len(going) < lanes:
            piece = waiting.pop(0)
            going[piece.name] = (piece, piece.start(*options))
        with contextlib.suppress(subprocess.TimeoutExpired):
            next(iter(going.values()))[1].wait(LOOK_S)
        for name, (piece, process) in list(going.items()):
            if process.poll() is None:
                continue
            del going[name]
            codes[name] = process.returncode
            piece.took_s = time.monotonic() - piece.began
            outcomes = Counter(outcome for _, outcome, _ in piece.cases())
            counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
            say(f"{name}: {counted} in {piece.took_s:.0f} s")
        if time.monotonic() - told >= TOLD_S:
            told = time.monotonic()
            say(f"{', '.join(going)} running, {len(waiting)} waiting, {told - began:.0f} s")
    return [codes[piece.name] for piece in made]


def say(text: str) -> None:
    """One line at once."""
    sys.stdout.write(f"== {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())

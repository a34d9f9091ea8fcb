"""`python -m tests.in_parts`: all tests, in two processes side by side; what fails there is run once more, alone.

Why two: most tests wait for processes and disks, so two halves take little longer than one. Why once more: beside the
other half a test may miss its deadline for want of a core; a fault fails again. What needed a second try is named.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    ("tests/acceptance", "tests/contract"),
    ("tests/integration", "tests/unit", "tests/browser", "tests/intruders"),
)
SECOND_TRIES_AT_MOST = 40  # more is no want of a core
TOLD_S = 60.0
OUTCOMES = ("failure", "error", "skipped")


@dataclass
class Part:
    """One process over some folders."""

    number: int
    folders: tuple[str, ...]
    scratch: Path

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Run it; its output goes into a file."""
        cache = self.scratch / f"cache{self.number}"
        words = [
            sys.executable, "-m", "pytest", *self.folders, "-q", "-o", f"cache_dir={cache}",
            f"--junitxml={self.report}", *options,
        ]  # fmt: skip
        with self.output.open("wb") as out:
            return subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)

    @property
    def report(self) -> Path:
        """What it says for programs."""
        return self.scratch / f"part{self.number}.xml"

    @property
    def output(self) -> Path:
        """What it says for people."""
        return self.scratch / f"part{self.number}.txt"

    def counts(self) -> tuple[Counter[str], list[str]]:
        """Outcomes, and the names of what failed."""
        counted: Counter[str] = Counter()
        failed = []
        for case in ET.parse(self.report).iter("testcase"):
            outcome = next((word for word in OUTCOMES if case.find(word) is not None), "passed")
            counted[outcome] += 1
            if outcome in ("failure", "error"):
                failed.append(f"{case.get('classname')}::{case.get('name')}")
        return counted, failed


def main() -> int:
    """The command; 0 only if everything passed, at the latest alone."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labd-tests-") as scratch:
        parts = [Part(number, folders, Path(scratch)) for number, folders in enumerate(PARTS)]
        codes = wait([part.start() for part in parts], began)
        total: Counter[str] = Counter()
        again: list[str] = []
        worst = 0
        for part, code in zip(parts, codes, strict=True):
            sys.stdout.write(part.output.read_text(errors="replace"))
            counted, failed = part.counts() if part.report.exists() else (Counter({"error": 1}), [])
            if code == 1 and failed and len(failed) <= SECOND_TRIES_AT_MOST:
                say(f"once more, alone: {', '.join(failed)}")
                part.report.unlink()
                (code,) = wait([part.start("--last-failed", "--last-failed-no-failures=none")], began)
                sys.stdout.write(part.output.read_text(errors="replace"))
                second, still = part.counts()
                again += failed
                counted = counted - Counter({"failure": counted["failure"], "error": counted["error"]}) + second
                say(f"still failing: {', '.join(still)}" if still else "all of them pass alone")
            worst = worst or code
            total += counted
    words = [f"{total['passed']} passed", f"{total['skipped']} skipped"]
    bad = total["failure"] + total["error"]
    words += [f"{bad} failed"] if bad else []
    words += [f"{len(again)} of them only alone"] if again and not bad else []
    say(f"{', '.join(words)} in {time.monotonic() - began:.0f} s")
    return worst


def wait(processes: list[subprocess.Popen[bytes]], began: float) -> list[int]:
    """Their exit codes; says now and then that it still waits."""
    for process in processes:
        while True:
            try:
                process.wait(TOLD_S)
                break
            except subprocess.TimeoutExpired:
                going = sum(one.poll() is None for one in processes)
                say(f"{going} running, {time.monotonic() - began:.0f} s")
    return [process.returncode for process in processes]


def say(text: str) -> None:
    """One line at once."""
    sys.stdout.write(f"== {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())

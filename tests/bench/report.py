"""What every bench prints: one JSON object with figures, ratios, goals, whether they are met, versions and machine.

Why goals do not make an exit code: a figure on a busy machine is noise; who runs a bench reads `met` and the spread
beside it. A bench ends with another code than 0 only when it could not measure, or when a promise was broken.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import labd

PACKAGES = ("aiohttp", "aiosqlite", "msgspec", "structlog", "dynamixel-sdk", "pyarrow", "pyiceberg", "obstore")


class Report:
    """Collects what a bench finds.

    Args:
        name: Of the bench.
        short: Whether it measured less than it should for a final figure.
    """

    def __init__(self, name: str, short: bool) -> None:
        self.figures: dict[str, Any] = {"bench": name, "short": short}
        self.ratios: dict[str, Any] = {}
        self.goals: dict[str, Any] = {}
        self.met: dict[str, bool] = {}
        self._load_before = os.getloadavg()[0]

    def goal(self, name: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """One goal and whether this value meets it."""
        self.goals[name] = {"at_least": at_least} if at_least is not None else {"at_most": at_most}
        self.met[name] = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)

    def print(self) -> None:
        """The one JSON object, on standard output."""
        whole = {
            "figures": self.figures,
            "ratios": self.ratios,
            "goals": self.goals,
            "met": self.met,
            "versions": versions(),
            "machine": {**machine(), "load_before": round(self._load_before, 2)},
        }
        print(json.dumps(rounded(whole), indent=2), flush=True)


def arguments(name: str, **more: Any) -> argparse.Namespace:
    """`--short`, `--folder` and what the bench adds as `name=default`."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{name}")
    parser.add_argument("--short", action="store_true", help="a quick look in place of a final figure")
    parser.add_argument("--folder", type=Path, help="where databases are made; its disk is what is measured")
    for option, default in more.items():
        parser.add_argument(f"--{option}", type=type(default) if default is not None else int, default=default)
    return parser.parse_args()


@contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    """An empty folder with a short path (a Unix socket takes 107 bytes), removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="labd-bench-", dir=given) as made:
        yield Path(made)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median."""
    return (max(values) - min(values)) / statistics.median(values)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile, extremes."""
    return {
        "p50": percentile(values, 50), "p99": percentile(values, 99), "max": max(values), "min": min(values),
        "count": len(values),
    }  # fmt: skip


def versions() -> dict[str, str]:
    """labd, Python, SQLite and the packages on the measured path."""
    found = {"labd": labd.__version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "system": platform.system(), "kernel": platform.release(), "architecture": platform.machine(),
        "cpu": _cpu_model(), "cpus": os.cpu_count(), "memory_bytes": psutil.virtual_memory().total,
        "folder_filesystem": _filesystem(Path(tempfile.gettempdir())), "load_after": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _filesystem(folder: Path) -> str:
    best = ("", "unknown")
    for part in psutil.disk_partitions(all=True):
        if folder.is_relative_to(part.mountpoint) and len(part.mountpoint) >= len(best[0]):
            best = (part.mountpoint, part.fstype)
    return best[1]


def rounded(value: Any) -> Any:
    """Floats with five significant digits; more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value

"""How long a scan takes that finds nothing new: 100,000 snapshots with a record each, in three shapes of the folder.

The first scan of a daemon's life reads every customer's folder, the next ones only what has changed; both are told.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from labd.snapshots import names
from labd.snapshots.scan import Scanner, SnapshotKey
from tests.bench.report import Report, arguments, say, work_folder

SNAPSHOTS = 100_000
AGAIN = 5


def lay(base: Path, customers: int, each: int) -> set[SnapshotKey]:
    """Folders of so many snapshots; a scan that knows them does not look inside."""
    keys = set()
    for customer in range(customers):
        for number in range(each):
            key = SnapshotKey(f"customer{customer}", str(1_700_000_000 + number))
            (base / key.customer / key.timestamp).mkdir(parents=True)
            keys.add(key)
    return keys


def fault_of(kind: str, name: str) -> str | None:
    """As the wing asks."""
    return names.customer_fault(name) if kind == "customer" else names.timestamp_fault(name)


def measure(report: Report, base: Path, customers: int, each: int) -> float:
    """Seconds of a scan that finds nothing; the median of five."""
    keys = lay(base, customers, each)
    later = time.time() + 60  # so that the change times of what was just made are old enough to be trusted
    scanner = Scanner(base, 10.0, ("_SUCCESS",), keys.__contains__, fault_of, time.monotonic, lambda: later)
    began = time.monotonic()
    scanner.scan()
    first_s = time.monotonic() - began
    took = []
    for _ in range(AGAIN):
        began = time.monotonic()
        found = scanner.scan()
        took.append(time.monotonic() - began)
        if found.listed or found.complete or found.unsettled or found.customers != customers:
            raise RuntimeError(f"the scan was to find nothing: {found}")
    again_s = statistics.median(took)
    report.figures[f"{customers}_customers_x_{each}"] = {
        "first_s": first_s,
        "again_s": again_s,
        "again_max_s": max(took),
    }
    say(f"{customers} customers x {each}: first {first_s:.2f} s, again {again_s:.3f} s")
    return max(took)


def main() -> None:
    """Print the report."""
    given = arguments("scan")
    report = Report("scan", given.short)
    count = SNAPSHOTS // 10 if given.short else SNAPSHOTS
    worst = 0.0
    for customers, each in ((count // 100, 100), (1, count), (count, 1)):
        with work_folder(given.folder) as folder:
            worst = max(worst, measure(report, folder, customers, each))
    report.goal("again_s", worst, at_most=1.0)
    report.print()


if __name__ == "__main__":
    main()

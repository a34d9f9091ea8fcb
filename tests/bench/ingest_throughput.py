"""How fast large files get into an Iceberg table, beside a bare pyarrow read and one PyIceberg append of the same data.

Run with `python -m tests.bench.ingest_throughput`.

Each arm runs in a process of its own, one after the other, some rounds; the packages are imported before the clock
starts. `load` is labd's, by the child's entry, with digests, checks, provenance, token and syncs; `bare` reads all
files into memory and appends them, a commit. The peak of each process is told as well.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog

from tests.bench.report import Report, arguments, say, spread, work_folder
from tests.fakes.ingest_rig import FORMAT, IngestRig

ROUNDS = 3
FILES = 4
FILE_ROWS = 500_000
MIB = 2**20
ARM = "import sys; from tests.bench.ingest_throughput import arm; arm(*sys.argv[1:])"


def write_files(folder: Path, kind: str, rows: int, random: Random) -> int:
    """Some files with eight columns; their size in bytes."""
    words = [f"device-{number:04}" for number in range(500)]
    size = 0
    for number in range(FILES):
        table = pa.table(
            {
                "id": pa.array(range(number * rows, (number + 1) * rows), pa.int64()),
                "device": [random.choice(words) for _ in range(rows)],
                "at": pa.array(
                    [1_700_000_000_000_000 + 1_000_003 * one for one in range(rows)], pa.timestamp("us", "UTC")
                ),
                "value": [random.gauss(20, 5) for _ in range(rows)],
                "other": [random.random() for _ in range(rows)],
                "count": pa.array([random.randrange(1000) for _ in range(rows)], pa.int64()),
                "good": [random.random() < 0.99 for _ in range(rows)],
                "note": [f"note {random.randrange(100_000)}" for _ in range(rows)],
            }
        )
        path = folder / f"{number}.{kind}"
        if kind == "parquet":
            pq.write_table(table, path)
        else:
            pv.write_csv(table, path)
        size += path.stat().st_size
    return size


def arm(name: str, folder: str, kind: str) -> None:
    """One measurement: seconds, rows and peak on standard output."""
    import pyiceberg.io.pyarrow

    from labd.ingest import remote_arrow

    assert pyiceberg.io.pyarrow and remote_arrow
    rig = IngestRig(Path(folder))
    rig.table = rig.table_named(f"{name}_{time.monotonic_ns()}")
    base = _peak()
    began = time.perf_counter()
    rows = _load(rig, kind) if name == "load" else _bare(rig, kind)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rows": rows, "peak_bytes": _peak(), "base_bytes": base}))


def _load(rig: IngestRig, kind: str) -> int:
    report = rig.ask("load", batch=rig.batch(rig.files(), format={**FORMAT, "type": kind}))
    assert report["state"] == "committed", report
    return int(report["rows"])


def _bare(rig: IngestRig, kind: str) -> int:
    read = pq.read_table if kind == "parquet" else pv.read_csv
    tables = [read(path) for path in sorted(rig.inbox.iterdir())]
    whole = pa.concat_tables(tables)
    at = whole.schema.get_field_index("at")
    whole = whole.set_column(at, "at", whole.column("at").cast(pa.timestamp("us", "UTC")))
    catalog = SqlCatalog("bare", **rig.catalog["properties"])
    catalog.create_namespace_if_not_exists("lab")
    catalog.create_table(("lab", rig.table["table"]), whole.schema).append(whole)
    catalog.engine.dispose()
    return int(whole.num_rows)


def _peak() -> int:
    """Of this process alone; `ru_maxrss` would be that of the process that started it, where that was larger."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(name: str, folder: Path, kind: str) -> dict[str, Any]:
    """An arm in a process of its own."""
    command = [sys.executable, "-c", ARM, name, str(folder), kind]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told


def main() -> None:
    """Measure and print."""
    options = arguments("ingest_throughput")
    report = Report("ingest_throughput", options.short)
    rounds, rows = (1, 100_000) if options.short else (ROUNDS, FILE_ROWS)
    for kind in ("parquet", "csv"):
        with work_folder(options.folder) as folder:
            say(f"{kind}: {FILES} files of {rows} rows")
            size = write_files(IngestRig(folder).inbox, kind, rows, Random(7))
            found: dict[str, list[dict[str, Any]]] = {"bare": [], "load": []}
            for number in range(rounds):
                for name in ("bare", "load") if number % 2 else ("load", "bare"):
                    found[name].append(measure(name, folder, kind))
                    assert found[name][-1]["rows"] == FILES * rows
        seconds = {name: [one["seconds"] for one in told] for name, told in found.items()}
        ratio = statistics.median(seconds["bare"]) / statistics.median(seconds["load"])
        report.figures[kind] = {
            "size_bytes": size, "rows": FILES * rows,
            **{f"{name}_s": statistics.median(times) for name, times in seconds.items()},
            **{f"{name}_spread": spread(times) for name, times in seconds.items()},
            **{f"{name}_peak_mib": max(one["peak_bytes"] for one in told) / MIB for name, told in found.items()},
            "base_mib": max(one["base_bytes"] for told in found.values() for one in told) / MIB,
        }  # fmt: skip
        report.ratios[f"{kind}_load_to_bare"] = ratio
        report.goal(f"{kind}_load_to_bare", ratio, at_least=0.7)
    report.print()


if __name__ == "__main__":
    main()

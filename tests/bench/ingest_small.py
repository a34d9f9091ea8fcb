"""How fast many small files get into an Iceberg table: batches of labd, beside one commit a file; and one new file.

Run with `python -m tests.bench.ingest_small`.

- `batches`: labd's load, by the child's entry, of 5,000 JSON files of 2 KB in batches of 1,000.
- `file_by_file`: the seed's way on the same engine: pyarrow reads a file, PyIceberg appends it, a commit a file; of so
  many files as said, and the time of all is taken to be in proportion, although commits get slower with their number.
- `one_new_file`: listing, comparing nothing, load and commit of one file into the table with all the others, warm.
"""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
from pyiceberg.catalog.sql import SqlCatalog

from labd.ingest import remote
from tests.bench.report import Report, arguments, say, summary, work_folder
from tests.fakes.ingest_rig import IngestRig

FILES = 5000
FILE_BYTES = 2048
BATCH_FILES = 1000
SINGLE_FILES = 500
NEW_FILES = 20


def write_files(folder: Path, count: int, random: Random) -> None:
    """JSON lines, 2 KB each."""
    for number in range(count):
        lines: list[str] = []
        size = 0
        while size < FILE_BYTES:
            row = {
                "id": number * 100 + len(lines), "device": f"sensor-{random.randrange(50)}",
                "at": "2026-03-01T12:00:00Z", "value": random.random() * 100, "ok": random.random() < 0.9,
            }  # fmt: skip
            lines.append(json.dumps(row))
            size += len(lines[-1]) + 1
        (folder / f"{number:05}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


def in_batches(rig: IngestRig) -> tuple[float, int]:
    """Seconds and rows."""
    files = rig.files()
    began = time.perf_counter()
    rows = 0
    for first in range(0, len(files), BATCH_FILES):
        rows += rig.ask("load", batch=rig.batch(files[first : first + BATCH_FILES]))["rows"]
    return time.perf_counter() - began, rows


def file_by_file(rig: IngestRig, count: int) -> float:
    """Seconds for so many files, a read and a commit each."""
    catalog = SqlCatalog("single", **{**rig.catalog["properties"], "uri": f"sqlite:///{rig.folder}/single.db"})
    catalog.create_namespace("lab")
    paths = sorted(rig.inbox.iterdir())[:count]
    table: Any = None
    began = time.perf_counter()
    for path in paths:
        rows = pj.read_json(io.BytesIO(path.read_bytes()))
        rows = rows.set_column(2, "at", rows.column("at").cast(pa.timestamp("us", "UTC")))
        if table is None:
            table = catalog.create_table(("lab", "single"), rows.schema)
        table.append(rows)
    seconds = time.perf_counter() - began
    catalog.engine.dispose()
    return seconds


def one_new_file(rig: IngestRig, number: int) -> float:
    """Seconds from the file being there to its rows being in the table."""
    name = f"new-{number:03}.jsonl"
    rig.write(name, [{"id": -number, "device": "new", "value": 1.5}])
    began = time.perf_counter()
    report = rig.ask("load", batch=rig.batch(rig.files(name)))
    seconds = time.perf_counter() - began
    assert report["rows"] == 1
    return seconds


def main() -> None:
    """Measure and print."""
    options = arguments("ingest_small")
    report = Report("ingest_small", options.short)
    count, single = (1000, 100) if options.short else (FILES, SINGLE_FILES)
    with work_folder(options.folder) as folder:
        rig = IngestRig(folder, ask=remote.ask)
        write_files(rig.inbox, count, Random(7))
        rig.ask("describe", table=rig.table)  # imports the packages
        say(f"{single} of {count} files, a commit each")
        single_s = file_by_file(rig, single) / single * count
        say(f"{count} files in batches")
        batches_s, rows = in_batches(rig)
        say(f"{NEW_FILES} new files, one at a time")
        new_s = [one_new_file(rig, number) for number in range(1, NEW_FILES + 1)]
        assert rig.ask("describe", table=rig.table)["rows"] == rows + NEW_FILES
    report.figures |= {
        "files": count, "rows": rows, "batches_s": batches_s, "file_by_file_s": single_s, "measured_singly": single,
        "one_new_file_s": summary(new_s),
    }  # fmt: skip
    report.ratios["file_by_file_to_batches"] = single_s / batches_s
    report.goal("file_by_file_to_batches", single_s / batches_s, at_least=20)
    report.goal("one_new_file_s", max(new_s), at_most=1.0)
    report.print()


if __name__ == "__main__":
    main()

"""How long it takes to compare a listing of 1,000,000 known files and 1,000 new ones with the ledger.

Two sizes, a factor of ten apart, show that the cost grows with the listing and not with its square. The journal is
real; the listing is made ahead and read from a file, page by page, as a source hands it over. `held_ms` is the longest
the loop of the daemon stood still meanwhile; `cpu_s` beside `compare_s` tells a busy machine from slow code.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil

from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.job import INTERNAL
from labd.engine.registry import Registry
from labd.engine.schema import Schema
from labd.ingest.book import IngestBook
from labd.ingest.definition import Definition, Destination, Format, Source
from labd.ingest.ledger import FileLedger
from labd.ingest.port import BatchReport, FileRef, FileReport
from labd.ingest.record import Record
from labd.ingest.runs import RunBook
from tests.bench.report import Report, arguments, say, work_folder

KNOWN = 1_000_000
PAGE = 5_000
BATCH = 10_000
AGAIN = 3
GOAL_S = 3.0
GOAL_MIB = 300.0


def entry(number: int) -> tuple[str, str, int, float]:
    """A file as a local source lists it."""
    at_ns = 1_700_000_000_000_000_000 + number * 1_000_003
    path = f"2026/{number // 50_000:02d}/{number // 1_000:04d}/reading-{number:08d}.json"
    return path, f"2048-{at_ns}-{5_000_000 + number}-{at_ns}", 2048, at_ns / 1e9


def lay_listing(file: Path, known: int, new: int) -> None:
    """One page a line; the new files are spread over all of it."""
    step = known // new
    with file.open("w") as out:
        page: list[Any] = []
        for number in range(known):
            page.append(entry(number))
            if number % step == 0 and number // step < new:
                path, version, size_bytes, at = entry(number)
                page.append((path.replace(".json", "-new.json"), version, size_bytes, at))
            if len(page) >= PAGE:
                out.write(json.dumps(page) + "\n")
                page = []
        if page:
            out.write(json.dumps(page) + "\n")


def pages(file: Path) -> Iterator[str]:
    """The listing."""
    with file.open() as lines:
        yield from lines


class Beat:
    """The longest pause of the loop, and the largest memory of the process."""

    def __init__(self) -> None:
        self.held_s = 0.0
        self.peak_bytes = 0
        self._process = psutil.Process()

    async def watch(self) -> None:
        """Until it is cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            self.held_s, last = max(self.held_s, now - last - 0.001), now
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)


async def fill(ledger: FileLedger, runs: RunBook, record: Record, known: int) -> float:
    """Load so many files the way a run does; the seconds of it."""
    run, began = runs.new_run(record, "manual", 1), time.monotonic()
    for start in range(0, known, BATCH):
        files = [FileRef(*entry(number)) for number in range(start, min(start + BATCH, known))]
        batch = ledger.take(run, files)
        await ledger.commit()
        told = [FileReport(file.path, file.version, "loaded", 20, 0, 2048, f"{start:064x}") for file in files]
        ledger.settle(run.id, batch.number, BatchReport("committed", batch.token, told, rows=20 * len(told)), run)
        await ledger.commit()
    return time.monotonic() - began


async def compare(ledger: FileLedger, record: Record, listing: Path, new: int) -> float:
    """Seconds of a whole listing."""
    began, found = time.monotonic(), 0
    for page in pages(listing):
        found += len(await ledger.compare(record, page))
    took_s = time.monotonic() - began
    if found != new:
        raise RuntimeError(f"{found} files were found new, {new} are")
    return took_s


async def measure(report: Report, folder: Path, known: int, new: int) -> float:
    """The median of three, in a daemon of its own."""
    clock, random = SystemClock(), Random(1)
    engine = Engine(folder, Registry(), clock, random, schemas=[Schema("ingest", "labd.ingest.sql")])
    await engine.open()
    try:
        book, runs = IngestBook(engine, clock, random), RunBook(engine, clock)
        ledger = FileLedger(engine, clock, random, book, runs)
        into = Destination(namespace="bench", table="readings")
        source = Source(url="file:///srv/in")
        definition = Definition(name="bench", source=source, format=Format(type="jsonl"), destination=into)
        record = book.create(definition, INTERNAL)
        filled_s = await fill(ledger, runs, record, known)
        listing = folder / "listing.jsonl"
        await asyncio.to_thread(lay_listing, listing, known, new)
        beat = Beat()
        watching = asyncio.create_task(beat.watch())
        cpu_s = time.process_time()
        took = [await compare(ledger, record, listing, new) for _ in range(AGAIN)]
        cpu_s = (time.process_time() - cpu_s) / AGAIN
        watching.cancel()
        files = sum(part.files for part in (await ledger.counts(record)).values())
        if files != known:
            raise RuntimeError(f"the ledger holds {files} files, {known} were loaded")
    finally:
        await engine.journal.close()
        await engine.logbook.close()
    took_s, peak_mib = statistics.median(took), beat.peak_bytes / 2**20
    report.figures[f"{known}_known_{new}_new"] = {
        "compare_s": took_s, "compare_max_s": max(took), "cpu_s": cpu_s, "peak_mib": peak_mib,
        "held_ms": 1000 * beat.held_s, "fill_s": filled_s, "database_mib": (folder / "labd.db").stat().st_size / 2**20,
    }  # fmt: skip
    say(f"{known} known, {new} new: {took_s:.2f} s, {peak_mib:.0f} MiB, filled in {filled_s:.1f} s")
    if known == (KNOWN // 10 if report.figures["short"] else KNOWN):
        report.goal("peak_mib", peak_mib, at_most=GOAL_MIB)
        report.goal("compare_s", took_s, at_most=GOAL_S)
    return took_s


def main() -> None:
    """Print the report."""
    given = arguments("ingest_ledger")
    report = Report("ingest_ledger", given.short)
    known = KNOWN // 10 if given.short else KNOWN
    took = {}
    for count in (known // 10, known):
        with work_folder(given.folder) as folder:
            took[count] = asyncio.run(measure(report, folder, count, max(1000 * count // KNOWN, 10)))
    report.ratios["ten_times_the_files"] = took[known] / took[known // 10]
    report.goal("ten_times_the_files", took[known] / took[known // 10], at_most=20.0)
    report.print()


if __name__ == "__main__":
    main()

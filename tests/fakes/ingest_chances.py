"""Files come and are overwritten while children and daemons die, all at random; in the end the table is the source.

The rule for changed files is `replace-rows`, so that what must be in the table can be said: the rows of the newest
version of every file, each once. Every commit carries the token of one batch of the ledger, and no token stands twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from labd.engine.job import Job
from labd.errors import LabdError
from tests.fakes.ingest_house import IngestHouse
from tests.fakes.ingest_lake import write

SAME_TIME_NS = 1_700_000_000_000_000_000
PATIENCE_S = (0.2, 1.0, 3.0)  # at most, until a kill comes; a cold child needs a second or two for its first load
A_RUN = (1, 1, 2, 5)  # kills at most; a step has three tries, so some runs break off and leave something to the next
LAST_RUNS = 20


class Chances:
    """One lot of random events over one state folder.

    Args:
        kills: How many to make; a tenth of them take the daemon, the others a child.
        files: Names that files are written under, again and again.
    """

    def __init__(self, folder: Path, kills: int, files: int, seed: int) -> None:
        self.house = IngestHouse(folder, children=True, max_task_retries=2)
        self.left = kills
        self.kills: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.written = 0
        self._most = files
        self._random = Random(seed)
        self._row = 0

    async def play(self) -> dict[str, Any]:
        """All kills, then runs in peace until nothing is left; returns figures.

        Raises:
            AssertionError: The table is not the source.
        """
        self._write(self._most // 2)
        first = True
        while self.left > 0:
            with contextlib.suppress(Died):
                async with self.house.open():
                    if first:
                        await self.house.define(
                            changed="replace-rows", limits={"batch_files": max(5, self._most // 20)}
                        )
                        first = False
                    while self.left > 0:
                        await self._one_run()
        async with self.house.open():
            await self._in_peace()
            return await self._look()

    async def _one_run(self) -> None:
        """A run, files that change under it, and a kill or more until it has ended."""
        self._write(self._random.randint(1, max(2, self._most // 20)))
        job, most = await self.house.submit(), self._random.choice(A_RUN)
        for _ in range(most):
            if self.left <= 0:
                break
            ended = await self._ended(job, self._random.random() * self._random.choice(PATIENCE_S))
            if ended:
                break
            self._write(self._random.randint(0, 2))
            self._kill()
        ended_job = await self.house.engine.wait(job.id, 120.0)
        assert ended_job.finished_at is not None, [cause.message for cause in await self.house.engine.why(job.id)]
        self.runs[ended_job.state.value] += 1

    async def _ended(self, job: Job, within_s: float) -> bool:
        return (await self.house.engine.wait(job.id, within_s)).finished_at is not None

    def _kill(self) -> None:
        """kill -9 of a child, or the death of the daemon as far as one process can have it."""
        if self._random.random() < 0.1:
            self.left -= 1
            self.kills["daemon"] += 1
            raise Died
        for pid in self.house.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.left -= 1
                self.kills["child"] += 1

    def _write(self, count: int) -> None:
        """New and overwritten files, some with one and the same time, some in place; all whole when this returns."""
        for _ in range(count):
            path = self.house.inbox / f"{self._random.randrange(8)}" / f"f{self._random.randrange(self._most)}.jsonl"
            rows = [self._next_row(path) for _ in range(self._random.randint(0, 3))]
            if path.exists() and self._random.random() < 0.3:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            else:
                write(path, *rows)
            if self._random.random() < 0.5:
                os.utime(path, ns=(SAME_TIME_NS, SAME_TIME_NS))
            self.written += 1

    def _next_row(self, path: Path) -> dict[str, Any]:
        self._row += 1
        return {"id": self._row, "name": path.name, "amount": self._row / 4}

    async def _in_peace(self) -> None:
        """Runs until one finds nothing and none has left anything."""
        for _ in range(LAST_RUNS):
            job = await self.house.ended(await self.house.submit())
            if job.result is not None and not job.result["files_discovered"] and not job.result["batches"]:
                return
        raise AssertionError(f"the source is not at rest after {LAST_RUNS} runs in peace: {job.error or job.result}")

    async def _look(self) -> dict[str, Any]:
        service = self.house.service
        record = service.book.find("sales")
        table = await asyncio.to_thread(_table, service.pipeline.table_of(record).catalog.properties)
        found = Counter(table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())
        files = list(self.house.inbox.rglob("*.jsonl"))
        expected = Counter(json.loads(line)["id"] for path in files for line in path.read_text().splitlines())
        assert found == expected, f"missing {sorted(expected - found)[:10]}, too many {sorted(found - expected)[:10]}"
        commits = [snapshot.summary.get("labd.token") for snapshot in table.metadata.snapshots if snapshot.summary]
        tokens = {token for token in commits if token}
        assert None not in commits, "a commit without a token"
        runs = await service.runs.runs(record, limit=100_000)
        batches = [batch for run in runs for batch in await service.ledger.batches(run.id)]
        assert not [batch for batch in batches if batch.is_open], "a batch was left open"
        assert tokens <= {batch.token for batch in batches}, "a commit with a token that no batch has"
        found_committed = sum(batch.report is not None and batch.report.state == "already" for batch in batches)
        return {
            "kills": dict(self.kills), "files": len(files), "written": self.written,
            "rows": sum(found.values()), "runs": len(runs), "jobs": dict(self.runs), "batches": len(batches),
            "commits": len(tokens), "found_committed": found_committed, "daemons": self.house.lives,
        }  # fmt: skip


class Died(Exception):
    """The daemon is gone: what it was doing is given up where it stood."""


def _table(properties: dict[str, str]) -> Any:
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("default", **properties)
    try:
        return catalog.load_table("default.sales")
    finally:
        close = getattr(catalog, "close", None)
        if close is not None:
            close()


def run_chances(folder: Path, kills: int, files: int, seed: int) -> dict[str, Any]:
    """Play; the figures.

    Raises:
        AssertionError, LabdError: A promise was broken.
    """
    try:
        return asyncio.run(Chances(folder, kills, files, seed).play())
    except LabdError as fault:
        raise AssertionError(f"{fault.code}: {fault.message}") from fault

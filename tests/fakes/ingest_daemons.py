"""The same game with a daemon that is a process of its own: it and its children get SIGKILL at random moments.

What `tests.fakes.ingest_chances` gives up inside one process, the system takes away here: nothing of the daemon runs
on, no task is cancelled in good order, and its children find out by themselves that it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import psutil

from tests.acceptance.processes import Daemon, toml
from tests.fakes.ingest_lake import write

SAME_TIME_NS = 1_700_000_000_000_000_000
LAST_RUNS = 20
RUN_S = 120.0
PATIENCE_S = (0.3, 1.5, 4.0)  # at most, from the beginning of a run to the kill; a cold child takes some of that


class DaemonKills:
    """One lot of kills over one state folder.

    Args:
        kills: Of the daemon; some take its children at the same moment, and between them children die alone.
        files: Names that files are written under, again and again.
    """

    def __init__(self, folder: Path, kills: int, files: int, seed: int) -> None:
        folder.mkdir()
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.kills: Counter[str] = Counter()
        self._left = kills
        self._most = files
        self._random = Random(seed)
        self._row = 0
        self._daemon = Daemon(folder, self._settings())

    def _settings(self) -> str:
        batch = max(3, self._most // 20)
        return (
            toml("ingest", task_retry_delay_seconds=0.2)
            + toml("ingest.definition.sales", name="sales", changed="replace-rows")
            + toml("ingest.definition.sales.source", url=self.inbox.as_uri(), settle_s=0)
            + toml("ingest.definition.sales.format", type="jsonl")
            + toml("ingest.definition.sales.limits", batch_files=batch)
            + '[ingest.definition.sales.destination]\ntable = "sales"\n'
        )

    def play(self) -> dict[str, Any]:
        """All kills, then runs in peace until nothing is left; returns figures.

        Raises:
            AssertionError: The table is not the source.
        """
        self._write(self._most // 2)
        daemon = self._daemon.start()
        try:
            while self._left > 0:
                self._one_life(daemon)
            runs = self._in_peace(daemon)
        finally:
            daemon.end()
        return {"kills": dict(self.kills), "peaceful_runs": runs, **self._look(daemon)}

    def _one_life(self, daemon: Daemon) -> None:
        self._write(self._random.randint(1, max(2, self._most // 20)))
        job = self._submit(daemon)
        until_s = self._random.random() * self._random.choice(PATIENCE_S)
        daemon.client.wait(job, until_s)
        self._write(self._random.randint(0, 2))
        children = daemon.children()
        if children and self._random.random() < 0.3:
            self._kill(self._random.sample(children, 1), "child")
            daemon.client.wait(job, self._random.random())
            children = daemon.children()
        if self._random.random() < 0.3:
            self._kill(children, "child with its daemon")
        daemon.kill()
        self.kills["daemon"] += 1
        self._left -= 1
        psutil.wait_procs(children, 20.0)  # none of them may be there when the next daemon looks
        assert not [one for one in children if one.is_running()], "a child outlives its daemon"
        daemon.start()

    def _submit(self, daemon: Daemon) -> int:
        return int(daemon.client.submit("ingest.run", {"ingestion": "sales"})["id"])

    def _kill(self, processes: list[psutil.Process], what: str) -> None:
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
                self.kills[what] += 1

    def _in_peace(self, daemon: Daemon) -> int:
        for count in range(1, LAST_RUNS + 1):
            ended = daemon.ended(self._submit(daemon), RUN_S)
            result = ended.get("result") or {}
            if ended["state"] == "succeeded" and not result["files_discovered"] and not result["batches"]:
                return count
        raise AssertionError(f"the source is not at rest after {LAST_RUNS} runs in peace: {ended}")

    def _write(self, count: int) -> None:
        for _ in range(count):
            path = self.inbox / f"{self._random.randrange(8)}" / f"f{self._random.randrange(self._most)}.jsonl"
            rows = []
            for _ in range(self._random.randint(0, 3)):
                self._row += 1
                rows.append({"id": self._row, "name": path.name})
            write(path, *rows)
            if self._random.random() < 0.5:
                os.utime(path, ns=(SAME_TIME_NS, SAME_TIME_NS))

    def _look(self, daemon: Daemon) -> dict[str, Any]:
        from pyiceberg.catalog.sql import SqlCatalog

        folder = daemon.state / "ingest"
        catalog = SqlCatalog("default", uri=f"sqlite:///{folder}/catalog.db", warehouse=(folder / "warehouse").as_uri())
        try:
            table = catalog.load_table("default.sales")
            found = Counter(table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())
            commits = [snapshot.summary.get("labd.token") for snapshot in table.metadata.snapshots if snapshot.summary]
        finally:
            catalog.close()
        files = list(self.inbox.rglob("*.jsonl"))
        expected = Counter(json.loads(line)["id"] for path in files for line in path.read_text().splitlines())
        assert found == expected, f"missing {sorted(expected - found)[:10]}, too many {sorted(found - expected)[:10]}"
        with contextlib.closing(sqlite3.connect(daemon.state / "labd.db")) as journal:
            batches = dict(journal.execute("SELECT token, state FROM ingest_batch"))
            states = dict(journal.execute("SELECT state, count(*) FROM ingest_run GROUP BY state"))
        assert set(batches.values()) <= {"settled", "void"}, "a batch was left open"
        assert None not in commits and set(commits) <= set(batches), "a commit with a token that no batch has"
        return {"files": len(files), "rows": sum(found.values()), "commits": len(set(commits)), "runs": states}


def run_daemon_kills(folder: Path, kills: int, files: int, seed: int) -> dict[str, Any]:
    """Play; the figures.

    Raises:
        AssertionError: A promise was broken.
    """
    return DaemonKills(folder, kills, files, seed).play()

"""Batches that Spark loads while its child or its Connect server is killed (SIGKILL), at random; none twice, none out.

A kill comes while a load goes on, or right behind it. The same batch is then asked again, as the daemon does, until
there is a report. Files are overwritten and replaced, so both ways to commit are met. A server that outlives its child
may still commit for it, while the next child asks: that is the late commit.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog

from tests.fakes.ingest_rig import IngestRig, Refused
from tests.fakes.spark_lab import TOKEN, ConnectServer, SparkChild, conf

MOST_TRIES = 6
A_SERVER = 4  # one kill of so many is the server's, the second first
SPREAD = (0.4, 0.9, 1.1)  # of what a load takes
FIRST_S = 6.0


class SparkKills:
    """One table and its source.

    Args:
        server: By Connect; None: a JVM in the child, which dies with it.
    """

    def __init__(self, folder: Path, random: Random, server: ConnectServer | None = None) -> None:
        self._folder, self._random, self._server = folder, random, server
        local = {"url": "local[2]", "conf": conf(), "memory_mib": 768, "scratch": str(folder / "scratch")}
        self._spark = local if server is None else {"url": server.url, "secrets": {"token": TOKEN}}
        self._child: SparkChild | None = None
        self.rig = IngestRig(folder, "spark", self._ask)
        self._lister = IngestRig(folder)
        self._row, self._took_s = 0, FIRST_S
        self.kills: Counter[str] = Counter()
        self.states: Counter[str] = Counter()

    def play(self, kills: int, names: int) -> dict[str, Any]:
        """So many kills; returns figures.

        Raises:
            AssertionError: The table is not the source.
        """
        try:
            while self.kills["server"] + self.kills["child"] < kills:
                self._one_batch(names)
            return self._look()
        finally:
            self.close()

    def end(self) -> None:
        """Kill the child."""
        if self._child is not None:
            self._child.process.kill()
        self.close()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _ask(self, verb: str, args: dict[str, Any]) -> dict[str, Any]:
        if self._child is None or self._child.process.poll() is not None:
            self.close()
            self._child = SparkChild(self._spark, self._folder)
        return self._child.ask(verb, args)

    def _one_batch(self, names: int) -> None:
        batch = self.rig.batch(self._written(names))
        if self._child is None or self._child.process.poll() is not None:
            with contextlib.suppress(Refused):  # a child that is warm, so that the kill does not always meet its start
                self.rig.ask("find_tokens", table=self.rig.table, tokens=[])
        killer = threading.Timer(self._random.random() * self._took_s * self._random.choice(SPREAD), self._kill)
        killer.start()
        report = self._tried(batch)
        killer.join()
        if report is None:
            self.kills["in a load"] += 1
        else:
            self.kills["behind a load"] += 1
        for _ in range(MOST_TRIES):
            if report is not None:
                break
            report = self._tried(batch)
        assert report is not None, f"no report after {MOST_TRIES} tries in peace"
        self.states[report["state"]] += 1
        assert set(self.rig.states(report).values()) == {"loaded"}, report["files"]
        assert report["exactly_once"] is True

    def _tried(self, batch: dict[str, Any]) -> dict[str, Any] | None:
        begun = time.monotonic()
        try:
            report: dict[str, Any] = self.rig.ask("load", batch=batch)
        except (EOFError, BrokenPipeError):
            self.states["child lost"] += 1
            self.end()  # it may not be known yet that it has ended
            return None
        except Refused as refused:
            assert refused.code == "cluster_unreachable", refused
            self.states["cluster lost"] += 1
            self.end()  # as the daemon does (`labd.ingest.engine_child`)
            return None
        self._took_s = (self._took_s + time.monotonic() - begun) / 2
        return report

    def _kill(self) -> None:
        if self._server is not None and (self.kills["server"] + self.kills["child"]) % A_SERVER == 1:
            self.kills["server"] += 1
            self._server.kill()
            self._server.start()
        elif self._child is not None:
            self.kills["child"] += 1
            self._child.process.kill()

    def _written(self, names: int) -> list[dict[str, Any]]:
        """Some files, new or written again, as they are listed now."""
        count = self._random.randint(1, min(3, names))
        paths = self._random.sample([f"f{number}.jsonl" for number in range(names)], count)
        known = {path for path in paths if (self.rig.inbox / path).exists()}
        for path in paths:
            rows = [self._next_row() for _ in range(self._random.randint(0 if path in known else 1, 3))]
            self.rig.write(path, rows)
        files = self._lister.files(*paths)
        return [{**file, "policy": "replace" if file["path"] in known else "new"} for file in files]

    def _next_row(self) -> dict[str, Any]:
        self._row += 1
        return {"id": self._row, "amount": self._row / 4} | (
            {f"c{self._row // 40}": "x"} if self._row % 40 == 0 else {}
        )

    def _look(self) -> dict[str, Any]:
        """Read by plain PyIceberg."""
        catalog = SqlCatalog("default", **self.rig.catalog["properties"])
        try:
            table = catalog.load_table(("lab", "readings"))
            found = Counter(table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())
            summaries = [snapshot.summary for snapshot in table.metadata.snapshots]
        finally:
            catalog.engine.dispose()
        lines = [line for path in self.rig.inbox.iterdir() for line in path.read_text().splitlines()]
        expected = Counter(json.loads(line)["id"] for line in lines)
        assert found == expected, f"missing {sorted(expected - found)[:10]}, too many {sorted(found - expected)[:10]}"
        tokens = Counter(None if summary is None else summary.get("labd.token") for summary in summaries)
        assert None not in tokens and max(tokens.values()) == 1, tokens
        return {
            "kills": dict(self.kills), "answers": dict(self.states), "rows": len(lines), "commits": len(tokens),
        }  # fmt: skip

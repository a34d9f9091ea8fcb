"""Hands that lay data down, as producers outside do, and have it loaded: files into tables, snapshots into graphs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

from labd.snapshots.demo_data import write_snapshot
from tests.bench.raw_http import Caller
from tests.chaos.hands import Hand
from tests.chaos.port import World
from tests.chaos.told import Told
from tests.chaos.world import INBOX, LAKE, SNAPSHOTS

CUSTOMERS = ("acme", "acme-eu")
FIRST_TIMESTAMP = 1_767_741_527
ROWS_AT_MOST = 30
NAMES = 60
BEHIND = 3  # a producer that is quicker than a busy host would only make the rests long
SAME_TIME_NS = 1_700_000_000_000_000_000
DONE = ("succeeded", "failed", "cancelled", "interrupted")


class Filer(Hand):
    """Writes files of rows into an inbox and a bucket, many of them over older ones, and has them ingested."""

    every_s = 0.3

    def __init__(self, name: str, world: World, told: Told, dice: Random) -> None:
        super().__init__(name, world, told, dice)
        self._row = 0
        self._inbox = world.folder / INBOX
        self._store: Any = world.parties.get("objects")
        self._last: dict[str, str] = {}
        told.lakes[LAKE] = {"folder": str(self._inbox), "table": LAKE}
        if self._store is not None:
            told.lakes["chaos"] = {"bucket": True, "table": "chaos"}

    def work(self, caller: Caller) -> None:
        """Some files, then a run."""
        for _ in range(self.dice.randint(1, 3)):
            self._write()
        if self._store is not None:
            self._store.put(f"o{self.dice.randrange(NAMES)}.jsonl", self.dice.randint(0, 4))
        lake = self.dice.choice(list(self.told.lakes))
        if self._ended(caller, lake) is not None:
            self._run(caller, lake)

    def wind_up(self, caller: Caller) -> bool:
        """Runs until each source has nothing new."""
        rest = True
        for lake in self.told.lakes:
            ended = self._ended(caller, lake)
            result = (ended or {}).get("result") or {}
            calm = (
                ended is not None and ended.get("state") == "succeeded" and self._last.get(lake, "").startswith("calm")
            )
            if calm and result.get("state") == "succeeded" and not result["files_discovered"] and not result["batches"]:
                continue
            rest = False
            if ended is not None:
                self._run(caller, lake, "calm-")
        return rest

    def begin(self) -> None:
        """New files may come: the runs in peace count no more."""
        self._last.clear()

    def _run(self, caller: Caller, lake: str, kind: str = "") -> None:
        key = kind + self.fresh_key()
        self._last[lake] = key
        self.submit(caller, {key: ("ingest.run", {"ingestion": lake})})

    def _ended(self, caller: Caller, lake: str) -> dict[str, object] | None:
        """The last run, {} if there was none or it was refused; None while it goes or nobody can tell."""
        key = self._last.get(lake)
        job_id = self.told.acknowledged.get(key) if key is not None else None
        if key is None or (job_id is None and key not in self.owed):
            return {}
        job = self.look(caller, f"jobs/{job_id}") if job_id is not None else None
        return job if job is not None and job["state"] in DONE else None

    def _write(self) -> None:
        path = self._inbox / str(self.dice.randrange(4)) / f"f{self.dice.randrange(NAMES)}.jsonl"
        path.parent.mkdir(exist_ok=True)
        rows = range(self._row, self._row + self.dice.randint(0, 4))
        self._row += len(rows)
        put_whole(path, "".join(json.dumps({"id": row, "name": path.name}) + "\n" for row in rows))
        if self.dice.random() < 0.3:
            os.utime(path, ns=(SAME_TIME_NS, SAME_TIME_NS))


class Librarian(Hand):
    """Lays snapshots of a graph down; that they come to serve is labd's affair."""

    every_s = 1.0
    often = 0.25

    def __init__(self, name: str, world: World, told: Told, dice: Random) -> None:
        super().__init__(name, world, told, dice)
        self._base = world.folder / SNAPSHOTS
        self._share: Any = world.parties.get("neo4j") or world.parties.get("share")
        self._timestamp = FIRST_TIMESTAMP

    def work(self, caller: Caller) -> None:
        """Now and then one more."""
        if self.told.snapshots and self.dice.random() > self.often:
            return
        customer, rows = self.dice.choice(CUSTOMERS), self.dice.randint(ROWS_AT_MOST - 4, ROWS_AT_MOST)
        if self._behind(caller, customer) >= BEHIND:
            return
        laid = {"timestamp": self._lay_down(customer, rows), "rows": rows}
        with self.told.lock:
            self.told.snapshots.setdefault(customer, []).append(laid)

    def _behind(self, caller: Caller, customer: str) -> int:
        """How many of its snapshots are newer than the one that serves."""
        laid = [one["timestamp"] for one in self.told.snapshots.get(customer, [])]
        if not laid:
            return 0
        found = self.look(caller, f"snapshots/customers/{customer}")
        active = None if found is None else found["active"]
        return len(laid) - 1 - laid.index(active) if active in laid else len(laid)

    def _lay_down(self, customer: str, rows: int) -> str:
        if self._share is not None:
            return str(self._share.lay_down(customer, rows))
        self._timestamp += 1
        write_snapshot(self._base, customer, str(self._timestamp), rows, self.dice)
        return str(self._timestamp)

    def wind_up(self, caller: Caller) -> bool:
        """The newest of each customer serves."""
        for customer, laid in self.told.snapshots.items():
            found = self.look(caller, f"snapshots/customers/{customer}")
            if found is None or found["active"] != laid[-1]["timestamp"]:
                return False
        return True


def put_whole(path: Path, text: str) -> None:
    """A file that nobody sees half of."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)

"""What must hold of jobs, held against the database file, the answers that clients got and the trace of the bodies.

Two looks: the cheap one after every round, beside a daemon that works, and the thorough one when all is at rest.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.witnesses import COLUMNS, Lines, Row
from tests.chaos.port import World

ENDED = ("succeeded", "failed", "cancelled", "interrupted")
PHYSICAL = ("draw", "shake")
MOST_ATTEMPTS = 4
EARLY_S = 0.001
SHOWN = 5


class Jobs:
    """Nothing acknowledged is lost, nothing ended changes, nothing physical starts twice."""

    name = "nothing acknowledged is lost, nothing physical is repeated"

    def __init__(self, trace: Path) -> None:
        self._trace = Lines(trace)
        self._starts: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._ended: dict[int, tuple[str, str]] = {}
        self.figures: Counter[str] = Counter()

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """The cheap look, and at rest what came of each job."""
        acknowledged, refused = dict(told["acknowledged"]), set(told["refused"])  # before the file is read
        self._listen()
        rows = rows_beside(world.daemon.state / "labd.db")
        found = [*self._kept(rows, acknowledged, told), *self._unmade(rows, refused), *self._started(rows)]
        found += self._unchanged(rows)
        if told["at_rest"]:
            found += self._outcomes(rows, told)
        self.figures["jobs"] = len(rows)
        self.figures["acknowledged"] = len(acknowledged)
        self.figures["interrupted"] = sum(row.state == "interrupted" for row in rows.values())
        self.figures["ran_again"] = sum(len(lines) > 1 for lines in self._starts.values())
        return found

    def _listen(self) -> None:
        for line in self._trace.fresh():
            if line["kind"] == "start":
                self._starts[line["job"]].append(line)

    def _kept(self, rows: Mapping[int, Row], acknowledged: Mapping[str, int], told: Mapping[str, Any]) -> list[str]:
        keys = Counter(row.key for row in rows.values() if row.key is not None)
        found = [f"{key}: {count} jobs have this idempotency key" for key, count in keys.items() if count > 1]
        for key, job_id in acknowledged.items():
            row, asked = rows.get(job_id), told["asked"].get(key)
            if row is None:
                found.append(f"job {job_id} ({key}): acknowledged, and not in the database")
            elif asked is None or (row.key, row.task, json.loads(row.args)) != (key, asked["task"], asked["args"]):
                there = f"{row.key} {row.task} {row.args}"
                found.append(f"job {job_id} ({key}): the database has {there}, asked was {asked}")
        return found

    def _unmade(self, rows: Mapping[int, Row], refused: set[str]) -> list[str]:
        return [
            f"job {row.id} ({row.key}): refused, and in the database" for row in rows.values() if row.key in refused
        ]

    def _started(self, rows: Mapping[int, Row]) -> list[str]:
        found = []
        for job_id, starts in self._starts.items():
            row = rows.get(job_id)
            if row is None:
                found.append(f"job {job_id} ({starts[0]['key']}): its body ran, and it is not in the database")
            elif row.task in PHYSICAL and len(starts) > 1:
                found.append(f"job {job_id} ({row.key}): physical, and its body began {len(starts)} times")
            elif row.task in PHYSICAL and row.state == "queued":
                found.append(f"job {job_id} ({row.key}): physical, its body began, and it is queued again")
            elif row.task == "echo" and len(starts) > row.attempt:
                found.append(f"job {job_id}: {len(starts)} starts, the database knows {row.attempt} attempts")
        return found

    def _unchanged(self, rows: Mapping[int, Row]) -> list[str]:
        found = []
        for job_id, (state, result) in self._ended.items():
            row = rows.get(job_id)
            if row is None:
                found.append(f"job {job_id}: it had ended as {state}, and is gone")
            elif (row.state, str(row.result)) != (state, result) and (state, row.state) != ("interrupted", "cancelled"):
                found.append(f"job {job_id}: it had ended as {state} with {result[:80]}, and is {row.state} now")
        for row in rows.values():
            if row.state in ENDED:
                self._ended[row.id] = (row.state, str(row.result))
        return found

    def _outcomes(self, rows: Mapping[int, Row], told: Mapping[str, Any]) -> list[str]:
        found = [
            f"{key}: asked again after every fault and never acknowledged"
            for key in told["asked"].keys() - told["acknowledged"].keys()
        ]
        hurt = {argument(row) for row in rows.values() if row.task in PHYSICAL and row.state != "succeeded"}
        for row in rows.values():
            if row.state not in ENDED and row.state != "queued":
                found.append(f"job {row.id} ({row.task}): {row.state}, and everything is at rest")
            if row.task in ("echo", "series") and row.state == "failed" and not _explained(row, hurt):
                found.append(f"job {row.id} ({row.task}): repeatable, and failed in attempt {row.attempt}")
            if row.state == "succeeded":
                found += self._result(row, told)
        return found

    def _result(self, row: Row, told: Mapping[str, Any]) -> list[str]:
        args, result = json.loads(row.args), json.loads(row.result or "null")
        if row.task in ("echo", "shake") and result != args["key"]:
            return [f"job {row.id} ({row.task}): its result is {result}, it was asked for {args['key']}"]
        if row.task == "series":
            word = told["answers"].get(row.id, result[-2])
            last = f"{args['key']}.shake" if word == "yes" else "none"
            due = [*(f"{args['key']}.{number}" for number in range(args["count"])), word, last]
            return [] if result == due else [f"job {row.id} (series): its result is {result}, it must be {due}"]
        return []


def _explained(row: Row, hurt: set[str]) -> bool:
    """Whether workers or daemons died under it too often, or its physical child has not succeeded."""
    return row.crashes > 0 or row.attempt >= MOST_ATTEMPTS or f"{argument(row)}.shake" in hurt


def argument(row: Row) -> str:
    """The key that a task of ours was called with."""
    return str(json.loads(row.args).get("key", ""))


class Schedule:
    """A schedule makes one job for each of its moments, and none before its moment."""

    name = "a clock step or a crash doubles no scheduled run"

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """By the moments that the keys of its jobs name, and the daemon's own clock."""
        with opened(world.daemon.state / "labd.db") as database:
            made = database.execute(
                "SELECT id, idempotency_key, created_at FROM jobs WHERE schedule IS NOT NULL"
            ).fetchall()
        moments: dict[datetime, int] = {}
        found = []
        for job_id, key, created_at in made:
            moment = datetime.fromisoformat(key.split(":", 2)[2])
            if moment in moments:
                found.append(f"jobs {moments[moment]} and {job_id} are both of {moment}")
            if created_at < moment.timestamp() - EARLY_S:
                found.append(f"job {job_id} of {moment} was made {moment.timestamp() - created_at:.3f} s too early")
            moments[moment] = job_id
        return found[:SHOWN]


def rows_beside(database: Path) -> dict[int, Row]:
    """All jobs, by a reader beside the daemon."""
    with opened(database) as reader:
        return {row[0]: Row(*row) for row in reader.execute(f"SELECT {COLUMNS} FROM jobs")}


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A reader's connection, which writes nothing."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10.0)
    try:
        yield connection
    finally:
        connection.close()

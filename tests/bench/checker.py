"""The independent checker of the promises after kill -9; it asks four witnesses and never the daemon's word alone.

The witnesses: the SQLite file (a copy, so that looking changes nothing), the clients' own ledger of what was
acknowledged, the trace that task bodies wrote, and the virtual bus' record. Each rule that is broken becomes one line
of text; none is an empty list.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.witnesses import Lines, Row, faults_of, rows_of, rows_of_copy

GOING = ("running", "waiting", "cancelling")
ENDED = ("succeeded", "failed", "cancelled", "interrupted")
CRASH_LIMIT = 5


@dataclass
class Ledger:
    """What the clients know: what they asked for, and what was acknowledged.

    `latched` is True or False where the daemon acknowledged it, None where a request was cut off. `stopped_at` and
    `reset_at` are monotonic seconds of the last acknowledged stop and of the moment before the next reset was asked.
    """

    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    latched: bool | None = False
    latch_spans: list[list[float]] = field(default_factory=list)


class Checker:
    """Holds what the witnesses say against the promises, round after round.

    Args:
        database: The journal's file.
        trace: Written by the bench wing.
        record: Written by the virtual bus; None where there is none.
    """

    def __init__(self, database: Path, trace: Path, record: Path | None = None) -> None:
        self._database = database
        self._trace = Lines(trace)
        self._record = None if record is None else Lines(record)
        self._starts: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._moves: Counter[int] = Counter()
        self._move_moments: list[float] = []
        self._before: dict[int, Row] = {}
        self.figures: Counter[str] = Counter()

    # -- after the kill ----------------------------------------------------------------------------------------------

    def after_kill(self, ledger: Ledger) -> list[str]:
        """What must hold while no daemon runs."""
        self._listen()
        rows = self._before = rows_of_copy(self._database)
        self.figures["rounds"] += 1
        going = [row for row in rows.values() if row.state in GOING]
        self.figures["going_at_kill"] += len(going)
        self.figures["physical_going_at_kill"] += sum(row.effect == "physical" for row in going)
        return [*_acknowledged(rows, ledger), *self._started(rows), *self._moved(rows)]

    def _listen(self) -> None:
        for line in self._trace.fresh():
            if line["kind"] == "start":
                self._starts[line["job"]].append(line)
        for line in self._record.fresh() if self._record is not None else ():
            if line["kind"] == "move_started" and line.get("goal") is not None:
                self._moves[line["goal"] % 4096] += 1
                self._move_moments.append(line["mono"])

    def _started(self, rows: dict[int, Row]) -> list[str]:
        """A body that ran has its start on disk; a physical one ran once."""
        problems = []
        for job_id, starts in self._starts.items():
            row = rows.get(job_id)
            attempts = [line["attempt"] for line in starts]
            if row is None:
                problems.append(f"job {job_id}: its body ran, and it is not in the database")
                continue
            if row.attempt < max(attempts):
                problems.append(f"job {job_id}: attempt {max(attempts)} ran, the database knows {row.attempt}")
            if row.effect == "physical" and len(attempts) > 1:
                problems.append(f"job {job_id}: physical, and started {len(attempts)} times")
            if row.effect == "physical" and row.state == "queued":
                problems.append(f"job {job_id}: physical, its body ran, and it is queued again")
            if attempts != sorted(set(attempts)):
                problems.append(f"job {job_id}: attempts {attempts} are not each one later than the last")
        return problems

    def _moved(self, rows: dict[int, Row]) -> list[str]:
        """A goal that reached the motor belongs to one job whose start was on disk before; and it came once."""
        problems = []
        asked = {}
        for row in rows.values():
            if row.task == "resort.move_to_angle":
                asked[round(json.loads(row.args)["degrees"] * 4096 / 360) % 4096] = row
        for residue, row in asked.items():
            count = self._moves[residue]
            if count > 1:
                problems.append(f"job {row.id}: the motor was sent to step {residue} {count} times")
            if count and (row.state == "queued" or row.attempt < 1):
                problems.append(f"job {row.id}: the motor was sent to step {residue}, and the job is {row.state}")
        return problems

    # -- after the restart -------------------------------------------------------------------------------------------

    def after_restart(self, ledger: Ledger, started_at: float, latched: bool | None) -> list[str]:
        """What must hold once the next daemon serves.

        Args:
            started_at: When its process began, seconds since 1970.
            latched: What it says of the stop latch; None where there is no carousel.
        """
        rows = rows_of(self._database)
        problems = _acknowledged(rows, ledger)
        for before in self._before.values():
            now = rows.get(before.id)
            if now is None:
                problems.append(f"job {before.id}: it was there before the restart and is gone")
            elif before.state in GOING:
                problems += self._settled(before, now)
            elif before.state in ENDED and (now.state, now.attempt) != (before.state, before.attempt):
                problems.append(f"job {before.id}: it had ended as {before.state} and is {now.state} now")
        for row in rows.values():
            if row.state in GOING and (row.started_at is None or row.started_at < started_at):
                problems.append(f"job {row.id}: {row.state} since before this daemon began")
        if latched is not None and ledger.latched is not None and latched != ledger.latched:
            problems.append(f"the stop latch is {latched} after the restart, acknowledged was {ledger.latched}")
        return problems

    def _settled(self, before: Row, now: Row) -> list[str]:
        """A job that was going when the daemon died."""
        if before.effect == "physical":
            self.figures["interrupted"] += 1
            if now.state != "interrupted":
                return [f"job {before.id}: physical, was {before.state} at the kill, is {now.state} now"]
            return []
        if before.state == "cancelling":
            ended = now.state == "cancelled"
            return [] if ended else [f"job {before.id}: was cancelling at the kill, is {now.state} now"]
        self.figures["requeued"] += 1
        if now.state == "failed" and before.crashes >= CRASH_LIMIT:
            return []
        if now.state not in ("queued", "running", "succeeded"):
            return [f"job {before.id}: repeatable, was running at the kill, is {now.state} now"]
        if now.state != "queued" and now.attempt <= before.attempt:
            return [f"job {before.id}: ran again, and its attempt is still {now.attempt}"]
        return [] if now.attempt >= before.attempt else [f"job {before.id}: its attempt went back to {now.attempt}"]

    # -- at the end --------------------------------------------------------------------------------------------------

    def at_end(self, ledger: Ledger) -> list[str]:
        """What must hold when everything has run that may, and the daemon has ended."""
        self._listen()
        rows = rows_of_copy(self._database)
        problems = [*_acknowledged(rows, ledger), *self._started(rows), *self._moved(rows)]
        for key in ledger.asked.keys() - ledger.acknowledged.keys():
            problems.append(f"{key}: it was submitted again after the restart and never acknowledged")
        for row in rows.values():
            starts = self._starts.get(row.id, [])
            last = str(starts[-1]["attempt"] if starts else None)
            if row.task == "test.sleep" and row.state == "succeeded" and row.result != last:
                problems.append(f"job {row.id}: its result is {row.result}, its last attempt was {last}")
            if row.effect == "repeatable" and row.state != "succeeded" and row.crashes < CRASH_LIMIT:
                problems.append(f"job {row.id}: repeatable, and {row.state} at the end")
            if row.state in GOING:
                problems.append(f"job {row.id}: {row.state}, and no daemon runs")
        for begin, end in ledger.latch_spans:
            moved = [moment for moment in self._move_moments if begin < moment < end]
            if moved:
                span = f"an acknowledged stop at {begin:.3f} and its reset at {end:.3f}"
                problems.append(f"{len(moved)} moves began between {span}")
        problems += faults_of(self._database)
        self.figures["jobs"] = len(rows)
        self.figures["acknowledged"] = len(ledger.acknowledged)
        self.figures["ran_again"] = sum(len(starts) > 1 for starts in self._starts.values())
        self.figures["moves"] = self._moves.total()
        self.figures["stops"] = len(ledger.latch_spans)
        return problems


def _acknowledged(rows: dict[int, Row], ledger: Ledger) -> list[str]:
    """Everything acknowledged is there, as it was asked for, and no key is there twice."""
    problems = []
    keys = Counter(row.key for row in rows.values() if row.key is not None)
    problems += [f"{key}: {count} jobs have this idempotency key" for key, count in keys.items() if count > 1]
    for key, job_id in list(ledger.acknowledged.items()):
        row, asked = rows.get(job_id), ledger.asked[key]
        if row is None:
            problems.append(f"job {job_id} ({key}): acknowledged, and not in the database")
        elif (row.key, row.task, json.loads(row.args)) != (key, asked["task"], asked["args"]):
            there = f"{row.key} {row.task} {row.args}"
            problems.append(f"job {job_id} ({key}): the database has {there}, asked was {asked}")
    return problems

"""The stock equation: what was filled in, less what the robot drew, is what the ledger says, picolitre by picolitre.

The liquid's own count is the trace of the task bodies: a line for each piece that moved, written when labd had said
that its debit is on disk. So a job has drawn at most what was debited for it, and at most one piece less.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.witnesses import Lines
from tests.chaos.checker_jobs import opened
from tests.chaos.port import World

PL = 1_000_000
FILLED = ("red", "yellow")  # what the workload fills in; others have their own clients
FIRST_FILLING = "initialized"


class Stock:
    """The ledger against the liquid."""

    name = "sum of movements = level = liquid that moved"

    def __init__(self, trace: Path) -> None:
        self._trace = Lines(trace)
        self._drawn: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """At any time that no draw is under way."""
        for line in self._trace.fresh():
            if line["kind"] == "drew":
                self._drawn[line["job"]][line["reservoir"]] += round(line["volume_ul"] * PL)
        draws, restocks = dict(told["draws"]), {cause: dict(one) for cause, one in told["restocks"].items()}
        with opened(world.daemon.state / "labd.db") as database:
            movements = database.execute(
                "SELECT reservoir, kind, volume_pl, level_before_pl, level_after_pl, reserved_before_pl,"
                " reserved_after_pl, reserve_pl, cause, job_id FROM inventory_movement ORDER BY reservoir, ordinal"
            ).fetchall()
            states = dict(database.execute("SELECT id, state FROM jobs WHERE task = 'draw'"))
            keys = dict(database.execute("SELECT id, idempotency_key FROM jobs WHERE task = 'draw'"))
            claims = database.execute("SELECT job_id, reservoir, remaining_pl FROM inventory_claim").fetchall()
        debited: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for name, kind, volume, *_, job_id in movements:
            if kind == "consumption":
                debited[job_id][name] -= volume
        found = [*chain(movements), *filled(movements, restocks)]
        for job_id, state in states.items():
            asked = draws.get(keys[job_id])
            if asked is not None:
                found += self._one(job_id, state, asked, debited[job_id])
        held: dict[str, int] = defaultdict(int)
        for job_id, name, remaining in claims:
            held[name] += remaining
            if remaining and states.get(job_id) in ("succeeded", "failed", "cancelled"):
                found.append(f"job {job_id}: {states[job_id]}, and {remaining} pl of {name} are still reserved for it")
        last = {name: (level, reserved) for name, _, _, _, level, _, reserved, *_ in movements}
        found += [
            f"{name}: {reserved} pl are reserved by the movements, {held[name]} by the open claims"
            for name, (_, reserved) in last.items() if reserved != held[name]
        ]  # fmt: skip
        return found

    def _one(self, job_id: int, state: str, asked: Mapping[str, Any], debited: Mapping[str, int]) -> list[str]:
        found = []
        behind = 0
        for name in FILLED:
            due, gone = round(asked[name] * PL), self._drawn[job_id][name]
            taken = debited.get(name, 0)
            piece = due // int(asked["pieces"])
            if gone > taken:
                found.append(f"job {job_id} ({state}): {gone} pl of {name} moved, {taken} pl were debited")
            if taken > gone:
                behind += 1
                if taken - gone > piece:
                    found.append(f"job {job_id} ({state}): {taken} pl of {name} were debited, {gone} pl moved")
            if taken > due:
                found.append(f"job {job_id} ({state}): {taken} pl of {name} were debited, it asked for {due}")
            if state == "succeeded" and not taken == gone == due:
                found.append(f"job {job_id}: succeeded with {due} pl of {name}, debited {taken}, moved {gone}")
            if state == "queued" and (taken or gone):
                found.append(f"job {job_id}: queued, and {taken} pl of {name} were debited, {gone} moved")
        if behind > 1:
            found.append(f"job {job_id} ({state}): more than one piece was debited and did not move")
        return found


def chain(movements: list[tuple[Any, ...]]) -> list[str]:
    """Each movement follows the one before it."""
    found = []
    level: dict[str, int] = defaultdict(int)
    reserved: dict[str, int] = defaultdict(int)
    for name, kind, volume, before, after, held_before, held_after, reserve, *_ in movements:
        if before != level[name] or after != before + volume:
            found.append(f"{name}: a {kind} of {volume} pl goes from {before} to {after}, the level was {level[name]}")
        if held_before != reserved[name] or held_after != held_before + reserve:
            found.append(f"{name}: a {kind} reserves from {held_before} to {held_after}, it was {reserved[name]}")
        level[name], reserved[name] = after, held_after
    return found


def filled(movements: list[tuple[Any, ...]], restocks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was told is there once; what was not told, once or not at all; nothing that nobody filled in."""
    there: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for movement in movements:
        if movement[1] == "restock" and movement[0] in FILLED:
            there[movement[8]].append((movement[0], movement[2]))
    found = []
    for cause, one in restocks.items():
        due = (one["reservoir"], round(one["volume_ul"] * PL))
        times = there[cause].count(due)
        if len(there[cause]) != times or times > 1 or (one["told"] and times != 1):
            found.append(f"restock {cause}: {json.dumps(one)}, the ledger has {there[cause]}")
    strange = [cause for cause, rows in there.items() if rows and cause not in restocks and cause != FIRST_FILLING]
    return [*found, *(f"restock {cause}: nobody asked for it" for cause in strange)]

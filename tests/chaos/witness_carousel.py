"""The carousel's witness is the record of its own bus: every packet, every change of the motor.

Why goals are told apart by how far they lie: a halted motor is told to keep the place it was read at, which may by
chance be the goal of a job; it has hardly left it. A goal that a job was sent to twice lies further away.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.bench.witnesses import Lines
from tests.chaos.checker_jobs import opened
from tests.chaos.port import World

STEPS = 4096
KEEPING_STEPS = 300
WATCHDOG_UNIT_S = 0.02
SLACK_S = 0.1


class Motor:
    """No goal is written twice for one job, and the motor never moves on when its host says no more."""

    name = "no goal twice, and no motion without a host"

    def __init__(self) -> None:
        self._lines: Lines | None = None
        self._moves: Counter[int] = Counter()
        self._watchdog = 0
        self._is_moving = False
        self._heard = 0.0
        self._found: list[str] = []
        self.figures: Counter[str] = Counter()

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """Everything since the last look."""
        if self._lines is None:
            self._lines = Lines(world.parties["carousel"].record)  # type: ignore[attr-defined]
        for line in self._lines.fresh():
            self._take(line)
        found, self._found = self._found, []
        with opened(world.daemon.state / "labd.db") as database:
            rows = database.execute(
                "SELECT id, state, attempt, args FROM jobs WHERE task = 'resort.move_to_angle'"
            ).fetchall()
        asked: dict[int, list[tuple[int, str, int]]] = {}
        for job_id, state, attempt, args in rows:
            step = round(json.loads(args)["degrees"] * STEPS / 360) % STEPS
            asked.setdefault(step, []).append((job_id, state, attempt))
        for step, jobs in asked.items():
            begun = [job for job in jobs if job[2] >= 1]
            if self._moves[step] > len(begun):
                found.append(
                    f"the motor was sent to step {step} {self._moves[step]} times, by {len(begun)} jobs that began:"
                    f" {jobs}"
                )
        return found

    def _take(self, line: Mapping[str, Any]) -> None:
        kind, moment = line["kind"], float(line["mono"])
        if kind == "frame" and line["direction"] == "rx":
            self._heard = moment
        elif kind == "watchdog_set":
            self._watchdog = line["value"]
            if self._is_moving and self._watchdog <= 0:
                self._found.append(
                    f"the watchdog was set to {self._watchdog} in the middle of a move, line {line['seq']}"
                )
        elif kind == "watchdog_tripped":
            self.figures["watchdog_tripped"] += 1
        elif kind == "move_started":
            self._is_moving = True
            self.figures["moves"] += 1
            if self._watchdog <= 0:
                self._found.append(f"a move began with the watchdog at {self._watchdog}, line {line['seq']}")
            if line["goal"] is not None and abs(line["goal"] - line["start"]) > KEEPING_STEPS:
                self._moves[line["goal"] % STEPS] += 1
        elif kind in ("move_ended", "at_rest"):
            silent_s = moment - self._heard
            if self._is_moving and self._watchdog > 0 and silent_s > self._watchdog * WATCHDOG_UNIT_S + SLACK_S:
                self._found.append(
                    f"the motor moved on for {silent_s:.2f} s after the last word of its host, its watchdog is"
                    f" {self._watchdog * WATCHDOG_UNIT_S:.2f} s, line {line['seq']}"
                )
            self._is_moving = False

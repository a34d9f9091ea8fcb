"""Hands at the devices: moves, runs of protocols, stops and resets."""

from __future__ import annotations

import time
from typing import Any

from tests.bench.raw_http import Caller
from tests.chaos.hands import OPERATOR, Hand

STEPS = 4096
APART = 8  # so that a goal is found in the bus' record, and what a halted motor is told to keep seldom looks like one
SCATTER = 7
STOPPED = 0.04
DRAWN = ((), ("red",), ("red", "yellow"))
RESET = 0.5
PROTOCOL = """metadata = {{"apiLevel": "2.15"}}


def run(ctx):
    ctx.comment("{key}")
    ctx.home()
    ctx.delay(seconds={seconds})
    ctx.home()
"""


class Turner(Hand):
    """Moves the carousel to goals that are its own each, stops it now and then and resets it."""

    every_s = 0.08

    def work(self, caller: Caller) -> None:
        """Whatever is allowed now."""
        status = self.look(caller, "resort/status")
        if status is None:
            return
        if status["stop_latched"]:
            if self.dice.random() < RESET:
                self._reset(caller)
        elif self.dice.random() < STOPPED:
            self._stop(caller)
        elif "move_to_angle" in status["allowed_actions"] and not status["moving"]:
            self._move(caller)

    def wind_up(self, caller: Caller) -> bool:
        """The latch is lifted."""
        status = self.look(caller, "resort/status")
        if status is not None and status["stop_latched"]:
            self._reset(caller)
        return status is not None and not status["stop_latched"] and not status["moving"]

    def _move(self, caller: Caller) -> None:
        number = len(self.told.moves) + 1
        if number * APART >= STEPS:
            return  # every goal was given; a new world has all of them again
        step = number * APART * SCATTER % STEPS
        key = self.fresh_key()
        with self.told.lock:
            self.told.moves[step] = key
        self.submit(caller, {key: ("resort.move_to_angle", {"degrees": step * 360 / STEPS})})

    def _stop(self, caller: Caller) -> None:
        self.told.unsure()
        answer = self.act(caller, "resort/stop", {"reason": "chaos"})
        if answer is not None and answer["latched_durably"]:
            self.told.stopped()

    def _reset(self, caller: Caller) -> None:
        self.told.unsure()
        asked_at = time.monotonic()
        answer = None
        try:
            answer = self.act(caller, "resort/reset", {"by": OPERATOR, "reason": "chaos goes on"})
        finally:
            self.told.released(asked_at)
            if answer is None:
                self.told.unsure()  # cut off, or the disk failed after it was in force: nothing is promised of it


class Pipettor(Hand):
    """Runs protocols on the robot, each a text of its own; stops it now and then and resets it."""

    every_s = 0.15

    def work(self, caller: Caller) -> None:
        """One run at a time."""
        status = self.look(caller, "ot2/status")
        if status is None:
            return
        if status["stop_latched"]:
            if self.dice.random() < RESET:
                self.act(caller, "ot2/reset", {"by": OPERATOR, "reason": "chaos goes on"})
        elif status["run"] is not None:
            if self.dice.random() < STOPPED / 2:
                self.act(caller, "ot2/stop", {"reason": "chaos"})
        elif status["state"] == "ready":
            self._run(caller)

    def wind_up(self, caller: Caller) -> bool:
        """The latch is lifted and nothing runs; what a daemon left paused at its end is stopped by a person."""
        status = self.look(caller, "ot2/status")
        if status is not None and status["stop_latched"]:
            self.act(caller, "ot2/reset", {"by": OPERATOR, "reason": "chaos ends"})
        elif status is not None and status["run"] is not None and self.dice.random() < STOPPED:
            self.act(caller, "ot2/stop", {"reason": "chaos ends"})
        return status is not None and not status["stop_latched"] and status["run"] is None

    def _run(self, caller: Caller) -> None:
        key = self.fresh_key()
        kept = self.act(caller, "ot2/protocols", self._protocol(key))
        if kept is None:
            return
        with self.told.lock:
            self.told.runs[key] = kept["protocol"]
        self.submit(caller, {key: ("ot2.run_protocol", {"protocol": kept["protocol"]})})

    def _protocol(self, key: str) -> dict[str, Any]:
        seconds = self.dice.choice((1, 20, 100))  # the virtual robot is two hundred times quicker
        if (robot := self.world.parties.get("robot")) is not None:
            draws = {name: 16.0 * self.dice.randint(1, 4) for name in self.dice.choice(DRAWN)}
            made = robot.next_protocol(draws, self.dice.choice((1, 2, 4)), seconds)  # type: ignore[attr-defined]
            return {"name": made.name, "text": made.text, "labware": []}
        return {"name": f"{key}.py", "text": PROTOCOL.format(key=key, seconds=seconds), "labware": []}

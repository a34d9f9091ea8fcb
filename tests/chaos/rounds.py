"""Rounds of harm: the work goes on, a fault strikes and is taken back, and every promise is held against the witnesses.

After each round the cheap looks, beside the work; after every twenty and at the end everything comes to rest and all
witnesses look. A lab lasts a hundred rounds, then a new one begins with the next seed, so that a broken promise of
round 730 is found again by the thirty rounds before it and not by all seven hundred.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.chaos import cast
from tests.chaos.pause import pause
from tests.chaos.port import Ending, Fault, Party, Unable, Watching, Witness, World
from tests.chaos.workload import Workload
from tests.chaos.world import build

LIFE_S = (0.1, 0.7)
FULL_EVERY = 20
SHOWN = 6

Say = Callable[[str], None]


class Lab:
    """One world, from its first start to its last.

    Args:
        folder: Of its own, empty.
        chosen: Names of faults; empty for all, None for none.
        parties: Not started yet.
        say: Gets a line for what a person wants to see.

    Attributes:
        problems: Broken promises, each with its round.
        unable: Faults that this host cannot do, and why.
        struck: How often which fault did strike.
    """

    def __init__(
        self, folder: Path, seed: int, chosen: Sequence[str] | None, parties: dict[str, Party], say: Say
    ) -> None:
        self._say = say
        self._seed = seed
        self.problems: list[str] = []
        self._seen: set[tuple[str, str]] = set()
        self.unable: dict[str, str] = {}
        self.struck: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self.world: World = build(folder, parties, seed)
        self.work = Workload(self.world, seed)
        self._cheap, self._thorough = cast.witnesses(self.world)
        self._faults = self._prepared([] if chosen is None else cast.faults(self.world, chosen))
        self._order: list[Fault] = []

    def _prepared(self, wanted: Sequence[Fault]) -> list[Fault]:
        able = []
        for fault in wanted:
            try:
                fault.prepare(self.world)
                able.append(fault)
            except Unable as why:
                self.unable[fault.name] = str(why)
        return able

    @property
    def once_each(self) -> int:
        """Rounds in which every harm strikes once."""
        return len(self._faults)

    def play(self, rounds: int) -> None:
        """So many rounds, then rest."""
        self.live(lambda: self._rounds(rounds))

    def live(self, life: Callable[[], None]) -> None:
        """Begin, live, come to rest; whatever happens, everything that was started is ended."""
        try:
            self.world.daemon.start()
            self.work.fill()
            self.watch("begin")
            self.work.start()
            life()
            self.rest("the end")
        except (RuntimeError, AssertionError) as fault:
            self.breach("the lab", str(fault))
        finally:
            self._end()

    def _rounds(self, rounds: int) -> None:
        for number in range(1, rounds + 1):
            self._round(number)
            if number % FULL_EVERY == 0 and number < rounds:
                self.rest(f"round {number}")
                done = f"{number} rounds, {len(self.work.told.acknowledged)} jobs acknowledged"
                self._say(f"seed {self._seed}: {done}, {len(self.problems)} promises broken")
                self.watch("begin")
                self.work.start()

    def _round(self, number: int) -> None:
        fault = self._next()
        where = f"seed {self._seed} round {number} {fault.name}"
        began = time.monotonic()
        pause(self.world.dice.uniform(*LIFE_S))
        done = fault.strike(self.world)
        fault.mend(self.world)
        self.struck[fault.name] += 1
        where += f" ({done})"
        self._look(self._cheap, where)
        self._broken_answers(where)
        self._deaths(fault, where)
        self.slowest[fault.name] = max(self.slowest.get(fault.name, 0.0), time.monotonic() - began)

    def _next(self) -> Fault:
        """All of them in turn, in an order of chance."""
        if not self._order:
            self._order = list(self._faults)
            self.world.dice.shuffle(self._order)
        return self._order.pop()

    def rest(self, after: str) -> None:
        """Everything that can end ends, then all witnesses look."""
        where = f"seed {self._seed} rest after {after}"
        self.work.halt()
        self.watch("end")
        began = time.monotonic()
        for left in self.work.settle():
            self.breach(where, left)
        settled_s = time.monotonic() - began
        self._look([*self._cheap, *self._thorough], where)
        self._broken_answers(where)
        self.slowest["rest"] = max(self.slowest.get("rest", 0.0), settled_s)

    def _look(self, witnesses: Sequence[Witness], where: str) -> None:
        told = self.work.told.view()
        for witness in witnesses:
            try:
                found = witness.look(self.world, told)
            except Exception as fault:  # a witness that breaks has not seen that the promise holds
                found = [f"could not look: {type(fault).__name__}: {fault}"]
            new = [each for each in found if (witness.name, each) not in self._seen]
            self._seen.update((witness.name, each) for each in new)
            for each in new[:SHOWN]:
                self.breach(f"{where}: {witness.name}", each)

    def _deaths(self, fault: Fault, where: str) -> None:
        """No daemon ends but by what ends daemons."""
        died: list[str] = getattr(self.world.daemon, "died", [])
        if not fault.ends_daemon:
            for each in died:
                self.breach(where, each)
        died.clear()

    def _broken_answers(self, where: str) -> None:
        with self.work.told.lock:
            broken = list(self.work.told.broken)
            self.work.told.broken.clear()
        for each in broken[:SHOWN]:
            self.breach(where, each)

    def watch(self, verb: str) -> None:
        """`begin` or `end` with the witnesses that look all the time."""
        for witness in self._thorough:
            if isinstance(witness, Watching):
                witness.begin(self.world) if verb == "begin" else witness.end()

    def breach(self, where: str, what: str) -> None:
        """A promise was broken."""
        self.problems.append(f"{where}: {what}")
        self._say(f"BROKEN {where}: {what}")

    def _end(self) -> None:
        self.work.halt()
        self.world.daemon.signal(signal.SIGCONT)
        self.world.daemon.stop()
        for party in self.world.parties.values():
            party.end()
        if self.problems:  # a state folder that was mounted is gone with its mount
            shutil.copytree(self.world.daemon.state, self.world.folder / "state-at-the-end", dirs_exist_ok=True)
        for fault in self._faults:
            if isinstance(fault, Ending):
                fault.end(self.world)
        self._look([witness for witness in self._cheap if witness.name == "no orphan process"], "at the end")

    def figures(self) -> dict[str, Any]:
        """For the report."""
        told = self.work.told
        ready = sorted(getattr(self.world.daemon, "ready_s", [])) or [0.0]
        return {
            "struck": dict(self.struck), "requests": dict(told.counts), "acknowledged": len(told.acknowledged),
            "moves": len(told.moves), "runs": len(told.runs), "draws": len(told.draws),
            "stops": len(told.latch_spans), "answers": len(told.answers),
            "snapshots": sum(map(len, told.snapshots.values())), "ready_p50_s": round(ready[len(ready) // 2], 2),
            "longest_round_s": {name: round(took, 1) for name, took in self.slowest.items()},
        }  # fmt: skip

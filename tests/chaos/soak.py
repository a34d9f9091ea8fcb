"""Half an hour of work without harm: memory, threads, open files and processes stay where they are.

Why the last third against the second: the first fills pools, caches and the allocator's arenas. Jobs stay on disk until
retention takes them, so the state folder grows with the jobs; how much each costs is told, not judged.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import psutil

from tests.chaos.checker_leaks import measured
from tests.chaos.pause import pause
from tests.chaos.rounds import Lab, Say

LOOK_EVERY_S = 5.0
TOLD_EVERY_S = 60.0
REST_EVERY_S = 300.0
GROWTH = {
    "daemon_mib": (1.05, 4.0),
    "below_mib": (1.10, 16.0),
    "threads": (1.0, 4.0),
    "files": (1.0, 8.0),
    "children": (1.0, 2.0),
}


class Soak:
    """One lab without faults.

    Attributes:
        looks: What was measured, in order.
    """

    def __init__(self, lab: Lab, say: Say) -> None:
        self._lab = lab
        self._say = say
        self.looks: list[dict[str, float]] = []

    def play(self, minutes: float) -> None:
        """So long, then the judgement."""
        self._lab.live(lambda: self._work(minutes * 60.0))

    def _work(self, seconds: float) -> None:
        began = told = rested = time.monotonic()
        while time.monotonic() - began < seconds:
            pause(LOOK_EVERY_S)
            now = time.monotonic()
            self.looks.append({"at_s": now - began, **self._measure()})
            if now - told >= TOLD_EVERY_S:
                told = now
                self._say(", ".join(f"{name} {value:.0f}" for name, value in self.looks[-1].items()))
            if now - rested >= REST_EVERY_S:
                rested = now
                self._lab.rest(f"{now - began:.0f} s")
                self._lab.watch("begin")
                self._lab.work.start()
        for each in self.grown():
            self._lab.breach("the soak", each)

    def _measure(self) -> dict[str, float]:
        pid = self._lab.world.daemon.pid
        if pid is None:
            raise RuntimeError("the daemon ended by itself")
        below = 0.0
        for child in psutil.Process(pid).children(recursive=True):
            try:
                below += child.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        own = psutil.Process(pid).memory_full_info().pss
        return {"daemon_mib": own / 2**20, "below_mib": below / 2**20, **measured(pid), "jobs": self._jobs()}

    def _jobs(self) -> int:
        return len(self._lab.work.told.acknowledged)

    def grown(self) -> list[str]:
        """What grew from the second third to the last, in sentences with both numbers."""
        third = len(self.looks) // 3
        if not third:
            return ["too short to judge: fewer than three looks"]
        found = []
        for name, (factor, more) in GROWTH.items():
            before = median(look[name] for look in self.looks[third : 2 * third])
            after = median(look[name] for look in self.looks[2 * third :])
            if after > before * factor + more:
                found.append(f"{name} grew from {before:.1f} to {after:.1f}")
        return found

    def figures(self) -> dict[str, Any]:
        """First, middle and last."""
        chosen = self.looks[:: max(1, len(self.looks) // 6)]
        return {"soak": [{name: round(value, 1) for name, value in look.items()} for look in chosen]}

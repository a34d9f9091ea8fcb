"""What the workload asked for and what it was answered: the only word that a witness takes for granted.

A thing is asked before its request leaves and told once its answer has come; what is asked and not told may have
happened or not, and is asked again under the same key where it has one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOREVER = float("inf")


class View(Mapping[str, Any]):
    """The attributes of a `Told` by their names."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def __getitem__(self, name: str) -> Any:
        return getattr(self._told, name)

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self._told.__slots__ if name != "lock")

    def __len__(self) -> int:
        return len(list(iter(self)))


@dataclass(slots=True)
class Told:
    """Shared by all clients; every change is made under `lock`. Witnesses get `view()`, keyed as the attributes are.

    Attributes:
        trace: JSON lines that task bodies wrote outside the state folder: `{"kind": "start" | "drew" | "end", "key",
            "job", "pid", "mono", ...}`; a `drew` line has `reservoir` and `volume_ul`, and stands for liquid that
            has moved. It is written after `consume` returned and before anything else.
        asked: Submissions by idempotency key: `{"task", "args"}`.
        acknowledged: Job ids by key, each of an answer that came whole.
        moves: Goals of the carousel (0 to 4095, multiples of 8, each given once) to their keys.
        runs: Keys of robot runs to the sha256 by which the daemon keeps their protocol.
        draws: Keys of jobs that draw liquid: `{"reservoir", "volume_ul", "pieces"}`.
        restocks: By their cause, a word that is used once: `{"reservoir", "volume_ul", "told": bool}`. They have no key
            and are not asked again: one that was not told is in the ledger once or not at all.
        snapshots: By customer, in the order of their laying down: `{"timestamp", "rows"}`.
        lakes: Sources by the ingestion's name: `{"folder" | "bucket", "table"}`; their files say what must be in it.
        answers: Questions by the job that asked: the answer that was acknowledged.
        latched: Whether a stop is latched, as last acknowledged; None while a request about it is unanswered.
        latch_spans: [moment of an acknowledged stop, moment before its reset was asked], seconds of CLOCK_MONOTONIC.
        refused: Keys that were asked once and refused: nothing of them may exist.
        at_rest: Nothing is under way or owed any more.
        broken: Answers that no fault explains, each a sentence: a 500, a refusal that must not be.
        counts: Requests by what came of them.
    """

    trace: Path
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    moves: dict[int, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    draws: dict[str, dict[str, Any]] = field(default_factory=dict)
    restocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    snapshots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lakes: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[int, Any] = field(default_factory=dict)
    latched: bool | None = False
    latch_spans: list[list[float]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    at_rest: bool = False
    broken: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def view(self) -> View:
        """For witnesses, to be read only: what stands in it now, not when it was made."""
        return View(self)

    def count(self, what: str) -> None:
        """One more of it."""
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def ask(self, key: str, task: str, args: dict[str, Any]) -> dict[str, Any]:
        """A submission that is about to leave; its body."""
        with self.lock:
            self.asked[key] = {"task": task, "args": args}
        return {"task": task, "args": args, "idempotency_key": key}

    def acknowledge(self, key: str, job_id: int) -> None:
        """Its answer; another id than before is a breach."""
        with self.lock:
            before = self.acknowledged.setdefault(key, job_id)
            if before != job_id:
                self.broken.append(f"{key}: acknowledged as job {before}, and asked again as job {job_id}")

    def refuse(self, key: str, asked_once: bool) -> None:
        """It was refused; what was asked before and not answered may exist all the same."""
        with self.lock:
            if asked_once:
                self.refused.add(key)
            self.asked.pop(key, None)
            self.draws.pop(key, None)
            self.runs.pop(key, None)

    def unanswered(self) -> list[str]:
        """Keys that were asked and have no answer."""
        with self.lock:
            return [key for key in self.asked if key not in self.acknowledged]

    def unsure(self) -> None:
        """A stop or a reset is on its way: nobody knows."""
        with self.lock:
            self.latched = None

    def stopped(self) -> None:
        """A stop was acknowledged, its latch on disk."""
        with self.lock:
            self.latched = True
            if not self.latch_spans or self.latch_spans[-1][1] != FOREVER:
                self.latch_spans.append([time.monotonic(), FOREVER])

    def released(self, asked_at: float) -> None:
        """A reset that was asked at that moment is in force."""
        with self.lock:
            self.latched = False
            if self.latch_spans and self.latch_spans[-1][1] == FOREVER:
                self.latch_spans[-1][1] = max(asked_at, self.latch_spans[-1][0])

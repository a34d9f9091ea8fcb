"""Durable steps: the recorded results of `call` and `ask` come back in order, the first one that is missing suspends.

Why the body runs again from its top: a Python frame cannot be stored. A step is known by its ordinal and the hash of
what it asked for; a body that asks for something else the second time fails, it never gets a wrong result.
Why mismatch and suspension are no `Exception`: a body with `except Exception` would go on without what it asked for.
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import labd
from labd.worker.encoding import canonical, plain


class StepMismatch(BaseException):
    """The body took another path than the recorded one."""


class Replay:
    """The steps of one run.

    Args:
        recorded: Steps of earlier runs of this job, as they came from the daemon.
    """

    def __init__(self, recorded: Sequence[Mapping[str, Any]] = ()) -> None:
        self._recorded = {int(step["ordinal"]): step for step in recorded}
        self._next = 0
        self.suspension: Optional[Dict[str, Any]] = None  # what to send; set before the body is unwound
        self.mismatch: Optional[StepMismatch] = None

    def call(self, calls: Sequence[Tuple[str, Dict[str, Any]]]) -> List[Any]:
        """The results of child jobs, all of them or none.

        Raises:
            labd.CallFailed: For the first recorded failure.
        """
        self._go_on()
        steps: List[Optional[Mapping[str, Any]]] = []
        missing: List[Dict[str, Any]] = []
        for name, args in calls:
            sent = plain(args, f"arguments of {name}: args")
            wanted = {"ordinal": self._next, "task": name, "args": sent, "hash": _hash(["call", name, sent])}
            step = self._take("call", name, wanted["hash"])
            steps.append(step)
            if step is None:
                missing.append(wanted)
        if missing:
            self._suspend({"calls": missing})
        return [_outcome(step) for step in steps if step is not None]

    def ask(self, question: Dict[str, Any]) -> Any:
        """A person's answer."""
        self._go_on()
        sent = plain(question, "ask")
        identity = ["ask", *(sent[key] for key in ("question", "kind", "choices", "unit", "minimum", "maximum"))]
        wanted = {"ordinal": self._next, **sent, "hash": _hash(identity)}
        step = self._take("ask", sent["question"], wanted["hash"])
        if step is None:
            self._suspend({"ask": wanted})
        return _outcome(step) if step is not None else None

    def check_all_taken(self) -> None:
        """At the end of a body that returned: every recorded step must have come up again.

        Raises:
            StepMismatch: Names the first that did not.
        """
        left = sorted(ordinal for ordinal in self._recorded if ordinal >= self._next)
        if left:
            step = self._recorded[left[0]]
            self.mismatch = StepMismatch(
                f"the body ended after {self._next} steps, but step {left[0]} is recorded as {_title(step)};"
                " a task must ask for the same steps in the same order each time it runs"
            )
            raise self.mismatch

    def _go_on(self) -> None:
        """A body that is being unwound (`finally`, `with`) makes no further steps."""
        if self.mismatch is not None:
            raise self.mismatch
        if self.suspension is not None:
            raise labd._Suspend

    def _take(self, kind: str, name: str, digest: str) -> Optional[Mapping[str, Any]]:
        ordinal = self._next
        self._next += 1
        step = self._recorded.get(ordinal)
        if step is None or (step.get("kind") == kind and step.get("hash") == digest):
            return step
        asked = _title({"kind": kind, "task": name, "question": name})
        other = " with other arguments" if asked == _title(step) else ""
        self.mismatch = StepMismatch(
            f"step {ordinal} is recorded as {_title(step)}, and the body now asks for {asked}{other};"
            " a task must ask for the same steps in the same order each time it runs"
        )
        raise self.mismatch

    def _suspend(self, what: Dict[str, Any]) -> None:
        self.suspension = what
        raise labd._Suspend


def _outcome(step: Mapping[str, Any]) -> Any:
    error = step.get("error")
    if error:
        name = str(step.get("task") or step.get("question"))
        raise labd.CallFailed(name, str(error.get("code", "task_failed")), str(error.get("message", "")))
    return step.get("result")


def _title(step: Mapping[str, Any]) -> str:
    return f"call({step.get('task')!r})" if step.get("kind") == "call" else f"ask({step.get('question')!r})"


def _hash(identity: List[Any]) -> str:
    return hashlib.sha256(canonical(identity).encode("ascii")).hexdigest()

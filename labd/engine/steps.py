"""Durable steps of a task that runs in a worker: child jobs it called and questions it asked, each with its result.

A body that calls or asks is unwound (`Suspended`); its job waits without slot and worker. When the answers are there
the body runs again from its first line, and call or question number k gets the recorded result k, if it is the same
call: a body that takes another way the second time fails with `step_mismatch` and never sees a wrong result.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from labd.errors import BadRequest

QuestionKind = Literal["choice", "number", "text", "yes_no"]


class Call(msgspec.Struct, frozen=True):
    """A child job that a body wants; `hash` covers task and arguments. No `queue` means the task's own."""

    ordinal: int
    task: str
    args: dict[str, Any]
    hash: str
    queue: str | None = None


class Question(msgspec.Struct, frozen=True):
    """A question to a person; `hash` covers question and choices."""

    ordinal: int
    question: str
    hash: str
    kind: QuestionKind = "choice"
    choices: tuple[str, ...] = ()
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    default: Any = None
    deadline_s: float | None = None
    on_deadline: Literal["fail", "default", "hold"] = "hold"

    @property
    def answers(self) -> str:
        """What may be answered, in the words that `labctl job answer` takes; empty: any text."""
        if self.kind == "yes_no":
            return "yes | no"
        if self.kind != "number":
            return " | ".join(self.choices)
        low = "" if self.minimum is None else f"{self.minimum:g} <= "
        high = "" if self.maximum is None else f" <= {self.maximum:g}"
        return f"{low}number{high} {self.unit}".rstrip()


class StepError(msgspec.Struct, frozen=True):
    """Why a step has no result."""

    code: str
    message: str


class Step(msgspec.Struct, omit_defaults=True):
    """What became of a call or a question; `job_id` is the child's, `by` who answered."""

    ordinal: int
    kind: Literal["call", "ask"]
    what: str
    hash: str
    job_id: int | None = None
    done: bool = False
    result: Any = None
    error: StepError | None = None
    by: str | None = None
    question: Question | None = None
    asked_at: float | None = None
    answered_at: float | None = None


class Suspended(Exception):
    """Raised by the function of a worker's task when its body called or asked."""

    def __init__(self, calls: list[Call] | None = None, ask: Question | None = None) -> None:
        super().__init__("the body waits for its steps")
        self.calls = calls or []
        self.ask = ask


def check_answer(question: Question, answer: Any) -> Any:
    """The answer as the body gets it.

    Raises:
        BadRequest: Not one of the choices, not a number, or outside the bounds; names the limit.
    """
    ask = question.question
    if question.kind == "choice" and answer not in question.choices:
        raise BadRequest(f"{ask} {answer!r} is none of {', '.join(question.choices)}", answer=answer)
    if question.kind == "yes_no":
        word = str(answer).strip().lower()
        if word not in ("yes", "no", "true", "false", "y", "n"):
            raise BadRequest(f"{ask} {answer!r} is neither yes nor no", answer=answer)
        return word in ("yes", "true", "y")
    if question.kind == "number":
        return _number(question, answer)
    if question.kind == "text" and not (isinstance(answer, str) and len(answer) <= 10_000):
        raise BadRequest(f"{ask} needs a text of at most 10000 characters")
    return answer


def _number(question: Question, answer: Any) -> float:
    try:
        number = float(answer)
    except (TypeError, ValueError):
        raise BadRequest(f"{question.question} {answer!r} is no number", answer=answer) from None
    low, high, unit = question.minimum, question.maximum, f" {question.unit}" if question.unit else ""
    if number != number or (low is not None and number < low) or (high is not None and number > high):
        bounds = f"{'' if low is None else f'{low:g} <= '}answer{'' if high is None else f' <= {high:g}'}"
        raise BadRequest(f"{question.question} {number:g}{unit} is outside {bounds}{unit}", answer=answer)
    return number

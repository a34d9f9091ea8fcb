"""A question to a person, checked where it is asked."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

KINDS = ("choice", "number", "text", "yes_no")
DEADLINES = ("fail", "default", "hold")


def checked(
    question: str,
    choices: Optional[Sequence[str]],
    kind: Optional[str],
    unit: Optional[str],
    minimum: Optional[float],
    maximum: Optional[float],
    default: Any,
    deadline_s: Optional[float],
    on_deadline: str,
) -> Dict[str, Any]:
    """The question as it goes to the daemon, without ordinal and hash.

    Raises:
        ValueError: Parts that contradict each other.
    """
    if not str(question).strip():
        raise ValueError("ask() needs a question")
    subject = f"ask({question!r})"
    if kind is None:
        numeric = unit is not None or minimum is not None or maximum is not None
        kind = "choice" if choices is not None else "number" if numeric else "text"
    if kind not in KINDS:
        raise ValueError(f"{subject}: kind {kind!r} is not one of {', '.join(KINDS)}")
    if (kind == "choice") != (choices is not None):
        raise ValueError(f"{subject}: choices belong to kind 'choice' and only there")
    if kind != "number" and not (unit is None and minimum is None and maximum is None):
        raise ValueError(f"{subject}: unit, minimum and maximum belong to kind 'number'")
    options = None if choices is None else list(choices)
    if options is not None:
        words = all(isinstance(option, str) for option in options)
        if isinstance(choices, str) or not options or not words or len(set(options)) < len(options):
            raise ValueError(f"{subject}: choices must be a list of different words, not {choices!r}")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ValueError(f"{subject}: minimum {minimum:g} is above maximum {maximum:g}")
    if deadline_s is not None and not deadline_s > 0:
        raise ValueError(f"{subject}: deadline_s={deadline_s:g} must be above 0")
    if on_deadline not in DEADLINES:
        raise ValueError(f"{subject}: on_deadline {on_deadline!r} is not one of {', '.join(DEADLINES)}")
    if on_deadline != "fail" and deadline_s is None:
        raise ValueError(f"{subject}: on_deadline={on_deadline!r} needs deadline_s")
    if on_deadline == "default" and default is None:
        raise ValueError(f"{subject}: on_deadline='default' needs a default")
    if default is not None and not _fits(default, kind, options, minimum, maximum):
        raise ValueError(f"{subject}: the default {default!r} is no answer to it")
    return {
        "question": question,
        "kind": kind,
        "choices": options,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "default": default,
        "deadline_s": deadline_s,
        "on_deadline": on_deadline,
    }


def _fits(answer: Any, kind: str, choices: Any, minimum: Optional[float], maximum: Optional[float]) -> bool:
    if kind == "choice":
        return answer in choices
    if kind == "yes_no":
        return isinstance(answer, bool)
    if kind == "text":
        return isinstance(answer, str)
    if not isinstance(answer, (int, float)) or isinstance(answer, bool):
        return False
    return (minimum is None or answer >= minimum) and (maximum is None or answer <= maximum)

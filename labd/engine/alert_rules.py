"""When an alert is raised, changed and cleared: pure rules over values, no I/O.

An alert is known by code and subject. It is raised once, and again only when its `state` is another: a level that falls
from 45 to 44 ul is the same alert, one that falls below empty is not. What stands (a latched stop, a low reservoir) is
cleared when it stands no more; failed jobs are over when a person has retried each of them, or has acknowledged them.

Why one alert per task for failed jobs: a thousand jobs that fail for one reason are one thing to look at, and a
thousand messages are none. Another error code is another reason, up to `REASONS`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from labd.engine.group import Event

Severity = Literal["info", "warning", "error", "critical"]
RANK: dict[str, int] = {"info": 0, "warning": 1, "error": 2, "critical": 3}
REASONS = 8
JOBS_KEPT = 100
STANDING_AT_MOST = 1000
MESSAGE_LIMIT = 600
SAME_S = 60.0
FAILED, INTERRUPTED = "job_failed", "interrupted"
JOB_KINDS = frozenset({"job.failed", "job.interrupted", "job.retried", "job.cancelled"})
_FIGURES = re.compile(r"\d+(?:[.,:]\d+)*")
_NUMBERED = re.compile(r"_\d+$")
_BLANKS = re.compile(r"\s+")


class Rule(NamedTuple):
    """What is particular about a code.

    `by_text`: a change of the words (not of the figures) is a change of the alert; else it is one as long as it stands.
    `patience_s`: so long it must be gone before it counts as gone, so that what comes and goes is told once.
    `hold_s`: so long it must stand before it is raised: every stop is unconfirmed for the milliseconds it takes.
    """

    severity: Severity = "warning"
    by_text: bool = True
    patience_s: float = 10.0
    hold_s: float = 0.0


RULES: dict[str, Rule] = {
    # a person may be in danger, or nothing is kept any more
    "stop_unconfirmed": Rule("critical", by_text=False, hold_s=2.0),
    "hold_unconfirmed": Rule("critical"),
    "stop_not_durable": Rule("critical", by_text=False, hold_s=2.0),
    "control_lost": Rule("critical"),
    "store_full": Rule("critical", by_text=False),
    # something has gone wrong
    "stop_latched": Rule("error", patience_s=0.0),  # pressed again is a new alarm, however soon
    "deficit": Rule("error"),
    FAILED: Rule("error"),
    INTERRUPTED: Rule("error", by_text=False),
    "device_lost": Rule("error", by_text=False, hold_s=2.0),
    "device_faulty": Rule("error"),
    "watchdog_tripped": Rule("error"),
    "watchdog_faulty": Rule("error"),
    "move_cut_off": Rule("error"),
    "foreign_run": Rule("error"),
    "faulty": Rule("error"),
    # it is going to
    "low_stock": Rule("warning"),
    "run_out": Rule("warning"),
    "not_connected": Rule("warning", by_text=False, hold_s=5.0),
    "outlet_away": Rule("warning", by_text=False),
    "held": Rule("warning", by_text=False),
    # somebody is asked something
    "question": Rule("info"),
}
OTHER = Rule()


class Alert(msgspec.Struct):
    """One alert as it stands; instants are seconds since 1970 (UTC).

    `id` is another one each time it is raised. `jobs` are the newest of the jobs it speaks of, `count` is how many.
    """

    key: str
    id: int
    code: str
    subject: str
    severity: str
    message: str
    state: str
    count: int
    jobs: list[int]
    raised_at: float
    changed_at: float
    cleared_at: float | None = None
    acked_at: float | None = None
    acked_by: str | None = None
    acked_note: str | None = None

    @property
    def is_open(self) -> bool:
        """The cause is still there."""
        return self.cleared_at is None

    @property
    def is_owed(self) -> bool:
        """Somebody should still be told."""
        return self.cleared_at is None and self.acked_at is None


class Sighting(msgspec.Struct, frozen=True):
    """An alert as its source shows it now."""

    key: str
    code: str
    subject: str
    message: str
    state: str
    count: int = 1
    jobs: tuple[int, ...] = ()


class Raise(msgspec.Struct, frozen=True):
    """New, back again, or in another state: under a new id, acknowledged by nobody."""

    seen: Sighting


class Reword(msgspec.Struct, frozen=True):
    """The same alert with other figures; nobody is told."""

    seen: Sighting


class Clear(msgspec.Struct, frozen=True):
    """The cause is gone."""

    key: str


Act = Raise | Reword | Clear
Book = Mapping[str, Alert]


def rule_of(code: str) -> Rule:
    """What is particular about a code."""
    return RULES.get(code, OTHER)


def key_of(code: str, subject: str) -> str:
    """The name of an alert on the command line: no blanks, nothing that does not print."""
    plain = "".join(character if character.isprintable() else "?" for character in subject)
    return f"{code}:{_BLANKS.sub('-', plain.strip())[:200]}"


def one_line(text: str) -> str:
    """A message fit for a subject line, whatever a task's error holds."""
    flat = _BLANKS.sub(" ", "".join(c if c.isprintable() or c.isspace() else "?" for c in text)).strip()
    return flat if len(flat) <= MESSAGE_LIMIT else flat[: MESSAGE_LIMIT - 3] + "..."


def sightings(items: Iterable[Mapping[str, Any]]) -> dict[str, Sighting]:
    """What stands, from the attention list: items of one code and subject are one alert."""
    parts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in items:
        code = _NUMBERED.sub("", str(item["code"]))  # device_warning_2 is the second line of device_warning
        parts.setdefault((code, str(item.get("subject", ""))), []).append(item)
    found: dict[str, Sighting] = {}
    for (code, subject), same in list(parts.items())[:STANDING_AT_MOST]:
        states = sorted(_state_of(code, item) for item in same)
        message = one_line("; ".join(str(item["message"]) for item in same))
        key = key_of(code, subject)
        found[key] = Sighting(key, code, subject, message, "|".join(states)[:4000], len(same))
    return found


def _state_of(code: str, item: Mapping[str, Any]) -> str:
    if item.get("state") is not None:
        return str(item["state"])
    return _FIGURES.sub("#", str(item["message"])) if rule_of(code).by_text else ""


def of_attention(book: Book, seen: Mapping[str, Sighting], over: Collection[str]) -> list[Act]:
    """What the attention list of now makes of the book.

    Args:
        over: Keys that have been missing from the list for longer than their patience.
    """
    acts: list[Act] = []
    for key, sighting in seen.items():
        alert = book.get(key)
        if alert is None or not alert.is_open:
            acts.append(Raise(sighting))
        elif alert.code == INTERRUPTED:
            continue  # the events of the jobs say more than the number of them
        elif alert.state != sighting.state:
            acts.append(Raise(sighting))
        elif (alert.message, alert.count) != (sighting.message, sighting.count):
            acts.append(Reword(sighting))
    gone = [key for key in over if key not in seen and key in book and book[key].is_open and book[key].code != FAILED]
    return [*acts, *(Clear(key) for key in gone)]


def of_event(book: Book, event: Event) -> list[Act]:
    """What the end of a job, or a person's decision about it, makes of the book."""
    if event.job_id is None or event.kind not in JOB_KINDS:
        return []
    task = str(event.data.get("task", ""))
    if event.kind == "job.failed":
        return [_failed(book.get(key_of(FAILED, task)), task, event.job_id, event)]
    interrupted = book.get(key_of(INTERRUPTED, "jobs"))
    if event.kind == "job.interrupted":
        return [_interrupted(interrupted, task, event.job_id, event)]
    return [
        *_decided(book.get(key_of(FAILED, task)), event.job_id, lasts=False),
        *_decided(interrupted, event.job_id, lasts=True),
    ]


def _failed(alert: Alert | None, task: str, job_id: int, event: Event) -> Act:
    code = str(event.data.get("code", "failed"))
    reason = f"job {job_id}: {event.data.get('message', code)}"
    key = key_of(FAILED, task)
    if alert is None or not alert.is_open:
        text = one_line(f"{task} has failed; {reason}")
        return Raise(Sighting(key, FAILED, task, text, code, 1, (job_id,)))
    if job_id in alert.jobs:
        return Reword(_as_it_stands(alert))  # told twice, as after a crash in between
    codes = alert.state.split("|")
    jobs = (*alert.jobs, job_id)[-JOBS_KEPT:]
    text = one_line(f"{alert.count + 1} jobs of {task} have failed; the last, {reason}")
    is_new = code not in codes and len(codes) < REASONS
    state = "|".join(sorted([*codes, code])) if is_new else alert.state
    seen = Sighting(key, FAILED, task, text, state, alert.count + 1, jobs)
    return Raise(seen) if is_new else Reword(seen)


def _interrupted(alert: Alert | None, task: str, job_id: int, event: Event) -> Act:
    key = key_of(INTERRUPTED, "jobs")
    reason = f"job {job_id} ({task}) was cut off: {event.data.get('message', '')}"
    if f"`labctl job retry {job_id}`" not in reason:
        reason += f"; look, then `labctl job retry {job_id}` or `labctl job cancel {job_id}`"
    if alert is None or not alert.is_open:
        return Raise(Sighting(key, INTERRUPTED, "jobs", one_line(reason), "", 1, (job_id,)))
    if job_id in alert.jobs:
        return Reword(_as_it_stands(alert))
    # The count of interrupted jobs may have been seen before this event: then the alert is of this very job.
    is_known = not alert.jobs and abs(event.at - alert.raised_at) < SAME_S
    count = alert.count if is_known else alert.count + 1
    text = reason if count == 1 else f"{count} jobs were cut off; the last, {reason}"
    seen = Sighting(key, INTERRUPTED, "jobs", one_line(text), "", count, (*alert.jobs, job_id)[-JOBS_KEPT:])
    return Reword(seen) if is_known else Raise(seen)


def _decided(alert: Alert | None, job_id: int, lasts: bool) -> list[Act]:
    """A person has retried or cancelled a job: it is not spoken of any more.

    Args:
        lasts: The alert is cleared by what stands, not by the last of its jobs.
    """
    if alert is None or not alert.is_open or job_id not in alert.jobs:
        return []
    if alert.count <= 1 and not lasts:
        return [Clear(alert.key)]
    jobs = tuple(each for each in alert.jobs if each != job_id)
    return [Reword(msgspec.structs.replace(_as_it_stands(alert), jobs=jobs, count=max(alert.count - 1, 0)))]


def _as_it_stands(alert: Alert) -> Sighting:
    return Sighting(alert.key, alert.code, alert.subject, alert.message, alert.state, alert.count, tuple(alert.jobs))

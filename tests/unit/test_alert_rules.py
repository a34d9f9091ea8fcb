"""When an alert is raised, reworded and cleared, and what an outlet is owed: tables over values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from labd.engine import alert_rules as rules
from labd.engine.alert_rules import Act, Alert, Clear, Raise, Reword
from labd.engine.alerts import Told
from labd.engine.group import Event
from labd.notify_line import owed, wants
from labd.notify_settings import NotifySettings, OutletSettings

HOOK = OutletSettings(kind="webhook", url="https://lab.example/hook")


def alert(code: str = "low_stock", subject: str = "yellow", **more: Any) -> Alert:
    fields: dict[str, Any] = {
        "severity": rules.rule_of(code).severity, "message": "it is", "state": "low", "count": 1, "jobs": [],
        "raised_at": 100.0, "changed_at": 100.0,
    }  # fmt: skip
    number = more.pop("id", 1)
    return Alert(rules.key_of(code, subject), number, code, subject, **{**fields, **more})


def item(code: str = "low_stock", subject: str = "yellow", message: str = "it is", **more: Any) -> dict[str, Any]:
    return {"code": code, "subject": subject, "message": message, **more}


def told(acts: list[Act]) -> list[str]:
    return [f"{type(act).__name__} {act.key if isinstance(act, Clear) else act.seen.key}" for act in acts]


KEY = "low_stock:yellow"


@pytest.mark.parametrize(
    ("before", "items", "over", "expected"),
    [
        (None, [item(state="low")], (), [f"Raise {KEY}"]),
        (alert(cleared_at=200.0), [item(state="low")], (), [f"Raise {KEY}"]),
        (alert(), [item(state="low")], (), []),
        (alert(acked_at=150.0, acked_by="bob"), [item(state="low")], (), []),
        (alert(), [item(state="low", message="44 ul")], (), [f"Reword {KEY}"]),
        (alert(), [item(state="empty")], (), [f"Raise {KEY}"]),
        (alert(acked_at=150.0, acked_by="bob"), [item(state="empty")], (), [f"Raise {KEY}"]),
        (alert(), [], (), []),
        (alert(), [], (KEY,), [f"Clear {KEY}"]),
        (alert(), [item(state="low")], (KEY,), []),
        (alert(cleared_at=200.0), [], (KEY,), []),
        (alert("job_failed", "t"), [], ("job_failed:t",), []),
        (None, [item(state="low"), item(state="low")], (), [f"Raise {KEY}"]),
    ],
)
def test_the_attention_list_makes_these_acts(
    before: Alert | None, items: list[dict[str, Any]], over: tuple[str, ...], expected: list[str]
) -> None:
    book = {} if before is None else {before.key: before}
    assert told(rules.of_attention(book, rules.sightings(items), over)) == expected


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (item(state="low", message="a"), item(state="low", message="b"), True),
        (item(state="low"), item(state="empty"), False),
        (item("run_out", message="runs out in 3.5 h"), item("run_out", message="runs out in 2.75 h"), True),
        (item("run_out", message="runs out in 3 h"), item("run_out", message="runs out during job 7"), False),
        (item("stop_latched", message="stopped by bob"), item("stop_latched", message="stopped by eve"), False),
        (item("not_connected", message="refused"), item("not_connected", message="no route"), True),
        (item("held", message="1 job waits"), item("held", message="2 jobs wait"), True),
        (item("device_warning_1", message="hot"), item("device_warning_2", message="hot"), True),
    ],
)
def test_a_change_is_one_of_state_and_not_of_figures(first: dict[str, Any], second: dict[str, Any], same: bool) -> None:
    (before,), (after,) = rules.sightings([first]).values(), rules.sightings([second]).values()
    assert (before.key, before.state == after.state) == (after.key, same)


def test_items_of_one_subject_are_one_alert_whatever_their_order() -> None:
    items = [item("task_off", "tasks", f"{name}.py:3: no") for name in "ab"]
    (both,) = rules.sightings(items).values()
    assert (both.message, both.count) == ("a.py:3: no; b.py:3: no", 2)
    (turned,) = rules.sightings(items[::-1]).values()
    assert turned.state == both.state


def test_a_key_has_no_blanks_and_a_message_one_line() -> None:
    assert rules.key_of("question", "job 12\x1b") == "question:job-12?"
    assert rules.one_line("a\n\tb\x00 c") == "a b? c"
    assert len(rules.one_line("x" * 5000)) == rules.MESSAGE_LIMIT


def event(kind: str, job_id: int | None = 7, at: float = 100.0, **data: Any) -> Event:
    return Event(5, at, f"job.{kind}", job_id, {"task": "t", "code": "task_failed", "message": "no", **data})


FAILED, CUT = "job_failed:t", "interrupted:jobs"
ONE = alert("job_failed", "t", state="task_failed", jobs=[6])
TWO = alert("job_failed", "t", state="task_failed", jobs=[6, 7], count=2)
MANY = alert("job_failed", "t", state="task_failed", jobs=list(range(100)), count=500)
EIGHT = alert("job_failed", "t", state="|".join("abcdefgh"), jobs=[6])
CUT_OFF = alert("interrupted", "jobs", state="", jobs=[6])
COUNTED = alert("interrupted", "jobs", state="")


@pytest.mark.parametrize(
    ("before", "event", "expected"),
    [
        (None, event("failed"), [f"Raise {FAILED} 1 [7]"]),
        (alert("job_failed", "t", cleared_at=1.0, jobs=[7]), event("failed"), [f"Raise {FAILED} 1 [7]"]),
        (ONE, event("failed"), [f"Reword {FAILED} 2 [6, 7]"]),
        (ONE, event("failed", 6), [f"Reword {FAILED} 1 [6]"]),
        (ONE, event("failed", code="timeout"), [f"Raise {FAILED} 2 [6, 7]"]),
        (EIGHT, event("failed", code="ninth"), [f"Reword {FAILED} 2 [6, 7]"]),
        (ONE, event("retried", 6), [f"Clear {FAILED}"]),
        (ONE, event("retried", 9), []),
        (TWO, event("retried", 6), [f"Reword {FAILED} 1 [7]"]),
        (MANY, event("retried", 50), [f"Reword {FAILED} 499 {[n for n in range(100) if n != 50]}"]),
        (None, event("retried"), []),
        (None, event("succeeded"), []),
        (None, event("failed", None), []),
        (None, event("interrupted"), [f"Raise {CUT} 1 [7]"]),
        (CUT_OFF, event("interrupted"), [f"Raise {CUT} 2 [6, 7]"]),
        (CUT_OFF, event("interrupted", 6), [f"Reword {CUT} 1 [6]"]),
        (COUNTED, event("interrupted"), [f"Reword {CUT} 1 [7]"]),
        (COUNTED, event("interrupted", at=900.0), [f"Raise {CUT} 2 [7]"]),
        (CUT_OFF, event("cancelled", 6), [f"Reword {CUT} 0 []"]),
    ],
)
def test_the_end_of_a_job_makes_these_acts(before: Alert | None, event: Event, expected: list[str]) -> None:
    acts = rules.of_event({} if before is None else {before.key: before}, event)
    shown = [
        f"Clear {act.key}" if isinstance(act, Clear)
        else f"{type(act).__name__} {act.seen.key} {act.seen.count} {list(act.seen.jobs)}"
        for act in acts
    ]  # fmt: skip
    assert shown == expected


def test_the_messages_of_jobs_name_them_and_the_next_step() -> None:
    (act,) = rules.of_event({}, event("interrupted", message="the daemon ended"))
    assert isinstance(act, Raise)
    assert act.seen.message == (
        "job 7 (t) was cut off: the daemon ended; look, then `labctl job retry 7` or `labctl job cancel 7`"
    )
    (act,) = rules.of_event({}, event("interrupted", message="look at the arm, then `labctl job retry 7` or cancel"))
    assert isinstance(act, Raise)
    assert act.seen.message == "job 7 (t) was cut off: look at the arm, then `labctl job retry 7` or cancel"
    (act,) = rules.of_event({ONE.key: ONE}, event("failed"))
    assert isinstance(act, Reword)
    assert act.seen.message == "2 jobs of t have failed; the last, job 7: no"


def test_every_severity_has_a_rank_and_an_unknown_code_is_a_warning() -> None:
    assert {rule.severity for rule in rules.RULES.values()} == set(rules.RANK)
    assert rules.rule_of("what_is_this").severity == "warning"


@pytest.mark.parametrize(
    ("what", "last", "now", "expected"),
    [
        (alert(), None, 1000.0, [(0, 1000.0)]),
        (alert(), Told(1, 900.0), 1000.0, []),
        (alert(id=2), Told(1, 990.0), 1000.0, [(0, 1050.0)]),
        (alert(id=2), Told(1, 500.0), 1000.0, [(0, 560.0)]),
        (alert(id=2), Told(1, 9999.0), 1000.0, [(0, 1060.0)]),  # the clock was set back
        (alert(acked_at=1.0, acked_by="bob"), None, 1000.0, []),
        (alert(cleared_at=1.0), None, 1000.0, []),
    ],
)
def test_an_outlet_is_owed(what: Alert, last: Told | None, now: float, expected: list[tuple[int, float]]) -> None:
    found = owed([what], lambda key: last, NotifySettings(quiet_s=60.0), now)
    assert [(each.reminder, each.due_at) for each in found] == expected


def test_what_stands_is_told_again_where_that_is_asked_for() -> None:
    settings = NotifySettings(remind_after_s=3600.0)
    (again,) = owed([alert()], lambda key: Told(1, 1000.0, reminders=2), settings, 2000.0)
    assert (again.reminder, again.due_at) == (3, 4600.0)
    acknowledged = msgspec.structs.replace(alert(), acked_at=1.0, acked_by="bob")
    assert owed([acknowledged], lambda key: Told(1, 1000.0), settings, 9000.0) == []


@pytest.mark.parametrize(
    ("more", "what", "wanted"),
    [
        ({}, alert(), True),
        ({}, alert("question", "job 7"), False),
        ({"min_severity": "info"}, alert("question", "job 7"), True),
        ({"min_severity": "error"}, alert(), False),
        ({"min_severity": "error"}, alert("stop_unconfirmed"), True),
        ({"only": ("deficit",)}, alert(), False),
        ({"only": ("low_stock",)}, alert(), True),
        ({}, alert("outlet_away", "notify ops"), False),
        ({}, alert("outlet_away", "notify chat"), True),
    ],
)
def test_an_outlet_wants(more: dict[str, Any], what: Alert, wanted: bool) -> None:
    assert wants("ops", msgspec.structs.replace(HOOK, **more), what) is wanted

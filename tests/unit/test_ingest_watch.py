"""What of the ingestions needs a person, as a table; and that each of it has its text in the runbook."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from labd.api import runbook
from labd.ingest.definition import Definition
from labd.ingest.record import Facts, Record, Run, RunBody, RunError, RunState, State
from labd.ingest.watch import Standing, attention, silent_since

NOW = 1_800_000_000.0


def record(state: State = State.ACTIVE, facts: Facts | None = None, **alerts: Any) -> Record:
    definition = msgspec.convert(
        {"name": "sales", "source": {"url": "file:///in"}, "format": {"type": "csv"}, "destination": {"table": "t"},
         "alerts": alerts},
        Definition,
    )  # fmt: skip
    return Record(1, "0" * 36, definition, state, "api", NOW - 100.0, "anna", NOW - 100.0, facts or Facts())


def ended(state: RunState, **body: Any) -> Run:
    return Run(7, 1, 3, "manual", state, NOW - 50.0, NOW - 40.0, RunBody(**body))


@pytest.mark.parametrize(
    ("standing", "alerts", "codes"),
    [
        (Standing(), {}, []),
        (Standing(quarantined=2, held=1), {}, ["ingest_quarantined", "ingest_held"]),
        (Standing(quarantined=2, held=1), {"quarantine": False, "changed": False}, []),
        (Standing(waits="add region string"), {}, ["ingest_schema"]),
        (Standing(waits="add region string"), {"schema": False}, []),
        (Standing(last=ended(RunState.FAILED)), {}, ["ingest_failed"]),
        (Standing(last=ended(RunState.SUCCEEDED)), {}, []),
        (Standing(last=ended(RunState.PARTIAL)), {}, []),  # its files are told already
        (Standing(last=ended(RunState.PARTIAL, denied=[("b/", "403")])), {}, ["ingest_partial"]),
        (Standing(last=ended(RunState.PARTIAL, errors=[RunError("wrong_format", "no gzip", "a.gz")])), {}, []),
        (
            Standing(last=ended(RunState.PARTIAL, errors=[RunError("timeout", "run 7 has worked for 3600 s")])),
            {},
            ["ingest_partial"],
        ),
        (Standing(), {"silent_after_s": 100}, ["ingest_silent"]),
        (Standing(), {"silent_after_s": 101}, []),
    ],
)
def test_what_needs_a_person(standing: Standing, alerts: dict[str, Any], codes: list[str]) -> None:
    found = attention(record(**alerts), standing, NOW)
    assert [item["code"] for item in found] == codes
    assert {item["subject"] for item in found} <= {"sales"}
    assert not set(codes) - set(runbook.entries())


def test_a_failed_run_is_told_with_its_last_error() -> None:
    run = ended(RunState.FAILED, errors=[RunError("source_refused", "bucket b: wrong credentials")])
    assert attention(record(), Standing(last=run), NOW)[0]["message"] == (
        "run 7 of sales is failed: bucket b: wrong credentials"
    )


def test_one_that_is_paused_or_deleted_is_meant_to_be_silent() -> None:
    assert silent_since(record(State.PAUSED, silent_after_s=1), NOW) is None
    assert attention(record(State.DELETED, silent_after_s=1), Standing(quarantined=1), NOW) == []
    assert silent_since(record(facts=Facts(last_new_file_at=NOW - 5.0), silent_after_s=5), NOW) == NOW - 5.0

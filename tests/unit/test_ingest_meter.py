"""Figures of the ingestions for Prometheus: each with its state, and no more names than a server can bear."""

from __future__ import annotations

import msgspec

from labd.ingest.definition import Definition
from labd.ingest.meter import NAMED, OTHER, figures
from labd.ingest.record import Counts, Facts, FileMark, Record, Run, RunBody, RunState, State


def record(name: str, *ends: tuple[RunState, int, float]) -> Record:
    definition = msgspec.convert(
        {"name": name, "source": {"url": "file:///in"}, "format": {"type": "csv"}, "destination": {"table": "t"}},
        Definition,
    )  # fmt: skip
    facts = Facts()
    for state, rows, ended_at in ends:
        facts.totals.add(Run(1, 1, 1, "manual", state, 0.0, ended_at, RunBody(counts=Counts(rows=rows, bytes_in=10))))
    return Record(1, "0" * 36, definition, State.ACTIVE, "api", 0.0, "anna", 0.0, facts)


def samples(name: str, *ingestions: tuple[Record, dict[FileMark, int]]) -> dict[tuple[str, ...], float]:
    [found] = [one for one in figures(ingestions) if one.name == name]
    return {tuple(labels.values()): value for labels, value in found.samples}


def test_runs_count_by_state_and_only_a_success_is_one() -> None:
    sales = record("sales", (RunState.SUCCEEDED, 5, 100.0), (RunState.FAILED, 0, 200.0), (RunState.PARTIAL, 2, 300.0))
    one = (sales, {FileMark.LOADED: 3, FileMark.QUARANTINED: 1})
    assert samples("labd_ingest_runs_total", one) == {
        ("sales", "succeeded"): 1, ("sales", "partial"): 1, ("sales", "failed"): 1, ("sales", "cancelled"): 0
    }  # fmt: skip
    assert samples("labd_ingest_files", one)["sales", "quarantined"] == 1
    assert samples("labd_ingest_rows_total", one) == {("sales",): 7}
    assert samples("labd_ingest_read_bytes_total", one) == {("sales",): 30}
    assert samples("labd_ingest_last_success_timestamp_seconds", one) == {("sales",): 100.0}
    assert samples("labd_ingest_last_success_timestamp_seconds", (record("new"), {})) == {}


def test_beyond_a_number_of_ingestions_the_rest_counts_together() -> None:
    many: list[tuple[Record, dict[FileMark, int]]] = [
        (record(f"n{number:04}", (RunState.SUCCEEDED, 1, 50.0 + number)), {}) for number in range(NAMED + 3)
    ]
    rows = samples("labd_ingest_rows_total", *many)
    assert (len(rows), rows[OTHER,]) == (NAMED + 1, 3)
    assert samples("labd_ingest_last_success_timestamp_seconds", *many)[OTHER,] == 50.0 + NAMED

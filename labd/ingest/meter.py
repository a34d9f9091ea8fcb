"""Figures of the ingestions for Prometheus: rules over what is in memory, no I/O.

Why the labels are bounded: names are made by people and programs, and each is a time series for ever. Beyond
`NAMED` ingestions the rest counts together as `other`; names sort, so who is named does not change from look to look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from labd.engine.views import Figure
from labd.ingest.record import FileMark, Record, RunState

NAMED = 100
OTHER = "other"
Files = Mapping[FileMark, int]


def figures(ingestions: Iterable[tuple[Record, Files]]) -> list[Figure]:
    """Runs and files by state, rows, bytes, and when a run last had nothing bad; of ingestions that are not deleted."""
    runs: Counter[tuple[str, str]] = Counter()
    files: Counter[tuple[str, str]] = Counter()
    sums: dict[str, Counter[str]] = {"rows": Counter(), "bytes_in": Counter(), "bytes_out": Counter()}
    last: dict[str, float] = {}
    for place, (record, marks) in enumerate(sorted(ingestions, key=lambda one: one[0].name)):
        name, totals = record.name if place < NAMED else OTHER, record.facts.totals
        for state in RunState:
            if state is not RunState.RUNNING:
                runs[name, state.value] += totals.runs.get(state.value, 0)
        for mark in FileMark:
            files[name, mark.value] += marks.get(mark, 0)
        for word, sum_ in sums.items():
            sum_[name] += getattr(totals, word)
        if totals.last_success_at is not None:  # of the others the one that waits longest
            last[name] = min(last.get(name, totals.last_success_at), totals.last_success_at)
    return [
        Figure("labd_ingest_runs_total", "counter", "Ended runs by state.", _by_state(runs)),
        Figure("labd_ingest_files", "gauge", "Files of the ledger by state.", _by_state(files)),
        Figure("labd_ingest_rows_total", "counter", "Rows put into tables.", _by_name(sums["rows"])),
        Figure("labd_ingest_read_bytes_total", "counter", "Bytes of files read.", _by_name(sums["bytes_in"])),
        Figure("labd_ingest_written_bytes_total", "counter", "Bytes put into tables.", _by_name(sums["bytes_out"])),
        Figure("labd_ingest_last_success_timestamp_seconds", "gauge", "End of the last succeeded run.", _by_name(last)),
    ]


def _by_state(counts: Counter[tuple[str, str]]) -> list[tuple[dict[str, str], float]]:
    return [({"ingestion": name, "state": state}, count) for (name, state), count in counts.items()]


def _by_name(values: Mapping[str, float]) -> list[tuple[dict[str, str], float]]:
    return [({"ingestion": name}, value) for name, value in values.items()]

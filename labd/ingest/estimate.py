"""What a run would find and how long it would take: rules over listings and earlier runs, no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable

from labd.engine.cron import next_cron
from labd.ingest.definition import Limits, Schedule
from labd.ingest.record import Run, RunState

FILE_S = 0.004  # of one small file, as measured on two cores; the rest is by bytes
BYTES_PER_S = 40e6
RUN_S = 0.5
MONTH_S = 30 * 86400
COUNTED_RUNS = 300  # of a denser schedule the rest is by proportion


def seconds_of(files: int, size_bytes: int, runs: Iterable[Run]) -> tuple[float, str]:
    """How long a load may take, and what that is guessed by: the earlier runs where they had enough to do."""
    if not files:
        return RUN_S, "an empty run"
    past = [run for run in runs if run.state in (RunState.SUCCEEDED, RunState.PARTIAL) and run.counts.bytes_in]
    loaded = sum(run.counts.bytes_in for run in past)
    worked_s = sum(run.body.seconds.get("load", 0.0) for run in past)
    done = sum(run.counts.good for run in past)
    if loaded and worked_s and done:
        by_bytes, by_files = size_bytes * worked_s / loaded, files * worked_s / done
        told = f"{len(past)} earlier runs with {done} files, {loaded / 1e6:.1f} MB, {worked_s:.1f} s"
        return round(RUN_S + min(by_bytes, by_files), 1), told
    return round(RUN_S + files * FILE_S + size_bytes / BYTES_PER_S, 1), "no earlier run; figures of a small host"


def batches_of(files: int, size_bytes: int, limits: Limits) -> int:
    """At least so many commits."""
    if not files:
        return 0
    return max(math.ceil(files / limits.batch_files), math.ceil(size_bytes / limits.batch_bytes), 1)


def runs_per_month(schedule: Schedule | None, now: float) -> int | None:
    """Runs in the next 30 days; None where it runs only when asked."""
    if schedule is None:
        return None
    if schedule.interval_s is not None:
        return int(MONTH_S / schedule.interval_s)
    at = now
    for count in range(COUNTED_RUNS):
        coming = next_cron(schedule.cron or "", schedule.timezone, at)
        if coming is None or coming > now + MONTH_S:
            return count
        at = coming
    return int(COUNTED_RUNS * MONTH_S / (at - now))

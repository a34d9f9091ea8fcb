"""How far a load is, in rows, with its rate and the time that is left."""

from __future__ import annotations

from labd.clock import Clock
from labd.engine.registry import JobContext
from labd.snapshots.port import Dataset, Progress


class Pace:
    """Tells a job's progress as a load goes on."""

    def __init__(self, ctx: JobContext, dataset: Dataset, clock: Clock) -> None:
        self._ctx = ctx
        self._total = dataset.nodes + dataset.relationships
        self._clock = clock
        self._began = clock.monotonic()

    def tell(self, progress: Progress) -> None:
        """The store is so far."""
        took_s = self._clock.monotonic() - self._began
        rate = progress.rows / took_s if took_s > 0 else 0.0
        left = f", {(self._total - progress.rows) / rate:.0f} s left" if rate else ""
        size = f"{progress.size_bytes / 2**20:.1f} MiB"
        text = f"{progress.table}: {size}, {rate:,.0f} rows/s{left}"
        self._ctx.progress(progress.rows, progress.total_rows or self._total, text)

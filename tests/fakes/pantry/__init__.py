"""An attendant as small as one can be: one shelf, kept in a table beside the jobs."""

from __future__ import annotations

from labd.engine.engine import Engine
from labd.engine.job import Cause, Job, JobState
from labd.engine.schema import Schema
from labd.errors import InsufficientStock

SCHEMA = Schema("pantry", __name__, {"notes": ("what", "job_id")})


class Pantry:
    """Keeps what it was told, and the balance of `red`."""

    def __init__(self, engine: Engine, stock_ul: float) -> None:
        self.engine = engine
        self.free_ul = stock_ul
        self.is_short = False
        self.seen: list[tuple[str, int]] = []

    def admit(self, jobs: list[Job]) -> None:
        wanted = sum((job.needs or {}).get("red", 0.0) for job in jobs if job.override is None)
        if wanted > self.free_ul:
            raise InsufficientStock(f"red: {self.free_ul} ul free, {wanted} ul wanted")
        for job in jobs:
            self._note("admit", job)
            self.free_ul -= (job.needs or {}).get("red", 0.0)

    def forget(self, job: Job) -> None:
        self._note("forget", job)
        self.free_ul += (job.needs or {}).get("red", 0.0)

    def change(self, job: Job, before: JobState, after: JobState) -> None:
        self._note(f"{before}-{after}", job)

    def check_retry(self, job: Job) -> None:
        if self.is_short:
            raise InsufficientStock("red is short")

    def cause(self, job: Job) -> Cause | None:
        return Cause("stock_short", "red is short") if self.is_short else None

    async def recall(self, job: Job) -> None:
        pass

    def consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        self._note(f"consume {step} {volumes_ul}", job)

    def _note(self, what: str, job: Job) -> None:
        self.seen.append((what, job.id))
        self.engine.journal.insert("pantry.notes", (what, job.id))

"""An attendant that keeps account of what tasks take in memory, and refuses what it is told to refuse."""

from __future__ import annotations

from collections.abc import Callable

from labd.engine.engine import Engine
from labd.engine.job import Cause, Job, JobState
from labd.errors import InsufficientStock


class TaskStore:
    """Every debit with its step, once; `on_debit` is called with the job while a debit is being staged."""

    def __init__(self, engine: Engine) -> None:
        self.debits: list[tuple[str, dict[str, float]]] = []
        self._known: set[tuple[int, str]] = set()
        self.refuse = ""
        self.on_debit: Callable[[Job], None] = lambda job: None
        engine.attend(self)

    def volumes(self) -> list[dict[str, float]]:
        return [volumes_ul for _, volumes_ul in self.debits]

    def admit(self, jobs: list[Job]) -> None:
        pass

    def forget(self, job: Job) -> None:
        pass

    def change(self, job: Job, before: JobState, after: JobState) -> None:
        pass

    def check_retry(self, job: Job) -> None:
        pass

    def cause(self, job: Job) -> Cause | None:
        return None

    async def recall(self, job: Job) -> None:
        pass

    def consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        if self.refuse in volumes_ul:
            raise InsufficientStock(f"Insufficient stock for: {self.refuse} (available: 1.0 ul, required: 9.0 ul).")
        if (job.id, step) not in self._known:
            self._known.add((job.id, step))
            self.debits.append((step, volumes_ul))
        self.on_debit(job)

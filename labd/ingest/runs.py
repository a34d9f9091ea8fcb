"""The runs of all ingestions: those that are going in memory, the others read from the journal's file.

Changes are staged in the same turn; the caller awaits `engine.journal.commit()`.
"""

from __future__ import annotations

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.errors import Conflict, NotFound
from labd.ingest.record import Record, Run, RunBody, RunState, Trigger, run_from_row


class RunBook:
    """Runs; of one ingestion at most one is going.

    Args:
        engine: Its journal holds the table `ingest_run`.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._going: dict[int, Run] = {}
        self._last_id = 0

    async def open(self) -> None:
        """Read what the last daemon left; its going runs go on, or `end` closes them."""
        for row in await self._engine.journal.read("ingest.going_runs"):
            run = run_from_row(row)
            self._going[run.ingestion] = run
        self._last_id = (await self._engine.journal.read("ingest.last_run"))[0][0] or 0

    def going(self, ingestion: Record | None = None) -> list[Run]:
        """Runs that have not ended, of one ingestion or of all."""
        if ingestion is not None:
            found = self._going.get(ingestion.number)
            return [found] if found is not None else []
        return sorted(self._going.values(), key=lambda run: run.id)

    def new_run(
        self, ingestion: Record, trigger: Trigger, job_id: int | None, *, by: str = "", full: bool = False,
        only: list[str] | None = None, simulated: bool = False,
    ) -> Run:  # fmt: skip
        """A run that begins now; the one that the same job has begun already, where there is one.

        Raises:
            Conflict: Another run of the ingestion has not ended.
        """
        other = self._going.get(ingestion.number)
        if other is not None:
            if job_id is not None and other.job_id == job_id:
                return other
            raise Conflict(
                f"ingestion {ingestion.name}: run {other.id} of job {other.job_id} has not ended",
                ingestion=ingestion.name, run=other.id, job=other.job_id,
            )  # fmt: skip
        self._last_id += 1
        body = RunBody(full=full, only=list(only or ()), by=by, simulated=simulated)
        run = Run(
            self._last_id, ingestion.number, job_id, trigger, RunState.RUNNING, self._clock.wall(), None, body
        )  # fmt: skip
        self._going[ingestion.number] = run
        self.put_run(run)
        return run

    def put_run(self, run: Run) -> None:
        """Stage a run as it stands."""
        self._engine.journal.execute("ingest.put_run", *run.to_row())

    def end(self, run: Run, state: RunState) -> bool:
        """Let a run end; False if it had ended before."""
        if run.state is not RunState.RUNNING:
            return False
        run.state, run.ended_at = state, max(self._clock.wall(), run.started_at)
        self._going.pop(run.ingestion, None)
        self.put_run(run)
        return True

    async def find(self, run_id: int) -> Run:
        """One run; a going one is the live value, to be changed and put.

        Raises:
            NotFound: There is none.
        """
        for run in self._going.values():
            if run.id == run_id:
                return run
        await self._engine.journal.settle()
        found = await self._engine.journal.read("ingest.run", run_id)
        if not found:
            raise NotFound(f"no run {run_id} of an ingestion is known; `labctl ingest runs` shows them", run=run_id)
        return run_from_row(found[0])

    async def runs(
        self, ingestion: Record | None = None, state: RunState | None = None, limit: int = 50, before: int | None = None
    ) -> list[Run]:
        """Newest first; `before` is the last id of the page before."""
        await self._engine.journal.settle()
        number = None if ingestion is None else ingestion.number
        name = "ingest.runs" if number is None else "ingest.runs_of"
        rows = await self._engine.journal.read(name, number, None if state is None else state.value, before, limit)
        return [run_from_row(row) for row in rows]

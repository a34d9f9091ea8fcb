"""What a wing keeps beside the jobs and changes in the same commit with them, such as the stock they will use.

Why a port of the engine's: a job that is accepted and a reservation that is not would be a promise of paint that is not
there. The engine says what becomes of a job while that change is being staged; what the attendant stages in answer is
written in the same transaction.
"""

from __future__ import annotations

from typing import Any, Protocol

from labd.engine.job import FINAL, Cause, Job, JobState
from labd.engine.registry import Registry, TaskSpec


class Attendant(Protocol):
    """Who keeps account of what jobs need.

    Every method but `recall` is called on the loop, in the very turn in which the job's change is staged, and only for
    jobs with `needs`; none may await.
    """

    def admit(self, jobs: list[Job]) -> None:
        """Reserve for new jobs, all or none; may put the resolved names into `needs`, or None if it keeps none of it.

        Raises:
            Refused: There is not enough; nothing was staged.
        """
        ...

    def forget(self, job: Job) -> None:
        """The disk refused the job: take the reservation back."""
        ...

    def change(self, job: Job, before: JobState, after: JobState) -> None:
        """The job has moved from one state to the other."""
        ...

    def check_retry(self, job: Job) -> None:
        """Before a person's retry.

        Raises:
            Refused: It cannot be reserved anew.
        """
        ...

    def cause(self, job: Job) -> Cause | None:
        """Why a queued job may not start now; asked often, so it must be quick."""
        ...

    def consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        """What the job takes now, also of jobs without `needs`; the same step again changes nothing.

        Raises:
            LabdError: A name or a volume is wrong; nothing was staged.
        """
        ...

    async def recall(self, job: Job) -> None:
        """Before `consume` for a job that has ended: what it took already counts as taken, whoever was there then."""
        ...


class Attendance:
    """Brings what happens to jobs to the attendant, where there is one."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.attendant: Attendant | None = None
        self._fixed: dict[str, tuple[TaskSpec, dict[str, float] | None]] = {}  # needs that no argument changes

    async def needs_of(self, spec: TaskSpec, args: dict[str, Any]) -> dict[str, float] | None:
        """Microlitres that a job with these arguments takes, by reservoir; None: nothing, or nobody keeps account."""
        if self.attendant is None:
            return None
        if spec.needs is not None:
            return await spec.needs(args)
        if spec.consumes is None:
            return None
        known = self._fixed.get(spec.name)
        if known is None or known[0] is not spec:
            is_fixed = not any(isinstance(source, str) for source in spec.consumes.values())
            known = self._fixed[spec.name] = (spec, declared(spec, {}) if is_fixed else None)
        return known[1] or declared(spec, self._registry.values(spec, args))

    def admit(self, jobs: list[Job]) -> None:
        """As `Attendant.admit`, for those that need something."""
        if self.attendant is not None:
            needy = [job for job in jobs if job.needs is not None and job.cached_from is None]
            if needy:
                self.attendant.admit(needy)

    def forget(self, job: Job) -> None:
        """As `Attendant.forget`."""
        if self.attendant is not None and job.needs is not None:
            self.attendant.forget(job)

    def change(self, job: Job, before: JobState, after: JobState) -> None:
        """As `Attendant.change`."""
        if self.attendant is not None and job.needs is not None and before is not after:
            self.attendant.change(job, before, after)

    def check_retry(self, job: Job) -> None:
        """As `Attendant.check_retry`."""
        if self.attendant is not None and job.needs is not None:
            self.attendant.check_retry(job)

    def cause(self, job: Job) -> Cause | None:
        """As `Attendant.cause`."""
        if self.attendant is None or job.needs is None:
            return None
        return self.attendant.cause(job)

    def consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        """As `Attendant.consume`; without an attendant nobody keeps account."""
        if self.attendant is not None:
            self.attendant.consume(job, step, volumes_ul)

    async def recall(self, job: Job) -> None:
        """As `Attendant.recall`."""
        if self.attendant is not None and job.state in FINAL:
            await self.attendant.recall(job)


def declared(spec: TaskSpec, values: dict[str, Any]) -> dict[str, float] | None:
    """What `consumes` of a task says with these arguments: volumes of 0 are left out.

    An argument whose name ends in `_ml` counts in millilitres, any other in microlitres.
    """
    needs: dict[str, float] = {}
    for reservoir, source in (spec.consumes or {}).items():
        if isinstance(source, str):
            volume_ul = float(values.get(source) or 0.0) * (1000.0 if source.endswith("_ml") else 1.0)
        else:
            volume_ul = float(source)
        if volume_ul != 0:
            needs[reservoir] = needs.get(reservoir, 0.0) + volume_ul
    return needs or None

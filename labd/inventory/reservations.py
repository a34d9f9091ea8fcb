"""What the jobs do to the stock: reserve, take step by step, give back. Satisfies `labd.engine.attendant.Attendant`.

Every method is called in the turn in which the engine stages the job's change, so both are in one commit.

reserved at submission -> checked again at the start -> taken step by step -> the rest released at the end.
A job that says what it moves (`consume`) has moved what it said and nothing else. One that never says anything has
moved all it asked for, if it had begun: what is really there, a measurement tells.
"""

from __future__ import annotations

from collections.abc import Callable

from labd.engine.job import ENDED, FINAL, GOING, Cause, Job, JobState
from labd.errors import BadVolume, LabdError, UnknownReservoir, WingOff
from labd.inventory import names
from labd.inventory.book import Act, Book
from labd.inventory.claims import Claim, JobClaims, is_short_at_start, taken_pl
from labd.inventory.ledger import StockLedger
from labd.inventory.shelf import Shelf
from labd.inventory.volumes import LARGEST_UL, PL_PER_UL, all_to_pl, to_ul

END = "end"
LATE_JOBS = 32  # whose steps stay in memory after their end; the disk knows those of the others


class Reservations:
    """The attendant.

    Args:
        freed: Called when something became available that a queued job may wait for.
    """

    def __init__(self, ledger: StockLedger, freed: Callable[[], None]) -> None:
        self.fault: str | None = "the ledger is not open yet"
        self._ledger = ledger
        self._book: Book = ledger.book
        self._freed = freed
        self._taken: dict[int, set[str]] = {}  # by jobs that have ended, each step without its life

    def admit(self, jobs: list[Job]) -> None:
        """As `Attendant.admit`."""
        book = self._book
        act = book.act("labd")
        wanted: list[tuple[Job, dict[str, int]]] = []
        left: dict[str, int] = {}  # above the threshold, by reservoir: found once for the whole list
        for job in jobs:
            needs = self._resolved(job) if job.simulated is book.simulated else {}
            if needs and self.fault is not None:
                raise WingOff(f"inventory: {self.fault}; nothing can be reserved, see `labctl status`")
            is_short = False
            for key, pl in needs.items():
                there_pl = left[key] if key in left else self._ledger.free_pl(key, act.now_s)
                is_short = is_short or there_pl < pl
                left[key] = there_pl - pl
            if is_short and job.override is None:
                self._ledger.refuse_short(needs, _promised(wanted))
            wanted.append((job, needs))
        overridden: list[JobClaims] = []
        for job, needs in wanted:
            if not needs:
                job.needs = None
                continue
            job.needs = {key: pl / PL_PER_UL for key, pl in needs.items()}
            owner = book.claims[job.id] = JobClaims(job.id, {key: Claim(key, pl, pl) for key, pl in needs.items()})
            if job.override is not None:
                owner.is_overridden = True
                overridden.append(owner)
            act.begin(_why(job), job.id)
            act.reserve(needs)
        act.stage()
        book.put_claims(overridden)

    def forget(self, job: Job) -> None:
        """As `Attendant.forget`: the reservation is on its way to the disk already, so it is undone by a release."""
        owner = self._book.claims.get(job.id)
        if owner is not None:
            self._release(owner, f"job {job.id} was refused: the disk took no more")

    def change(self, job: Job, before: JobState, after: JobState) -> None:
        """As `Attendant.change`."""
        owner = self._book.claims.get(job.id)
        if after is JobState.QUEUED:
            self._queue_again(job, owner, by_person=before in ENDED)
        elif owner is None:
            return
        elif after in GOING or after is JobState.INTERRUPTED:
            self._set_going(owner, True)
        elif after is JobState.SUCCEEDED:
            self._end(job, owner, "")
        elif before is JobState.QUEUED:
            self._release(owner, f"job {job.id} is {after} before its start")
        elif before is JobState.INTERRUPTED:
            self._release(owner, f"job {job.id} was interrupted and is cancelled; measure what it took unsaid")
        elif job.attempt <= 1 and job.error is not None and job.error.details.get("begun") is False:
            self._release(owner, f"job {job.id} is {after} before its first line: {job.error.message}")
        else:
            self._end(job, owner, f"job {job.id} is {after} and did not say what it moved")

    def check_retry(self, job: Job) -> None:
        """As `Attendant.check_retry`."""
        if job.override is not None or job.simulated is not self._book.simulated:
            return
        owner = self._book.claims.get(job.id)
        missing: dict[str, int] = {}
        for key, pl in self._resolved(job).items():
            held = owner.claims.get(key) if owner is not None else None
            missing[key] = pl - (held.remaining_pl if held is not None else 0)
        self._ledger.refuse_short(missing)

    def cause(self, job: Job) -> Cause | None:
        """As `Attendant.cause`."""
        owner = self._book.claims.get(job.id)
        if owner is None or owner.is_overridden:
            return None
        now_s = self._book.clock.now_s()
        for claim in owner.claims.values():
            shelf = self._book.shelves[claim.reservoir]
            others_pl = shelf.going_pl - (claim.remaining_pl if owner.is_going else 0)
            level_pl = shelf.level_at(now_s)
            if is_short_at_start(level_pl, shelf.dead_pl, others_pl, claim.remaining_pl):
                return self._short(shelf, level_pl, others_pl, claim.remaining_pl)
        return None

    def _short(self, shelf: Shelf, level_pl: int, others_pl: int, needed_pl: int) -> Cause:
        name = names.label(shelf, self._book.shelves.values())
        usable_pl = level_pl - shelf.dead_pl - others_pl
        text = (
            f"{name} has {to_ul(usable_pl):.1f} ul for it (level {to_ul(level_pl):.1f}, dead volume "
            f"{to_ul(shelf.dead_pl):.1f}, jobs under way {to_ul(others_pl):.1f}), it needs {to_ul(needed_pl):.1f} ul; "
            f"`labctl inventory restock {shelf.spec.key}=VOLUME --operator NAME`"
        )
        facts = {
            "reservoir": shelf.spec.key, "usable_ul": to_ul(usable_pl), "required_ul": to_ul(needed_pl),
            "level_ul": to_ul(level_pl), "dead_volume_ul": to_ul(shelf.dead_pl), "under_way_ul": to_ul(others_pl),
        }  # fmt: skip
        return Cause("stock_short", text, facts)

    def consume(self, job: Job, step: str, volumes_ul: dict[str, float]) -> None:
        """As `Attendant.consume`; a negative volume went back into the reservoir."""
        if job.simulated is not self._book.simulated:
            return
        volumes = self._volumes(all_to_pl(volumes_ul, signed=True))
        if self.fault is not None:
            raise WingOff(f"inventory: {self.fault}; what job {job.id} takes cannot be kept")
        for key in volumes:
            shelf = self._book.shelves[key]
            if not shelf.initialized and job.override is None:
                raise names.not_initialized(names.label(shelf, self._book.shelves.values()))
        is_late = job.id not in self._book.claims and job.state in FINAL
        owner = self._late_owner(job) if is_late else self._owner_of(job)
        kept = owner.step_name(step)
        if kept in owner.steps or not volumes:
            return
        owner.steps.add(kept)
        owner.has_told = True
        act = self._book.act(job.submitted_by, f"{job.task} took it", job.id)
        for key, pl in volumes.items():
            claim = owner.claims.setdefault(key, Claim(key, 0, 0))
            self._take(act, owner, claim, pl, kept)
        act.stage()
        if not is_late:
            self._book.put_claims([owner])
        if any(pl < 0 for pl in volumes.values()):
            self._freed()

    async def recall(self, job: Job) -> None:
        """As `Attendant.recall`.

        Why the disk is asked only for jobs that are not in memory: those ended long ago or under an earlier daemon, so
        that all they took has landed.
        """
        if job.id not in self._book.claims and job.id not in self._taken:
            rows = await self._book.journal.read("inventory.steps_of_job", job.id)
            self._remember(job.id, {step for (step,) in rows})

    def _late_owner(self, job: Job) -> JobClaims:
        """Of a job that has ended: it claims nothing and nobody will tell of its end, so it is not kept."""
        steps = self._taken.setdefault(job.id, set())
        return JobClaims(job.id, {}, is_overridden=job.override is not None, steps=steps)

    def _remember(self, job_id: int, steps: set[str]) -> None:
        """What a job took, for a robot may be asked once more about a run whose job has ended meanwhile."""
        self._taken[job_id] = self._taken.pop(job_id, set()) | {_without_life(step) for step in steps}
        while len(self._taken) > LATE_JOBS:
            del self._taken[next(iter(self._taken))]

    def _owner_of(self, job: Job) -> JobClaims:
        """The claims of a job; one that never asked for anything gets empty ones, and the engine tells of its end."""
        owner = self._book.claims.get(job.id)
        if owner is None:
            owner = self._book.claims[job.id] = JobClaims(
                job.id, {}, is_overridden=job.override is not None, is_going=True
            )
        elif owner.is_read and job.needs is None and job.effect == "physical":
            # Its `needs` of {} was lost with the last daemon: nobody told of the retry that lets it run again.
            owner.life, owner.is_read = max(0, job.attempt - 1), False
        if job.needs is None:
            job.needs = {}
        return owner

    # what a job asks for

    def _resolved(self, job: Job) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, volume_ul in (job.needs or {}).items():
            shelf = self._book.shelves.get(name)
            is_plain = type(volume_ul) is float and 0 < volume_ul <= LARGEST_UL
            if shelf is None or shelf.removed_at is not None or not is_plain:
                return self._resolved_by_name(job)
            found[name] = round(volume_ul * PL_PER_UL)
        return found if all(found.values()) else self._resolved_by_name(job)

    def _resolved_by_name(self, job: Job) -> dict[str, int]:
        try:
            return self._volumes(all_to_pl(job.needs or {}), asked=True)
        except LabdError as fault:
            fault.details.setdefault("task", job.task)
            raise

    def _volumes(self, by_name: dict[str, int], *, asked: bool = False) -> dict[str, int]:
        """Volumes by key; wells that are no reservoir are left out, two names of one reservoir are added up."""
        found: dict[str, int] = {}
        for name, pl in by_name.items():
            if pl == 0:
                continue
            if asked and pl < 0:
                raise BadVolume(f"{name}: a job cannot need {to_ul(pl):g} ul", volume_ul=to_ul(pl))
            shelf = self._book.shelves.get(name)
            if shelf is None or shelf.removed_at is not None:
                shelf = names.find_for_job(self._book.there(), name)
            if shelf is not None:
                found[shelf.spec.key] = found.get(shelf.spec.key, 0) + pl
        return found

    # claims

    def _raise_claim(self, act: Act, owner: JobClaims, key: str, needed_pl: int) -> None:
        """Reserve up to the full need."""
        shelf = self._book.shelves[key]
        claim = owner.claims.setdefault(key, Claim(key, 0, 0))
        more_pl = needed_pl - claim.remaining_pl
        claim.needed_pl = needed_pl
        if more_pl > 0:
            claim.remaining_pl = needed_pl
            if owner.is_going:
                shelf.going_pl += more_pl
            act.post(shelf, "reservation", reserve_pl=more_pl)

    def _take(self, act: Act, owner: JobClaims, claim: Claim, volume_pl: int, step: str) -> None:
        """Debit; what goes beyond the claim is debited all the same, it has left the reservoir."""
        shelf = self._book.shelves[claim.reservoir]
        covered_pl = taken_pl(volume_pl, claim.remaining_pl)
        claim.remaining_pl -= covered_pl
        if owner.is_going:
            shelf.going_pl -= covered_pl
        beyond_pl = max(0, volume_pl) - covered_pl
        details = {"beyond_claim_ul": to_ul(beyond_pl)} if beyond_pl and claim.needed_pl else None
        act.post(shelf, "consumption", -volume_pl, -covered_pl, step=step, details=details)

    def _release(self, owner: JobClaims, cause: str) -> None:
        """Give back what is left and forget the job."""
        self._set_going(owner, False)
        act = self._book.act("labd", cause, owner.job_id)
        for claim in owner.claims.values():
            if claim.remaining_pl:
                act.post(self._book.shelves[claim.reservoir], "release", reserve_pl=-claim.remaining_pl)
        released = act.stage()
        self._part(owner)
        if released:
            self._freed()

    def _end(self, job: Job, owner: JobClaims, unsaid: str) -> None:
        if owner.has_told:
            self._release(owner, f"job {job.id} has ended")
            return
        self._set_going(owner, False)
        act = self._book.act(job.submitted_by, unsaid or f"{job.task} has succeeded", job.id)
        for claim in owner.claims.values():
            if claim.remaining_pl:
                self._take(act, owner, claim, claim.remaining_pl, owner.step_name(END))
        act.stage()
        self._part(owner)

    def _part(self, owner: JobClaims) -> None:
        if owner.steps:
            self._remember(owner.job_id, owner.steps)
        self._book.drop_claims(owner.job_id)

    def _queue_again(self, job: Job, owner: JobClaims | None, *, by_person: bool) -> None:
        """An attempt follows: the whole need is reserved again. After a person's retry the same steps are new acts."""
        if owner is None:
            if job.simulated is not self._book.simulated or job.needs is None:
                return
            owner = self._book.claims[job.id] = JobClaims(job.id, {}, is_overridden=job.override is not None)
        self._set_going(owner, False)
        owner.is_overridden = job.override is not None
        if by_person:
            owner.life, owner.has_told = job.attempt, False
        act = self._book.act("labd", f"job {job.id} will run again", job.id)
        for key, pl in self._again(job).items():
            self._raise_claim(act, owner, key, pl)
        act.stage()
        self._book.put_claims([owner])

    def _again(self, job: Job) -> dict[str, int]:
        """The need by key; a reservoir that was removed meanwhile cannot be claimed."""
        found: dict[str, int] = {}
        for name, pl in all_to_pl(job.needs or {}).items():
            try:
                found[names.find(self._book.there(), name).spec.key] = pl
            except UnknownReservoir:
                continue
        return found

    def _set_going(self, owner: JobClaims, going: bool) -> None:
        if owner.is_going is going:
            return
        owner.is_going = going
        for claim in owner.claims.values():
            self._book.shelves[claim.reservoir].going_pl += claim.remaining_pl if going else -claim.remaining_pl


def _without_life(step: str) -> str:
    """The step as the job called it, whichever of its lives it was in; see `JobClaims.step_name`."""
    life, slash, name = step.partition("/")
    return name if slash and life.isdecimal() else step


def _promised(wanted: list[tuple[Job, dict[str, int]]]) -> dict[str, int]:
    """What jobs of the same submission take before the one that is looked at."""
    sums: dict[str, int] = {}
    for _, needs in wanted:
        for key, pl in needs.items():
            sums[key] = sums.get(key, 0) + pl
    return sums


def _why(job: Job) -> str:
    if job.override is not None:
        return f"job {job.id} ({job.task}) was taken in spite of the stock by {job.submitted_by}: {job.override}"
    return f"job {job.id} ({job.task}) was accepted for {job.submitted_by}"

"""What happened in a span of time: attempts of jobs, what else happened, and when nobody was there to see it.

Why from events and not from a table of attempts: every start and end is on disk as an event already, in order of time,
and a second row for each attempt would cost every job a write for a page that few look at. Instants are found in the
events by halving, so a span of the past is as quick to reach as the last hour.
"""

from __future__ import annotations

from typing import Any

import msgspec

from labd.engine import rows
from labd.engine.group import Event
from labd.engine.journal import Journal

SHORT_S = 10.0
"""As in `jobs_long`: attempts that last no longer are found by their start."""
REACHING_AT_MOST = 1000
MOVES_AT_MOST = 50_000
LOOKED_AT_MOST = 200_000
SIGNS = 200
BOOT_S = 60.0
GAPS_AT_MOST = 200
EARLIER_AT_MOST = 100

PHASES = {"job.started": "running", "job.resumed": "running", "job.waiting": "waiting", "job.cancelling": "cancelling"}
ENDS = {
    "job.succeeded": "succeeded", "job.failed": "failed", "job.cancelled": "cancelled",
    "job.interrupted": "interrupted", "job.retrying": "failed", "job.requeued": "interrupted",
}  # fmt: skip


class Attempt(msgspec.Struct):
    """One try of a job; `phases` are its states with the instants from which they held, `state` how it ended or stands.

    `ended_at` is None while it goes on. The attempt of a job that is tried again ended as `failed`; one that the
    daemon's own end cut off as `interrupted`.
    """

    job_id: int
    attempt: int
    task: str
    queue: str
    resources: list[str]
    state: str
    started_at: float
    ended_at: float | None
    phases: list[tuple[str, float]]
    parent_id: int | None
    simulated: bool
    seq: int


class Gap(msgspec.Struct):
    """The daemon was away between two instants. Where it did not end in good order (`is_orderly`), `since` is the last
    sign of it: it may have been there a while longer. None: there is no sign before.
    """

    since: float | None
    until: float
    is_orderly: bool


class Marks(msgspec.Struct):
    """What happened beside jobs, newest first. `earlier` are the last events of devices before the span, `whole_since`
    from when on the events are all here.
    """

    events: list[Event]
    audit: list[tuple[int, float, str, str, str]]
    gaps: list[Gap]
    earlier: list[Event]
    whole_since: float
    more: bool


class Timeline:
    """Reads spans of time from the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def attempts(
        self, since: float, until: float, before: int | None, limit: int
    ) -> tuple[list[Attempt], int | None]:
        """Attempts that ran between two instants, and the cursor of the next page.

        Attempts that began in the span come newest first. Those that had begun before it come with the first page, at
        most `REACHING_AT_MOST` of the going, of the long and of the short ones.
        """
        await self._journal.settle()
        low, high = await self._first("first_event_since", since), await self._first("first_event_since", until)
        if before is not None:
            high = min(high, before)
        started = await self._journal.look("attempts_started", low, high, limit)
        found = await self._of_jobs({job_id for _, job_id in started})
        wanted = {seq for seq, _ in started}
        page = [attempt for attempt in found if attempt.seq in wanted]
        if before is None:
            page += await self._reaching(since, low)
        page.sort(key=lambda attempt: -attempt.seq)
        return page, started[-1][0] if len(started) == limit else None

    async def marks(self, since: float, until: float, limit: int) -> Marks:
        """What else happened between two instants: the newest `limit` events and audit entries, and all gaps."""
        await self._journal.settle()
        first, high = await self._first("first_event_since", since), await self._first("first_event_since", until)
        low = max(first, high - LOOKED_AT_MOST)
        loose = [_event(row) for row in await self._journal.look("loose_events", low, high, limit)]
        earlier = [_event(row) for row in await self._journal.look(
            "device_events", max(0, first - LOOKED_AT_MOST), first, EARLIER_AT_MOST)]  # fmt: skip
        start, end = await self._first("first_audit_since", since), await self._first("first_audit_since", until)
        audit = await self._journal.look("audit_span", start, end, limit)
        whole_since = since
        if low > first or len(loose) == limit:
            oldest = await self._journal.look("events_after", low - 1, high, 1)
            whole_since = loose[-1].at if len(loose) == limit else oldest[0][1] if oldest else since
        more = whole_since > since or len(audit) == limit
        return Marks(loose, audit, await self._gaps(start, end + LOOKED_AT_MOST, until), earlier, whole_since, more)

    async def _first(self, query: str, instant: float) -> int:
        found = await self._journal.look(query, instant)
        return int(found[0][0])

    async def _reaching(self, since: float, low: int) -> list[Attempt]:
        lookback = await self._first("first_event_since", since - SHORT_S)
        short = await self._journal.look("attempts_started", lookback, low, REACHING_AT_MOST)
        long = await self._journal.look("reaching_into", since, REACHING_AT_MOST)
        found = await self._of_jobs({job_id for _, job_id in short} | {row[0] for row in long})
        return [one for one in found if one.seq < low and (one.ended_at is None or one.ended_at > since)]

    async def _of_jobs(self, job_ids: set[int]) -> list[Attempt]:
        if not job_ids:
            return []
        listed = msgspec.json.encode(sorted(job_ids)).decode()
        faces = {row[0]: row for row in await self._journal.look("faces_of_jobs", listed)}
        moves: dict[int, list[tuple[Any, ...]]] = {}
        for job_id, *move in await self._journal.look("moves_of_jobs", listed, MOVES_AT_MOST):
            moves.setdefault(job_id, []).append(tuple(move))
        return [
            one for job_id, of_job in moves.items() if job_id in faces for one in attempts_of(faces[job_id], of_job)
        ]

    async def _gaps(self, first: int, end: int, until: float) -> list[Gap]:
        gaps = []
        for at, before, action in await self._journal.look("daemon_starts", first, end, GAPS_AT_MOST):
            if action == "daemon.stop":
                gap = Gap(before, at, True)
            else:
                seq = await self._first("first_event_since", at)
                signs = [row[0] for row in await self._journal.look("signs_before", seq, SIGNS)]
                gap = Gap(last_sign([*signs, *([before] if before is not None else [])], at), at, False)
            if gap.since is None or gap.since < until:
                gaps.append(gap)
        return gaps


def attempts_of(face: tuple[Any, ...], moves: list[tuple[Any, ...]]) -> list[Attempt]:
    """The attempts of one job, oldest first, from its row and its moves `(seq, at, kind, attempt)`."""
    job_id, task, queue, state, resources, parent_id, simulated = face
    names: list[str] = rows.decode(resources) if resources else []
    found: list[Attempt] = []
    going: Attempt | None = None
    for seq, at, kind, attempt in moves:
        if kind == "job.started" or (going is None and kind in PHASES):
            if going is not None:
                going.ended_at, going.state = at, "interrupted"
            phases = [(PHASES[kind], at)]
            going = Attempt(
                job_id, attempt or 0, task, queue, names, "running", at, None, phases, parent_id, bool(simulated), seq
            )
            found.append(going)
        elif going is not None and kind in PHASES:
            going.phases.append((PHASES[kind], at))
        elif going is not None:
            going.ended_at, going.state, going = at, ENDS[kind], None
    if going is not None:
        going.state = state
    return found


def last_sign(signs: list[float], until: float) -> float | None:
    """The last sign of a daemon that was gone without a word, out of the instants before the next one's start.

    Why the longest pause: the new daemon does this and that before its start is noted; the newest signs may be its own.
    """
    instants = sorted(at for at in signs if at <= until)
    if not instants:
        return None
    own = next((place for place, at in enumerate(instants) if at > until - BOOT_S), len(instants))
    instants = instants[max(0, own - 1) :]
    pauses = [(later - earlier, earlier) for earlier, later in zip(instants, [*instants[1:], until], strict=True)]
    return max(pauses)[1]


def _event(row: tuple[Any, ...]) -> Event:
    return Event(row[0], row[1], row[2], row[3], rows.decode(row[4]))

"""What the engine answers besides jobs: queues, schedules, log lines, tokens, and the filter of a list of jobs."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from labd.engine.job import JobState
from labd.engine.schedules import ScheduleSpec


class QueueView(msgspec.Struct):
    """One queue: rules and depth."""

    name: str
    priority: int
    concurrency: int
    paused: bool
    paused_by: str | None
    paused_reason: str | None
    paused_at: float | None
    queued: int
    running: int
    held: int


class ScheduleView(msgspec.Struct):
    """One schedule: what it does and where it stands; instants in seconds since 1970."""

    spec: ScheduleSpec
    origin: str
    created_by: str
    created_at: float
    next_run_at: float | None
    last_run_at: float | None


class Figure(NamedTuple):
    """A figure of a wing for /metrics: `kind` is `counter` or `gauge`, `samples` are labels and value."""

    name: str
    kind: str
    help_text: str
    samples: list[tuple[dict[str, str], float]]


class LogLine(msgspec.Struct):
    """One line of a job's log."""

    id: int
    at: float
    attempt: int
    level: str
    text: str


class TokenRow(msgspec.Struct):
    """An access token; only the SHA-256 of the secret is kept."""

    id: int
    name: str
    hash: str
    scopes: tuple[str, ...]
    created_at: float
    created_by: str
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None


class JobSpan(msgspec.Struct):
    """Lowest and highest number of the jobs that are kept, 0 where there is none, and how many stand in each state."""

    lowest: int
    highest: int
    states: dict[str, int]


class JobFilter(msgspec.Struct):
    """Which jobs a list shows, newest first; instants in seconds since 1970.

    `text` is looked for in task, arguments, error and submitter; `before_id` is the cursor of the next page.
    `lowest_id` bounds the search from below: a filter without an index reads every row on its way down.
    """

    states: tuple[str, ...] = ()
    task: str | None = None
    queue: str | None = None
    tag: str | None = None
    text: str | None = None
    since: float | None = None
    until: float | None = None
    submitted_by: str | None = None
    held: bool | None = None
    schedule: str | None = None
    lowest_id: int | None = None
    before_id: int | None = None
    limit: int = 100

    def statement(self, by_state: bool = False, by_hold: bool = False) -> tuple[str, list[Any]]:
        """The SELECT and its parameters; every value is bound, none is pasted.

        Why the caller says which index: SQLite cannot know that eight of a million jobs wait, and reads them all from
        the newest down to find eight; with a million waiting that is the quickest way, with none it takes 0.2 s, during
        which nobody else reads.

        Args:
            by_state: Few jobs stand in these states: take them from the index of their state.
            by_hold: Few jobs are held: take them from the index of those.
        """
        where: list[str] = []
        values: list[Any] = []
        if self.states:
            known = [JobState(state).value for state in self.states]
            where.append(f"state IN ({', '.join('?' * len(known))})")
            values += known
            if by_state and "succeeded" not in known:
                notable = [state for state in known if state != "queued"]
                ready = "SELECT id FROM jobs INDEXED BY jobs_ready WHERE state = 'queued'" if "queued" in known else ""
                others = (
                    f"SELECT id FROM jobs INDEXED BY jobs_notable WHERE state IN ({', '.join('?' * len(notable))}) "  # noqa: S608
                    "AND state <> 'queued' AND state <> 'succeeded'"
                    if notable
                    else ""
                )
                where.append(f"id IN ({' UNION ALL '.join(filter(None, (ready, others)))})")
                values += notable
        exact = (
            ("task", self.task),
            ("queue", self.queue),
            ("submitted_by", self.submitted_by),
            ("schedule", self.schedule),
        )
        for column, value in exact:
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if self.tag is not None:
            where.append("tags LIKE ? ESCAPE '\\'")
            values.append(f"% {_literal(self.tag)} %")
        if self.text is not None:
            where.append("(task || args || coalesce(error, '') || submitted_by) LIKE ? ESCAPE '\\'")
            values.append(f"%{_literal(self.text)}%")
        if self.held is not None:
            where.append(f"hold IS {'NOT ' if self.held else ''}NULL")
            if self.held and by_hold:
                where.append("id IN (SELECT id FROM jobs INDEXED BY jobs_held WHERE hold IS NOT NULL)")
        for column, sign, bound in (
            ("created_at", ">=", self.since),
            ("created_at", "<", self.until),
            ("id", ">=", self.lowest_id),
            ("id", "<", self.before_id),
        ):
            if bound is not None:
                where.append(f"{column} {sign} ?")
                values.append(bound)
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        return f"SELECT * FROM jobs{clause} ORDER BY id DESC LIMIT ?", [*values, self.limit]  # noqa: S608 only names from here


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

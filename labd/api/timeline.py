"""`/api/v1/timeline`: what queues, resources and devices did in a span of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.api.events import EventView, event_view
from labd.api.job_filter import LARGEST_ID, Page, Text, instant
from labd.clock import Clock, from_iso, iso
from labd.engine.timeline import Attempt
from labd.errors import BadRequest

if TYPE_CHECKING:
    from labd.engine.engine import Engine

HOUR_S = 3600.0
FIRST = from_iso("0001-01-01T00:00:00Z")  # no instant before it can be written


class SpanQuery(msgspec.Struct):
    """Between two instants; without them the last hour until now."""

    since: Text | None = None
    until: Text | None = None


class AttemptsQuery(SpanQuery):
    """A page of the attempts in a span; `before` is the `next` of the page before."""

    before: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None
    limit: Page = 1000


class MarksQuery(SpanQuery):
    """At most so many events and so many audit entries, the newest."""

    limit: Page = 500


class AttemptView(msgspec.Struct):
    """One try of a job; `phases` are its states, each with the instant from which it held.

    `state`: how it ended, or stands where `ended_at` is null.
    """

    job_id: int
    attempt: int
    task: str
    queue: str
    resources: list[str]
    state: str
    started_at: str
    ended_at: str | None
    phases: list[tuple[str, str]]
    parent_id: int | None
    simulated: bool


class AttemptPage(msgspec.Struct):
    """Attempts, those that began last first; `next` is the `before` of the next page, null at the end."""

    since: str
    until: str
    attempts: list[AttemptView]
    next: int | None = None


class AuditMark(msgspec.Struct):
    """An audit entry as a mark; `/api/v1/audit` has all of it."""

    id: int
    at: str
    actor: str
    action: str
    subject: str


class GapView(msgspec.Struct):
    """labd was away. `orderly` is false where it ended without a word; then `since` is the last sign of it, null where
    there is none.
    """

    since: str | None
    until: str
    orderly: bool


class MarksView(msgspec.Struct):
    """What happened beside jobs, newest first; `earlier` are the last events of devices before the span.

    `more`: not all is here; events are whole from `whole_since` on.
    """

    since: str
    until: str
    events: list[EventView]
    audit: list[AuditMark]
    gaps: list[GapView]
    earlier: list[EventView]
    whole_since: str
    more: bool


def endpoints(engine: Engine, clock: Clock) -> list[Endpoint]:
    """Routes of the timeline."""

    def span_of(query: SpanQuery) -> tuple[float, float]:
        now = clock.wall()
        until = instant("until", query.until)
        until = now if until is None else until
        since = instant("since", query.since)
        since = max(until - HOUR_S, FIRST) if since is None else since
        if since >= until:
            raise BadRequest(
                f"since={iso(since)} is not before until={iso(until)}; give a span of time", parameter="since"
            )
        return since, until

    async def attempts(call: Call) -> AttemptPage:
        since, until = span_of(call.query)
        found, cursor = await engine.timeline.attempts(since, until, call.query.before, call.query.limit)
        return AttemptPage(iso(since) or "", iso(until) or "", [attempt_view(one) for one in found], cursor)

    async def marks(call: Call) -> MarksView:
        since, until = span_of(call.query)
        found = await engine.timeline.marks(since, until, call.query.limit)
        return MarksView(
            iso(since) or "",
            iso(until) or "",
            [event_view(event) for event in found.events],
            [AuditMark(number, iso(at) or "", *rest) for number, at, *rest in found.audit],
            [GapView(iso(gap.since), iso(gap.until) or "", gap.is_orderly) for gap in found.gaps],
            [event_view(event) for event in found.earlier],
            iso(found.whole_since) or "",
            found.more,
        )

    at, tags, bad = "/api/v1/timeline", ("timeline",), ("bad_request",)
    return [
        Endpoint("GET", at, attempts, "read", "Attempts of jobs in a span of time", query=AttemptsQuery,
                 answer=AttemptPage, tags=tags, errors=bad),
        Endpoint("GET", f"{at}/marks", marks, "read", "What else happened, and when labd was away", query=MarksQuery,
                 answer=MarksView, tags=tags, errors=bad),
    ]  # fmt: skip


def attempt_view(one: Attempt) -> AttemptView:
    """The attempt as on the wire."""
    phases = [(state, iso(at) or "") for state, at in one.phases]
    return AttemptView(
        one.job_id, one.attempt, one.task, one.queue, one.resources, one.state, iso(one.started_at) or "",
        iso(one.ended_at), phases, one.parent_id, one.simulated,
    )  # fmt: skip

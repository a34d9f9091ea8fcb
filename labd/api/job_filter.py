"""Filters of the list of jobs: from query parameters to the engine's `JobFilter`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from labd.clock import from_iso
from labd.engine.job import JobState
from labd.engine.views import JobFilter
from labd.errors import BadRequest

LARGEST_ID = 2**63 - 1
Page = Annotated[int, Meta(ge=1, le=1000)]
Text = Annotated[str, Meta(max_length=200)]


class JobsQuery(msgspec.Struct):
    """Filters of the list; all given ones must hold. `state` takes several, with commas between them.

    `lowest`: look no further down than this number. A filter that few jobs pass is answered in steps by it, each short.
    `brief`: without results and tracebacks, which may be long.
    """

    state: Text | None = None
    task: Text | None = None
    queue: Text | None = None
    tag: Text | None = None
    text: Text | None = None
    since: Text | None = None
    until: Text | None = None
    submitted_by: Text | None = None
    held: bool | None = None
    schedule: Text | None = None
    lowest: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None
    before: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None
    brief: bool = False
    limit: Page = 100


def filter_of(query: JobsQuery) -> JobFilter:
    """The query as the engine's filter.

    Raises:
        BadRequest: An unknown state or an instant that cannot be read; names parameter and value.
    """
    states: list[JobState] = []
    for name in (query.state or "").split(","):
        if not name.strip():
            continue
        try:
            states.append(JobState(name.strip()))
        except ValueError:
            known = ", ".join(JobState)
            raise BadRequest(
                f"query parameter state={name}: no such state; there are {known}", parameter="state", value=name
            ) from None
    return JobFilter(
        states=tuple(states),
        task=query.task,
        queue=query.queue,
        tag=query.tag,
        text=query.text,
        since=instant("since", query.since),
        until=instant("until", query.until),
        submitted_by=query.submitted_by,
        held=query.held,
        schedule=query.schedule,
        lowest_id=query.lowest,
        before_id=query.before,
        limit=query.limit,
    )


def instant(parameter: str, text: str | None) -> float | None:
    """The instant of a query parameter, None where it is not given; raises `BadRequest`."""
    if text is None:
        return None
    try:
        # In a query string a plus that was not escaped arrives as a space.
        return from_iso(text.replace(" ", "+") if "T" in text else text)
    except (ValueError, OverflowError) as fault:
        raise BadRequest(
            f"query parameter {parameter}={text}: {fault}; write 2026-01-31T08:00:00Z", parameter=parameter, value=text
        ) from None

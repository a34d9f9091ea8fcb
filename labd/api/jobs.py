"""`/api/v1/jobs`: submit, list, read, wait, cancel, retry, release, logs, events, why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.api.answer import json_answer
from labd.api.connection import while_connected
from labd.api.endpoint import Call, Endpoint
from labd.api.events import EventView, event_view
from labd.clock import from_iso, iso
from labd.engine.job import ENDED, Cause, JobState, JobView, Submission, view
from labd.engine.views import JobFilter
from labd.errors import BadRequest, Draining, UnknownJob

if TYPE_CHECKING:
    from labd.engine.engine import Engine

LIST_AT_MOST = 1000
WAIT_AT_MOST_S = 60.0
LARGEST_ID = 2**63 - 1

Page = Annotated[int, Meta(ge=1, le=1000)]
Text = Annotated[str, Meta(max_length=200)]
Submissions = Submission | Annotated[list[Submission], Meta(max_length=LIST_AT_MOST)]


class JobsQuery(msgspec.Struct):
    """Filters of the list; all given ones must hold. `state` takes several, with commas between them."""

    state: Text | None = None
    task: Text | None = None
    queue: Text | None = None
    tag: Text | None = None
    text: Text | None = None
    since: Text | None = None
    until: Text | None = None
    submitted_by: Text | None = None
    before: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None
    limit: Page = 100


class WaitQuery(msgspec.Struct):
    """`wait`: answer when the job has ended, or after so many seconds."""

    wait: Annotated[float, Meta(ge=0, le=WAIT_AT_MOST_S)] = 0.0


class LogsQuery(msgspec.Struct):
    """A page of lines behind the line of id `after`."""

    after: Annotated[int, Meta(ge=0, le=LARGEST_ID)] = 0
    limit: Page = 500


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    """Why somebody asks; kept in the audit."""

    reason: Annotated[str, Meta(max_length=1000)] = ""


class JobPage(msgspec.Struct):
    """Jobs, newest first; `next` is the `before` of the next page, null at the end."""

    jobs: list[JobView]
    next: int | None = None


class JobList(msgspec.Struct):
    """The jobs of one list of submissions, in its order."""

    jobs: list[JobView]


class LogLineView(msgspec.Struct):
    """One line of a job's log."""

    id: int
    at: str
    attempt: int
    level: str
    text: str


class LogPage(msgspec.Struct):
    """Lines in order; `next` is the `after` of the next page, null when there is no more now."""

    lines: list[LogLineView]
    next: int | None = None


class JobEvents(msgspec.Struct):
    """Everything that happened to a job, in order."""

    events: list[EventView]


class Why(msgspec.Struct):
    """Everything that holds a job back; empty where nothing does."""

    job: int
    state: JobState
    causes: list[Cause]


def job_id_of(call: Call) -> int:
    """The job's number in the path.

    Raises:
        UnknownJob: It is no number, so there can be no such job.
    """
    text = call.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UnknownJob(f"{text[:80]} is no job number; `labctl job list` shows them", job=text[:80])
    return int(text)


def endpoints(engine: Engine) -> list[Endpoint]:
    """Routes of the jobs."""

    async def submit(call: Call) -> Any:
        if isinstance(call.body, list):
            jobs = await engine.submit(call.body, call.caller)
            return JobList([view(job) for job in jobs])
        job, is_new = await engine.submit_one(call.body, call.caller)
        if is_new:
            return view(job)
        return json_answer(call.request, view(job), 200)

    async def list_jobs(call: Call) -> JobPage:
        query: JobsQuery = call.query
        jobs = await engine.jobs(filter_of(query))
        return JobPage([view(job) for job in jobs], jobs[-1].id if len(jobs) == query.limit else None)

    async def read(call: Call) -> JobView:
        job_id = job_id_of(call)
        job = await engine.job(job_id)
        if call.query.wait > 0 and job.state not in ENDED:
            try:
                job = await while_connected(call.request, engine.wait(job_id, call.query.wait))
            except Draining:
                job = await engine.job(job_id)
        return view(job)

    async def cancel(call: Call) -> JobView:
        return view(await engine.cancel(job_id_of(call), call.caller, call.body.reason))

    async def retry(call: Call) -> JobView:
        return view(await engine.retry(job_id_of(call), call.caller))

    async def release(call: Call) -> JobView:
        return view(await engine.release(job_id_of(call), call.caller))

    async def logs(call: Call) -> LogPage:
        lines = await engine.logs(job_id_of(call), call.query.after, call.query.limit)
        shown = [LogLineView(line.id, iso(line.at) or "", line.attempt, line.level, line.text) for line in lines]
        return LogPage(shown, lines[-1].id if len(lines) == call.query.limit else None)

    async def events(call: Call) -> JobEvents:
        return JobEvents([event_view(event) for event in await engine.job_events(job_id_of(call))])

    async def why(call: Call) -> Why:
        job = await engine.job(job_id_of(call))
        return Why(job.id, job.state, await engine.why(job.id))

    bad = ("bad_request", "unknown_task", "invalid_arguments", "unknown_queue")
    known = ("unknown_job",)
    changes = ("unknown_job", "job_state_conflict", "store_full")
    at = "/api/v1/jobs/{id}"
    tags = ("jobs",)
    return [
        Endpoint(
            "POST",
            "/api/v1/jobs",
            submit,
            "operate",
            "Submit one job or a list of them, in one commit; durable when answered",
            body=Submissions,
            answer=JobView | JobList,
            status=201,
            tags=tags,
            errors=(*bad, "idempotency_conflict", "refused", "store_full"),
        ),
        Endpoint("GET", "/api/v1/jobs", list_jobs, "read", "List jobs", query=JobsQuery, answer=JobPage, tags=tags),
        Endpoint(
            "GET",
            at,
            read,
            "read",
            "One job; may wait for its end",
            query=WaitQuery,
            answer=JobView,
            tags=tags,
            errors=known,
        ),
        Endpoint(
            "POST",
            at + "/cancel",
            cancel,
            "operate",
            "Ask a job to end",
            body=Reason,
            answer=JobView,
            tags=tags,
            errors=changes,
        ),
        Endpoint(
            "POST", at + "/retry", retry, "operate", "Run an ended job again", answer=JobView, tags=tags, errors=changes
        ),
        Endpoint(
            "POST", at + "/release", release, "operate", "Let a held job go", answer=JobView, tags=tags, errors=changes
        ),
        Endpoint(
            "GET",
            at + "/logs",
            logs,
            "read",
            "Lines of a job's log",
            query=LogsQuery,
            answer=LogPage,
            tags=tags,
            errors=known,
        ),
        Endpoint("GET", at + "/events", events, "read", "History of a job", answer=JobEvents, tags=tags, errors=known),
        Endpoint("GET", at + "/why", why, "read", "What holds a job back", answer=Why, tags=tags, errors=known),
        Endpoint("GET", "/api/v1/why/{id}", why, "read", "What holds a job back", answer=Why, tags=tags, errors=known),
    ]


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
        since=_instant("since", query.since),
        until=_instant("until", query.until),
        submitted_by=query.submitted_by,
        before_id=query.before,
        limit=query.limit,
    )


def _instant(parameter: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        # In a query string a plus that was not escaped arrives as a space.
        return from_iso(text.replace(" ", "+") if "T" in text else text)
    except (ValueError, OverflowError) as fault:
        raise BadRequest(
            f"query parameter {parameter}={text}: {fault}; write 2026-01-31T08:00:00Z", parameter=parameter, value=text
        ) from None

"""`/api/v1/jobs`: submit, list, read, wait, cancel, retry, release, logs, events, why."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.api.answer import ENCODER, json_answer
from labd.api.connection import is_draining, while_connected
from labd.api.endpoint import Call, Endpoint
from labd.api.events import EventView, event_view
from labd.api.job_filter import LARGEST_ID, JobsQuery, Page, filter_of
from labd.clock import iso
from labd.engine.job import ENDED, Cause, Job, JobState, JobView, Submission, view
from labd.engine.steps import Step
from labd.engine.views import JobSpan
from labd.errors import Draining, UnknownJob

if TYPE_CHECKING:
    from labd.engine.engine import Engine

LIST_AT_MOST = 1000
VIEWS_A_TURN = 20
WAIT_AT_MOST_S = 60.0
DRAIN_WAIT_S = 1.0


class Named(msgspec.Struct):
    """As much of a submission as tells whether it is a stop."""

    task: str = ""


NAMED = msgspec.json.Decoder(Named | list[Named])
Submissions = Submission | Annotated[list[Submission], Meta(max_length=LIST_AT_MOST)]


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


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """Body of an answer: one of the choices, a number, a text, or yes or no."""

    value: Any


class StepsView(msgspec.Struct):
    """What a job called and asked, in order."""

    steps: list[Step]


class JobPage(msgspec.Struct):
    """Jobs, newest first; `next` is the `before` of the next page, null at the end."""

    jobs: list[JobView]
    next: int | None = None


class JobPageText(msgspec.Struct):
    """A `JobPage` whose jobs are JSON already."""

    jobs: msgspec.Raw
    next: int | None = None


class JobList(msgspec.Struct):
    """The jobs of one list of submissions, in its order."""

    jobs: list[JobView]


class JobListText(msgspec.Struct):
    """A `JobList` whose jobs are JSON already."""

    jobs: msgspec.Raw


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


async def listed(jobs: list[Job]) -> JobListText:
    """The answer to a list of submissions, made over many turns of the loop.

    Why: the lists whose jobs share a commit are all answered when it lands. A thousand views take 20 ms, and those of
    ten lists in one turn would make a stop wait for as long as for all of them. As they stand now: what becomes of
    the jobs meanwhile is not on disk yet.
    """
    lines: list[bytes] = []
    standing = [copy(job) for job in jobs]
    for start in range(0, len(standing), VIEWS_A_TURN):
        if start:
            await asyncio.sleep(0)
        lines += [ENCODER.encode(view(job)) for job in standing[start : start + VIEWS_A_TURN]]
    return JobListText(msgspec.Raw(b"[%b]" % b",".join(lines)))


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
            return await listed(await engine.submit(call.body, call.caller))
        job, is_new = await engine.submit_one(call.body, call.caller)
        if is_new:
            return view(job)
        return json_answer(call.request, view(job), 200)

    def is_stop(body: bytes) -> bool:
        try:
            named = NAMED.decode(body)
        except (msgspec.MsgspecError, ValueError):
            return False
        if isinstance(named, list):
            return len(named) == 1 and engine.registry.is_stop(named[0].task)  # a stop goes alone
        return engine.registry.is_stop(named.task)

    async def list_jobs(call: Call) -> JobPageText:
        query: JobsQuery = call.query
        page = await engine.job_page(filter_of(query), query.brief)
        return JobPageText(msgspec.Raw(page.text), page.lowest_id if page.jobs == query.limit else None)

    async def span(call: Call) -> JobSpan:
        return await engine.job_span()

    async def read(call: Call) -> JobView:
        job_id = job_id_of(call)
        job = await engine.job(job_id)
        if call.query.wait > 0 and job.state not in ENDED:
            job = await wait_for(call.request, job_id, call.query.wait)
        return view(job)

    async def wait_for(request: Any, job_id: int, wait_s: float) -> Job:
        if is_draining(request):
            # Clients poll on to see the end: short polls then, but not as fast as they can send them.
            return await while_connected(request, engine.wait(job_id, min(wait_s, DRAIN_WAIT_S)), until_drain=False)
        try:
            return await while_connected(request, engine.wait(job_id, wait_s))
        except Draining:
            return await engine.job(job_id)

    async def cancel(call: Call) -> JobView:
        return view(await engine.cancel(job_id_of(call), call.caller, call.body.reason))

    async def retry(call: Call) -> JobView:
        return view(await engine.retry(job_id_of(call), call.caller))

    async def release(call: Call) -> JobView:
        return view(await engine.release(job_id_of(call), call.caller))

    async def answer(call: Call) -> JobView:
        return view(await engine.answer(job_id_of(call), call.body.value, call.caller))

    async def steps(call: Call) -> StepsView:
        job = await engine.job(job_id_of(call))
        return StepsView(await engine.steps(job.id))

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
            urgent_body=is_stop,
            errors=(*bad, "idempotency_conflict", "refused", "store_full"),
        ),
        Endpoint("GET", "/api/v1/jobs", list_jobs, "read", "List jobs", query=JobsQuery, answer=JobPage, tags=tags),
        Endpoint(
            "GET", "/api/v1/jobs/span", span, "read", "Between which numbers the jobs lie", answer=JobSpan, tags=tags
        ),
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
            "POST",
            at + "/answer",
            answer,
            "operate",
            "Answer the question of a waiting job",
            body=Answer,
            answer=JobView,
            tags=tags,
            errors=(*changes, "conflict", "bad_request"),
        ),
        Endpoint(
            "GET", at + "/steps", steps, "read", "Child jobs and questions", answer=StepsView, tags=tags, errors=known
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

"""`labctl job`: submit, watch and change jobs."""

from __future__ import annotations

import json
from typing import Any, cast

import click

from labctl import arguments, exits, render
from labctl.commands.root import LabGroup
from labctl.commands.verbs import finish, may_wait, override
from labctl.invocation import Invocation
from labctl.terminal import say

COLUMNS = [
    "id",
    "task",
    "state",
    "hold",
    "queue",
    "attempt",
    "submitted_by",
    "created_at",
    "finished_at",
    "tags",
    "args",
]
SHOWN = ["id", "task", "state", "queue", "created_at", "tags", "args"]
NESTED = ("code", "asks", "progress", "hold")
STATES = ["queued", "running", "waiting", "cancelling", "succeeded", "failed", "cancelled", "interrupted"]
Json = dict[str, Any]


@click.group(cls=LabGroup)
def command() -> None:
    """Submit, watch and change jobs."""


@command.command()
@click.argument("task", required=False)
@click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--args", "args_json", metavar="JSON", help="All arguments as one JSON object.")
@click.option("--file", "file", type=click.File("r"), help="A JSON list of submissions; - is standard input.")
@click.option("--queue")
@click.option("--priority", type=click.IntRange(0, 9), help="0 is first.")
@click.option("--tag", "tags", multiple=True)
@click.option("--at", "run_at", metavar="TIME", help="Not before this instant, or `10m` from now.")
@click.option("--expires-in", metavar="SPAN", help="Do not start later than this from now, such as 10m.")
@click.option("--job-timeout", "timeout_s", type=float, metavar="SECONDS", help="Limit of one attempt.")
@click.option("--max-attempts", type=click.IntRange(min=1))
@click.option("--key", "idempotency_key", metavar="KEY", help="The same key gives the same job back.")
@click.option("--no-cache", is_flag=True, help="Run it even if a recorded result for these arguments still counts.")
@override
@may_wait
@click.pass_obj
def submit(
    call: Invocation,
    /,
    task: str | None,
    pairs: tuple[str, ...],
    args_json: str | None,
    file: Any,
    run_at: str | None,
    expires_in: str | None,
    tags: tuple[str, ...],
    no_cache: bool,
    wait: bool,
    timeout: float | None,
    interrupt: str,
    **options: Any,
) -> int:
    """Submit TASK with its arguments; on disk when this returns. Does not wait unless --wait."""
    if (task is None) == (file is None):
        raise click.UsageError("say a TASK, or --file with a list of submissions")
    if file is not None:
        jobs = call.client.submit_many(arguments.submissions(file))
        call.listing({"jobs": jobs}, COLUMNS, [_row(job) for job in jobs], shown=_shown(jobs))
        return exits.DONE
    assert task is not None
    if run_at is not None:
        span_s = arguments.span_s(run_at)
        options["delay_s" if span_s is not None else "run_at"] = (
            span_s if span_s is not None else arguments.instant(run_at)
        )
    if expires_in is not None:
        options["expires_in_s"] = arguments.required_span_s(expires_in)
    args = arguments.task_arguments(call.client, task, pairs, args_json)
    job = call.client.submit(task, args, tags=list(tags) or None, no_cache=no_cache or None, **options)
    return finish(call, job, wait, timeout, interrupt)


@command.command("list")
@click.option("--state", "states", multiple=True, help=f"One or more of {', '.join(STATES)}; commas are fine.")
@click.option("--task")
@click.option("--queue")
@click.option("--tag")
@click.option("--since", metavar="TIME", help="Made after this instant, or `2h` ago.")
@click.option("--until", metavar="TIME", help="Made before this instant, or `2h` ago.")
@click.option("--text", help="In the task's name, arguments, result or error.")
@click.option("--by", "submitted_by", metavar="WHO", help="Who submitted it.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(
    call: Invocation,
    /,
    states: tuple[str, ...],
    since: str | None,
    until: str | None,
    limit: int,
    form: str,
    **filters: Any,
) -> int:
    """Jobs, newest first."""
    wanted = [state for one in states for state in one.split(",") if state]
    for state in wanted:
        if state not in STATES:
            raise click.UsageError(f"{state} is no state of a job; states: {', '.join(STATES)}")
    filters["since"] = arguments.moment(since)
    filters["until"] = arguments.moment(until)
    found: list[Json] = []
    page: Json = {"next": None}
    while len(found) < limit:
        page = call.client.jobs(state=wanted, before=page["next"], limit=min(500, limit - len(found)), **filters)
        found += page["jobs"]
        if page.get("next") is None or not page["jobs"]:
            break
    call.listing({"jobs": found, "next": page.get("next")}, COLUMNS, [_row(job) for job in found], form, _shown(found))
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.pass_obj
def show(call: Invocation, job_id: int) -> int:
    """Everything about one job."""
    job = call.client.job(job_id)
    call.emit(job, lambda: _page(job))
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Exit code 5 when it is over.")
@click.option("--on-interrupt", "interrupt", type=click.Choice(["ask", "cancel", "leave"]), default="ask")
@click.pass_obj
def wait(call: Invocation, job_id: int, timeout: float | None, interrupt: str) -> int:
    """Wait until a job has ended; the exit code is the job's."""
    return finish(call, call.client.job(job_id), True, timeout, interrupt)


@command.command()
@click.argument("job_id", type=int)
@click.option("--after", type=int, help="Only lines behind this number.")
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@click.pass_obj
def logs(call: Invocation, job_id: int, after: int | None, follow: bool) -> int:
    """Lines of a job's log."""
    seen: list[Json] = []
    while True:
        ended = not follow or call.client.job(job_id, wait_s=1)["state"] in _DONE
        while True:
            page = call.client.logs(job_id, after=after)
            for line in page["lines"]:
                after = line["id"]
                if call.as_json:
                    seen.append(line)
                else:
                    told = "" if line["level"] == "info" else f"{line['level']}: "
                    say(f"{render.instant(line['at'])} [{line['attempt']}] {told}{render.printable(line['text'])}")
            if page.get("next") is None or not page["lines"]:
                break
        if ended:
            break
    if call.as_json:
        say(render.to_json({"lines": seen, "next": None}))
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.option("--reason", metavar="TEXT")
@click.pass_obj
def cancel(call: Invocation, job_id: int, reason: str | None) -> int:
    """Ask a job to end; `cancelled` is said only when its work has ended."""
    job = call.client.cancel(job_id, reason)
    call.emit(job, lambda: f"job {job_id}: {job['state']}")
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.pass_obj
def retry(call: Invocation, job_id: int) -> int:
    """Queue a failed, cancelled or interrupted job again."""
    job = call.client.retry(job_id)
    call.emit(job, lambda: f"job {job_id}: {job['state']}")
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.pass_obj
def release(call: Invocation, job_id: int) -> int:
    """Let a held job go."""
    job = call.client.release(job_id)
    call.emit(job, lambda: f"job {job_id}: {job['state']}, released")
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.argument("value")
@click.pass_obj
def answer(call: Invocation, job_id: int, value: str) -> int:
    """Answer the question of a waiting job."""
    job = call.client.answer(job_id, value)
    call.emit(job, lambda: f"job {job_id}: answered, it goes on")
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.pass_obj
def steps(call: Invocation, job_id: int) -> int:
    """What a job called and asked, with the results."""
    found = call.client.steps(job_id)
    columns = ["ordinal", "kind", "what", "job_id", "done", "result", "by"]
    call.listing({"steps": found}, columns, [[render.cell(one.get(key)) for key in columns] for one in found])
    return exits.DONE


@command.command()
@click.argument("job_id", type=int)
@click.pass_obj
def why(call: Invocation, job_id: int) -> int:
    """Every cause that holds a job back."""
    answer = call.client.why(job_id)
    call.emit(answer, lambda: _causes(answer))
    return exits.DONE


_DONE = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


def _shown(jobs: list[Json]) -> list[str]:
    """The columns of the table; why a job is held is shown where one is."""
    held = any(job.get("hold") for job in jobs)
    return [name for name in COLUMNS if name in SHOWN or (held and name == "hold")]


def _row(job: Json) -> list[str]:
    values = dict(job)
    values["attempt"] = f"{job['attempt']}/{job['max_attempts']}"
    values["created_at"] = render.instant(job["created_at"])
    values["finished_at"] = render.instant(job["finished_at"])
    values["hold"] = (job.get("hold") or {}).get("code")
    values["args"] = " ".join(f"{name}={render.cell(value)}" for name, value in job["args"].items())
    return [render.cell(values.get(column)) for column in COLUMNS]


def _page(job: Json) -> str:
    error = cast("Json", job.get("error") or {})
    facts = {key: value for key, value in job.items() if value not in (None, [], {}, "") and key != "error"}
    text = "\n".join(_fact(key, value) for key, value in facts.items())
    if error:
        text += f"\nerror: {error.get('code')}: {render.printable(str(error.get('message', '')))}"
        if error.get("details"):
            text += f"\n  details: {json.dumps(error['details'], ensure_ascii=False)}"
        trace = str(error.get("traceback") or "").rstrip()
        text += "".join(f"\n  {render.printable(line)}" for line in trace.splitlines())
    return text


def _fact(key: str, value: Any) -> str:
    if key not in NESTED or not isinstance(value, dict):
        return render.pairs({key: value})
    inner = {name: one for name, one in value.items() if one not in (None, [], "")}
    return f"{key}:\n{render.pairs(inner, '  ')}"


def _causes(answer: Json) -> str:
    causes = answer.get("causes") or []
    if not causes:
        return f"job {answer['job']} is {answer['state']}; nothing holds it back"
    return "\n".join([f"job {answer['job']} is {answer['state']}:", *(f"- {_sentence(one)}" for one in causes)])


def _sentence(cause: Json) -> str:
    text = render.printable(str(cause.get("message") or cause.get("code"))).strip()
    text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".!?" else text + "."

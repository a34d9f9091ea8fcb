"""`labctl ingest run`, `retry`, `backfill` and `refresh`: what loads."""

from __future__ import annotations

import time
from typing import Any

import click

from labctl import arguments, exits, ingest_plans, ingest_words
from labctl.commands.ingest_watch import JobWatch, RunWatch
from labctl.commands.root import LabCommand
from labctl.commands.verbs import finish, until_end, waits
from labctl.invocation import Invocation
from labctl.waiting import Interrupted
from labd.errors import BadRequest

Json = dict[str, Any]


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--full", is_flag=True, help="List the whole source, also where new names sort last.")
@waits
@click.pass_obj
def run(call: Invocation, /, ingestion: str, full: bool, **waiting: Any) -> int:
    """Load every new file now; exit code 6 if some are bad."""
    return finish(call, call.client.run_ingestion(ingestion, full), **waiting, watch=RunWatch(call))


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.argument("path", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["quarantined", "held", "ignored"]),
    help="All of this state; quarantined unless said.",
)
@click.option("--no-run", is_flag=True, help="Leave it to the next run.")
@waits
@click.pass_obj
def retry(
    call: Invocation, /, ingestion: str, path: tuple[str, ...], states: tuple[str, ...], no_run: bool, **waiting: Any
) -> int:  # fmt: skip
    """Take bad files again, the named ones or all."""
    answer = call.client.retry_ingestion(ingestion, path, states, not no_run)
    told = f"{answer['ingestion']}: {ingest_words.count(answer['files'], 'file')} taken again"
    if answer["job"] is None:
        call.emit(answer, f"{told} by the next run")
        return exits.DONE
    if not call.as_json:
        call.tell(told)
    return finish(call, answer["job"], **waiting, watch=RunWatch(call))


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--since", metavar="TIME", help="Changed at this instant or later, or `2d` ago.")
@click.option("--until", metavar="TIME", help="Changed before this instant, or `2h` ago.")
@click.option("--match", metavar="GLOB", help="Whose path fits; * crosses folders.")
@click.option("--dry-run", is_flag=True, help="Only list the files.")
@waits
@click.pass_obj
def backfill(
    call: Invocation, /, ingestion: str, since: str | None, until: str | None, match: str | None, dry_run: bool,
    **waiting: Any,
) -> int:  # fmt: skip
    """Load the files of a span of time that are not in the table yet."""
    answer = call.client.backfill_ingestion(ingestion, arguments.moment(since), arguments.moment(until), match, dry_run)
    if answer["job"] is None:
        call.emit(answer, lambda: ingest_plans.backfill(answer))
        return exits.DONE
    if not call.as_json:
        call.tell(ingest_plans.backfill(answer))
    return finish(call, answer["job"], **waiting, watch=RunWatch(call))


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--until", metavar="TIME", help="Changed before this instant, or `2h` ago.")
@click.option("--match", metavar="GLOB", help="Whose path fits; * crosses folders.")
@click.option("--dry-run", is_flag=True, help="Only list the files.")
@waits
@click.pass_obj
def adopt(
    call: Invocation, /, ingestion: str, until: str | None, match: str | None, dry_run: bool, **waiting: Any
) -> int:
    """Note files as loaded that another loader has put into the table already; none is read."""
    answer = call.client.adopt_ingestion(ingestion, arguments.moment(until), match, dry_run)
    if answer["job"] is None:
        call.emit(answer, lambda: ingest_plans.adopted(answer))
        return exits.DONE
    return finish(call, answer["job"], **waiting, watch=JobWatch())


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--full", "mode", flag_value="full", help="Load all files again.")
@click.option("--new-only", "mode", flag_value="new_only", help="Load only files that no run has taken yet.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done, files, bytes and time.")
@click.option("--confirm", is_flag=True, help="Really drop the table.")
@click.option("--no-run", is_flag=True, help="Drop and forget, load later.")
@waits
@click.pass_obj
def refresh(
    call: Invocation, /, ingestion: str, mode: str | None, dry_run: bool, confirm: bool, no_run: bool,
    wait: bool, timeout: float | None, interrupt: str,
) -> int:  # fmt: skip
    """Drop the table and load it again."""
    if mode is None:
        raise BadRequest("refresh: say --full (all files again) or --new-only (only files that no run has taken)")
    answer = call.client.refresh_ingestion(ingestion, mode, dry_run, confirm, not no_run)
    if answer["job"] is None:
        call.emit(answer, lambda: ingest_plans.refresh(answer))
        return exits.DONE
    if not call.as_json:
        call.tell(ingest_plans.refresh(answer))
    job, deadline = answer["job"], None if timeout is None else time.monotonic() + timeout
    if wait and not no_run:
        try:
            job = until_end(call, job, timeout, interrupt, JobWatch())
        except Interrupted:
            return exits.INTERRUPTED
        following = (job.get("result") or {}).get("job")
        if exits.of_job(job) == exits.DONE and following is not None:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            return finish(call, call.client.job(following), wait, left_s, interrupt, RunWatch(call))
    return finish(call, job, wait, timeout, interrupt, JobWatch())

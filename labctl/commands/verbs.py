"""What every command shares that asks for a job and waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import click

from labctl import exits, render, summaries
from labctl.invocation import Invocation
from labctl.waiting import Interrupted, OnInterrupt, follow, person

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]


def waits(function: F) -> F:
    """Add `--no-wait`, `--timeout` and `--on-interrupt`; the command gets them as `wait`, `timeout` and `interrupt`."""
    return _limits(click.option("--wait/--no-wait", default=True, help="Wait for the end; the default.")(function))


def may_wait(function: F) -> F:
    """The same for a command that does not wait unless asked."""
    return _limits(click.option("--wait/--no-wait", default=False, help="Wait for the end.")(function))


def _limits(function: F) -> F:
    function = click.option(
        "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop waiting, exit code 5; the job goes on."
    )(function)
    return click.option(
        "--on-interrupt",
        "interrupt",
        type=click.Choice(["ask", "cancel", "leave"]),
        default="ask",
        help="What Ctrl-C means for the job; `ask` leaves it where nobody can be asked.",
    )(function)


def override(function: F) -> F:
    """Add `--override`."""
    return click.option(
        "--override", metavar="REASON", help="Take the job though its stock is short; the reason is recorded."
    )(function)


class Watch:
    """How a job is shown while it is waited for, and what is said of it at the end."""

    def __init__(self) -> None:
        self.progress = render.ProgressLine()

    def text(self, job: Json) -> str:
        """The line that shows how far it is."""
        return render.progress_text(job)

    def ended(self, job: Json, seconds: float) -> str:
        """The last word."""
        return summaries.ended(job, seconds)

    def code(self, job: Json) -> int:
        """The exit code."""
        return exits.of_job(job)


def finish(
    call: Invocation, job: Json, wait: bool, timeout: float | None, interrupt: str, watch: Watch | None = None
) -> int:
    """Wait as asked, print the job, return the exit code."""
    if not wait:
        call.emit(job, lambda: f"job {job['id']} {job['task']}: {job['state']}; `labctl job wait {job['id']}`")
        return exits.DONE
    watch, started = watch or Watch(), time.monotonic()
    try:
        job = until_end(call, job, timeout, interrupt, watch)
    except Interrupted as cut:
        if call.as_json:
            call.emit(cut.job, "")
        return exits.INTERRUPTED
    seconds = time.monotonic() - started
    code = watch.code(job)
    if code == exits.STILL_GOING:
        call.emit(job, lambda: f"{render.progress_text(job)}; still going, `labctl job wait {job['id']}`")
    else:
        call.emit(job, lambda: watch.ended(job, seconds))
    return code


def until_end(call: Invocation, job: Json, timeout: float | None, interrupt: str, watch: Watch) -> Json:
    """The job when it has ended, is held, or as it is when the time is over.

    Raises:
        Interrupted: After Ctrl-C.
    """
    return follow(
        call.client,
        job,
        timeout_s=timeout,
        on_interrupt=cast("OnInterrupt", interrupt),
        progress=watch.progress,
        ask=person(),
        text=watch.text,
    )


def ask_for(
    call: Invocation,
    task: str,
    args: Mapping[str, Any],
    wait: bool,
    timeout: float | None,
    interrupt: str,
    override: str | None = None,
) -> int:
    """Submit a verb of a wing as a job; arguments that are None are left to the task."""
    given = {name: value for name, value in args.items() if value is not None}
    return finish(call, call.client.submit(task, given, override=override), wait, timeout, interrupt)

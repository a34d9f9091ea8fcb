"""`labctl top`: the bench in a terminal, as it changes."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from labctl import exits
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.terminal import say
from labd.errors import DaemonUnreachable

GOING = ("running", "cancelling", "waiting", "queued", "interrupted")
SHOWN_JOBS = 20
Json = dict[str, Any]


@click.command(cls=LabCommand)
@click.option("--every", type=click.FloatRange(0.2, 3600), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="One picture, then end; also where standard output is no terminal.")
@click.option("--jobs", type=click.IntRange(0, 200), default=SHOWN_JOBS, show_default=True, help="So many at most.")
@click.pass_obj
def command(call: Invocation, every: float, once: bool, jobs: int) -> int:
    """Devices, queues, what needs a person and what runs, live; Ctrl-C ends it."""
    status, going = _look(call, jobs)
    if call.as_json:
        call.emit({"status": status, "jobs": going}, "")
        return exits.DONE
    from rich.console import Console
    from rich.live import Live

    from labctl.top_view import screen

    if once or not sys.stdout.isatty():
        console = Console(width=None if sys.stdout.isatty() else 120, color_system=None)
        with console.capture() as drawn:
            console.print(screen(status, going, _now()))
        say(drawn.get().rstrip())
        return exits.ATTENTION if status.get("attention") else exits.DONE
    heard, problem = time.monotonic(), ""
    try:
        with Live(screen(status, going, _now()), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(every)
                try:
                    status, going = _look(call, jobs)
                    heard, problem = time.monotonic(), ""
                except DaemonUnreachable as fault:
                    problem = fault.message
                stale_s = time.monotonic() - heard if problem else 0.0
                live.update(screen(status, going, _now(), stale_s, problem), refresh=True)
    except KeyboardInterrupt:
        return exits.DONE


def _look(call: Invocation, limit: int) -> tuple[Json, list[Json]]:
    status = call.client.status()
    going = call.client.jobs(state=GOING, limit=limit)["jobs"] if limit else []
    return status, sorted(going, key=lambda job: (GOING.index(job["state"]), -job["id"]))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

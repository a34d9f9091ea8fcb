"""`labctl execute`: run a task and print its result."""

from __future__ import annotations

import click

from labctl import arguments, exits, render
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation


@click.command(cls=LabCommand)
@click.argument("task")
@click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--args", "args_json", metavar="JSON", help="All arguments as one JSON object.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=3600.0, metavar="SECONDS", help="Limit of the answer."
)
@click.pass_obj
def command(call: Invocation, task: str, pairs: tuple[str, ...], args_json: str | None, timeout: float) -> int:
    """Run TASK in one request and print what it returned, as `POST /execute/TASK` does.

    For work that lasts `labctl task run` is the better one: it shows progress and survives a lost connection.
    """
    answer = call.client.execute(task, arguments.task_arguments(call.client, task, pairs, args_json), timeout)
    result = answer.get("result")
    call.emit(answer, lambda: render.pairs(result) if isinstance(result, dict) else render.cell(result))
    return exits.DONE

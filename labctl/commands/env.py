"""`labctl env`: the interpreters that tasks run in."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, render
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation

COLUMNS = [
    "name",
    "state",
    "version",
    "tasks",
    "workers",
    "busy",
    "size",
    "simulated",
    "requires",
    "python",
    "folder",
    "reason",
]
SHOWN = ["name", "state", "version", "tasks", "workers", "busy", "size", "simulated", "reason"]
SYNC_TIMEOUT_S = 3600.0
Json = dict[str, Any]


@click.group(cls=LabGroup)
def command() -> None:
    """The interpreters that tasks run in."""


@command.command("list")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(call: Invocation, form: str) -> int:
    """Environments, their workers, and what is wrong with task files; exit code 6 if anything is."""
    answer = call.client.environments()
    rows = [[render.cell(one.get(key)) for key in COLUMNS] for one in answer["environments"]]
    call.listing(answer, COLUMNS, rows, form, SHOWN)
    for fault in answer["faults"]:
        call.tell(render.printable(f"{fault['file']}:{fault.get('line') or 0}: {fault['message']}"))
    used = [one for one in answer["environments"] if one["state"] in ("faulty", "missing")]
    return exits.ATTENTION if used or answer["faults"] else exits.DONE


@command.command()
@click.argument("name")
@click.option("--fresh", is_flag=True, help="Make it anew even if its requirements are the same.")
@click.pass_obj
def sync(call: Invocation, name: str, fresh: bool) -> int:
    """Let the daemon make an environment, and wait for it."""
    made = call.client.sync_environment(name, fresh, SYNC_TIMEOUT_S)
    call.emit(made, lambda: f"{name}: {made['state']}, Python {made['version']} ({made['python']})")
    return exits.DONE

"""`labctl status`."""

from __future__ import annotations

import click

from labctl import quick
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation


@click.command(cls=LabCommand)
@click.pass_obj
def command(call: Invocation) -> int:
    """State of the daemon, its queues and wings."""
    return quick.status(call)

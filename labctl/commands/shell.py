"""`labctl shell`: an interactive prompt."""

from __future__ import annotations

import click

from labctl.commands.root import LabCommand
from labctl.invocation import Invocation


@click.command(cls=LabCommand)
@click.pass_obj
def command(call: Invocation) -> int:
    """An interactive prompt: connect, activate B, position, stop, disconnect, and every labctl command."""
    from labctl.shell import Shell

    return Shell(call).run()

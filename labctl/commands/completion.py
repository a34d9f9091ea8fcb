"""`labctl completion`: what a shell needs to complete labctl's words."""

from __future__ import annotations

import click

from labctl import exits
from labctl.commands.root import LabCommand, cli
from labctl.invocation import Invocation
from labctl.terminal import say

_WHERE = {
    "bash": "~/.bashrc:  source <(labctl completion bash)",
    "zsh": "~/.zshrc:  source <(labctl completion zsh)",
    "fish": "~/.config/fish/completions/labctl.fish:  labctl completion fish > that file",
}


@click.command(cls=LabCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def command(call: Invocation, shell: str) -> int:
    """Print the completion script; `source <(labctl completion bash)` in ~/.bashrc."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    text = kind(cli, {}, "labctl", "_LABCTL_COMPLETE").source()
    if call.as_json:
        call.emit({"shell": shell, "script": text, "where": _WHERE[shell]}, "")
    else:
        say(text)
    return exits.DONE

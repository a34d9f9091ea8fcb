"""The tree of commands; a group's module is imported when one of its commands is asked for.

Why names and help lines stand in a table here: `labctl --help` and completion must not import every group, and a
command must not pay for its neighbours. Groups of other packages come through the entry-point group
`labctl.commands`, looked up only for a name that is not in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from labctl import exits
from labctl.invocation import Invocation
from labd import __version__

ENTRY_POINTS = "labctl.commands"
COMMANDS: dict[str, str] = {
    "status": "State of the daemon, its queues and wings.",
    "resort": "The plate carousel.",
    "ot2": "The OT-2 pipetting robot.",
    "inventory": "Stock of the reservoirs, to the microlitre.",
    "snapshot": "Versions of each customer's graph: load, switch, go back, ask.",
    "ingest": "New files into tables, each once.",
    "job": "Submit, watch and change jobs.",
    "queue": "Pause, resume and limit queues.",
    "schedule": "Jobs by cron or interval.",
    "task": "What can be asked for.",
    "env": "The interpreters that tasks run in.",
    "events": "What happens, as it happens.",
    "execute": "Run a task and print its result.",
    "alert": "What needs a person, and who has seen it.",
    "audit": "Who did what.",
    "token": "Tokens for access over TCP.",
    "top": "The bench in a terminal, as it changes.",
    "doctor": "Is everything as it should be?",
    "bundle": "A support bundle, without secrets.",
    "host": "Other daemons and their tokens.",
    "shell": "An interactive prompt.",
    "completion": "Completion for bash, zsh and fish.",
}


class LabCommand(click.Command):
    """A command that understands `--json` and `--host` behind its name as well as in front of it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        taken = {name for parameter in self.params for name in parameter.opts}
        for option in _everywhere():
            if not taken & set(option.opts):
                self.params.append(option)


class LabGroup(click.Group):
    """A group whose commands are `LabCommand`s."""

    command_class = LabCommand


class InnerGroup(LabGroup):
    """A group inside a group; `--json` and `--host` may stand in front of its commands as well."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.extend(_everywhere())


class RootGroup(LabGroup):
    """The top: imports a group when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Built-in groups in their order, then those of other packages."""
        return [*COMMANDS, *sorted(set(_foreign()) - set(COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One group or command."""
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(f"labctl.commands.{cmd_name}").command
            return command
        foreign = _foreign().get(cmd_name)
        if foreign is None:
            return None
        found: click.Command = foreign.load()
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help page from the table, without importing a group."""
        rows = list(COMMANDS.items())
        rows += [(name, "(from another package)") for name in sorted(set(_foreign()) - set(COMMANDS))]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _foreign() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _everywhere() -> list[click.Option]:
    def set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Invocation).as_json = True

    def set_host(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value:
            ctx.ensure_object(Invocation).host = value

    return [
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=set_json, help="Print the API's own objects."
        ),
        click.Option(
            ["--host"], metavar="HOST", expose_value=False, callback=set_host, help="Address or name of the daemon."
        ),
    ]


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"], "obj": None})
@click.option("--json", "as_json", is_flag=True, help="Print the API's own objects.")
@click.option("--host", metavar="HOST", help="unix:/path, http://host:port, https://host or a name of `host list`.")
@click.version_option(__version__, prog_name="labctl")
@click.pass_context
def cli(ctx: click.Context, as_json: bool, host: str | None) -> None:
    """Ask labd for things.

    The daemon is --host, LABD_HOST, the host chosen with `labctl host use`, or the usual socket. Exit codes: 0 done,
    1 job failed, 2 usage, 3 daemon unreachable, 4 refused, 5 still going when the wait ended, 6 attention needed,
    130 interrupted.
    """
    if ctx.obj is None:
        ctx.obj = Invocation()
    ctx.obj.host = host or ctx.obj.host
    ctx.obj.as_json = as_json or ctx.obj.as_json


def run(arguments: Sequence[str], call: Invocation | None = None) -> int:
    """Run one command line through click; returns the exit code.

    Raises:
        LabdError: As the command raised it.
    """
    own = call or Invocation()
    try:
        code = cli.main(list(arguments), prog_name="labctl", standalone_mode=False, obj=own)
    except click.exceptions.NoArgsIsHelpError as fault:
        own.tell(fault.format_message())
        return exits.USAGE
    except click.ClickException as fault:
        where = fault.ctx.command_path if isinstance(fault, click.UsageError) and fault.ctx is not None else "labctl"
        own.tell(f"labctl: {fault.format_message()}\n  next: {where} --help")
        return exits.USAGE
    except SystemExit:  # click's answer to a reader that went away; nothing else ends so outside its standalone mode
        raise BrokenPipeError from None
    except (click.Abort, KeyboardInterrupt):
        own.tell("labctl: interrupted")
        return exits.INTERRUPTED
    finally:
        if call is None:
            own.close()
    return code if isinstance(code, int) else exits.DONE

"""The `labd` command group; what a command needs is imported when it runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import labd as package
from labd.errors import LabdError, SettingsFault

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="One settings file for all others."
)
STATE = click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="State folder.")
SOCKET = click.option("--socket", "socket_path", type=click.Path(path_type=Path), help="Path of the Unix socket.")


class LateGroup(click.Group):
    """A group whose subcommands live in modules that are imported when they are asked for."""

    late: dict[str, str] = {}  # noqa: RUF012 one table for the one group

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted({*super().list_commands(ctx), *self.late})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now if need be."""
        where = self.late.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = where.partition(":")
        command = getattr(__import__(module, fromlist=[attribute]), attribute)
        return command if isinstance(command, click.Command) else None


class LabdGroup(LateGroup):
    """`labd`."""

    late = {  # noqa: RUF012
        "backup": "labd.backup_commands:backup",
        "restore": "labd.backup_commands:restore",
        "env": "labd.environment_commands:env",
    }


class SimulateGroup(LateGroup):
    """`labd simulate`."""

    late = {  # noqa: RUF012
        "resort": "labd.resort.virtual.simulator_command:simulate_resort",
        "ot2": "labd.ot2.simulator_command:simulate_ot2",
    }


@click.group(cls=LabdGroup)
@click.version_option(package.__version__, prog_name="labd")
def labd() -> None:
    """The lab daemon: it owns this host's devices and stores, with a durable queue inside."""


def _overrides(state: Path | None, socket_path: Path | None) -> dict[str, Any]:
    return {
        "state_dir": None if state is None else str(state),
        "socket": None if socket_path is None else str(socket_path),
    }


def _failing(work: Callable[[], int]) -> None:
    """Run to an exit code; an error of labd is one clear line."""
    try:
        code = work()
    except LabdError as fault:
        click.echo(f"labd: {fault.message}", err=True)
        code = os.EX_CONFIG if isinstance(fault, SettingsFault) else 1
    sys.exit(code)


@labd.command()
@CONFIG
@STATE
@SOCKET
def run(config: Path | None, state: Path | None, socket_path: Path | None) -> None:
    """Serve in the foreground until SIGTERM; SIGHUP reads the settings again."""
    import gc

    from labd import lean

    gc.disable()  # until `process.tune`: what is imported stays
    lean.import_lightly()
    from labd import app, process, settings

    wings = app.factories()

    def load() -> settings.Settings:
        return settings.load(wings, config=config, overrides=_overrides(state, socket_path))

    _failing(lambda: process.run(load, wings))


@labd.command()
@CONFIG
@STATE
@SOCKET
@click.option("--show-origin", is_flag=True, help="Also say where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="The settings as JSON, for programs.")
def check(config: Path | None, state: Path | None, socket_path: Path | None, show_origin: bool, as_json: bool) -> None:
    """Read the settings and name every fault, or say that there is none."""
    from labd import app, settings
    from labd import check as checks

    wings = app.factories()
    overrides = _overrides(state, socket_path)
    if as_json:

        def dump() -> int:
            import msgspec

            loaded = settings.load(wings, config=config, overrides=overrides)
            click.echo(msgspec.json.encode(loaded, enc_hook=str).decode())
            return 0

        _failing(dump)
    lines, ok = checks.check(wings, config=config, overrides=overrides, show_origin=show_origin)
    click.echo("\n".join(lines))
    sys.exit(0 if ok else 1)


@labd.command()
@click.option("--exit", "ends", is_flag=True, help="End after the tour; 0 only if every step succeeded.")
def demo(ends: bool) -> None:
    """Start labd on virtual devices in a temporary folder, take a short tour, and serve until Ctrl-C."""
    from labd import demo as tour

    sys.exit(tour.run(ends))


@labd.group(cls=SimulateGroup)
def simulate() -> None:
    """Run a virtual device as a process of its own."""


@labd.group()
def audit() -> None:
    """Look at the audit of a state folder without a daemon."""


@audit.command()
@CONFIG
@STATE
def verify(config: Path | None, state: Path | None) -> None:
    """Follow the hash chain of the audit; exit code 6 where it is broken."""
    from labd import app, settings
    from labd.engine.audit_file import verify_file

    def work() -> int:
        folder = state or settings.load(app.factories(), config=config).state_dir
        report = verify_file(folder / "labd.db")
        click.echo(
            json.dumps({"ok": report.ok, "entries": report.entries, "head": report.head, "problem": report.problem})
        )
        return 0 if report.ok else 6

    _failing(work)

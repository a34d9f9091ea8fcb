"""`labd env list|sync|check|remove`: the interpreters of tasks, made and looked at without a daemon.

A daemon that runs sees a changed environment by itself and starts new workers in it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

import labd as package
from labd import telemetry
from labd.engine import environment_check, lending
from labd.engine.environments import Environments
from labd.errors import LabdError, SettingsFault, UnknownEnvironment
from labd.settings import Settings

CONFIG = click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The daemon's settings file.")
STATE = click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="State folder.")


@click.group("env")
def env() -> None:
    """The interpreters that tasks run in."""


@env.command("list")
@CONFIG
@STATE
def list_(config: Path | None, state: Path | None) -> None:
    """Every environment of the settings: its interpreter, or why it has none."""

    def work(settings: Settings, environments: Environments) -> int:
        for name in sorted(environments.settings):
            view = environments.view(name)
            told = f"Python {view.version} ({view.python})" if view.python else view.reason
            simulated = ", simulated" if environments.of(name).simulated else ""
            click.echo(f"{name}: {view.state}{simulated}, {told}")
            if view.requires:
                click.echo(f"  requires {', '.join(view.requires)}")
            if view.python and view.reason:
                click.echo(f"  {view.reason}")
        return 0

    _work(config, state, work)


@env.command()
@click.argument("names", nargs=-1)
@click.option("--fresh", is_flag=True, help="Make it anew even if its requirements are the same.")
@CONFIG
@STATE
def sync(names: tuple[str, ...], fresh: bool, config: Path | None, state: Path | None) -> None:
    """Make the environments that are not there yet or not as the settings want them; all, unless NAMES are given.

    One that cannot be made stays as it was, and the others are made all the same.
    """

    def work(settings: Settings, environments: Environments) -> int:
        failed = 0
        for name in names or sorted(name for name, one in environments.settings.items() if one.requires):
            try:
                view = environments.sync(name, fresh)
            except UnknownEnvironment:
                raise
            except LabdError as fault:
                failed += 1
                click.echo(f"{name}: {fault.message}", err=True)
                if environments.record(name) is not None:
                    click.echo(f"{name}: the one that was made before stays in use", err=True)
                continue
            click.echo(f"{name}: {view.state}, Python {view.version} ({view.python})")
        return 1 if failed else 0

    _work(config, state, work)


@env.command()
@click.argument("names", nargs=-1)
@CONFIG
@STATE
def check(names: tuple[str, ...], config: Path | None, state: Path | None) -> None:
    """Import what the task files need, each in its environment, and say what is missing; exit code 6 if anything is."""

    def work(settings: Settings, environments: Environments) -> int:
        for name in names:
            environments.of(name)
        with tempfile.TemporaryDirectory(prefix="labd-env-check-") as folder:
            lend = lending.lend(Path(folder) / "lend", Path(package.__file__).parent)
            reports = asyncio.run(environment_check.check(environments, settings.tasks, lend, Path(folder), os.environ))
        faulty = False
        for report in reports:
            if names and report.name not in names:
                continue
            faulty = faulty or bool(report.problems)
            head = (
                "no task file needs it"
                if not report.files
                else f"{_count(report.files, 'file')}, {_count(report.tasks, 'task')}"
            )
            click.echo(f"{report.name}: {head}{'' if report.problems else ', nothing is missing'}")
            for problem in report.problems:
                click.echo(f"  {problem}")
        return 6 if faulty else 0

    _work(config, state, work)


@env.command()
@click.argument("name")
@CONFIG
@STATE
def remove(name: str, config: Path | None, state: Path | None) -> None:
    """Delete what was made for an environment, whether the settings still name it or not."""

    def work(settings: Settings, environments: Environments) -> int:
        count = environments.remove(name)
        click.echo(f"{name}: {_count(count, 'folder')} removed")
        return 0

    _work(config, state, work)


def _work(config: Path | None, state: Path | None, work: Callable[[Settings, Environments], int]) -> None:
    from labd import app, settings

    telemetry.configure(level="critical")  # what is wrong is told in full by the command itself
    try:
        overrides = {"state_dir": None if state is None else str(state.absolute())}
        loaded = settings.load(app.factories(), config=config, overrides=overrides)
        environments = Environments(
            loaded.state_dir / "env", loaded.environments, os.environ, lambda line: click.echo(line, err=True)
        )
        code = work(loaded, environments)
    except LabdError as fault:
        click.echo(f"labd: {fault.message}", err=True)
        code = os.EX_CONFIG if isinstance(fault, SettingsFault) else 1
    sys.exit(code)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

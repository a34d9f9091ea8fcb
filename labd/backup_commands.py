"""`labd backup FILE` and `labd restore FILE --state DIR`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from labd.archive import Manifest
from labd.backup import back_up_resting, back_up_running
from labd.clock import SystemClock
from labd.engine import catalog_copy
from labd.errors import DaemonUnreachable, LabdError, SettingsFault
from labd.restore import restore as restore_archive
from labd.settings import Settings, load

FILE = click.Path(path_type=Path)


@click.command("backup")
@click.argument("file", type=FILE)
@click.option("--config", type=FILE, help="The settings file that the daemon uses.")
@click.option("--state", type=FILE, help="The state folder, if not as in the settings.")
@click.option("--socket", "socket_path", type=FILE, help="The daemon's socket, if not LABD_HOST's or the settings'.")
def backup(file: Path, config: Path | None, state: Path | None, socket_path: Path | None) -> None:
    """Write databases and files of tasks into FILE (a tar, mode 0600), from the daemon or else its state folder."""
    clock = SystemClock()
    host = os.environ.get("LABD_HOST", "")  # where labctl would ask
    if socket_path is None and state is None and config is None and host.startswith("unix:"):
        socket_path = Path(host.removeprefix("unix:"))
    try:
        settings = _settings(config, {"state_dir": _text(state), "socket": _text(socket_path)})
        if file.is_dir():
            day = datetime.fromtimestamp(clock.wall(), UTC)
            file = file / f"labd-{settings.host.name}-{day:%Y%m%dT%H%M%SZ}.tar"
        file = file.absolute()
        try:
            manifest = back_up_running(settings.socket, file, clock)
            source = f"the daemon at {settings.socket}"
        except DaemonUnreachable as unreachable:
            try:
                manifest = back_up_resting(settings.state_dir, file, clock)
            except LabdError as fault:
                raise LabdError(f"{unreachable.message}; without a daemon: {fault.message}") from fault
            source = f"the resting state folder {settings.state_dir}"
    except LabdError as fault:
        _fail(fault)
    click.echo(f"{file}: {_summary(manifest)}, from {source}")
    if manifest.catalog is not None:
        click.echo(
            f"  the catalogue of the tables is in it; the tables' own files are not: copy {catalog_copy.WAREHOUSE} of "
            "the state folder after this, by any tool, or name a warehouse elsewhere in [ingest.catalog.default]"
        )
    if manifest.work is not None and manifest.work.content.left_out_files:
        content = manifest.work.content
        click.echo(
            f"labd: {content.left_out_files} files of tasks are left out, too large or no regular files: "
            f"{', '.join(content.left_out)}",
            err=True,
        )


@click.command("restore")
@click.argument("file", type=FILE)
@click.option("--config", type=FILE, help="The settings file that the daemon uses.")
@click.option("--state", type=FILE, help="The state folder, if not as in the settings.")
@click.option("--force", is_flag=True, help="Replace databases that are there; they are kept as *.before-restore-N.")
def restore(file: Path, config: Path | None, state: Path | None, force: bool) -> None:
    """Make the state folder what FILE holds. The daemon must be stopped.

    Queued physical jobs are then held until somebody releases them: they may have run since the backup was made.
    """
    clock = SystemClock()
    try:
        state_dir = state.absolute() if state is not None else _settings(config, {}).state_dir
        had_catalog = catalog_copy.catalog_path(state_dir).exists()
        manifest, kept = restore_archive(file.absolute(), state_dir, clock, force)
    except LabdError as fault:
        _fail(fault)
    click.echo(f"{state_dir}: restored {_summary(manifest)}")
    for path in kept:
        click.echo(f"  the old one is kept as {path}")
    if manifest.catalog is not None and had_catalog:
        click.echo(
            "  the catalogue of the tables that is there stays, as it goes with the files that are there; what the "
            "ledger has forgotten of it is taken over by the next runs"
        )
    elif manifest.catalog is not None:
        click.echo(f"  the catalogue of the tables is put back; it needs its files, {catalog_copy.WAREHOUSE}, as well")
    click.echo("  at its next start labd holds queued physical jobs; `labctl job list --state queued` shows them")


def _settings(config: Path | None, overrides: Mapping[str, Any]) -> Settings:
    return load({}, config=config, overrides=overrides)


def _fail(fault: LabdError) -> NoReturn:
    """One clear line, exit code 78 for settings and 1 for the rest, as the other commands of `labd`."""
    click.echo(f"labd: {fault.message}", err=True)
    sys.exit(os.EX_CONFIG if isinstance(fault, SettingsFault) else 1)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _summary(manifest: Manifest) -> str:
    size_mb = sum(member.size_bytes for member in manifest.databases.values()) / 1e6
    work = "" if manifest.work is None else f", {manifest.work.content.files} files of tasks"
    made = f"made at {manifest.created_at} by labd {manifest.labd_version}"
    return f"backup of {manifest.host} {made} ({size_mb:.1f} MB{work})"

"""Writes a man page for labctl and for each of its commands, from the commands' own help.

    python3 .ci/man.py [--output dist/man] && man dist/man/labctl-ingest-run.1

Needs labd and click-man beside the interpreter (`pip install labd click-man`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import click
from click_man.core import write_man_pages

import labd
from labctl.commands.root import cli

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write the man pages of labctl.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "man")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    context = click.Context(cli, info_name="labctl")
    names = cli.list_commands(context)  # a group's module is imported when it is asked for: ask for all of them
    cli.commands.update({name: command for name in names if (command := cli.get_command(context, name)) is not None})
    write_man_pages("labctl", cli, version=labd.__version__, target_dir=str(folder))
    print(f"{folder}: {len(list(folder.glob('*.1')))} pages")


if __name__ == "__main__":
    main()

"""Each command of labctl has a man page, made from its own help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from labctl.commands.root import cli

ROOT = Path(__file__).resolve().parents[2]


def commands(group: click.Command, context: click.Context, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every group and command below this one."""
    yield path
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            inner = group.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from commands(inner, click.Context(inner, context, info_name=name), (*path, name))


def test_every_command_has_its_page(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / ".ci" / "man.py"), "--output", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    wanted = {"-".join(path) for path in commands(cli, click.Context(cli, info_name="labctl"), ("labctl",))}
    assert len(wanted) > 100
    assert wanted == {path.stem for path in tmp_path.glob("*.1")}
    stop = (tmp_path / "labctl-resort-stop.1").read_text()
    assert "Never queued" in stop
    assert "No certified safety function" in stop

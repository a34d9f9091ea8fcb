"""`labctl queue`: pause, resume and limit queues."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, render
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation

COLUMNS = ["name", "priority", "concurrency", "queued", "running", "held", "paused", "paused_by", "paused_reason"]
Json = dict[str, Any]


@click.group(cls=LabGroup)
def command() -> None:
    """Pause, resume and limit queues."""


@command.command("list")
@click.pass_obj
def list_(call: Invocation) -> int:
    """All queues and how much waits in them."""
    queues = call.client.queues()
    call.listing({"queues": queues}, COLUMNS, [[render.cell(one.get(key)) for key in COLUMNS] for one in queues])
    return exits.DONE


@command.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Shown to everybody whose job waits.")
@click.pass_obj
def pause(call: Invocation, name: str, reason: str) -> int:
    """Start no job of a queue; what runs goes on."""
    return _show(call, call.client.pause_queue(name, reason))


@command.command()
@click.argument("name")
@click.pass_obj
def resume(call: Invocation, name: str) -> int:
    """Start the jobs of a queue again."""
    return _show(call, call.client.resume_queue(name))


@command.command("set")
@click.argument("name")
@click.option("--concurrency", type=click.IntRange(min=0), help="So many jobs at once.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 is first.")
@click.pass_obj
def set_(call: Invocation, name: str, concurrency: int | None, priority: int | None) -> int:
    """Another limit or priority."""
    if concurrency is None and priority is None:
        raise click.UsageError("say --concurrency, --priority or both")
    return _show(call, call.client.change_queue(name, concurrency, priority))


def _show(call: Invocation, queue: Json) -> int:
    def text() -> str:
        state = "paused" if queue.get("paused") else "open"
        return f"queue {queue['name']}: {state}, {queue['concurrency']} at once, priority {queue['priority']}"

    call.emit(queue, text)
    return exits.DONE

"""`labctl snapshot simulate` and `demo-data`: snapshots that somebody else would bring."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, snapshot_words
from labctl.commands.root import LabCommand
from labctl.commands.snapshot_watch import SnapshotWatch
from labctl.commands.verbs import finish, may_wait
from labctl.invocation import Invocation

ROWS = click.IntRange(1, 1_000_000)


@click.command(cls=LabCommand)
@click.option("--customer", default="customer1", show_default=True)
@click.option("--rows", type=ROWS, metavar="PEOPLE", help="How many people it holds; else about as many as serve.")
@click.option("--damage", type=click.Choice(["cut", "dangling"]), help="Lay down a broken one.")
@may_wait
@click.pass_obj
def simulate(call: Invocation, /, customer: str, rows: int | None, damage: str | None, **waiting: Any) -> int:
    """Drop a new made-up snapshot of a customer, as a producer would; with --wait follow it until it serves.

    Refused unless the settings say `allow_simulate = true`, as the demo's do.
    """
    answer = call.client.simulate_snapshot(customer, rows, damage)
    if not waiting["wait"] or not answer["jobs"]:
        call.emit(answer, lambda: snapshot_words.laid(answer))
        return exits.DONE
    call.tell(snapshot_words.laid(answer))
    return finish(call, call.client.job(answer["jobs"][0]), **waiting, watch=SnapshotWatch(call))


@click.command("demo-data", cls=LabCommand)
@click.option("--rows", type=ROWS, metavar="PEOPLE", help="Of the first customer; the others have more. Else 1000.")
@click.option("--damaged", is_flag=True, help="A broken one as well, to see what becomes of it.")
@click.pass_obj
def demo_data(call: Invocation, rows: int | None, damaged: bool) -> int:
    """Lay down a first snapshot for each customer of the demo that has none."""
    answer = call.client.snapshot_demo_data(rows, damaged)
    call.emit(answer, lambda: snapshot_words.laid(answer))
    return exits.DONE

"""`labctl inventory reservoir`: where stock is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from labctl import exits, render, volumes
from labctl.commands.root import InnerGroup
from labctl.invocation import Invocation
from labctl.routes import given
from labd.errors import BadRequest

F = TypeVar("F", bound=Callable[..., Any])
COLUMNS = [
    *("key", "color", "position", "device", "slot", "well", "location", "capacity_ul", "dead_volume_ul"),
    *("evaporation_rate_ul_per_hour", "closed_rate_ul_per_hour", "lid", "lot", "expires_at", "threshold_ul", "low_ul"),
]
SHOWN = ["key", "color", "position", "location", "capacity_ul", "dead_volume_ul", "evaporation_rate_ul_per_hour", "lot"]
VOLUMES = {"capacity": "capacity_ul", "dead_volume": "dead_volume_ul", "threshold": "threshold_ul", "low": "low_ul"}


@click.group(cls=InnerGroup)
def reservoir() -> None:
    """Where stock is kept: place, capacity, lot, expiry."""


def _facts(function: F) -> F:
    options = [
        click.option("--color", metavar="TEXT", help="Colour or content."),
        click.option("--position", metavar="TEXT", help="On the deck, such as B1."),
        click.option("--device", metavar="NAME", help="The robot that takes from it."),
        click.option("--slot", metavar="TEXT", help="Deck slot of that robot, such as 3."),
        click.option("--well", metavar="TEXT", help="Well of the labware there, such as B1."),
        click.option("--location", metavar="TEXT", help="Such as bench 2."),
        click.option("--capacity", metavar="VOLUME"),
        click.option("--dead-volume", metavar="VOLUME", help="What the pipette cannot reach."),
        click.option("--evaporation-rate", "evaporation_rate_ul_per_hour", type=float, metavar="UL_PER_HOUR"),
        click.option("--closed-rate", "closed_rate_ul_per_hour", type=float, metavar="UL_PER_HOUR"),
        click.option("--lot", metavar="TEXT"),
        click.option("--expires", "expires_at", metavar="DATE", help="Such as 2027-03-01; '' for never."),
        click.option("--threshold", metavar="VOLUME", help="Jobs must leave so much."),
        click.option("--low", metavar="VOLUME", help="Below this it is called low."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@reservoir.command("list")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(call: Invocation, form: str) -> int:
    """All reservoirs in the configured order."""
    answer = call.client.inventory()
    rows = [[render.cell(one.get(name)) for name in COLUMNS] for one in answer["reservoirs"]]
    call.listing(answer, COLUMNS, rows, form, SHOWN)
    return exits.DONE


@reservoir.command()
@click.argument("key")
@_facts
@click.pass_obj
def add(call: Invocation, /, key: str, **facts: Any) -> int:
    """A new reservoir KEY; `labctl inventory init KEY=VOLUME` then says how much is in it."""
    said = _said(facts)
    answer = call.client.add_reservoir({"key": key, "color": said.pop("color", key), **said})
    one = answer["reservoir"]
    call.emit(
        answer, lambda: f"{one['key']}: added; `labctl inventory init {one['key']}=VOLUME` says how much is in it"
    )
    return exits.DONE


@reservoir.command()
@click.argument("name")
@_facts
@click.pass_obj
def edit(call: Invocation, /, name: str, **facts: Any) -> int:
    """Change what is said; the rest stays."""
    said = _said(facts)
    if not said:
        raise BadRequest(f"{name}: say what to change, such as --lot TEXT or --evaporation-rate 3")
    answer = call.client.edit_reservoir(name, said)
    changed = {key: answer["reservoir"].get(key) for key in said}
    call.emit(answer, lambda: f"{answer['reservoir']['key']}: " + render.pairs(changed).replace("\n", ", "))
    return exits.DONE


@reservoir.command()
@click.argument("name")
@click.option("--reason", metavar="TEXT", required=True)
@click.option("--operator", metavar="NAME")
@click.pass_obj
def remove(call: Invocation, name: str, reason: str, operator: str | None) -> int:
    """Take a reservoir out of use; its movements stay in the history."""
    answer = call.client.remove_reservoir(name, reason, operator)
    call.emit(answer, f"{name}: removed")
    return exits.DONE


def _said(facts: dict[str, Any]) -> dict[str, Any]:
    """What was given, as the API's fields."""
    said = given(**facts)
    for name, field in VOLUMES.items():
        if name in said:
            said[field] = volumes.microlitres(said.pop(name), name.replace("_", " "))
    return said

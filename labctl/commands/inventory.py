"""`labctl inventory`: paint and other stock, to the microlitre."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from labctl import exits, stock_words, volumes
from labctl.commands.inventory_maintenance import maintenance
from labctl.commands.inventory_mongo import command as import_mongo
from labctl.commands.inventory_records import export, history, import_
from labctl.commands.inventory_reservoir import reservoir
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation
from labd.errors import BadRequest, BadVolume

F = TypeVar("F", bound=Callable[..., Any])
NEGATIVE = {"ignore_unknown_options": True}  # -0.2 is a volume


@click.group(cls=LabGroup)
def command() -> None:
    """Stock of the reservoirs.

    Volumes are millilitres unless a unit stands behind them: 15, 15ml, 15000ul.
    """


for _one in (maintenance, history, export, import_, import_mongo, reservoir):
    command.add_command(_one)


def operator_option(function: F) -> F:
    """Add `--operator`."""
    return click.option("--operator", metavar="NAME", help="Who does it.")(function)


@command.command(context_settings=NEGATIVE)
@click.argument("words", nargs=-1, required=True, metavar="VOLUME... | NAME=VOLUME...")
@click.option("--reset", is_flag=True, help="Also stock that exists; corrected by movements, nothing is deleted.")
@click.option("--reason", metavar="TEXT", default="", help="Why it is reset.")
@click.option("--evaporation-rate", type=float, metavar="UL_PER_HOUR")
@operator_option
@click.pass_obj
def init(
    call: Invocation,
    /,
    words: tuple[str, ...],
    reset: bool,
    reason: str,
    evaporation_rate: float | None,
    operator: str | None,
) -> int:
    """Say how much is there: `init 15 15 15` in the configured order, or `init red=15 blue=15000ul`."""
    found = volumes.named(words, order_of(call))
    answer = call.client.initialize_inventory(found, operator, reset, reason, evaporation_rate)
    call.emit(answer, lambda: stock_words.movements(answer))
    return exits.DONE


@command.command()
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def show(call: Invocation, form: str) -> int:
    """What is there, what of it is promised to jobs, and what is left."""
    answer = call.client.inventory()
    if form == "csv":
        columns = [key for key in answer["reservoirs"][0] if key != "details"] if answer["reservoirs"] else ["key"]
        rows = [[stock_words.text_of(one.get(key)) for key in columns] for one in answer["reservoirs"]]
        call.listing(answer, columns, rows, "csv")
    elif form == "json":
        call.listing(answer, [], [], "json")
    else:
        call.emit(answer, lambda: stock_words.overview(answer))
    return exits.DONE


@command.command(context_settings=NEGATIVE)
@click.argument("threshold", required=False)
@click.pass_obj
def check(call: Invocation, threshold: str | None) -> int:
    """Tell what is below THRESHOLD (else below the configured level); exit code 6 if anything is."""
    threshold_ul = None if threshold is None else volumes.microlitres(threshold, "threshold")
    if threshold_ul is not None and threshold_ul < 0:
        raise BadVolume(f"threshold {threshold}: {threshold_ul:g} ul is negative; give 0 or more", value=threshold)
    answer = call.client.check_inventory(threshold_ul)
    call.emit(answer, lambda: stock_words.check(answer))
    return exits.ATTENTION if answer["warnings"] else exits.DONE


@command.command(context_settings=NEGATIVE)
@click.argument("words", nargs=-1, required=True, metavar="VOLUME... | NAME=VOLUME... [OPERATOR]")
@operator_option
@click.option("--cause", metavar="TEXT", default="")
@click.option("--lot", metavar="TEXT", default="", help="Of the paint that was filled in.")
@click.pass_obj
def restock(call: Invocation, words: tuple[str, ...], operator: str | None, cause: str, lot: str) -> int:
    """Add to the stock: `restock 10 5 8 --operator NAME` in the configured order, or `restock red=10 ...`."""
    given, name = operator_of(words, operator)
    found = volumes.named(given, order_of(call))
    answer = call.client.restock_inventory(found, name, cause, lot)
    call.emit(answer, lambda: stock_words.movements(answer))
    return exits.DONE


@command.command(context_settings=NEGATIVE)
@click.argument("name")
@click.argument("level", required=False)
@operator_option
@click.pass_obj
def measure(call: Invocation, name: str, level: str | None, operator: str | None) -> int:
    """Tell that LEVEL was read in reservoir NAME, and see what the readings say of its evaporation."""
    answer: dict[str, Any] = {"movements": []}
    if level is not None:
        answer = call.client.measure_reservoir(name, volumes.microlitres(level, name), operator)
    found = {**call.client.evaporation_fit(name), "movements": answer["movements"]}
    done = stock_words.movements(answer) + "\n" if answer["movements"] else ""
    call.emit(found, lambda: done + stock_words.fit(found))
    return exits.DONE


@command.command(context_settings=NEGATIVE)
@click.argument("name")
@click.argument("change")
@click.option("--reason", metavar="TEXT", required=True, help="Why the level is not what was computed.")
@operator_option
@click.pass_obj
def adjust(call: Invocation, name: str, change: str, reason: str, operator: str | None) -> int:
    """Correct the level of reservoir NAME by CHANGE, such as -0.2 or 50ul."""
    answer = call.client.adjust_reservoir(name, volumes.microlitres(change, name), reason, operator)
    call.emit(answer, lambda: stock_words.movements(answer))
    return exits.DONE


@command.command()
@click.argument("name")
@click.argument("state", type=click.Choice(["open", "closed"]))
@operator_option
@click.pass_obj
def lid(call: Invocation, name: str, state: str, operator: str | None) -> int:
    """Tell that the lid of a reservoir is open or closed: it evaporates at another rate from now on."""
    answer = call.client.set_lid(name, state, operator)
    one = answer["reservoir"]
    rate = one["evaporated_rate_in_force_ul_per_hour"]
    call.emit(answer, lambda: f"{one['key']}: lid {one['lid']}, evaporates {rate:g} ul/h from now on")
    return exits.DONE


@command.command()
@click.pass_obj
def forecast(call: Invocation) -> int:
    """When each reservoir runs out, and during which queued job, with the earliest and the latest time."""
    answer = call.client.inventory_forecast()
    call.emit(answer, lambda: stock_words.forecast(answer))
    return exits.DONE


@command.command()
@click.pass_obj
def verify(call: Invocation) -> int:
    """Replay every movement from zero; exit code 6 if a balance differs."""
    answer = call.client.verify_inventory()
    call.emit(answer, lambda: stock_words.verified(answer))
    return exits.DONE if answer["ok"] else exits.ATTENTION


def order_of(call: Invocation) -> list[str]:
    """The reservoirs in the configured order."""
    return [one["key"] for one in call.client.inventory()["reservoirs"]]


def operator_of(words: tuple[str, ...], operator: str | None) -> tuple[list[str], str]:
    """The volumes and the operator, who may stand last as in the systems before.

    Raises:
        BadRequest: Nobody is named, or two are.
    """
    given, last = list(words), None
    if not volumes.is_volume(given[-1]):
        last = given.pop()
    if last is not None and operator is not None and last != operator:
        raise BadRequest(f"operator {last} and --operator {operator}; name one")
    name = (operator or last or "").strip()
    if not name:
        raise BadRequest("restock: operator missing; say who fills it in: --operator NAME")
    return given, name

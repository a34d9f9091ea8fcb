"""`labctl inventory maintenance`: check, restock and verify, asking at each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from labctl import exits, stock_words, volumes
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.waiting import person
from labd.errors import BadRequest

Json = dict[str, Any]
Ask = Callable[[str], str]


@click.command(cls=LabCommand, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, metavar="[VOLUME... | NAME=VOLUME...]")
@click.option("--operator", metavar="NAME", help="Who fills it in.")
@click.option("--threshold", metavar="VOLUME", help="What counts as low; else the configured level.")
@click.option("--yes", is_flag=True, help="Ask nothing: fill in what was said, else what is low up to its capacity.")
@click.pass_obj
def maintenance(
    call: Invocation, words: tuple[str, ...], operator: str | None, threshold: str | None, yes: bool
) -> int:
    """Check the levels, restock, and verify the books; exit code 6 if something is low or wrong at the end."""
    ask = None if yes else person()
    if not yes and ask is None:
        raise BadRequest("maintenance asks at each step and nobody can be asked here; say --yes and --operator NAME")
    threshold_ul = None if threshold is None else volumes.microlitres(threshold, "threshold")
    steps: Json = {"check": call.client.check_inventory(threshold_ul), "restock": None}
    call.tell(stock_words.check(steps["check"]))
    order = [one["key"] for one in steps["check"]["reservoirs"]]
    wanted = volumes.named(words, order) if words else fillings(steps["check"])
    if ask is not None:
        wanted = _asked(ask, order, wanted)
    wanted = {name: volume_ul for name, volume_ul in wanted.items() if volume_ul != 0}
    if wanted:
        name = (operator or (ask("operator: ") if ask is not None else "")).strip()
        if not name:
            raise BadRequest("restock: operator missing; say who fills it in: --operator NAME")
        told = ", ".join(f"{key} {volumes.shown(volume_ul)}" for key, volume_ul in wanted.items())
        if ask is None or ask(f"restock {told}? [y/N] ").strip().lower() in ("y", "yes"):
            steps["restock"] = call.client.restock_inventory(wanted, name, "maintenance")
            call.tell(stock_words.movements(steps["restock"]))
        else:
            call.tell("nothing restocked")
    steps["verify"] = call.client.verify_inventory()
    steps["after"] = call.client.check_inventory(threshold_ul)
    call.emit(steps, lambda: f"{stock_words.verified(steps['verify'])}\n{stock_words.check(steps['after'])}")
    return exits.DONE if steps["verify"]["ok"] and not steps["after"]["warnings"] else exits.ATTENTION


def fillings(check: Json) -> dict[str, float]:
    """What would fill each low reservoir to its capacity, rounded down to a tenth of a millilitre."""
    found = {}
    for one in check["reservoirs"]:
        room_ul = (one["capacity_ul"] - one["level_ul"]) // 100 * 100
        if one["verdict"] in ("low", "out_of_stock") and room_ul > 0:
            found[one["key"]] = float(room_ul)
    return found


def _asked(ask: Ask, order: list[str], proposed: dict[str, float]) -> dict[str, float]:
    """A volume for each reservoir; an empty line takes the proposal."""
    found = {}
    for name in order:
        proposal = proposed.get(name, 0.0)
        text = ask(f"{name}: add how much? [{volumes.shown(proposal)}] ").strip()
        found[name] = volumes.microlitres(text, name) if text else proposal
    return found

"""`labctl inventory history`, `export` and `import`: the movements as others read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from labctl import arguments, exits, render, stock_words
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.stock_documents import checked
from labctl.terminal import say
from labd.errors import BadRequest

KINDS = ["restock", "consumption", "evaporation", "adjustment", "reservation", "release"]
PAGE = 1000


@click.command(cls=LabCommand)
@click.argument("name", required=False)
@click.option("--color", "--reservoir", "color", metavar="NAME", help="The same as NAME.")
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--job", type=int, metavar="ID")
@click.option("--since", metavar="TIME", help="After this instant, or `2h` ago.")
@click.option("--until", metavar="TIME", help="Before this instant, or `2h` ago.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, volumes in ul.")
@click.pass_obj
def history(
    call: Invocation,
    /,
    name: str | None,
    color: str | None,
    kind: str | None,
    job: int | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_csv: bool,
) -> int:
    """Movements, newest first: what changed, by whom, why, for which job, before and after."""
    if name and color and name != color:
        raise BadRequest(f"reservoir {name} and --color {color}; name one")
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": None}
    while len(found) < limit:
        page = call.client.inventory_history(
            name or color, kind, job, arguments.moment(since), arguments.moment(until), page["next"],
            min(PAGE, limit - len(found)),
        )  # fmt: skip
        found += page["movements"]
        if page.get("next") is None or not page["movements"]:
            break
    answer = {"movements": found, "next": page.get("next")}
    rows = stock_words.movement_rows(found)
    call.listing(
        answer, stock_words.MOVEMENTS, rows, "csv" if as_csv else "table",
        ["id", "at", "reservoir", "kind", "volume_ul", "after_ul", "actor", "cause", "job_id"],
    )  # fmt: skip
    return exits.DONE


@click.command(cls=LabCommand)
@click.argument("path", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def export(call: Invocation, path: Path | None) -> int:
    """All reservoirs and movements as JSON, to PATH or to standard output."""
    document = call.client.export_inventory()
    if path is None:
        say(render.to_json(document))
        return exits.DONE
    path.write_text(render.to_json(document) + "\n", encoding="utf-8")
    told = f"{len(document['reservoirs'])} reservoirs, {len(document['movements'])} movements written to {path}"
    call.emit({"path": str(path), "movements": len(document["movements"])}, told)
    return exits.DONE


@click.command("import", cls=LabCommand)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--operator", metavar="NAME", required=True, help="Who takes the levels over.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; stands in every movement it makes.")
@click.pass_obj
def import_(call: Invocation, file: Any, operator: str, reason: str) -> int:
    """Bring all reservoirs to the levels of an export FILE (- is standard input); all of them, or none."""
    try:
        document = json.load(file)
    except ValueError as fault:
        raise BadRequest(f"{file.name}: not JSON ({fault})") from None
    if not isinstance(document, dict):
        raise BadRequest(f"{file.name}: no export of an inventory; `labctl inventory export FILE` writes one")
    answer = call.client.import_inventory(checked(document, file.name), operator, reason)
    call.emit(answer, lambda: stock_words.movements(answer))
    return exits.DONE

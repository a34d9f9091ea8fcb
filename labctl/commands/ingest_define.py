"""`labctl ingest create`, `edit` and `delete`: what is loaded, from where, to where."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, ingest_plans, ingest_words
from labctl.commands.ingest_options import definition_options
from labctl.commands.ingest_watch import JobWatch
from labctl.commands.root import LabCommand
from labctl.commands.verbs import finish, waits
from labctl.ingest_definition import merged, of_file, of_options
from labctl.invocation import Invocation
from labd.errors import BadRequest

NEEDED = {"--source": ("source", "url"), "--format": ("format", "type"), "--table": ("destination", "table")}


@click.command(cls=LabCommand)
@click.argument("name", required=False)
@click.option("--from", "path", metavar="FILE", help="A definition in TOML or JSON; the options go over it.")
@click.option("--paused", is_flag=True, help="It does not run by itself yet.")
@definition_options
@click.pass_obj
def create(call: Invocation, /, name: str | None, path: str | None, paused: bool, **given: Any) -> int:
    """Make an ingestion: every new file below a source goes into a table, once.

    Such as: labctl ingest create readings --source file:///data/in --format jsonl --table lab.readings --every 60
    """
    definition = complete(name, path, given)
    one = call.client.create_ingestion(definition, paused)
    call.emit(one, lambda: f"{ingest_words.ingestion(one)}\n  next: labctl ingest run {one['name']}")
    return exits.DONE


def complete(name: str | None, path: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """A whole definition.

    Raises:
        BadRequest: Something that every definition has was not said.
    """
    definition: dict[str, Any] = merged(of_file(path) if path else {}, of_options(given))
    if name is not None:
        definition["name"] = name
    if not definition.get("name"):
        raise BadRequest("create: say the NAME of the ingestion")
    missing = [option for option, (table, key) in NEEDED.items() if not (definition.get(table) or {}).get(key)]
    if missing:
        raise BadRequest(f"create: {', '.join(missing)} must be said, or stand in a file of --from")
    return definition


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--from", "path", metavar="FILE", help="A whole definition in its place; the options go over it.")
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@click.option("--unset", metavar="KEY", multiple=True, help="Take one back to what it is unless said, as schedule.")
@definition_options
@click.pass_obj
def edit(call: Invocation, /, ingestion: str, path: str | None, new_name: str | None, **given: Any) -> int:
    """Change what is said; source and table stay once files were taken."""
    change = of_options(given)
    if new_name is not None:
        change["name"] = new_name
    if path is not None:
        whole = merged({"name": ingestion, **of_file(path)}, change)
        one = call.client.replace_ingestion(ingestion, whole)
    elif change:
        if "schedule" in change and change["schedule"] is not None:
            change["schedule"] = {"cron": None, "interval_s": None, **change["schedule"]}
        one = call.client.edit_ingestion(ingestion, change)
    else:
        raise BadRequest("edit: say what is to change, such as --every 60 or --set quality.min_rows=100")
    call.emit(one, lambda: ingest_words.ingestion(one))
    return exits.DONE


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--drop-table", is_flag=True, help="Its table as well, with all rows; needs --confirm NAME.")
@click.option("--confirm", metavar="NAME", help="The name of the ingestion once more.")
@waits
@click.pass_obj
def delete(
    call: Invocation, /, ingestion: str, drop_table: bool, confirm: str | None, **waiting: Any
) -> int:  # fmt: skip
    """Take an ingestion out of service; its table and the record of its runs stay."""
    answer = call.client.delete_ingestion(ingestion, drop_table, confirm)
    if answer["job"] is None:
        call.emit(answer, lambda: ingest_plans.deleted(answer))
        return exits.DONE
    if not call.as_json:
        call.tell(ingest_plans.deleted(answer))
    return finish(call, answer["job"], **waiting, watch=JobWatch())

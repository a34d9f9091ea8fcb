"""`labctl ingest`: new files into tables, each once."""

from __future__ import annotations

import click

from labctl import exits, ingest_words
from labctl.commands.ingest_define import create, delete, edit
from labctl.commands.ingest_load import adopt, backfill, refresh, retry, run
from labctl.commands.ingest_look import estimate, files, preview, query, runs, schema
from labctl.commands.ingest_transfer import export, import_
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation
from labctl.render import instant


@click.group(cls=LabGroup)
def command() -> None:
    """New files into tables, each once.

    An ingestion looks at a source, compares with its ledger, and puts what is new into an Iceberg table; a file and the
    note that it is in are one commit, whatever crashes.
    """


for _one in (create, edit, delete, run, runs, files, retry, preview, estimate, backfill, refresh):
    command.add_command(_one)
for _one in (adopt, export, import_, query, schema):
    command.add_command(_one)


@command.command("list")
@click.option("--status", type=click.Choice(["active", "paused", "deleted"]))
@click.option("--tag", metavar="TAG")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(call: Invocation, status: str | None, tag: str | None, form: str) -> int:
    """All ingestions, by name."""
    answer = call.client.ingestions(status, tag)
    rows = [ingest_words.row(one, form == "csv") for one in answer["ingestions"]]
    call.listing(answer, ingest_words.COLUMNS, rows, form, ingest_words.SHOWN)
    return exits.DONE


@command.command()
@click.argument("ingestion")
@click.pass_obj
def show(call: Invocation, ingestion: str) -> int:
    """Everything about one; exit code 6 if something of it needs a person."""
    one = call.client.ingestion(ingestion)
    call.emit(one, lambda: ingest_words.ingestion(one))
    needs = one["waits"] or ingest_words.of_states(one, *ingest_words.BAD)
    return exits.ATTENTION if needs else exits.DONE


@command.command()
@click.argument("ingestion")
@click.pass_obj
def pause(call: Invocation, ingestion: str) -> int:
    """Let it run by itself no more; by hand it runs all the same."""
    one = call.client.pause_ingestion(ingestion)
    call.emit(one, lambda: f"{one['name']} is paused")
    return exits.DONE


@command.command()
@click.argument("ingestion")
@click.pass_obj
def resume(call: Invocation, ingestion: str) -> int:
    """Let it run by itself again."""
    one = call.client.resume_ingestion(ingestion)
    call.emit(one, lambda: _resumed(one["name"], instant(one["next_run_at"])))
    return exits.DONE


def _resumed(name: str, at: str) -> str:
    return f"{name} is active, {f'next run {at}' if at else 'it runs when asked'}"

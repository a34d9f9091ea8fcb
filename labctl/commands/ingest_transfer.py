"""`labctl ingest export` and `import`: definitions from one daemon to another, and from an older loader."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from labctl import exits, ingest_plans, render
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.terminal import say
from labd.errors import BadRequest


@click.command(cls=LabCommand)
@click.argument("ingestion", nargs=-1)
@click.option("--out", "path", metavar="FILE", help="Into a file; else to standard output.")
@click.pass_obj
def export(call: Invocation, ingestion: tuple[str, ...], path: str | None) -> int:
    """Definitions as a document for `import`, without secrets; all unless some are named."""
    document = call.client.export_ingestions(ingestion)
    text = render.to_json(document)
    if path is None:
        say(text)
        return exits.DONE
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as fault:
        raise BadRequest(f"{path}: cannot be written: {fault.strerror}") from None
    call.tell(f"{len(document['ingestions'])} definitions in {path}")
    return exits.DONE


@click.command("import", cls=LabCommand)
@click.argument("file", required=False)
@click.option("--database-url", metavar="URL", help="Of an older loader's database, env:NAME, or - for standard input.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be taken over, and what the settings need.")
@click.option("--activate", is_flag=True, help="Those that were active there run by themselves at once.")
@click.option("--tenant", metavar="ID", help="Only rows of this tenant.")
@click.option("--catalog", metavar="NAME", help="A catalogue of labd for all of them, instead of their own.")
@click.option("--engine", type=click.Choice(["arrow", "spark", "auto"]))
@click.pass_obj
def import_(
    call: Invocation, /, file: str | None, database_url: str | None, dry_run: bool, activate: bool,
    tenant: str | None, catalog: str | None, engine: str | None,
) -> int:  # fmt: skip
    """Take definitions over: FILE is what `export` wrote, or an `ingestions` table as JSON or CSV; - is standard input.

    Secrets are never taken: the answer says which references the settings need. Exit code 6 if any was left out.
    """
    if (file is None) == (database_url is None):
        raise BadRequest("import: give a FILE or --database-url, one of them")
    answer = call.client.import_ingestions(
        text=None if file is None else _read(file), database_url=None if database_url is None else _url(database_url),
        dry_run=dry_run, activate=activate, tenant=tenant, catalog=catalog, engine=engine,
    )  # fmt: skip
    call.emit(answer, lambda: ingest_plans.imported(answer))
    is_whole = all(one["verdict"] in ("created", "would_create", "there") for one in answer["ingestions"])
    return exits.DONE if is_whole else exits.ATTENTION


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise BadRequest(f"{file}: cannot be read: {getattr(fault, 'strerror', None) or 'it is no UTF-8'}") from None


def _url(text: str) -> str:
    """Why other ways than the word itself: a command line is seen by everybody on the host."""
    if text == "-":
        return sys.stdin.readline().strip()
    if text.startswith("env:"):
        value = os.environ.get(text[4:], "")
        if not value:
            raise BadRequest(f"import: the environment has no {text[4:]}")
        return value
    return text

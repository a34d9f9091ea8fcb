"""`labctl ingest runs`, `files`, `schema`, `estimate`, `preview` and `query`: what was loaded, and what would be."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, ingest_plans, ingest_words, render
from labctl.commands.ingest_define import complete
from labctl.commands.ingest_options import definition_options
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.terminal import say
from labd.errors import BadRequest

PAGE = 1000
FORMS = click.Choice(["table", "json", "csv"])
RUN_STATES = ["running", "succeeded", "partial", "failed", "cancelled"]
FILE_STATES = ["pending", "loaded", "quarantined", "ignored", "held", "vanished"]


@click.command(cls=LabCommand)
@click.argument("ingestion", required=False)
@click.argument("run", required=False, type=click.IntRange(min=1))
@click.option("--state", type=click.Choice(RUN_STATES))
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--format", "form", type=FORMS, default="table")
@click.pass_obj
def runs(
    call: Invocation, /, ingestion: str | None, run: int | None, state: str | None, limit: int, form: str
) -> int:  # fmt: skip
    """Runs, newest first; with RUN everything about one."""
    if ingestion is not None and run is not None:
        one = call.client.ingestion_run(ingestion, run)
        call.emit(one, lambda: ingest_words.run(one))
        return exits.DONE
    found: list[dict[str, Any]] = []
    before: int | None = None
    while len(found) < limit:
        page = call.client.ingestion_runs(ingestion, state, min(PAGE, limit - len(found)), before)
        found, before = found + page["runs"], page["next"]
        if before is None:
            break
    rows = [ingest_words.run_row(one, form == "csv") for one in found]
    call.listing({"runs": found, "next": before}, ingest_words.RUN_COLUMNS, rows, form)
    return exits.DONE


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--state", type=click.Choice(FILE_STATES))
@click.option("--bad", is_flag=True, help="Quarantined and held ones; exit code 6 if there are any.")
@click.option("--run", "run", type=click.IntRange(min=1), metavar="RUN")
@click.option("--match", metavar="GLOB", help="Over the whole path; * crosses folders.")
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--format", "form", type=FORMS, default="table")
@click.pass_obj
def files(
    call: Invocation, /, ingestion: str, state: str | None, bad: bool, run: int | None, match: str | None,
    limit: int, form: str,
) -> int:  # fmt: skip
    """Files that were found, by path, with state, rows and what is wrong."""
    if bad and state is not None:
        raise BadRequest("files: say --bad or --state, not both")
    found: list[dict[str, Any]] = []
    after: str | None = None
    for one in ingest_words.BAD if bad else (state,):
        after = None
        while len(found) < limit:
            page = call.client.ingestion_files(ingestion, one, run, match, min(PAGE, limit - len(found)), after)
            found, after = found + page["files"], page["next"]
            if after is None:
                break
    rows = [ingest_words.file_row(one, form == "csv") for one in found]
    call.listing(
        {"files": found, "next": after}, ingest_words.FILE_COLUMNS, rows, form, ingest_words.FILES_SHOWN
    )  # fmt: skip
    if after is not None and form == "table" and not call.as_json:
        call.tell(f"the first {len(found)}; more with --limit")
    return exits.ATTENTION if bad and found else exits.DONE


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.pass_obj
def schema(call: Invocation, ingestion: str) -> int:
    """Columns of its table, each version with what brought it; exit code 6 if a change waits for a person."""
    answer = call.client.ingestion_schema(ingestion)
    call.emit(answer, lambda: ingest_words.schema(answer))
    return exits.ATTENTION if answer["waits"] else exits.DONE


@click.command(cls=LabCommand)
@click.argument("ingestion")
@click.option("--full", is_flag=True, help="As if nothing had been loaded.")
@click.pass_obj
def estimate(call: Invocation, ingestion: str, full: bool) -> int:
    """What the next run would load, and how long it may take; lists the source."""
    answer = call.client.estimate_ingestion(ingestion, full)
    call.emit(answer, lambda: ingest_plans.estimate(answer))
    return exits.DONE


@click.command(cls=LabCommand)
@click.argument("ingestion", required=False)
@click.option("--from", "path", metavar="FILE", help="Of a definition that is not made yet, instead of INGESTION.")
@click.option("--rows", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--files", "count", type=click.IntRange(1, 100), default=3, show_default=True, help="The newest.")
@click.option("--csv", "as_csv", is_flag=True)
@definition_options
@click.pass_obj
def preview(
    call: Invocation, /, ingestion: str | None, path: str | None, rows: int, count: int, as_csv: bool, **given: Any
) -> int:  # fmt: skip
    """Rows as a load would read them; nothing is written.

    With --from, or with --source, --format and --table, it tries a definition before it is made.
    """
    said = any(value not in (None, ()) for value in given.values())
    if path is not None or said:
        definition = complete(ingestion or "preview-only", path, given)
        answer = call.client.preview_definition(definition, rows, count)
    elif ingestion is not None:
        answer = call.client.preview_ingestion(ingestion, rows, count)
    else:
        raise BadRequest("preview: say INGESTION, or a definition by --from or options")
    _table(call, answer, as_csv, ingest_words.previewed(answer))
    return exits.ATTENTION if any(one["fault"] for one in answer["files"]) else exits.DONE


@click.command(cls=LabCommand)
@click.argument("table")
@click.option("--columns", metavar="NAME,...", default="", help="All of the files' unless said.")
@click.option("--where", metavar="FILTER", default="", help="Such as \"amount > 3 and region == 'eu'\".")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--all", "whole", is_flag=True, help="Also where each row came from: _labd_file, _labd_version, ...")
@click.option("--csv", "as_csv", is_flag=True)
@click.pass_obj
def query(call: Invocation, /, table: str, columns: str, where: str, limit: int, whole: bool, as_csv: bool) -> int:
    """Rows of an ingestion's table, or of any [CATALOG/]NAMESPACE.TABLE."""
    chosen = [name.strip() for name in columns.split(",") if name.strip()]
    answer = call.client.query_table(table, chosen, where, limit)
    if not whole and not chosen and not call.as_json:
        answer = ingest_words.without_origin(answer)
    _table(call, answer, as_csv, ingest_words.queried(answer))
    return exits.DONE


def _table(call: Invocation, answer: dict[str, Any], as_csv: bool, told: str) -> None:
    if call.as_json:
        say(render.to_json(answer))
        return
    names, rows = ingest_words.rows(answer)
    if as_csv:
        say(render.to_csv(names, rows))
    elif names:
        say(render.to_table(names, rows) if rows else "  ".join(names))
    if not as_csv or answer.get("more"):
        call.tell(told)

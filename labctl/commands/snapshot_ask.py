"""`labctl snapshot query`: Cypher on the version that serves."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from labctl import exits, render, snapshot_words
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.terminal import say
from labd.errors import BadRequest


@click.command(cls=LabCommand)
@click.argument("customer")
@click.argument("cypher")
@click.option("-p", "--param", "pairs", metavar="NAME=VALUE", multiple=True, help="A parameter, JSON or text.")
@click.option("--database", metavar="NAME|TIMESTAMP", help="Another version of the customer, such as a held one.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS")
@click.option("--limit", type=click.IntRange(min=1), metavar="ROWS")
@click.option("--csv", "as_csv", is_flag=True)
@click.pass_obj
def query(
    call: Invocation,
    /,
    customer: str,
    cypher: str,
    pairs: tuple[str, ...],
    database: str | None,
    timeout: float | None,
    limit: int | None,
    as_csv: bool,
) -> int:
    """Ask the version that serves CUSTOMER, read only; CYPHER such as "MATCH (n) RETURN count(n)", - is standard input.

    Time and rows are limited by the settings; --timeout and --limit ask for less.
    """
    text = sys.stdin.read() if cypher == "-" else cypher
    answer = call.client.query_snapshot(customer, text, parameters(pairs), timeout, limit, database)
    if call.as_json:
        say(render.to_json(answer))
        return exits.DONE
    rows = snapshot_words.rows(answer)
    if as_csv:
        say(render.to_csv(answer["columns"], rows))
    elif answer["columns"]:
        say(render.to_table(answer["columns"], rows) if rows else "  ".join(answer["columns"]))
    if not as_csv or answer["more"]:
        call.tell(snapshot_words.queried(answer))
    return exits.DONE


def parameters(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE` pairs; what is no JSON is text.

    Raises:
        BadRequest: A pair without a name.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise BadRequest(f"{pair}: a parameter is written NAME=VALUE")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found

"""The options that `labctl ingest create` and `edit` share: the words of a definition that are used most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
ROWS = click.IntRange(min=0)
PERCENT = click.FloatRange(0, 100)
SECONDS = click.FloatRange(min=0)


def definition_options(function: F) -> F:
    """Add them; the command gets them by the names of `labctl.ingest_definition.PLACES`."""
    for add in reversed(_OPTIONS):
        function = add(function)
    return function


_OPTIONS = [
    click.option("--source", metavar="URL", help="file:///folder, s3://bucket/prefix, az://container/prefix, gs://..."),
    click.option("--format", "form", type=click.Choice(["jsonl", "json", "csv", "parquet", "avro"])),
    click.option("--table", metavar="[CATALOG/]NAMESPACE.TABLE", help="Where rows go."),
    click.option("--pattern", metavar="GLOB", help="Which files, such as `**/*.json`."),
    click.option("--exclude", metavar="GLOB", multiple=True),
    click.option("--credentials", metavar="NAME", help="A table [ingest.credentials.NAME] of the settings."),
    click.option("--option", metavar="NAME=VALUE", multiple=True, help="Of the source: endpoint, region, account, ..."),
    click.option("--settle", type=SECONDS, metavar="SECONDS", help="A local file is taken when quiet for so long."),
    click.option("--marker", metavar="NAME", help="`_SUCCESS` in the folder, or `{name}.done` beside the file."),
    click.option("--lexical/--no-lexical", default=None, help="New names sort after old ones."),
    click.option("--compression", type=click.Choice(["auto", "none", "gzip", "zstd", "bz2", "lz4"])),
    click.option("--delimiter", metavar="SIGN", help="Of CSV."),
    click.option("--header/--no-header", default=None, help="Whether CSV has a head line."),
    click.option("--schema-mode", type=click.Choice(["infer", "fixed", "evolve"])),
    click.option("--evolution", type=click.Choice(["additive-auto", "approve", "freeze"])),
    click.option("--column", metavar="NAME:TYPE", multiple=True, help="Of a fixed schema."),
    click.option("--hint", metavar="NAME:TYPE", multiple=True, help="A type that is not inferred."),
    click.option("--partition-by", metavar="FIELD", multiple=True, help="region, days(ts), bucket(16, id), ..."),
    click.option("--engine", type=click.Choice(["arrow", "spark", "auto"])),
    click.option("--changed", type=click.Choice(["append-version", "replace-rows", "ignore", "alert"])),
    click.option("--cron", metavar="FIELDS", help="When it runs by itself, such as `*/15 * * * *`."),
    click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS"),
    click.option("--timezone", metavar="NAME", help="Of --cron; UTC unless said."),
    click.option("--min-rows", type=ROWS, help="Fewer rows in a run are a failure."),
    click.option("--max-rows", type=ROWS),
    click.option("--max-quarantined", type=PERCENT, metavar="PERCENT", help="More bad files: nothing is committed."),
    click.option("--max-rescued", type=PERCENT, metavar="PERCENT", help="More rescued rows: nothing is committed."),
    click.option("--silent-after", type=SECONDS, metavar="SECONDS", help="Alert when nothing new came for so long."),
    click.option("--batch-files", type=click.IntRange(1, 10_000)),
    click.option("--queue", metavar="NAME", help="autoloader-default, or autoloader-high-memory."),
    click.option("--tag", metavar="TAG", multiple=True),
    click.option("--description", metavar="TEXT"),
    click.option(
        "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Any other, as format.encoding=latin-1."
    ),
]

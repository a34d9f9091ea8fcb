"""What a definition may not say, beyond the limits of its fields; every fault at once, as `key: problem`.

Why secrets are looked for here: a definition is kept in the database, shown and exported; credentials belong into a
table `[ingest.credentials.NAME]` of the settings, which holds references only.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from labd.engine.cron import CronFault, check_fields, zone
from labd.errors import BadRequest
from labd.ingest.definition import (
    NAME_PATTERN,
    NAMESPACE_PATTERN,
    SOURCE_PATTERN,
    TABLE_PATTERN,
    Definition,
    Destination,
)
from labd.settings_table import nearest

LABDS_OWN = frozenset({"_labd_file", "_labd_version", "_labd_batch", "_rescued_data"})
_SECRET = re.compile(
    r"secret|passw|token|credential|private|(account|access|api|shared|sas|storage)[_.-]?key|\bsas\b", re.IGNORECASE
)
_PLAIN = re.compile(r"access[_.-]?key[_.-]?id$|_(path|file|endpoint|url)$", re.IGNORECASE)
_TYPE = re.compile(
    r"boolean|int|long|float|double|date|time|timestamp|timestamptz|string|uuid|binary|fixed\[\d+\]"
    r"|decimal\(\s*\d{1,2}\s*,\s*\d{1,2}\s*\)|(list|map|struct)<.+>"
)


@dataclass(frozen=True, slots=True)
class Known:
    """Names that there are; empty queues and None take any."""

    queues: frozenset[str] = frozenset()
    catalogs: frozenset[str] | None = None
    credentials: frozenset[str] | None = None
    has_spark: bool = True


def refuse_faults(definition: Definition, known: Known) -> None:
    """Nothing, where a definition can be kept.

    Raises:
        BadRequest: `details["problems"]` has every fault.
    """
    try:  # what was built in code was never held against the limits of the fields, and must be readable when kept
        msgspec.convert(msgspec.to_builtins(definition), Definition)
    except msgspec.ValidationError as fault:
        found = [str(fault)]
    else:
        found = list(faults(definition, known))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise BadRequest(f"ingestion {definition.name}: {found[0]}{more}", ingestion=definition.name, problems=found)


def faults(definition: Definition, known: Known) -> Iterator[str]:
    """Every fault as `key: problem`."""
    if not _is(NAME_PATTERN, definition.name):
        text = "a name has letters, digits, dot, minus and underscore, a letter or digit in front, at most 63 in all"
        yield f"name: {definition.name[:80]!r}: {text}"
    yield from _source(definition, known)
    yield from destination_faults(definition.destination)
    yield from _format(definition)
    yield from _schema(definition)
    yield from _schedule(definition)
    yield from _rest(definition, known)


def destination_faults(into: Destination) -> Iterator[str]:
    """What is wrong with the names of a table, as `key: problem`."""
    words = "letters, digits and underscores, no digit in front, at most 128"
    if not _is(TABLE_PATTERN, into.table):
        yield f"destination.table: {into.table[:80]!r}: a table's name has {words}"
    if not _is(NAMESPACE_PATTERN, into.namespace):
        yield f"destination.namespace: {into.namespace[:80]!r}: up to 8 names with dots between; each has {words}"


def _is(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None and "\n" not in text


def secret_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names below a table that look as if they held a secret; a key's id and a path are none."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from secret_keys(value, f"{name}.")
        elif value not in (None, "", False) and _SECRET.search(str(key)) and not _PLAIN.search(str(key)):
            yield name


def _source(definition: Definition, known: Known) -> Iterator[str]:
    source = definition.source
    if not _is(SOURCE_PATTERN, source.url):
        ways = "file:///folder, s3://bucket/prefix, az://container/prefix or gs://bucket/prefix"
        yield f"source.url: {_hidden(source.url)!r} is no place that labd reads; write {ways}"
        return
    parts = urlsplit(source.url)
    if parts.scheme in ("abfs", "abfss") and parts.username and not parts.password:
        pass  # abfss://container@account.dfs.core.windows.net/prefix
    elif "@" in parts.netloc:
        yield "source.url: carries a user or a secret; it belongs into [ingest.credentials.NAME], named in credentials"
    if parts.query or parts.fragment:
        yield "source.url: takes no ?query and no #fragment; a key belongs into [ingest.credentials.NAME]"
    if parts.scheme != "file" and not parts.netloc:
        yield f"source.url: names no bucket or container, such as {parts.scheme}://bucket/prefix"
    if ".." in parts.path.split("/"):
        yield "source.url: must not climb with `..`"
    for key in secret_keys(source.options):
        yield f"source.options.{key}: looks like a secret; put it into [ingest.credentials.NAME] as a reference"
    if known.credentials is not None and source.credentials is not None and source.credentials not in known.credentials:
        near = nearest(source.credentials, known.credentials)
        yield f"source.credentials: no table [ingest.credentials.{source.credentials}] in the settings{near}"


def _hidden(url: str) -> str:
    """A URL as far as it may be shown: without user, key and query."""
    return re.sub(r"//[^/]*@", "//...@", url.partition("?")[0])[:80]


def _format(definition: Definition) -> Iterator[str]:
    kind = definition.format
    try:
        codecs.lookup(kind.encoding)
    except (LookupError, ValueError):  # the latter for one with a NUL character
        yield f"format.encoding: {kind.encoding!r} is no encoding that Python knows"
    if kind.json_path and kind.type != "json":
        yield f"format.json_path: only json has one, this is {kind.type}"
    if kind.type == "csv":
        marks = [mark for mark in (kind.delimiter, kind.quote, kind.escape, kind.comment) if mark]
        if len(set(marks)) < len(marks):
            yield "format: delimiter, quote, escape and comment must differ from each other"
        if not kind.header and definition.schema.mode == "fixed" and not definition.schema.columns:
            yield "format.header: without a header the columns must stand in schema.columns"


def _schema(definition: Definition) -> Iterator[str]:
    schema = definition.schema
    if schema.mode == "fixed" and not schema.columns:
        yield "schema.columns: mode fixed needs them"
    if schema.mode != "fixed" and schema.columns:
        yield f"schema.columns: only mode fixed has them, this is {schema.mode}; schema.hints gives types of some"
    seen: set[str] = set()
    for column in schema.columns:
        if column.name.lower() in seen:
            yield f"schema.columns: {column.name} stands twice; case makes no difference"
        seen.add(column.name.lower())
    for name, kind in (*((column.name, column.type) for column in schema.columns), *schema.hints.items()):
        if name.lower() in LABDS_OWN:
            yield f"schema: column {name} is labd's own"
        if not _TYPE.fullmatch(kind.strip()):
            yield f"schema: {name} {kind!r}: no type such as long, double, string, timestamp or decimal(10, 2)"


def _schedule(definition: Definition) -> Iterator[str]:
    schedule = definition.schedule
    if schedule is None:
        return
    if (schedule.cron is None) == (schedule.interval_s is None):
        yield "schedule: give either cron or interval_s, not both or none"
    try:
        zone(schedule.timezone)
    except ValueError:
        yield f"schedule.timezone: {schedule.timezone!r} is no IANA name such as Europe/Berlin or UTC"
    if schedule.cron is not None:
        try:
            check_fields(schedule.cron)
        except CronFault as fault:
            yield f"schedule.cron: {schedule.cron!r}: {fault}; five fields such as `*/15 8-18 * * 1-5`"


def _rest(definition: Definition, known: Known) -> Iterator[str]:
    if definition.changed == "replace-rows" and not definition.provenance:
        yield "changed: replace-rows finds a file's rows by _labd_file; set provenance = true"
    quality = definition.quality
    if quality.min_rows is not None and quality.max_rows is not None and quality.min_rows > quality.max_rows:
        yield f"quality: min_rows {quality.min_rows} is more than max_rows {quality.max_rows}"
    if known.queues and definition.queue is not None and definition.queue not in known.queues:
        yield f"queue: no queue {definition.queue!r}{nearest(definition.queue, known.queues)}"
    catalog = definition.destination.catalog
    if known.catalogs is not None and catalog not in known.catalogs:
        near = nearest(catalog, known.catalogs)
        yield f"destination.catalog: no table [ingest.catalog.{catalog}] in the settings{near}"
    if definition.engine == "spark" and not known.has_spark:
        yield "engine: spark needs `url` in [ingest.spark] of the settings, and a restart; or take arrow or auto"
    for tag in definition.tags:
        if not re.fullmatch(r"[A-Za-z0-9_.:/@+-]{1,64}", tag):
            yield f"tags: {tag!r}: a tag has 1 to 64 letters, digits or _.:/@+-"
    for key in secret_keys(definition.extra):
        yield f"extra.{key}: looks like a secret; leave it out"

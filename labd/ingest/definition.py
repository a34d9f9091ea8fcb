"""What an ingestion is: the words of TOML, HTTP and `labctl ingest create`, each checked with its limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
SOURCE_PATTERN = r"^(file:///|s3://|az://|abfs://|abfss://|gs://|gcs://)[^\x00-\x1f]*$"
TABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
NAMESPACE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,127}(\.[A-Za-z_][A-Za-z0-9_]{0,127}){0,7}$"
"""What people write by hand most is held against these in `labd.ingest.checks`, whose messages are for them."""
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Glob = Annotated[str, Meta(min_length=1, max_length=500)]
Changed = Literal["append-version", "replace-rows", "ignore", "alert"]
EngineName = Literal["arrow", "spark", "auto"]
FormatName = Literal["jsonl", "json", "csv", "parquet", "avro"]


class Column(msgspec.Struct, frozen=True):
    """A column: `type` in Iceberg's words, such as `long`, `double`, `string`, `timestamp`, `decimal(10, 2)`,
    `list<string>`, `struct<a: long, b: string>`.
    """

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    type: Annotated[str, Meta(min_length=1, max_length=2000)]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where files arrive. `credentials` names a table `[ingest.credentials.NAME]` of the settings.

    A file is taken when it has been unchanged for `settle_s` (local folders), or when its `marker` is there: a name
    such as `_SUCCESS` for its folder, or `{name}.done` for itself. `lexical` says that new files sort after old ones in
    their folder, so most runs list only what is new; every `full_list_s` all of it is listed all the same.
    """

    url: Annotated[str, Meta(max_length=2000, extra_json_schema={"pattern": SOURCE_PATTERN})]
    pattern: Glob = "**/*"
    exclude: tuple[Glob, ...] = ()
    credentials: Name | None = None
    options: dict[str, str] = {}
    settle_s: Annotated[float, Meta(ge=0, le=86400)] = 10.0
    marker: Annotated[str, Meta(max_length=200)] = ""
    lexical: bool = False
    full_list_s: Annotated[float, Meta(gt=0, le=365 * 86400)] = 86400.0


class Format(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How files are read. Compression (`.gz`, `.zst`, `.bz2`, `.lz4`) is told by the name unless `compression` says.

    A line that is no record is a row with its text in `_rescued_data`. A file in which no line is a record, be it a
    single one, is quarantined: it has another format, and its lines would be rows of nothing.
    """

    type: FormatName
    compression: Literal["auto", "none", "gzip", "zstd", "bz2", "lz4"] = "auto"
    encoding: Annotated[str, Meta(min_length=1, max_length=40)] = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Meta(max_length=1)] = '"'
    escape: Annotated[str, Meta(max_length=1)] = ""
    header: bool = True
    null_values: tuple[str, ...] = ("",)
    skip_rows: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    comment: Annotated[str, Meta(max_length=1)] = ""
    timestamp_formats: tuple[str, ...] = ()
    json_path: Annotated[str, Meta(max_length=200)] = ""
    """For `json`: dotted name of the list of records inside the document; empty where the document is it."""
    line_limit_bytes: Annotated[int, Meta(ge=1024, le=2**30)] = 16 * 2**20


class SchemaRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which columns the table has. `infer`: those of the first files, later new ones go to `_rescued_data`. `fixed`:
    `columns`. `evolve`: those of the files, and `evolution` says what a new column does: it is added (`additive-auto`),
    a person is asked (`approve`), or the run fails (`freeze`). `hints` are columns whose type is not inferred.
    """

    mode: Literal["infer", "fixed", "evolve"] = "evolve"
    evolution: Literal["additive-auto", "approve", "freeze"] = "additive-auto"
    columns: tuple[Column, ...] = ()
    hints: dict[str, str] = {}
    infer_types: bool = True
    """False: every column of JSON and CSV is text."""


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where rows go; `catalog` names a table `[ingest.catalog.NAME]` of the settings, or is labd's own."""

    catalog: Name = "default"
    namespace: Annotated[str, Meta(max_length=1031, extra_json_schema={"pattern": NAMESPACE_PATTERN})] = "default"
    table: Annotated[str, Meta(max_length=128, extra_json_schema={"pattern": TABLE_PATTERN})]
    partition_by: tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...] = ()


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it runs by itself: `cron` (5 fields) in `timezone`, or every `interval_s`."""

    cron: str | None = None
    interval_s: Annotated[float, Meta(ge=1, le=366 * 86400)] | None = None
    timezone: str = "UTC"


class Quality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold. The rows of a run (`min_rows`, `max_rows`), checked when it has ended; the share of rescued rows
    and of quarantined files in a batch, checked before it is committed.
    """

    min_rows: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    max_rows: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    max_rescued_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    max_quarantined_percent: Annotated[float, Meta(ge=0, le=100)] | None = None


class Alerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What asks for a person's attention, beside failed runs."""

    quarantine: bool = True
    changed: bool = True
    schema: bool = True
    silent_after_s: Annotated[float, Meta(gt=0)] | None = None
    """No new file for so long."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size of a batch, whichever comes first; a single larger file is a batch of its own."""

    batch_files: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    batch_bytes: Annotated[int, Meta(ge=1, le=2**63 - 1)] = 256 * 2**20
    run_files: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    """At most so many in one run; the rest in the next."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ingestion, as people write it."""

    name: Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": NAME_PATTERN})]
    description: Annotated[str, Meta(max_length=2000)] = ""
    source: Source
    format: Format
    schema: SchemaRule = SchemaRule()
    destination: Destination
    engine: EngineName = "arrow"
    changed: Changed = "append-version"
    schedule: Schedule | None = None
    quality: Quality = Quality()
    alerts: Alerts = Alerts()
    limits: Limits = Limits()
    queue: str | None = None
    """`autoloader-default` unless said; `autoloader-high-memory` has workers with a larger memory limit."""
    provenance: bool = True
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] = {}
    """What an imported definition said beyond this, kept as it was."""

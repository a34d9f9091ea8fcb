"""What callers send about ingestions, and the pages that they get."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from labd.ingest.definition import Definition, EngineName, Name
from labd.ingest.record import FileMark, RunState, State
from labd.ingest.views import FileView, IngestionView, RunView

PathText = Annotated[str, Meta(min_length=1, max_length=4096)]
Text = Annotated[str, Meta(max_length=500)]
Which = Annotated[str, Meta(min_length=1, max_length=63)]


class ListQuery(msgspec.Struct, kw_only=True):
    """Which ingestions; deleted ones only by their state."""

    status: State | None = None
    tag: Text | None = None


class CreateQuery(msgspec.Struct, kw_only=True):
    """Whether it begins paused."""

    paused: bool = False


class DeleteQuery(msgspec.Struct, kw_only=True):
    """`drop_table` needs the ingestion's name as `confirm`."""

    drop_table: bool = False
    confirm: Text | None = None


class RunQuery(msgspec.Struct, kw_only=True):
    """Which runs; `before` is the `next` of the page before."""

    ingestion: Which | None = None
    state: RunState | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    before: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class FileQuery(msgspec.Struct, kw_only=True):
    """Which files; `match` is a glob over the whole path, `after` the `next` of the page before."""

    state: FileMark | None = None
    run: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    match: Text | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    after: Annotated[str, Meta(max_length=4096)] = ""


class ExportQuery(msgspec.Struct, kw_only=True):
    """Names parted by commas; all if left out."""

    name: Annotated[str, Meta(max_length=10_000)] | None = None


class RunBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`full` lists the whole source even where new names sort last."""

    full: bool = False
    trigger: Literal["manual", "api"] = "api"
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class RetryBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The named files, or all of these states."""

    paths: Annotated[list[PathText], Meta(min_length=1, max_length=10_000)] | None = None
    states: Annotated[tuple[Literal["quarantined", "held", "ignored"], ...], Meta(min_length=1)] = ("quarantined",)
    run: bool = True


class RefreshBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`full`: all files again; `new_only`: only files that no run has taken. Nothing is done without `confirm`."""

    mode: Literal["full", "new_only"]
    dry_run: bool = False
    confirm: bool = False
    run: bool = True


class BackfillBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Files changed at `since` or later and before `until`, whose path the glob `match` fits."""

    since: Text | None = None
    until: Text | None = None
    match: Text | None = None
    dry_run: bool = False


class AdoptBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """New files changed before `until`, whose path the glob `match` fits."""

    until: Text | None = None
    match: Text | None = None
    dry_run: bool = False


class FullQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`full`: as if nothing had been loaded."""

    full: bool = False


class PreviewBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """So many rows of so many of the newest files."""

    rows: Annotated[int, Meta(ge=1, le=1000)] = 20
    files: Annotated[int, Meta(ge=1, le=100)] = 3


class DraftBody(PreviewBody, kw_only=True, forbid_unknown_fields=True):
    """The same of a definition that is not kept."""

    definition: Definition


class QueryBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`table` is an ingestion or `[catalog.]namespace.table`, `where` a filter such as `n > 3 and region == 'eu'`."""

    table: Annotated[str, Meta(min_length=1, max_length=1200)]
    columns: list[Annotated[str, Meta(min_length=1, max_length=255)]] = []
    where: Annotated[str, Meta(max_length=10_000)] = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100


class ImportBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One of: `text` (JSON, JSON lines or CSV), `document` (the same as JSON), `database_url`. `catalog` and `engine`
    are for definitions of an older loader; `activate` lets those that were active there run by themselves at once.
    """

    text: str | None = None
    document: Any = None
    database_url: Annotated[str, Meta(min_length=1, max_length=4000)] | None = None
    dry_run: bool = False
    activate: bool = False
    tenant: Text | None = None
    catalog: Name | None = None
    engine: EngineName = "arrow"


class Ingestions(msgspec.Struct):
    """All, by name."""

    ingestions: list[IngestionView]


class RunPage(msgspec.Struct):
    """Newest first; `next` is the `before` of the next page, null at the end."""

    runs: list[RunView]
    next: int | None = None


class FilePage(msgspec.Struct):
    """By path; `next` is the `after` of the next page, null at the end."""

    files: list[FileView]
    next: str | None = None

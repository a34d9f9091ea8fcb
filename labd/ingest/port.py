"""What the wing asks of whatever reads files and writes tables; the shapes are those of the wire as well.

Two implementations: `arrow` (pyarrow and PyIceberg) and `spark`. Both work in a child process, which has none of labd
but `labd/ingest/remote*.py`; these speak plain JSON values of the shapes below. One contract suite proves both.

The promise of `load`: after it returned, the rows of the batch's loaded files are in the table exactly once, in one
commit that carries the token, however often it was asked before and wherever the asker or the child was killed.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from labd.ingest.definition import Column, Format, Quality, SchemaRule

FileState = Literal["loaded", "same", "quarantined", "vanished", "changed"]
Policy = Literal["new", "append", "replace"]


class SourceAccess(msgspec.Struct, frozen=True, kw_only=True):
    """A place where files arrive, with everything that it takes to read there; never stored, never logged.

    `url` is `file:///folder`, `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`. `options` is what
    is no secret (endpoint, region, account, anonymous, ...), `secrets` the resolved rest by the same names.
    """

    url: str
    pattern: str = "**/*"
    exclude: tuple[str, ...] = ()
    options: dict[str, str] = {}
    secrets: dict[str, str] = {}
    settle_s: float = 10.0
    marker: str = ""


class FileRef(msgspec.Struct, frozen=True):
    """One version of one file: `path` below the source's URL, `version` an opaque identity (ETag, generation, or size,
    time and inode), `modified_at` seconds since 1970.

    `known_sha256` is the digest of the content that was loaded last under this path: the same bytes under another
    version (a touched or copied file) are `same` and are not loaded again.
    """

    path: str
    version: str
    size_bytes: int
    modified_at: float
    policy: Policy = "new"
    known_sha256: str | None = None


class Page(msgspec.Struct):
    """Part of a listing. `entries` is JSON text, `[[path, version, size_bytes, modified_at], ...]`, ready to be bound
    to a statement; `cursor` asks for the next page, None at the end.

    `unsettled` files are left for later (too young, or their marker is missing); `denied` are prefixes that may not be
    listed, each with the reason.
    """

    entries: str
    count: int
    cursor: str | None = None
    unsettled: int = 0
    denied: list[tuple[str, str]] = []


class CatalogAccess(msgspec.Struct, frozen=True, kw_only=True):
    """An Iceberg catalogue: its name and the properties for PyIceberg or Spark; secrets apart, never stored."""

    name: str
    properties: dict[str, str] = {}
    secrets: dict[str, str] = {}


class TableName(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows go."""

    catalog: CatalogAccess
    namespace: str
    table: str
    partition_by: tuple[str, ...] = ()
    """Such as `region`, `days(ts)`, `bucket(16, id)`, `truncate(4, name)`; used when the table is made."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into one commit.

    `number` is a positive 63-bit number that belongs to the token alone; with provenance it stands in every row
    (`_labd_batch`), beside the file's URL (`_labd_file`) and version (`_labd_version`). Rows that do not fit go to
    `_rescued_data` as JSON text. `report` is a file below the state folder: the child writes the report there, synced,
    before it commits, so that a commit whose answer was lost can be told in full.
    `approved` are the schema changes that a person has allowed, as `SchemaChange.key`.
    """

    ingestion: str
    token: str
    number: int
    source: SourceAccess
    format: Format
    schema: SchemaRule
    quality: Quality
    table: TableName
    files: tuple[FileRef, ...]
    report: str
    provenance: bool = True
    approved: tuple[str, ...] = ()
    memory_mib: int = 1024
    expected_uuid: str | None = None
    """Of the table that earlier batches went to; another or none now means that somebody dropped it: `TableRefused`."""


class FileFault(msgspec.Struct):
    """Why a file, or a row of it, could not be used; `place` such as `line 7` or `row group 2, column amount`."""

    code: str
    message: str
    place: str = ""


class FileReport(msgspec.Struct):
    """What became of one file. `rows` went into the table, `rescued` of them with something in `_rescued_data`."""

    path: str
    version: str
    state: FileState
    rows: int = 0
    rescued: int = 0
    size_bytes: int = 0
    sha256: str | None = None
    duration_s: float = 0.0
    fault: FileFault | None = None


class SchemaChange(msgspec.Struct):
    """One difference between the table and what a file brought; `key` is stable, such as `add amount double`."""

    key: str
    kind: Literal["add", "widen", "conflict"]
    column: str
    type: str
    was: str | None = None
    path: str = ""


class BatchReport(msgspec.Struct):
    """How a batch ended.

    `committed`: its rows are in. `already`: they were in before, the report is the one of then. `nothing`: no file had
    rows to commit. `approval`: nothing is in, `changes` wait for a person.
    """

    state: Literal["committed", "already", "nothing", "approval"]
    token: str
    files: list[FileReport] = []
    changes: list[SchemaChange] = []
    columns: list[Column] = []
    """All of the table as they are now, without labd's own."""
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    snapshot_id: int | None = None
    table_uuid: str | None = None
    seconds: dict[str, float] = {}
    exactly_once: bool = True


class TableFacts(msgspec.Struct):
    """A table as it stands; `tokens` are labd's commits that its snapshots and properties still show, oldest first."""

    uuid: str
    location: str
    columns: list[Column]
    rows: int | None
    files: int | None
    snapshot_id: int | None
    tokens: list[str] = []
    partition_by: list[str] = []


class FoundFile(msgspec.Struct):
    """Rows of one version of a file that a batch has brought; `number` is `Batch.number`."""

    url: str
    version: str
    number: int
    rows: int


class Rows(msgspec.Struct):
    """Rows of a table or a sample; values are JSON values."""

    columns: list[Column]
    rows: list[list[Any]]
    more: bool = False


class Sample(msgspec.Struct):
    """What a look at some files gives; nothing was written."""

    columns: list[Column]
    rows: list[list[Any]]
    files: list[FileReport]
    changes: list[SchemaChange] = []


class TableEngine(Protocol):
    """Reads files and writes tables; one call at a time.

    Raises:
        SourceRefused, SourceUnreachable: The source as a whole; one bad file is told in the report.
        TableRefused, QualityRefused: Nothing of the batch is in.
        TableConflict: Nothing of it is in, the same call may be made again.
        ClusterUnreachable: The child or the cluster was lost; what became of a commit is found out by the next call.
    """

    name: str

    async def list_files(self, source: SourceAccess, cursor: str | None, after: str | None, count: int) -> Page:
        """A page of the listing in the source's order; `after` leaves out all paths up to it, where it is sorted."""
        ...

    async def load(self, batch: Batch) -> BatchReport:
        """Read, fit and commit a batch, exactly once."""
        ...

    async def sample(self, batch: Batch, rows: int) -> Sample:
        """Read up to `rows` rows of the batch's files as `load` would, and write nothing."""
        ...

    async def describe(self, table: TableName) -> TableFacts | None:
        """A table as it stands; None if there is none."""
        ...

    async def find_tokens(self, table: TableName, tokens: list[str]) -> list[str]:
        """Which of these tokens are in the table."""
        ...

    async def find_commits(self, table: TableName, ingestion: str) -> list[str]:
        """Tokens of one ingestion (`Batch.ingestion`) that the table still shows, oldest first."""
        ...

    async def find_files(self, table: TableName, numbers: list[int]) -> list[FoundFile] | None:
        """Which files' rows these batches have brought; None where the table does not say (`provenance` is off)."""
        ...

    async def query(self, table: TableName, columns: list[str], where: str, limit: int) -> Rows:
        """Rows of a table; `where` is an Iceberg row filter such as `amount > 3 and region == 'eu'`, empty for all."""
        ...

    async def drop(self, table: TableName) -> bool:
        """Drop a table with its files; False if there was none."""
        ...

    async def close(self) -> None:
        """End the child; a second call does nothing."""
        ...

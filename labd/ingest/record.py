"""What is kept of an ingestion: the definition and its facts, its runs, batches and files. Values and rules, no I/O.

A file:   new or changed -> pending (in a batch) -> loaded, quarantined or vanished
          changed, and the policy says so -> ignored, or held until a person asks for it
          quarantined, held, ignored -> pending without a batch: asked for again, or changed while it was read
A batch:  open -> settled;  open -> approval (a person decides) -> open again, or void (its files are put back)
A run:    running -> succeeded, partial, failed or cancelled
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from labd.ingest.definition import Column, Definition
from labd.ingest.port import BatchReport, FileFault, FileRef, SchemaChange

Trigger = Literal["manual", "schedule", "api", "retry"]
Origin = Literal["api", "settings"]
BatchState = Literal["open", "approval", "settled", "void"]


class State(StrEnum):
    """Whether an ingestion runs by itself."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


class FileMark(StrEnum):
    """Where a file stands in the ledger."""

    PENDING = "pending"  # in a batch that has not ended, or, without one, waiting to be taken into the next
    LOADED = "loaded"  # its rows are in the table
    QUARANTINED = "quarantined"  # it cannot be read; the fault says why and where
    IGNORED = "ignored"  # changed after it was loaded, and the policy passes that over
    HELD = "held"  # a person has to say what is to become of it
    VANISHED = "vanished"  # gone before it was read; taken again if it comes back


class RunState(StrEnum):
    """How a run stands or ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"  # nothing was bad
    PARTIAL = "partial"  # some files are in and some are bad
    FAILED = "failed"  # it broke off, or had nothing but failures
    CANCELLED = "cancelled"


class Totals(msgspec.Struct, omit_defaults=True):
    """What all runs came to that have ended, also those whose retention is over."""

    runs: dict[str, int] = {}
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    last_success_at: float | None = None

    def add(self, run: Run) -> None:
        """Count a run that has ended."""
        self.runs[run.state.value] = self.runs.get(run.state.value, 0) + 1
        self.rows += run.counts.rows
        self.bytes_in += run.counts.bytes_in
        self.bytes_out += run.counts.bytes_out
        if run.state is RunState.SUCCEEDED:
            self.last_success_at = run.ended_at


class Facts(msgspec.Struct, omit_defaults=True):
    """What was learned of an ingestion while it worked; instants are seconds since 1970 (UTC)."""

    begun: bool = False
    """A file was taken into a batch: source and destination are what the ledger is about, and stay."""
    table_uuid: str | None = None
    columns: list[Column] = []
    schema_version: int = 0
    last_full_list_at: float | None = None
    after: str | None = None
    """Largest path of a lexical source that a listing has reached."""
    last_new_file_at: float | None = None
    last_run: int | None = None
    exactly_once: bool = True
    accounted: list[str] = []
    """Tokens that the table shows and no batch of the ledger has, whose files are noted all the same."""
    totals: Totals = msgspec.field(default_factory=Totals)
    swept_run: int = 0
    """Batches of runs up to this one may be forgotten: their retention is over."""


class Record(msgspec.Struct):
    """One ingestion. `number` is what the ledger's rows carry, `id` what the doors show."""

    number: int
    id: str
    definition: Definition
    state: State
    origin: Origin
    created_at: float
    created_by: str
    updated_at: float
    facts: Facts

    @property
    def name(self) -> str:
        """As people call it."""
        return self.definition.name

    @property
    def destination(self) -> str:
        """Its table with the catalogue, such as `default/lab.readings`."""
        return destination_key(self.definition)

    @property
    def resource(self) -> str:
        """What its runs hold, one at a time."""
        return f"ingest/{self.name}"

    def to_row(self) -> tuple[Any, ...]:
        """In the order of the statement `put_definition`."""
        return (
            self.number, self.id, self.name, self.state.value, self.destination, self.origin, self.created_at,
            self.created_by, self.updated_at, encode(self.definition), encode(self.facts),
        )  # fmt: skip


def destination_key(definition: Definition) -> str:
    """Which table a definition writes; two live ones never share it."""
    into = definition.destination
    return f"{into.catalog}/{into.namespace}.{into.table}"


def from_row(row: tuple[Any, ...]) -> Record:
    """The record of a row of `definitions`."""
    number, identity, _, state, _, origin, created_at, created_by, updated_at, body, facts = row
    return Record(
        number, identity, msgspec.json.decode(body, type=Definition), State(state), origin, created_at, created_by,
        updated_at, msgspec.json.decode(facts, type=Facts),
    )  # fmt: skip


class Counts(msgspec.Struct, omit_defaults=True):
    """What a run found and did. The fields of an older `runs` table are `found` (files_discovered), `loaded` and `same`
    (files_processed), `quarantined` and `vanished` (files_failed), `rows` (records), `bytes_in`, `bytes_out`.
    """

    listed: int = 0
    unsettled: int = 0
    found: int = 0
    """New and changed files that were taken into batches of this run."""
    changed: int = 0
    """Of those, files that had been loaded before."""
    ignored: int = 0
    held: int = 0
    noticed: int = 0
    """Of those, changed files that the policy leaves to a person; nothing has gone wrong with them."""
    batches: int = 0
    """Batches made by this run; the number of the next one is one more."""
    settled: int = 0
    """Batches ended by this run, those that earlier runs had left included."""
    loaded: int = 0
    same: int = 0
    quarantined: int = 0
    vanished: int = 0
    taken_over: int = 0
    """Files that were found in the table with a commit that the ledger had forgotten."""
    moved: int = 0
    """Files that changed while they were read; the next listing finds them."""
    rows: int = 0
    rescued: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def bad(self) -> int:
        """Files that a person should look at."""
        return self.quarantined + self.held

    @property
    def good(self) -> int:
        """Files whose content is in the table."""
        return self.loaded + self.same


class RunError(msgspec.Struct, omit_defaults=True):
    """Something that went wrong in a run: a code of `labd.errors` or of a file's fault."""

    code: str
    message: str
    path: str = ""
    place: str = ""


class RunBody(msgspec.Struct, omit_defaults=True):
    """What no statement asks for."""

    counts: Counts = msgspec.field(default_factory=Counts)
    errors: list[RunError] = []
    """The first `ERRORS_KEPT`; the ledger has every file."""
    more_errors: int = 0
    denied: list[tuple[str, str]] = []
    full: bool = False
    only: list[str] = []
    by: str = ""
    simulated: bool = False
    seconds: dict[str, float] = {}
    snapshot_id: int | None = None


ERRORS_KEPT = 100


class Run(msgspec.Struct):
    """One run of an ingestion; `ingestion` is `Record.number`, instants are seconds since 1970 (UTC)."""

    id: int
    ingestion: int
    job_id: int | None
    trigger: Trigger
    state: RunState
    started_at: float
    ended_at: float | None = None
    body: RunBody = msgspec.field(default_factory=RunBody)

    @property
    def counts(self) -> Counts:
        """What it found and did until now."""
        return self.body.counts

    def add_error(self, error: RunError) -> None:
        """One more thing that went wrong."""
        if len(self.body.errors) < ERRORS_KEPT:
            self.body.errors.append(error)
        else:
            self.body.more_errors += 1

    def to_row(self) -> tuple[Any, ...]:
        """In the order of the statement `put_run`."""
        return (
            self.id, self.ingestion, self.job_id, self.trigger, self.state.value, self.started_at, self.ended_at,
            encode(self.body),
        )  # fmt: skip


def run_from_row(row: tuple[Any, ...]) -> Run:
    """The run of a row."""
    identity, ingestion, job_id, trigger, state, started_at, ended_at, text = row
    body = msgspec.json.decode(text, type=RunBody)
    return Run(identity, ingestion, job_id, trigger, RunState(state), started_at, ended_at, body)


def outcome(counts: Counts, *, broke_off: bool, denied: int = 0) -> RunState:
    """How a run ended; never a false success.

    Args:
        broke_off: Something other than a file stopped it.
        denied: Prefixes that could not be listed.

    Why a changed file that is held is `partial` and no failure: the rule `alert` did what it was asked for, and what
    was in the table is still right; that somebody must look is told by the file's name and by the attention.
    """
    bad = counts.bad + denied
    if broke_off or (bad > counts.noticed and not counts.good):
        return RunState.PARTIAL if broke_off and counts.good else RunState.FAILED
    return RunState.PARTIAL if bad else RunState.SUCCEEDED


class BatchRecord(msgspec.Struct):
    """What goes into one commit: `number` counts within the run, `mark` is the port's 63-bit `Batch.number`.

    The composition is kept, as it was taken, until the batch is settled: every try loads the same versions.
    """

    run: int
    number: int
    ingestion: int
    mark: int
    token: str
    state: BatchState
    files: int
    size_bytes: int
    taken_at: float
    settled_at: float | None = None
    settled_by: int | None = None
    approved: list[str] = []
    report: BatchReport | None = None
    """Without its files once it is settled; with the changes that wait where it is `approval`."""

    @property
    def key(self) -> tuple[int, int]:
        """Run and number."""
        return self.run, self.number

    @property
    def is_open(self) -> bool:
        """Whether something is still to become of it."""
        return self.state in ("open", "approval")


class OldFile(msgspec.Struct, frozen=True):
    """What the ledger knew of a path. `loaded_at` is None where nothing of it was ever in the table; `sha256` is of the
    content that was loaded last.
    """

    version: str
    state: FileMark
    run: int | None
    batch: int | None
    sha256: str | None
    rows: int
    loaded_at: float | None
    attempts: int


class Seen(msgspec.Struct, frozen=True):
    """A listed file that is new, changed, or asked for again."""

    path: str
    version: str
    size_bytes: int
    modified_at: float
    old: OldFile | None = None

    @property
    def was_loaded(self) -> bool:
        """Whether an earlier version of it is in the table, so that the policy for changed files decides."""
        return self.old is not None and self.old.loaded_at is not None

    def to_ref(self, policy: Literal["append", "replace"] = "append") -> FileRef:
        """As the engines take it; `policy` counts where it was loaded before."""
        old = self.old
        if old is None or old.loaded_at is None:
            return FileRef(self.path, self.version, self.size_bytes, self.modified_at)
        return FileRef(self.path, self.version, self.size_bytes, self.modified_at, policy, old.sha256)


class LedgerFile(msgspec.Struct):
    """One file of the ledger, for people; instants are seconds since 1970 (UTC)."""

    path: str
    version: str
    state: FileMark
    run: int | None
    batch: int | None
    size_bytes: int
    modified_at: float
    seen_at: float
    loaded_at: float | None
    sha256: str | None
    rows: int
    rescued: int
    duration_s: float
    """To fetch and to read it, at the last try."""
    attempts: int
    fault: FileFault | None = None


class FileCounts(msgspec.Struct):
    """Files of one state, their rows and bytes."""

    files: int = 0
    rows: int = 0
    size_bytes: int = 0


class SchemaVersion(msgspec.Struct):
    """The columns of a table since a run, what changed, and a file that brought it."""

    version: int
    columns: list[Column]
    changes: list[SchemaChange]
    run: int
    batch: int
    path: str
    at: float


_encoder = msgspec.json.Encoder()


def encode(value: Any) -> str:
    """JSON text of a value."""
    return _encoder.encode(value).decode()

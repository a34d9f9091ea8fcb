"""One commit that carries rows, changed columns, and the token of its batch; and the look whether it is there.

Exactly once rests on three things. The token is in the commit itself. A commit holds only on top of the snapshot at
which no token was seen (`AssertRefSnapshotId`), so of two tries, in whatever order they land, the second is refused.
And after every answer that is not a yes the table is asked again.

Why PyIceberg's `commit_transaction` is not used: it commits again by itself on top of a snapshot where nobody has
looked (`commit.retry.num-retries`, 4 unless the table says otherwise), and deletes the manifests of a refused commit,
although a refusal may answer the second sending of a request whose first was accepted.
Why tokens stand in a table property as well: expiring snapshots deletes their summaries.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pyiceberg.exceptions import (
    CommitFailedException,
    ForbiddenError,
    NoSuchTableError,
    UnauthorizedError,
    ValidationException,
)  # fmt: skip
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AssertTableUUID

from labd.ingest.remote_iceberg import find_table, forget_catalogs, full_name, sync_files
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_transaction import MergingOverwrite

Json = dict[str, Any]
TOKEN, TRY, TOKENS = "labd.token", "labd.try", "labd.tokens"
KEPT_TOKENS = 200
COMMIT_S = 120.0
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 5.0


class Moved(Exception):
    """The table's columns or partitions were changed meanwhile: what was written for it must be written again."""


@dataclass
class Change:
    """What one commit does to a table.

    `plan` begins a transaction with the changed columns; raises `Moved` where they would not be those that the files
    were written with. `rewrite` finds the data files that hold rows to be replaced, and writes what remains of them.
    """

    table: Json
    ingestion: str
    token: str
    attempt: str
    summary: dict[str, str]
    files: list[DataFile]
    plan: Callable[[Table], Transaction]
    rewrite: Callable[[Table], tuple[list[DataFile], list[DataFile]]] | None = None
    discard: Callable[[list[DataFile]], None] = field(default=lambda files: None)


@dataclass(frozen=True)
class Landed:
    """A commit that is there. `attempt` is the one that made it, None if that is no longer known."""

    table: Table
    attempt: str | None
    snapshot_id: int | None


def marks_of(metadata: TableMetadata) -> dict[str, tuple[str | None, int | None]]:
    """Tokens that the table shows, oldest first, each with the try and the snapshot as far as they are known."""
    found: dict[str, tuple[str | None, int | None]] = {}
    for name, text in metadata.properties.items():
        if name.startswith(TOKENS):
            for token, attempt in json.loads(text):
                found[token] = (attempt, None)
    for snapshot in metadata.snapshots:
        summary = snapshot.summary
        token = None if summary is None else summary.additional_properties.get(TOKEN)
        if summary is not None and token is not None:
            known = found.get(token, (None, None))[0]
            found[token] = (summary.additional_properties.get(TRY) or known, snapshot.snapshot_id)
    return found


def look(table: Table, token: str) -> Landed | None:
    """The commit of this token, if the table, as it was loaded, has it."""
    mark = marks_of(table.metadata).get(token)
    return None if mark is None else Landed(table, *mark)


def commit(found: Table, change: Change, random: Random) -> Landed:
    """Bring a change into the table once.

    Raises:
        Refusal: table_refused, table_conflict (nothing is in), cluster_unreachable (nobody knows; ask again).
        Moved: Nothing is in; the data files do not suit the table any more.
    """
    until = time.monotonic() + COMMIT_S
    uuid = found.metadata.table_uuid
    for wait_s in _waits(random):
        landed = look(found, change.token)
        if landed is not None:
            return landed
        fault = _try(found, change)
        if isinstance(fault, _Refused) and not fault.is_certain:
            forget_catalogs()
        again = find_table(change.table)
        if again is None or again.metadata.table_uuid != uuid:
            raise Refusal("table_refused", f"{full_name(change.table)} was dropped while rows were written for it")
        landed = look(again, change.token)
        if landed is not None:
            return landed
        if fault is None:
            raise Refusal(
                "cluster_unreachable", f"{full_name(change.table)}: the catalogue does not show the commit yet"
            )
        _tidy(found, fault)
        if time.monotonic() + wait_s > until:
            text = f"{full_name(change.table)}: others committed to it all the time, {COMMIT_S:g} s; nothing was added"
            reason = str(fault.__cause__ or fault)
            if isinstance(fault, _Refused) and not fault.is_certain:
                text = f"{full_name(change.table)}: no commit in {COMMIT_S:g} s; nothing was added: {reason[:300]}"
            raise Refusal("table_conflict", text, reason=reason) from fault
        time.sleep(wait_s)
        found = again
    raise AssertionError("waits have no end")


@dataclass
class _Staged:
    transaction: Transaction
    rewritten: list[DataFile]


class _Refused(Exception):
    """A try that did not get a yes; `is_certain`: the catalogue said no to this very commit."""

    def __init__(self, staged: _Staged, is_certain: bool, discard: Callable[[list[DataFile]], None]) -> None:
        super().__init__("the commit was not confirmed")
        self.staged = staged
        self.is_certain = is_certain
        self.discard = discard


def _try(found: Table, change: Change) -> Exception | None:
    """One try; what went wrong, or None."""
    try:
        staged = _stage(found, change)
    except ValidationException as fault:
        return fault
    transaction = staged.transaction
    producers = transaction._snapshot_producers
    sync_files([file.file_path for file in (*change.files, *staged.rewritten)])
    sync_files([path for one in producers for path in (*one._written_manifests, *one._written_manifest_lists)])
    requirements = (*transaction._requirements, AssertTableUUID(uuid=found.metadata.table_uuid))
    try:
        found._do_commit(updates=transaction._updates, requirements=requirements)
    except (UnauthorizedError, ForbiddenError) as fault:
        raise Refusal(
            "table_refused", f"{full_name(change.table)}: the catalogue refuses the commit: {fault}"
        ) from fault
    except (CommitFailedException, NoSuchTableError) as fault:
        refused = _Refused(staged, True, change.discard)
        refused.__cause__ = fault
        return refused
    except Exception as fault:  # noqa: BLE001 whatever it is, only the table knows whether the commit is in
        refused = _Refused(staged, False, change.discard)
        refused.__cause__ = fault
        return refused
    return None


def _stage(found: Table, change: Change) -> _Staged:
    transaction = change.plan(found)
    removed, rewritten = ([], []) if change.rewrite is None else change.rewrite(found)
    summary = {TOKEN: change.token, TRY: change.attempt, "labd.ingestion": change.ingestion, **change.summary}
    update = transaction.update_snapshot(snapshot_properties=summary)
    with MergingOverwrite(transaction, summary) if removed else update.merge_append() as snapshot:
        for file in removed:
            snapshot.delete_data_file(file)
        for file in (*change.files, *rewritten):
            snapshot.append_data_file(file)
    name = f"{TOKENS}.{change.ingestion}"
    tokens = json.loads(found.metadata.properties.get(name, "[]"))[1 - KEPT_TOKENS :]
    transaction.set_properties({name: json.dumps([*tokens, [change.token, change.attempt]])})
    return _Staged(transaction, rewritten)


def _tidy(found: Table, fault: Exception) -> None:
    """Delete what was written for a commit that was certainly refused; anything else may still be used by it."""
    if isinstance(fault, _Refused) and fault.is_certain:
        for producer in fault.staged.transaction._snapshot_producers:
            producer._clean_all_uncommitted()
        fault.discard(fault.staged.rewritten)


def _waits(random: Random) -> Iterator[float]:
    """Between tries: twice as long each time, up to 5 s, each half by chance."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s * (0.5 + random.random() / 2)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)

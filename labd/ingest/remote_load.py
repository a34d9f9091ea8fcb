"""Loads one batch: its files' rows, once, in one commit; in bounded memory, whatever the size of the files.

The order is what makes it safe: look for the token; read, and write data files that nothing names yet; the report onto
the disk; the commit. Wherever this is cut off, the next call finds the token, or a table that knows nothing of it.
"""

from __future__ import annotations

import time
import uuid
from random import Random
from typing import Any

from pyiceberg.table import Table

from labd import log
from labd.ingest.remote_commit import Change, Landed, Moved, commit
from labd.ingest.remote_commit import look as look_for
from labd.ingest.remote_data_files import DataFiles
from labd.ingest.remote_iceberg import full_name, user_columns
from labd.ingest.remote_plan import Plan, look
from labd.ingest.remote_read import BatchReader
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_replace import Replacement
from labd.ingest.remote_report import BatchFolder, rebuild, states_text
from labd.ingest.remote_sources import url_of
from labd.ingest.remote_writer import delete_files

Json = dict[str, Any]
MIB = 2**20
MOVES = 5


def load(batch: Json, random: Random) -> Json:
    """Bring a batch into its table once; a `port.BatchReport`."""
    for _ in range(MOVES):
        try:
            return Load(batch, random).run()
        except Moved:
            log(f"{full_name(batch['table'])}: its columns were changed by others meanwhile; the batch is read again")
    text = f"{full_name(batch['table'])}: its columns were changed by others {MOVES} times while a batch was read"
    raise Refusal("table_conflict", f"{text}; nothing was added")


class Load:
    """One try."""

    def __init__(self, batch: Json, random: Random) -> None:
        self._batch = batch
        self._random = random
        self._attempt = uuid.UUID(int=random.getrandbits(128), version=4).hex
        self._folder = BatchFolder(batch["report"])
        self._memory_bytes = int(batch["memory_mib"]) * MIB
        self._plan = Plan(batch, look(batch))
        self._rows = DataFiles(self._plan, self._attempt, self._memory_bytes, self._note)

    def run(self) -> Json:
        """Look, read, commit; what was written is deleted unless a commit may name it.

        Raises:
            Moved: The table's columns or partitions were changed meanwhile; nothing is in.
        """
        landed = None if self._plan.table is None else look_for(self._plan.table, self._batch["token"])
        if landed is not None:
            return self._already(landed)
        self._folder.begin()
        try:
            report = self._read()
            replaced = self._replaced(report)
            if self._plan.pending or self._plan.table is None or not (report["rows"] or replaced):
                self._rows.discard()
                if self._plan.pending:
                    return {**report, "state": "approval", "changes": self._plan.pending, "rows": 0, "files": []}
                return {**report, "state": "nothing"}
            self._check_quality(report)
        except BaseException:
            self._rows.discard()
            raise
        finally:
            self._rows.close()
            self._folder.end()
        return self._commit(self._plan.table, report, replaced)

    def _read(self) -> Json:
        began = time.monotonic()
        reader = BatchReader(self._batch, self._plan, self._folder.scratch, self._memory_bytes)
        files = reader.read(self._rows)
        data_files = self._rows.finish()
        return {
            "state": "committed", "token": self._batch["token"], "files": files, "changes": self._plan.changes,
            "columns": self._plan.columns, "rows": sum(file["rows"] for file in files),
            "bytes_in": sum(file["size_bytes"] for file in files if file["state"] == "loaded"),
            "bytes_out": sum(file.file_size_in_bytes for file in data_files),
            "seconds": {"read": round(time.monotonic() - began, 6)},
        }  # fmt: skip

    def _commit(self, table: Table, report: Json, replaced: list[str]) -> Json:
        self._folder.keep(self._attempt, {**report, "state": "already", "table_uuid": str(table.metadata.table_uuid)})
        states = states_text(report["files"])
        replacement = Replacement(self._plan, replaced, self._attempt, self._memory_bytes, self._note)
        change = Change(
            table=self._batch["table"], ingestion=self._batch["ingestion"], token=self._batch["token"],
            attempt=self._attempt, files=self._rows.files, plan=self._plan.begin,
            summary={
                "labd.batch": str(self._batch["number"]), "labd.states": states,
                "labd.files": str(sum(file["state"] == "loaded" for file in report["files"])),
            },
            rewrite=replacement.rewrite if replaced else None,
            discard=lambda files: delete_files(table.io, [file.file_path for file in files]),
        )  # fmt: skip
        began = time.monotonic()
        try:
            landed = commit(table, change, self._random)
        except Moved:
            self._rows.discard()
            raise
        finally:
            replacement.close()
        if landed.attempt != self._attempt:
            return self._already(landed)
        report["seconds"]["commit"] = round(time.monotonic() - began, 6)
        self._clean(landed)
        return {**report, **_facts(landed)}

    def _already(self, landed: Landed) -> Json:
        """The report of the commit that is there."""
        known = self._folder.recall(landed.attempt)
        if known is None:
            known = rebuild(
                landed.table, self._batch, landed.snapshot_id, lambda path: url_of(self._batch["source"], path)
            )
        self._clean(landed)
        return {**known, "state": "already", **_facts(landed)}

    def _clean(self, landed: Landed) -> None:
        """The batch is in: what lost tries have written is named by no commit, now or later."""
        delete_files(landed.table.io, self._folder.abandoned(landed.attempt))
        self._folder.forget()
        self._folder.end()

    def _note(self, location: str) -> None:
        self._folder.note(self._attempt, location)

    def _replaced(self, report: Json) -> list[str]:
        """URLs whose rows of before are to go, because all rows of a new version come in."""
        loaded = {file["path"] for file in report["files"] if file["state"] == "loaded"}
        return [
            url_of(self._batch["source"], file["path"])
            for file in self._batch["files"]
            if file.get("policy") == "replace" and file["path"] in loaded
        ]

    def _check_quality(self, report: Json) -> None:
        rule, files = self._batch["quality"], report["files"]
        rescued, rows = sum(file["rescued"] for file in files), report["rows"]
        bad, looked_at = sum(file["state"] == "quarantined" for file in files), len(files)
        for part, whole, limit, what in (
            (rescued, rows, rule.get("max_rescued_percent"), "rows with rescued data"),
            (bad, looked_at, rule.get("max_quarantined_percent"), "quarantined files"),
        ):
            if limit is not None and whole and 100 * part / whole > limit:
                text = f"{full_name(self._batch['table'])}: {part} of {whole} {what} are {100 * part / whole:.3g} %"
                faults = [{"path": file["path"], "fault": file["fault"]} for file in files if file["fault"]][:20]
                raise Refusal(
                    "quality_refused", f"{text}, more than the {limit:g} % allowed; nothing was added",
                    part=part, whole=whole, limit_percent=limit, files=faults,
                )  # fmt: skip


def _facts(landed: Landed) -> Json:
    metadata = landed.table.metadata
    return {
        "snapshot_id": landed.snapshot_id, "table_uuid": str(metadata.table_uuid),
        "columns": user_columns(metadata.schema()),
    }  # fmt: skip

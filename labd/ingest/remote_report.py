"""What a batch's tries leave beside it in the state folder: their reports, and the paths of what they wrote.

Why a report for every try: the commit of a lost try can land after a later one has read the files again, and then the
report of the lost one is the true one. The commit names its try.
Why paths are noted: a killed try leaves data files that no commit names. They are deleted when the batch is in, for
only then is it certain that no late commit can name them any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table

from labd.ingest.remote_iceberg import BATCH, FILE, RESCUED, user_columns
from labd.ingest.remote_refusal import Refusal

Json = dict[str, Any]
STATES = {"L": "loaded", "S": "same", "Q": "quarantined", "V": "vanished", "C": "changed"}


class BatchFolder:
    """The files of one batch: `<report>`, `<report>.files` and the folder `<report>.scratch`."""

    def __init__(self, report: str) -> None:
        self._report = Path(report)
        self._paths = Path(f"{report}.files")
        self.scratch = Path(f"{report}.scratch")
        self._report.parent.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """An empty folder for what does not fit in memory."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(mode=0o700)

    def end(self) -> None:
        """Remove it."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def note(self, attempt: str, location: str) -> None:
        """A data file is about to be written."""
        with self._paths.open("a", encoding="utf-8") as file:
            file.write(json.dumps([attempt, location]) + "\n")

    def abandoned(self, attempt: str | None) -> list[str]:
        """Data files of other tries than the one that is in the table; none where it is not known which that is."""
        if attempt is None or not self._paths.exists():
            return []
        found = []
        for line in self._paths.read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line of a killed try
                whose, location = json.loads(line)
                if whose != attempt:
                    found.append(location)
        return found

    def forget(self) -> None:
        """What was noted is dealt with."""
        self._paths.unlink(missing_ok=True)

    def keep(self, attempt: str, report: Json) -> None:
        """Put a try's report on the disk."""
        text = json.dumps({**self._tries(), attempt: report}, ensure_ascii=False)
        fresh = self._report.with_name(f".{self._report.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._report)
        folder = os.open(self._report.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def recall(self, attempt: str | None) -> Any:
        """The report of the try that is in the table; None if it was never written or is lost."""
        tries = self._tries()
        if attempt is None and len(tries) == 1:
            return next(iter(tries.values()))
        return tries.get(attempt or "")

    def _tries(self) -> Json:
        try:
            found = json.loads(self._report.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def states_text(files: list[Json]) -> str:
    """The states of a batch's files in its order, such as `998L1Q1L`; for the commit's summary."""
    letters = {word: letter for letter, word in STATES.items()}
    text, last, count = "", "", 0
    for letter in [*(letters[file["state"]] for file in files), ""]:
        if letter != last and count:
            text += f"{count}{last}"
            count = 0
        last, count = letter, count + 1
    return text


def read_states(text: str) -> list[str]:
    """The states that `states_text` wrote."""
    states, number = [], ""
    for one in text:
        if one.isdigit():
            number += one
        else:
            states += [STATES[one]] * int(number)
            number = ""
    return states


def rebuild(table: Table, batch: Json, snapshot_id: int | None, url_of: Any) -> Json:
    """A report from what the table says, for a commit whose report is lost.

    The states of the files stand in the commit's summary. Where the snapshot has expired, files with rows are `loaded`,
    and the others `changed`: none of their rows are in, so they are looked at again.

    Raises:
        Refusal: Neither the summary nor labd's columns are there to tell from.
    """
    snapshot = None if snapshot_id is None else table.metadata.snapshot_by_id(snapshot_id)
    summary = {} if snapshot is None or snapshot.summary is None else snapshot.summary.additional_properties
    states = read_states(summary.get("labd.states", ""))
    rows, rescued = _counts(table, batch["number"]) if batch["provenance"] else (Counter[str](), Counter[str]())
    if len(states) != len(batch["files"]):
        if not batch["provenance"]:
            text = f"batch {batch['token']} is in the table, but nothing is left that tells which files it loaded"
            raise Refusal("table_refused", f"{text}; look at the rows and mark the files by hand")
        states = ["loaded" if rows[url_of(file["path"])] else "changed" for file in batch["files"]]
    files = [
        {
            "path": file["path"], "version": file["version"], "state": state, "rows": rows[url_of(file["path"])],
            "rescued": rescued[url_of(file["path"])], "size_bytes": file["size_bytes"],
        }
        for file, state in zip(batch["files"], states, strict=True)
    ]  # fmt: skip
    return {
        "state": "already", "token": batch["token"], "files": files, "changes": [], "rows": sum(rows.values()),
        "columns": user_columns(table.schema()), "bytes_in": sum(file["size_bytes"] for file in files),
    }  # fmt: skip


def _counts(table: Table, number: int) -> tuple[Counter[str], Counter[str]]:
    """Rows and rescued rows of a batch by the file's URL."""
    rows, rescued = Counter[str](), Counter[str]()
    scan = table.scan(row_filter=EqualTo(BATCH, number), selected_fields=(FILE, RESCUED))  # type: ignore[call-arg, arg-type]
    for batch in scan.to_arrow_batch_reader():
        for url, text in zip(batch.column(FILE).to_pylist(), batch.column(RESCUED).to_pylist(), strict=True):
            rows[url] += 1
            rescued[url] += text is not None
    return rows, rescued

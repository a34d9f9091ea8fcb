"""Loads one batch on a cluster: its files' rows, once, in one commit.

The order is that of the arrow engine: look for the token; read; the report onto the disk; the commit. The cluster reads
the files twice where their columns must be known first. The rows wait in its cache between reading and writing; a part
of it that is lost is read again, and fails the write if a file is no longer what it was.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from random import Random
from typing import Any

from labd import log, progress
from labd.ingest.remote_iceberg import BATCH, FILE, RESCUED
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_report import BatchFolder, read_states, states_text
from labd.ingest.remote_sources import url_of
from labd.ingest.remote_spark_commit import Landed, Write, commit, keep_token, look
from labd.ingest.remote_spark_plan import SparkPlan
from labd.ingest.remote_spark_read import TASK, TOLD, looker, reader
from labd.ingest.remote_spark_session import Spark
from labd.ingest.remote_spark_table import PROVENANCE, SparkTable, State, plain_rows
from labd.ingest.remote_spark_types import quote, to_spark

Json = dict[str, Any]
PIECE_BYTES = 128 * 2**20  # of input, for one task that writes


class SparkLoad:
    """One try."""

    def __init__(self, spark: Spark, batch: Json, random: Random) -> None:
        self._batch = batch
        self._spark = spark
        self._provenance = bool(batch["provenance"])
        self._attempt = uuid.UUID(int=random.getrandbits(128), version=4).hex
        self._random = random
        self._folder = BatchFolder(batch["report"])
        self._seconds: dict[str, float] = {"session_s": round(spark.opened_s, 3)}
        self.table = SparkTable(spark, batch["table"])
        self._session = self.table.session
        self._is_there = self.table.exists()
        self._state = self.table.state() if self._is_there else State()
        self.uuid = self._state.uuid
        self._expect()
        known = self.table.columns() if self._is_there else None
        self.plan = SparkPlan(batch, known, self.table.spoken)
        self.reports: dict[str, Json] = {}
        self._seen: dict[str, str] = {}

    def _expect(self) -> None:
        """Refuse a table that is not the one that earlier batches went to."""
        expected = self._batch.get("expected_uuid")
        if expected and (not self._is_there or (self.uuid and self.uuid != expected)):
            what = f"is another one now ({self.uuid})" if self._is_there else "is gone"
            text = f"{self.table.spoken}, to which earlier batches went ({expected}), {what}: somebody dropped it"
            raise Refusal("table_refused", f"{text}; to begin anew, refresh the ingestion in full")

    def run(self) -> Json:
        """Look, read, commit; a `port.BatchReport`."""
        landed = None
        if self._is_there:
            landed = look(self.table, self._state, self._batch["token"], self._batch["number"], self._provenance)
        if landed is not None:
            return self._already(landed)
        started = time.monotonic()
        self.look()
        if self.plan.pending:
            changed = [{**report, "state": "changed"} for report in self.files()]
            return {**self._report(changed), "state": "approval", "changes": self.plan.pending, "rows": 0}
        frame = self.read()
        try:
            self._mark("read_s", started)
            return self._write(frame)
        finally:
            if frame is not None:
                frame.unpersist()

    def look(self) -> None:
        """Find the columns of all files, where the rule wants to know."""
        if not self.plan.needs_look:
            return
        frame = self._tasks(self._batch["files"]).mapInArrow(
            looker(self._batch["source"], self._batch["format"], self._batch["schema"], self.plan.known),
            f"{TOLD} string",
        )
        found = {told["path"]: told for told in (json.loads(row[0]) for row in frame.collect())}
        brought = []
        for file in self._batch["files"]:
            told = _unrefused(found[file["path"]])
            if told["state"] == "loaded":
                brought.append((file["path"], told["columns"]))
                self._seen[file["path"]] = told["sha256"]
            else:
                self._settle(file, told)
        if brought:
            self.plan.take(brought)

    def read(self) -> Any:
        """The rows of all files that are good, in the cluster's cache; None where no file is left to read."""
        files = [
            {**file, "seen_sha256": self._seen.get(file["path"])}
            for file in self._batch["files"]
            if file["path"] not in self.reports
        ]
        if not files:
            return None
        frame = self.rows(files).persist()
        told = [_unrefused(json.loads(row[0])) for row in frame.where(f"{TOLD} IS NOT NULL").select(TOLD).collect()]
        by_path = {one["path"]: one for one in told}
        for file in files:
            self._settle(file, by_path[file["path"]])
        progress(len(self.reports), len(self._batch["files"]), "read")
        return frame

    def rows(self, files: list[Json]) -> Any:
        """The files' rows as the cluster reads them, each file with its report behind."""
        columns = self.plan.columns
        body = [f"{quote(one['name'])} {to_spark(one['type'])}" for one in columns]
        own = [
            f"{RESCUED} string",
            *(f"{name} {to_spark(kind)}" for name, kind in PROVENANCE.items()),
            f"{TOLD} string",
        ]
        read = reader(
            self._batch["source"], self._batch["format"], self._batch["schema"], columns, self._batch["number"]
        )
        return self._tasks(files).mapInArrow(read, ", ".join([*body, *own]))

    def _tasks(self, files: list[Json]) -> Any:
        """One row for each file, spread over the cluster."""
        parts = min(len(files), int(self._session.conf.get("spark.sql.shuffle.partitions")))
        rows = [(json.dumps(file),) for file in files]
        frame = self._session.createDataFrame(rows, f"{TASK} string")
        return frame.repartition(parts) if parts > 1 else frame.coalesce(1)

    def _write(self, frame: Any) -> Json:
        files = self.files()
        report = self._report(files)
        self._check_quality(files, report)
        replaced = [
            url_of(self._batch["source"], file["path"])
            for file in self._batch["files"]
            if file.get("policy") == "replace" and self.reports[file["path"]]["state"] == "loaded"
        ]
        if replaced and not (self._provenance and self.table.is_iceberg):
            text = (
                f"{self.table.spoken}: rows are replaced by labd's column {FILE} in an Iceberg table; this one cannot"
            )
            raise Refusal("table_refused", f"{text}; turn provenance on, or say changed = append-version")
        if not report["rows"] and not (replaced and self._is_there):
            return {**report, "state": "nothing", "columns": self.plan.columns}
        begun = time.monotonic()
        self._make()
        report |= {"columns": self.table.columns()}
        self._folder.keep(self._attempt, {**report, "state": "already"})
        write = self._commit_of(frame, report, replaced)
        report["exactly_once"] = write.exactly_once
        landed = commit(write, jitter=self._random.random)
        self._mark("commit_s", begun)
        keep_token(write)
        if landed.attempt != self._attempt:
            return self._already(landed)
        if not write.exactly_once:
            log(f"{self.table.spoken}: at least once: a commit of a lost session may land beside a later one")
        return {**report, **self._traces(landed)}

    def _make(self) -> None:
        if not self._is_there:
            if not self.plan.columns:
                raise Refusal("table_refused", f"{self.table.spoken}: no file has columns to make it with")
            self.table.make(self.plan.columns, self._provenance)
        self.table.change(self.plan.changes, self._provenance)

    def _commit_of(self, frame: Any, report: Json, replaced: list[str]) -> Write:
        names = [field.name for field in self._session.table(self.table.name).schema]
        given = (
            {one["name"] for one in self.plan.columns} | {RESCUED} | (set(PROVENANCE) if self._provenance else set())
        )
        body = [quote(name) if name in given else f"NULL AS {quote(name)}" for name in names]
        pieces = max(1, report["bytes_in"] // PIECE_BYTES)
        rows = frame.where(_good(self._batch["source"], report["files"])).selectExpr(*body).coalesce(pieces)
        summary = {
            "labd.batch": str(self._batch["number"]), "labd.states": states_text(report["files"]),
            "labd.files": str(sum(file["state"] == "loaded" for file in report["files"])),
        }  # fmt: skip
        return Write(
            table=self.table, frame=rows, ingestion=self._batch["ingestion"], token=self._batch["token"],
            attempt=self._attempt, number=self._batch["number"], summary=summary, replaced=replaced,
            provenance=self._provenance,
        )  # fmt: skip

    # reports

    def files(self) -> list[Json]:
        """What became of each, in the batch's order."""
        empty = {"rows": 0, "rescued": 0, "sha256": None, "fault": None, "duration_s": 0.0}
        return [
            {
                "path": file["path"], "version": file["version"], "state": "loaded", "size_bytes": file["size_bytes"],
                **empty, **self.reports.get(file["path"], {}),
            }
            for file in self._batch["files"]
        ]  # fmt: skip

    def _settle(self, file: Json, told: Json) -> None:
        words = ("state", "rows", "rescued", "size_bytes", "sha256", "fault", "duration_s")
        self.reports[file["path"]] = {word: told[word] for word in words if word in told}
        if told["state"] != "loaded":
            self.reports[file["path"]] |= {"rows": 0, "rescued": 0}

    def _report(self, files: list[Json]) -> Json:
        return {
            "state": "committed", "token": self._batch["token"], "files": files, "changes": self.plan.changes,
            "columns": self.plan.columns, "rows": sum(file["rows"] for file in files),
            "bytes_in": sum(file["size_bytes"] for file in files if file["state"] == "loaded"),
            "bytes_out": 0, "snapshot_id": None, "table_uuid": self.uuid or None, "seconds": self._seconds,
            "exactly_once": self._provenance and self.table.is_iceberg,
        }  # fmt: skip

    def _check_quality(self, files: list[Json], report: Json) -> None:
        quality = self._batch["quality"]
        rescued, rows = sum(file["rescued"] for file in files), report["rows"]
        bad = sum(file["state"] == "quarantined" for file in files)
        for word, what, count, whole in (
            ("max_rescued_percent", "rows with rescued data", rescued, rows),
            ("max_quarantined_percent", "quarantined files", bad, len(files)),
        ):
            most, percent = quality.get(word), 100 * count / whole if whole else 0.0
            if most is not None and percent > most:
                text = f"{count} of {whole} {what} are {percent:.3g} %, more than the {most:g} % allowed"
                raise Refusal("quality_refused", f"{self.table.spoken}: {text}; nothing was added", files=files)

    def _already(self, landed: Landed) -> Json:
        """The report of the try that is in the table."""
        self._state = self.table.state()
        found = self._folder.recall(landed.attempt) or self._rebuild(landed)
        return {
            **found, **self._traces(landed), "state": "already",
            "columns": self.table.columns(),
        }  # fmt: skip

    def _traces(self, landed: Landed) -> Json:
        """What is known of a commit when it is there."""
        state = self.table.state()
        size = state.summaries.get(landed.snapshot_id or 0, {}).get("added-files-size", "0")
        return {"snapshot_id": landed.snapshot_id, "bytes_out": int(size), "table_uuid": state.uuid or None}

    def _rebuild(self, landed: Landed) -> Json:
        """A report from what the table says, for a commit whose report is lost."""
        summary = self._state.summaries.get(landed.snapshot_id or 0, {})
        states = read_states(summary.get("labd.states", ""))
        rows, rescued = self._counts() if self._provenance else (Counter[str](), Counter[str]())
        files = self._batch["files"]
        urls = [url_of(self._batch["source"], file["path"]) for file in files]
        if len(states) != len(files):
            if not self._provenance:
                text = f"batch {self._batch['token']} is in the table, but nothing is left that tells of which files"
                raise Refusal("table_refused", f"{text}; look at the rows and mark the files by hand")
            states = ["loaded" if rows[url] else "changed" for url in urls]
        for file, url, state in zip(files, urls, states, strict=True):
            told = {"state": state, "rows": rows[url], "rescued": rescued[url], "size_bytes": file["size_bytes"]}
            self.reports[file["path"]] = told
        return self._report(self.files())

    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        found = self.table.sql(
            f"SELECT {FILE}, count(*), count({RESCUED}) FROM {self.table.name} "  # noqa: S608 quoted
            f"WHERE {BATCH} = {int(self._batch['number'])} GROUP BY {FILE}"
        )
        return Counter({row[0]: row[1] for row in found}), Counter({row[0]: row[2] for row in found})

    def _mark(self, word: str, since: float) -> None:
        self._seconds[word] = round(time.monotonic() - since, 6)


def sample(spark: Spark, batch: Json, rows: int, random: Random) -> Json:
    """Read all files as `run` would, and write nothing; a `port.Sample` of the first rows."""
    rule = {**batch["schema"], "evolution": "additive-auto"}  # what it would change is shown, not asked
    load = SparkLoad(spark, {**batch, "schema": rule}, random)
    load.look()
    frame = load.read()
    names = [*(one["name"] for one in load.plan.columns), RESCUED]
    found: list[list[Any]] = []
    if frame is not None:
        try:
            good = frame.where(f"{TOLD} IS NULL").where(_good(batch["source"], load.files()))
            found = plain_rows(good.select(*(quote(name) for name in names)).limit(rows).toArrow())
        finally:
            frame.unpersist()
    columns = [*load.plan.columns, {"name": RESCUED, "type": "string"}]
    return {"columns": columns, "rows": found, "files": load.files(), "changes": load.plan.changes}


def _good(source: Json, files: list[Json]) -> str:
    """Rows of loaded files; a read again that does not end as the first one ends the write.

    Why: what is lost of the cache is read again, and a file that has changed since would leave its rows out.
    """
    from labd.ingest.remote_spark_commit import literal

    bad = ", ".join(literal(url_of(source, file["path"])) for file in files if file["state"] != "loaded")
    is_bad = f"{FILE} IN ({bad})" if bad else "false"
    return (
        f"CASE WHEN {TOLD} IS NULL THEN NOT ({is_bad}) "
        f"WHEN {is_bad} OR get_json_object({TOLD}, '$.state') = 'loaded' THEN false "
        f"ELSE raise_error(concat('labd: read again and not the same: ', {TOLD})) END"
    )


def _unrefused(told: Json) -> Json:
    """A file's report.

    Raises:
        Refusal: The source as a whole cannot be read.
    """
    if told["state"] == "refused":
        raise Refusal(told["refusal"], told["text"], **told["details"])
    return told

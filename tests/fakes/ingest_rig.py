"""An ingest engine with a folder of files and a catalogue of its own, spoken to as the daemon does."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from labd.ingest import remote

Json = dict[str, Any]
Ask = Callable[[str, Json], Json]
FORMAT: Json = {
    "type": "jsonl", "compression": "auto", "encoding": "utf-8", "delimiter": ",", "quote": '"', "escape": "",
    "header": True, "null_values": [""], "skip_rows": 0, "comment": "", "timestamp_formats": [], "json_path": "",
    "line_limit_bytes": 16 * 2**20,
}  # fmt: skip
RULE: Json = {"mode": "evolve", "evolution": "additive-auto", "columns": [], "hints": {}, "infer_types": True}
QUALITY: Json = {"min_rows": None, "max_rows": None, "max_rescued_percent": None, "max_quarantined_percent": None}


class Refused(Exception):
    """The engine said no."""

    def __init__(self, told: Json) -> None:
        super().__init__(told["text"])
        self.code: str = told["refusal"]
        self.details: Json = told["details"]


class IngestRig:
    """Files in `inbox`, the catalogue and its tables in `lake`, reports in `reports`.

    Args:
        engine: `arrow` or `spark`.
        ask: Brings a call to the child's entry; this process's own unless given.
        given: What goes with every call, such as the settings of Spark.
    """

    def __init__(self, folder: Path, engine: str = "arrow", ask: Ask = remote.ask, **given: Any) -> None:
        self.folder, self.engine, self._ask, self._given = folder, engine, ask, given
        self.inbox = folder / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.catalog: Json = {
            "name": "default", "secrets": {},
            "properties": {
                "type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/lake",
            },
        }  # fmt: skip
        self.table = self.table_named("readings")
        self._numbers = itertools.count(1)

    def table_named(self, name: str, *partition_by: str, namespace: str = "lab") -> Json:
        """Of the catalogue."""
        return {
            "catalog": self.catalog, "namespace": namespace, "table": name, "partition_by": list(partition_by),
        }  # fmt: skip

    def ask(self, verb: str, **args: Any) -> Any:
        """One call.

        Raises:
            Refused: As the engine says.
        """
        told = self._ask(verb, {"engine": self.engine, **self._given, **args})
        json.dumps(told, allow_nan=False)
        if "refusal" in told:
            raise Refused(told)
        return told["answer"]

    def source(self, **words: Any) -> Json:
        """The inbox."""
        return {
            "url": f"file://{self.inbox}", "pattern": "**/*", "exclude": [], "options": {}, "secrets": {},
            "settle_s": 0.0, "marker": "", **words,
        }  # fmt: skip

    def write(self, path: str, rows: Iterable[Json] | str | bytes) -> str:
        """A file of JSON lines, or of exactly this text; packed if its name ends so."""
        content = rows if isinstance(rows, (str, bytes)) else "".join(json.dumps(row) + "\n" for row in rows)
        data = content.encode() if isinstance(content, str) else content
        target = self.inbox / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(data) if path.endswith(".gz") and isinstance(content, str) else data)
        return path

    def files(self, *paths: str, **words: Any) -> list[Json]:
        """Those files as the listing tells them now; all without names."""
        page = self.ask("list_files", source=self.source(), cursor=None, after=None, count=10_000)
        known = {"policy": "new", "known_sha256": None, **words}
        listed = [
            {"path": path, "version": version, "size_bytes": size, "modified_at": modified_at, **known}
            for path, version, size, modified_at in json.loads(page["entries"])
        ]  # fmt: skip
        return [file for file in listed if not paths or file["path"] in paths]

    def batch(self, files: list[Json], **words: Any) -> Json:
        """A batch with a number and a token of its own."""
        number = next(self._numbers)
        return {
            "ingestion": "sales", "token": f"sales/{number}", "number": number, "source": self.source(),
            "format": FORMAT, "schema": RULE, "quality": QUALITY, "table": self.table, "files": files,
            "report": str(self.folder / "reports" / f"{number}.json"), "provenance": True, "approved": [],
            "memory_mib": 1024, "expected_uuid": None, **words,
        }  # fmt: skip

    def load(self, *paths: str, **words: Any) -> Json:
        """A batch of those files."""
        answer: Json = self.ask("load", batch=self.batch(self.files(*paths), **words))
        return answer

    def rows(self, *columns: str, where: str = "", table: Json | None = None) -> list[tuple[Any, ...]]:
        """All rows of the table, sorted; one column gives 1-tuples."""
        told = self.ask("query", table=table or self.table, columns=list(columns), where=where, limit=1_000_000)
        assert not told["more"]
        return sorted((tuple(row) for row in told["rows"]), key=repr)

    def states(self, report: Json) -> dict[str, str]:
        """Path to state."""
        return {file["path"]: file["state"] for file in report["files"]}

"""The tables, read with PyIceberg from copies of the catalogue, against the files: each row once, no commit twice."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.port import World

SHOWN = 10
FILES = ("catalog.db", "catalog.db-wal", "catalog.db-journal")


class Lake:
    """Each ingestion of `told["lakes"]`."""

    name = "tables equal their files, each row once, no commit twice"

    def __init__(self) -> None:
        self.figures: Counter[str] = Counter()

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """No id twice at any time; at rest the ids are those of the files."""
        folder = world.daemon.state / "ingest"
        if not (folder / FILES[0]).exists():
            return []
        with tempfile.TemporaryDirectory(dir=world.folder) as copies:
            for name in FILES:
                if (folder / name).exists():
                    shutil.copy(folder / name, Path(copies) / name)
            return self._tables(world, told, Path(copies) / FILES[0], folder / "warehouse")

    def _tables(self, world: World, told: Mapping[str, Any], copy: Path, warehouse: Path) -> list[str]:
        from pyiceberg.catalog.sql import SqlCatalog
        from pyiceberg.exceptions import NoSuchTableError

        found = []
        catalog = SqlCatalog("default", uri=f"sqlite:///{copy}", warehouse=warehouse.as_uri())
        try:
            for name, source in dict(told["lakes"]).items():
                due = _rows_of(world, source)
                try:
                    table = catalog.load_table(f"default.{source['table']}")
                except NoSuchTableError:
                    if due and told["at_rest"]:
                        found.append(f"{name}: there is no table, and the files have {sum(due.values())} rows")
                    continue
                rows = Counter(table.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())
                found += [f"{name}: {each}" for each in _differences(rows, due, bool(told["at_rest"]))]
                found += [f"{name}: {each}" for each in tokens_twice(table)]
                self.figures[f"{name}_rows"] = sum(rows.values())
                self.figures[f"{name}_commits"] = len(table.metadata.snapshots)
        finally:
            catalog.close()
        return found


def _rows_of(world: World, source: Mapping[str, Any]) -> Counter[int]:
    """Ids of the source's files as they are now."""
    if "folder" in source:
        files = [path for path in Path(source["folder"]).rglob("*.jsonl") if not path.name.startswith(".")]
        return Counter(json.loads(line)["id"] for path in files for line in path.read_text().splitlines())
    contents: Mapping[str, list[list[int]]] = world.parties["objects"].contents  # type: ignore[attr-defined]
    return Counter(row for versions in list(contents.values()) for row in versions[-1])


def _differences(rows: Counter[int], due: Counter[int], must_be_equal: bool) -> list[str]:
    found = []
    twice = [row for row, count in rows.items() if count > 1]
    if twice:
        found.append(f"{len(twice)} rows are there more than once: {sorted(twice)[:SHOWN]}")
    if must_be_equal:
        if missing := due - rows:
            found.append(f"{missing.total()} rows of the files are missing: {sorted(missing)[:SHOWN]}")
        if strange := rows - due:
            found.append(f"{strange.total()} rows are in no file any more: {sorted(strange)[:SHOWN]}")
    return found


def tokens_twice(table: Any) -> list[str]:
    """Tokens of labd that come again after another one's commit; one commit may be several snapshots in a row."""
    closed: set[str] = set()
    found, last = [], ""
    by_id = {one.snapshot_id: one for one in table.metadata.snapshots}
    line = []
    current = by_id.get(table.metadata.current_snapshot_id)
    while current is not None:
        line.append(current)
        current = by_id.get(current.parent_snapshot_id)
    for snapshot in reversed(line):
        token = (snapshot.summary.get("labd.token") if snapshot.summary else None) or ""
        if not token:
            found.append(f"snapshot {snapshot.snapshot_id} has no token of labd")
        elif token != last:
            closed.add(last)
            if token in closed:
                found.append(f"token {token} was committed twice")
        last = token
    return found

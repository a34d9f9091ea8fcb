"""What tests of sources share: the places where files arrive, the files, and how a listing is read to its end."""

from __future__ import annotations

import json
from typing import Any

from labd.ingest.remote_sources import open_source
from tests.fakes.object_stores import Lab, ServedLab
from tests.fakes.store_door import StoreDoor

NAMES = (
    "a.csv", "a/b.csv", "a/c.json", "a/d/e.csv", "a/d/f/g.csv", "a0.csv", "b.csv", "day=1/x.csv", "day=2/_SUCCESS",
    "day=2/x.csv", "day=2/y.csv", "z/.hidden/x.csv", "z/_temporary/0/x.csv", "z/.x.csv", "z/x.csv~", "z/x.csv.tmp",
    "z/x.csv.part", "z/ü é.csv", "z/100% #1 &+?.csv", "z/empty.csv",
)  # fmt: skip


def through(door: StoreDoor, lab: Lab, pattern: str = "**/*", **more: Any) -> dict[str, Any]:
    """An access by way of the door."""
    assert isinstance(lab, ServedLab)
    access = lab.access(pattern, **more)
    access["options"]["endpoint"] = lab.address.replace(lab.endpoint, door.endpoint)
    return access


def list_all(access: dict[str, Any], count: int = 1000, after: str | None = None) -> list[list[Any]]:
    source, cursor, found = open_source(access), None, []
    while True:
        page = source.pages(cursor, after, count)
        entries = json.loads(page["entries"])
        assert page["count"] == len(entries) <= count
        found += entries
        cursor = page["cursor"]
        if cursor is None:
            return found


def paths(access: dict[str, Any], **more: Any) -> list[str]:
    return [entry[0] for entry in list_all(access, **more)]


def file_of(entry: list[Any]) -> dict[str, Any]:
    return dict(zip(("path", "version", "size_bytes", "modified_at"), entry, strict=True))

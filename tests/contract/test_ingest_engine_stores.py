"""Loads from object stores, and into a lake that lies in one; over the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.ingest_rig import IngestRig
from tests.fakes.object_stores import Lab, S3Lab


class StoreRig(IngestRig):
    """The files are in a lab's store."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        super().__init__(folder)
        self.lab = lab

    def source(self, **words: object) -> dict[str, object]:
        return {"exclude": [], "marker": "", **self.lab.access(), **words}


@pytest.fixture
def rig(source_lab: Lab, tmp_path: Path) -> StoreRig:
    return StoreRig(tmp_path, source_lab)


def test_files_of_a_store_are_loaded_and_say_where_they_came_from(rig: StoreRig) -> None:
    rig.lab.put("a/1.jsonl", b'{"id": 1}\n')
    rig.lab.put("a/2.jsonl", b'{"id": 2}\n{broken\n')
    report = rig.load()
    assert rig.states(report) == {"a/1.jsonl": "loaded", "a/2.jsonl": "loaded"}
    assert rig.rows("id", "_labd_file", where="id is not null") == [
        (number, f"{rig.lab.url}/a/{number}.jsonl") for number in (1, 2)
    ]


def test_a_file_that_was_overwritten_after_the_listing_is_left_for_the_next(rig: StoreRig) -> None:
    rig.lab.put("a.jsonl", b'{"id": 1}\n')
    rig.lab.put("b.jsonl", b'{"id": 2}\n')
    rig.lab.put("c.jsonl", b'{"id": 3}\n')
    files = rig.files()
    rig.lab.put("a.jsonl", b'{"id": 100}\n')
    rig.lab.delete("b.jsonl")
    report = rig.ask("load", batch=rig.batch(files))
    assert rig.states(report) == {"a.jsonl": "changed", "b.jsonl": "vanished", "c.jsonl": "loaded"}
    assert rig.rows("id") == [(3,)]


@pytest.mark.parametrize("source_server", ["s3"], indirect=True, scope="module")
def test_a_lake_may_lie_in_a_store_as_well(rig: StoreRig) -> None:
    lab = rig.lab
    assert isinstance(lab, S3Lab)
    access = lab.access()
    rig.catalog["properties"] |= {
        "warehouse": f"s3://{lab.bucket}/lake-{rig.folder.name}", "s3.endpoint": lab.address, "s3.region": "us-east-1",
        "s3.access-key-id": access["options"]["access_key_id"],
    }  # fmt: skip
    rig.catalog["secrets"] = {"s3.secret-access-key": access["secrets"]["secret_access_key"]}
    lab.put("a.jsonl", b'{"id": 1}\n{"id": 2}\n')
    batch = rig.batch(rig.files())
    first = rig.ask("load", batch=batch)
    assert first["state"] == "committed"
    assert rig.ask("load", batch=batch)["state"] == "already"
    lab.put("a.jsonl", b'{"id": 3}\n')
    rig.ask("load", batch=rig.batch(rig.files(policy="replace")))
    assert rig.rows("id") == [(3,)]
    assert rig.ask("describe", table=rig.table)["location"].startswith("s3://")
    told = json.dumps([first, rig.ask("describe", table=rig.table)])
    assert access["secrets"]["secret_access_key"] not in told
    assert rig.ask("drop", table=rig.table) is True

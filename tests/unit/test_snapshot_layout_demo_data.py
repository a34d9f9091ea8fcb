"""Demo snapshots: the same for the same seed, whole unless damage was asked for."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from labd.errors import BadRequest, DatasetRefused
from labd.snapshots import demo_data, layout
from labd.snapshots.layout import SnapshotFolder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    one = demo_data.write_snapshot(tmp_path / "a", "acme", "7", 300, Random(5))
    two = demo_data.write_snapshot(tmp_path / "b", "acme", "7", 300, Random(5))
    other = demo_data.write_snapshot(tmp_path / "c", "acme", "7", 300, Random(6))
    assert content(one) == content(two)
    assert content(one) != content(other)
    assert one == tmp_path / "a" / "acme" / "7"


def test_a_demo_snapshot_is_whole(tmp_path: Path) -> None:
    dataset = layout.read(demo_data.write_snapshot(tmp_path, "acme", "7", 300, Random(5)))
    assert {table.name: table.rows for table in dataset.tables} == {
        "City": 3, "Person": 300, "KNOWS": 900, "LIVES_IN": 300,
    }  # fmt: skip


def test_a_cut_one_is_refused_with_its_file(tmp_path: Path) -> None:
    folder = demo_data.write_snapshot(tmp_path, "acme", "7", 300, Random(5), damage="cut")
    with pytest.raises(DatasetRefused, match=r"nodes/Person/part-0\.parquet: cannot be read as parquet"):
        layout.read(folder)


def test_a_snapshot_is_never_overwritten(tmp_path: Path) -> None:
    folder = demo_data.write_snapshot(tmp_path, "acme", "7", 10, Random(5))
    before = content(folder)
    with pytest.raises(FileExistsError):
        demo_data.write_snapshot(tmp_path, "acme", "7", 10, Random(6))
    assert content(folder) == before


def test_nothing_but_whole_snapshots_is_seen_below_the_base(tmp_path: Path) -> None:
    folder = demo_data.write_snapshot(tmp_path, "acme", "7", 10, Random(5))
    (folder.parent / ".8.new" / "nodes").mkdir(parents=True)  # a writer that was killed
    demo_data.write_snapshot(tmp_path, "acme", "8", 10, Random(5))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["7", "8"]


def test_hostile_names_are_refused(tmp_path: Path) -> None:
    for customer, timestamp in (("../x", "7"), ("acme", "../7"), ("a`b", "7")):
        with pytest.raises(BadRequest):
            demo_data.write_snapshot(tmp_path, customer, timestamp, 10, Random(5))
    assert list(tmp_path.iterdir()) == []


def test_demo_customers_get_one_each_and_a_damaged_one_on_request(tmp_path: Path) -> None:
    assert len(demo_data.write_demo(tmp_path, 1000, 20, Random(1))) == 3
    assert demo_data.write_demo(tmp_path, 1000, 20, Random(1)) == []
    (damaged,) = demo_data.write_demo(tmp_path, 1000, 20, Random(1), damaged=True)
    with pytest.raises(DatasetRefused):
        layout.read(damaged)
    found = [(one.customer, one.timestamp) for one in layout.find(tmp_path) if isinstance(one, SnapshotFolder)]
    assert found == [("customer1", "1000"), ("customer2", "1000"), ("customer3", "1000"), ("customer3", "1001")]

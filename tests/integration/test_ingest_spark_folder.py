"""What Spark's children keep for a while is below the state folder, and goes when labd starts."""

from __future__ import annotations

from pathlib import Path

from labd.ingest.service import spark_folder
from tests.fakes.ingest_house import IngestHouse


async def test_what_killed_children_left_goes_when_labd_starts(tmp_path: Path) -> None:
    left = spark_folder(tmp_path) / "labd-spark-x" / "blockmgr" / "00"
    left.mkdir(parents=True)
    (left / "rdd_1_0").write_bytes(b"rows")
    (tmp_path / "ingest" / "catalog.db").write_bytes(b"")
    async with IngestHouse(tmp_path).open():
        assert not spark_folder(tmp_path).exists()
        assert (tmp_path / "ingest" / "catalog.db").exists()

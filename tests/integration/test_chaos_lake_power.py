"""A commit to labd's own lake that has returned is in the table after a loss of power, whatever the disk left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.chaos.port import Unable
from tests.chaos.power_model import Power
from tests.chaos.shim import Shim, build

pytest.importorskip("pyiceberg")

RUN_S = 120.0
TABLES = 8
MAKE = """
import sys
import pyarrow as pa
from labd.ingest.remote_iceberg import catalog_of, sync_files

def table_of(number):
    folder = f"{sys.argv[1]}/{number}"
    catalog = catalog_of({"name": f"c{number}", "properties": {
        "type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse",
    }})
    return catalog

"""
BEGIN = """
import os
for number in range(TABLES):
    os.mkdir(f"{sys.argv[1]}/{number}")
    catalog = table_of(number)
    catalog.create_namespace("default")
    catalog.create_table("default.sales", pa.schema([("id", pa.int64())]))
"""
COMMIT = """
for number in range(TABLES):
    table = table_of(number).load_table("default.sales")
    with table.transaction() as change:
        change.append(pa.table({"id": pa.array([number], pa.int64())}))
    named = [entry.data_file.file_path for one in table.current_snapshot().manifests(table.io)
             for entry in one.fetch_manifest_entry(table.io)]
    sync_files([*named, *(one.manifest_path for one in table.current_snapshot().manifests(table.io)),
                table.current_snapshot().manifest_list])
"""
READ = """
for number in range(TABLES):
    print(table_of(number).load_table("default.sales").scan().to_arrow()["id"].to_pylist())
"""


def test_a_commit_that_has_returned_outlives_the_power(tmp_path: Path) -> None:
    try:
        build()
    except Unable as why:
        if os.environ.get("LABD_REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(why))
    root = tmp_path / "disk"
    root.mkdir()
    shim = Shim(tmp_path / "shim", root)

    def run(part: str) -> str:
        code = MAKE + part.replace("TABLES", str(TABLES))
        done = subprocess.run(
            [sys.executable, "-c", code, str(root)], env={**os.environ, **shim.environment}, capture_output=True,
            text=True, timeout=RUN_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run(BEGIN)
    power = Power(shim)
    shim.record(True)
    power.take_base()
    run(COMMIT)
    power.cut(Random(1))
    shim.record(False)
    assert run(READ).splitlines() == [f"[{number}]" for number in range(TABLES)]

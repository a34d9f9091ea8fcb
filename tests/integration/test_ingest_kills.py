"""A child that is killed at any step of a load leaves nothing twice, nothing out, and no file that nobody names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tests.fakes.ingest_killer import killer
from tests.fakes.ingest_rig import IngestRig

MOST_STEPS = 300
SHARES = 3


@pytest.fixture
def rig(tmp_path: Path) -> IngestRig:
    return IngestRig(tmp_path)


def data_files(rig: IngestRig) -> tuple[set[str], set[str]]:
    """Parquet files on the disk, and those that some snapshot names."""
    catalog = SqlCatalog("default", **rig.catalog["properties"])
    table = catalog.load_table(("lab", "readings"))
    named = set(table.inspect.all_data_files()["file_path"].to_pylist())
    catalog.engine.dispose()
    return {f"file://{path}" for path in (rig.folder / "lake").rglob("*.parquet")}, named


@pytest.mark.parametrize("first_step", range(1, 1 + SHARES))
def test_a_load_that_is_killed_at_any_step_is_in_once_when_it_is_asked_again(rig: IngestRig, first_step: int) -> None:
    expected: dict[str, int] = {}
    kills = 0
    with killer() as child:
        for step in range(first_step, MOST_STEPS, SHARES):
            new, both = f"new-{step:03}.jsonl", "both.jsonl"
            rig.write(new, [{"id": step} | ({f"c{step // 20}": step} if step % 20 < SHARES else {})])
            rig.write(both, [{"id": 1000 + step}])
            rig.write("bad.jsonl.gz", b"no gzip")
            files = rig.files(new, "bad.jsonl.gz") + rig.files(both, policy="replace")
            batch = rig.batch(files)
            first = child.load(batch, kill_at=step)
            kills += first is None
            report = rig.ask("load", batch=batch)
            assert report["state"] in ("committed", "already"), step
            assert rig.states(report) == {new: "loaded", "bad.jsonl.gz": "quarantined", both: "loaded"}, step
            assert report["rows"] == 2, step
            expected |= {new: step, both: 1000 + step}
            if first is not None:
                break
    assert kills > 5
    assert rig.rows("id") == sorted([(number,) for number in expected.values()], key=repr)
    facts = rig.ask("describe", table=rig.table)
    assert facts["tokens"] == [f"sales/{number}" for number in range(1, kills + 2)]
    on_disk, named = data_files(rig)
    assert on_disk == named
    assert [path.name for path in (rig.folder / "reports").iterdir() if path.suffix != ".json"] == []


def test_a_table_is_made_once_however_its_first_load_is_killed(rig: IngestRig) -> None:
    rig.write("a.jsonl", [{"id": 1}])
    with killer() as child:
        for step in range(1, MOST_STEPS, 3):
            rig.table = rig.table_named("readings", namespace=f"lab.n{step}")
            batch = rig.batch(rig.files())
            first = child.load(batch, kill_at=step)
            assert rig.ask("load", batch=batch)["rows"] == 1, step
            assert rig.rows("id") == [(1,)], step
            if first is not None:
                break
    assert step > 10

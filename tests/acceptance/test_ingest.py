"""An ingestion on a daemon as a user runs it: a file into a table, a bad one, a changed one, kill -9 in between."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.fakes.ingest_daemons import run_daemon_kills
from tests.fakes.ingest_lake import write

pytest.importorskip("pyiceberg")
RUN = ("task", "run", "ingest.run", "ingestion=sales")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def daemon(daemons: Callable[..., Daemon], inbox: Path) -> Daemon:
    return daemons(settings(inbox, changed="replace-rows")).start()


def settings(inbox: Path, **definition: Any) -> str:
    """One ingestion of the settings."""
    return (
        toml("ingest", task_retry_delay_seconds=0)
        + toml("ingest.definition.sales", name="sales", **definition)
        + toml("ingest.definition.sales.source", url=inbox.as_uri(), settle_s=0)
        + toml("ingest.definition.sales.format", type="jsonl")
        + '[ingest.definition.sales.destination]\ntable = "sales"\n'
    )


def rows(daemon: Daemon, column: str = "id") -> list[Any]:
    """What is in the table, read by another reader than labd."""
    from pyiceberg.catalog.sql import SqlCatalog

    folder = daemon.state / "ingest"
    catalog = SqlCatalog("default", uri=f"sqlite:///{folder}/catalog.db", warehouse=(folder / "warehouse").as_uri())
    try:
        return sorted(catalog.load_table("default.sales").scan().to_arrow()[column].to_pylist())
    finally:
        catalog.close()


def run(daemon: Daemon) -> dict[str, Any]:
    """One run; its result."""
    result: dict[str, Any] = json.loads(daemon.labctl.ok("--json", *RUN))["result"]
    return result


def laid_down(inbox: Path) -> list[int]:
    """Forty files of ten rows; the ids."""
    for number in range(40):
        write(inbox / f"{number}.jsonl", *({"id": number * 10 + row} for row in range(10)))
    return list(range(400))


def under_way(daemon: Daemon, step: str) -> int:
    """A run that has come to a step; its job."""
    job_id: int = json.loads(daemon.labctl.ok("--json", *RUN, "--no-wait"))["id"]
    eventually(
        lambda: any(job["id"] > job_id for job in daemon.client.jobs(task=step, limit=1)["jobs"]), 30.0, f"step {step}"
    )
    return job_id


def test_files_arrive_once_each_a_bad_one_is_named_a_changed_one_replaced(daemon: Daemon, inbox: Path) -> None:
    write(inbox / "a.jsonl", {"id": 1}, {"id": 2})
    write(inbox / "b.jsonl", {"id": 3})
    assert run(daemon)["records"] == 3
    write(inbox / "c.jsonl", {"id": 4})
    (inbox / "d.jsonl.gz").write_bytes(b"\x1f\x8b no more of it")
    result = run(daemon)
    assert (result["state"], result["records"], result["bad"]) == ("partial", 1, ["d.jsonl.gz"])
    assert "1 file of sales cannot be read" in daemon.labctl.ok("status")
    daemon.kill()
    daemon.start()
    assert run(daemon)["files_discovered"] == 0
    write(inbox / "a.jsonl", {"id": 2}, {"id": 5})
    assert run(daemon)["state"] == "succeeded"
    assert rows(daemon) == [2, 3, 4, 5]


@pytest.mark.parametrize("step", ["ingest.discover_files", "ingest.load_batch"])
def test_a_daemon_killed_in_a_step_ends_with_each_row_once(daemon: Daemon, inbox: Path, step: str) -> None:
    expected = laid_down(inbox)
    job_id = under_way(daemon, step)
    daemon.kill()
    daemon.start()
    ended = daemon.ended(job_id, 60.0)
    assert (ended["state"], ended["result"]["state"]) == ("succeeded", "succeeded"), ended
    assert rows(daemon) == expected
    assert run(daemon)["files_discovered"] == 0


def test_a_child_killed_in_a_load_is_replaced_and_each_row_is_there_once(daemon: Daemon, inbox: Path) -> None:
    expected = laid_down(inbox)
    job_id = under_way(daemon, "ingest.load_batch")
    for child in daemon.children():
        os.kill(child.pid, signal.SIGKILL)
    assert daemon.ended(job_id, 60.0)["result"]["state"] == "succeeded"
    assert rows(daemon) == expected


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_daemons_killed_at_random_leave_a_table_that_equals_its_source(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}: python -m tests.bench.ingest_chances --kills 0 --daemon-kills 3 --files 30 --seed {seed}")
    figures = run_daemon_kills(tmp_path / "lab", 3, 30, seed)
    assert figures["kills"]["daemon"] == 3
    assert figures["rows"] > 0

"""A journal put back to an older day under tables that have gone on: nothing is loaded twice, nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labd.engine import catalog_copy
from labd.ingest import access
from tests.acceptance.processes import ROOT, Daemon, script
from tests.acceptance.test_ingest import daemon, inbox, rows, run
from tests.fakes.ingest_lake import write

pytest.importorskip("pyiceberg")
__all__ = ["daemon", "inbox"]  # fixtures


def labd(daemon: Daemon, *words: object) -> str:
    """What `labd` says; it must end with 0."""
    done = subprocess.run(
        [*script("labd"), *map(str, words)], capture_output=True, text=True, env=daemon.env, cwd=ROOT, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_loaded_since_a_backup_are_not_loaded_again_after_its_restore(daemon: Daemon, inbox: Path) -> None:
    write(inbox / "a.jsonl", {"id": 1})
    write(inbox / "b.jsonl", {"id": 2})
    run(daemon)
    archive = daemon.folder / "backup.tar"
    said = labd(daemon, "backup", archive, "--config", daemon.config, "--socket", daemon.socket)
    assert "the tables' own files are not: copy ingest/warehouse" in said
    write(inbox / "c.jsonl", {"id": 3})
    write(inbox / "b.jsonl", {"id": 20})
    run(daemon)
    daemon.end()
    said = labd(daemon, "restore", archive, "--state", daemon.state, "--force")
    assert "the catalogue of the tables that is there stays" in said
    daemon.start()
    write(inbox / "d.jsonl", {"id": 4})
    assert run(daemon)["records"] == 1
    assert rows(daemon) == [1, 3, 4, 20]
    assert run(daemon)["files_discovered"] == 0
    assert daemon.events("ingestion.taken_over")[0]["files"] == 2


def test_catalogue_and_copied_tables_on_another_host_are_the_same_tables(
    daemon: Daemon, inbox: Path, daemons: Callable[..., Daemon]
) -> None:
    write(inbox / "a.jsonl", {"id": 1})
    run(daemon)
    daemon.end()
    archive = daemon.folder / "resting.tar"
    assert "the catalogue of the tables is in it" in labd(daemon, "backup", archive, "--state", daemon.state)
    kept = daemon.folder / "kept"
    shutil.copytree(daemon.state / "ingest" / "warehouse", kept)
    shutil.rmtree(daemon.state)
    daemon.state.mkdir()
    assert "the catalogue of the tables is put back" in labd(daemon, "restore", archive, "--state", daemon.state)
    shutil.copytree(kept, daemon.state / "ingest" / "warehouse")
    daemon.start()
    write(inbox / "b.jsonl", {"id": 2})
    assert run(daemon)["records"] == 1
    assert rows(daemon) == [1, 2]


def test_the_catalogue_of_the_backup_is_that_of_the_ingestions(tmp_path: Path) -> None:
    assert catalog_copy.catalog_path(tmp_path) == access.catalog_folder(tmp_path) / "catalog.db"
    assert tmp_path / catalog_copy.WAREHOUSE == access.catalog_folder(tmp_path) / "warehouse"

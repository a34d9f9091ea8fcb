"""Databases of every released schema open as they are meant to, and a migration that is cut off changes nothing."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from labd.clock import SystemClock
from labd.engine import sql, store
from labd.engine.engine import Engine, EngineOptions
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.engine.views import JobFilter
from labd.errors import LabdError

DATA = Path(__file__).resolve().parent.parent / "data"
RELEASED = sorted(DATA.glob("*_v*.sql"))


def load(dump: Path, target: Path) -> None:
    with closing(sqlite3.connect(target)) as opened:
        opened.executescript(dump.read_text())


def schema_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        rows = opened.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        return sorted(re.sub(r"\s+", " ", row[0]) for row in rows)


def test_every_schema_so_far_has_its_fixture() -> None:
    for database in ("journal", "logbook"):
        for version in range(1, len(sql.migrations(database)) + 1):
            assert DATA / f"{database}_v{version}.sql" in RELEASED


@pytest.mark.parametrize("dump", RELEASED, ids=lambda path: path.stem)
def test_a_released_schema_is_brought_to_the_present_one(dump: Path, state_dir: Path) -> None:
    database = dump.stem.partition("_v")[0]
    load(dump, state_dir / "old.db")
    store.prepare(state_dir / "old.db", database)
    store.prepare(state_dir / "new.db", database)
    assert schema_of(state_dir / "old.db") == schema_of(state_dir / "new.db")


@pytest.mark.parametrize(
    "dump", [path for path in RELEASED if path.stem.startswith("journal")], ids=lambda path: path.stem
)
async def test_an_engine_goes_on_with_a_released_database(dump: Path, state_dir: Path) -> None:
    async def move(ctx: JobContext, hotel: str = "", device: str | None = None, speed: float = 0) -> None:
        raise AssertionError("nothing of an old database may start by itself here")

    load(dump, state_dir / "labd.db")
    registry = Registry()
    registry.add(TaskSpec("resort.activate_hotel", move, effect="physical"))
    engine = Engine(state_dir, registry, SystemClock(), Random(1), EngineOptions())
    await engine.open()
    await engine.start()
    try:
        states = {job.state.value for job in await engine.jobs(JobFilter())}
        assert {"succeeded", "cancelled", "queued"} <= states
        assert (await engine.audit_verify()).ok
        assert [view.spec.name for view in engine.schedules()] == ["morning"]
        assert [token.name for token in engine.tokens()] == ["dashboard"]
    finally:
        await engine.close()


def test_a_migration_that_fails_half_way_leaves_the_old_schema(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = state_dir / "labd.db"
    store.prepare(path, "journal")
    before = schema_of(path)
    scripts = sql.migrations("journal")
    bad = "ALTER TABLE jobs ADD COLUMN colour TEXT;\nCREATE INDEX no ON nothing (x);"
    monkeypatch.setattr(sql, "migrations", lambda database: [*scripts, bad])
    with pytest.raises(LabdError):
        store.prepare(path, "journal")
    assert schema_of(path) == before
    good = "ALTER TABLE jobs ADD COLUMN colour TEXT;"
    monkeypatch.setattr(sql, "migrations", lambda database: [*scripts, good])
    store.prepare(path, "journal")
    assert any("colour TEXT" in line for line in schema_of(path))

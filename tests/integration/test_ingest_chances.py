"""Whatever dies while files come and are overwritten, the table is the source in the end, each row once.

A few kills here; `python -m tests.bench.ingest_chances` makes two hundred, or repeats a printed seed.
"""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

import pytest

from tests.fakes.ingest_chances import run_chances

pytest.importorskip("pyiceberg")
KILLS, FILES = 6, 30


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_random_kills_leave_a_table_that_equals_its_source(state_dir: Path) -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}: python -m tests.bench.ingest_chances --kills {KILLS} --files {FILES} --seed {seed}")
    figures = run_chances(state_dir, KILLS, FILES, seed)
    print(figures)
    assert sum(figures["kills"].values()) >= KILLS
    assert figures["rows"] > 0

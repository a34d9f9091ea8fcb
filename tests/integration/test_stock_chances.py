"""Whatever happens in whatever order, no volume is lost or invented and no job starts short.

A few hundred operations here; `python -m tests.bench.stock_chances` does ten thousand, or repeats a printed seed.
"""

from __future__ import annotations

from random import SystemRandom

from tests.fakes.stock_chances import run_operations

OPERATIONS = 400


def test_no_volume_is_lost_or_invented_and_no_job_starts_short() -> None:
    seed = SystemRandom().randrange(2**32)
    print(f"seed {seed}: python -m tests.bench.stock_chances --operations {OPERATIONS} --seed {seed}")
    done, starts = run_operations(OPERATIONS, seed)
    print(f"{done} operations, {starts} jobs started")
    assert done >= OPERATIONS
    assert starts > 0

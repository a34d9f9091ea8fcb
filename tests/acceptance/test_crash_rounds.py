"""kill -9 at random moments under load: what was acknowledged is there, nothing physical ran twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.bench.crash import run_rounds

ROUNDS = 20


@pytest.mark.timeout(150)
def test_twenty_kills_at_random_moments_break_no_promise(state_dir: Path) -> None:
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}: python -m tests.bench.crash --short --seed {seed}")
    problems, figures = run_rounds(state_dir, ROUNDS, seed)
    assert problems == [], figures
    assert figures["rounds"] >= ROUNDS and figures["acknowledged"] > ROUNDS

"""All wings at once while the daemon, its disk, its power, its clock and its parties fail: no promise is broken.

The short form: every harm that this host can do, once, in an order of chance; `python -m tests.chaos` has the long one.
"""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

import pytest

from tests.chaos import cast
from tests.chaos.rounds import Lab
from tests.conftest import requires

pytest.importorskip("pyiceberg")
pytest.importorskip("ladybug")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_harm_once_breaks_no_promise(state_dir: Path) -> None:
    seed = SystemRandom().randrange(2**31)
    print(f"seed {seed}: python -m tests.chaos --rounds 20 --seed {seed}")
    lab = Lab(state_dir, seed, [], cast.parties_of(state_dir, seed), print)
    lab.play(lab.once_each)
    assert lab.problems == [], lab.figures()
    assert set(lab.struck.values()) == {1}, lab.struck
    assert lab.figures()["acknowledged"] > lab.once_each
    for name, why in lab.unable.items():
        requires(name, False, why)

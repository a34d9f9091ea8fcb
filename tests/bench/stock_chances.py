"""Ten thousand random operations on the stock; the seed is printed, a broken promise ends in a traceback.

python -m tests.bench.stock_chances --operations 10000 --seed 7
"""

from __future__ import annotations

import argparse
import logging
import time
from random import SystemRandom

import structlog

from tests.fakes.stock_chances import run_operations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    told = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"seed {told.seed}", flush=True)
    began = time.monotonic()
    done, starts = run_operations(told.operations, told.seed)
    print(f"{done} operations, {starts} jobs started, {time.monotonic() - began:.1f} s: every balance is right")


if __name__ == "__main__":
    main()

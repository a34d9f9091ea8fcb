"""Two hundred random kills over five hundred files that are overwritten meanwhile; the seed is printed.

python -m tests.bench.ingest_chances --kills 200 --files 500 --seed 7
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from random import SystemRandom

import structlog

from tests.fakes.ingest_chances import run_chances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    told = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"seed {told.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labd-") as folder:
        figures = run_chances(Path(folder), told.kills, told.files, told.seed)
    print(json.dumps({"bench": "ingest_chances", "seed": told.seed, "seconds": round(time.monotonic() - began, 1),
                      **figures, "table_equals_source": True}))  # fmt: skip


if __name__ == "__main__":
    main()

"""Two hundred random kills over five hundred files that are overwritten meanwhile; the seed is printed.

python -m tests.bench.ingest_chances --kills 200 --files 500 --seed 7
python -m tests.bench.ingest_chances --kills 0 --daemon-kills 50    # only of real daemons, each a process of its own
python -m tests.bench.ingest_chances --engine spark --kills 40      # a fifth of them with local[2], the rest by Connect
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import structlog

from tests.fakes.ingest_chances import run_chances
from tests.fakes.ingest_daemons import run_daemon_kills
from tests.fakes.spark_kills import SparkKills
from tests.fakes.spark_lab import TOKEN, ConnectServer

DAEMON_KILLS = 20
SPARK_FILES = 12  # few names, so that most are written again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("arrow", "spark"), default="arrow")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--local-kills", type=int, help="of these, with a JVM in the child; a fifth unless said")
    parser.add_argument("--daemon-kills", type=int, default=DAEMON_KILLS, help="of daemons that are processes; arrow")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    told = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"seed {told.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labd-") as folder:
        if told.engine == "spark":
            figures = spark_chances(Path(folder), told.kills, told.local_kills, told.seed)
        else:
            figures = run_chances(Path(folder), told.kills, told.files, told.seed) if told.kills else {}
            if told.daemon_kills:
                part = Path(folder) / "daemon"
                figures["daemons_killed"] = run_daemon_kills(part, told.daemon_kills, told.files, told.seed)
    head = {"bench": "ingest_chances", "engine": told.engine, "seed": told.seed}
    print(json.dumps({**head, "seconds": round(time.monotonic() - began, 1), **figures, "table_equals_source": True}))


def spark_chances(folder: Path, kills: int, local_kills: int | None, seed: int) -> dict[str, Any]:
    """Kills of children and of a Connect server, and of JVMs that children have of their own."""
    places = [folder / name for name in ("local", "connect", "server")]
    for place in places:
        place.mkdir()
    first = kills // 5 if local_kills is None else local_kills
    local = SparkKills(places[0], Random(seed)).play(first, SPARK_FILES) if first else {}
    server = ConnectServer(places[2], TOKEN).start()
    try:
        connect = SparkKills(places[1], Random(seed + 1), server).play(kills - first, SPARK_FILES)
    finally:
        server.kill()
    return {"local": local, "connect": connect}


if __name__ == "__main__":
    main()

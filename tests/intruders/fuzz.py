"""The fuzzer by hand: `python -m tests.intruders.fuzz TARGET --seconds 60 [--seed N] [--plain]`, or `all`.

With atheris (`pip install atheris`, Linux) the inputs follow the coverage of labd's own code; without, or with
`--plain`, they are the seeds of the suite, bent at random. What breaks a claim is written beside, and told.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOUND = Path(tempfile.gettempdir()) / "labd-fuzz-found"


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--plain", action="store_true")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    if chosen.target == "all":
        return _all(chosen)
    if chosen.plain or importlib.util.find_spec("atheris") is None:
        return _plain(chosen.target, chosen.seconds, chosen.seed)
    return _guided(chosen.target, chosen.seconds, chosen.seed)


def _all(chosen: argparse.Namespace) -> int:
    from tests.intruders.targets import TARGETS

    code = 0
    for name in TARGETS:
        words = [sys.executable, "-m", "tests.intruders.fuzz", name, "--seconds", str(chosen.seconds)]
        words += ["--seed", str(chosen.seed), *(["--plain"] if chosen.plain else [])]
        code |= subprocess.run(words, check=False).returncode
    return code


def _plain(name: str, seconds: float, seed: int) -> int:
    from tests.intruders.targets import TARGETS
    from tests.intruders.test_bytes import SEEDS

    target, chance = TARGETS[name], random.Random(seed)
    until, inputs, longest_s = time.monotonic() + seconds, 0, 0.0
    while time.monotonic() < until:
        data = _bent(chance.choice(SEEDS[name]), chance)
        inputs += 1
        began = time.monotonic()
        try:
            target(data)
        except BaseException:
            FOUND.mkdir(exist_ok=True)
            place = FOUND / f"{name}-{seed}-{inputs}"
            place.write_bytes(data)
            print(f"{name}: input {inputs} of seed {seed} breaks a claim; it is kept as {place}", flush=True)
            raise
        longest_s = max(longest_s, time.monotonic() - began)
    print(json.dumps({"target": name, "seed": seed, "inputs": inputs, "longest_s": round(longest_s, 3)}))
    return 0


def _bent(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            data = data[:place] + chance.randbytes(chance.choice((1, 1, 2, 4, 16))) + data[place:]
        elif kind == 1:
            data = data[:place] + data[place + chance.randrange(1, 16) :]
        elif kind == 2 and data:
            place = chance.randrange(len(data))
            data = data[:place] + bytes((data[place] ^ (1 << chance.randrange(8)),)) + data[place + 1 :]
        elif kind == 3:
            end = chance.randrange(place, len(data) + 1)
            data = data[:place] + data[place:end] * chance.choice((2, 3, 20)) + data[end:]
        else:
            data = data[:place]
    return data[: 1 << 20]


def _guided(name: str, seconds: float, seed: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["labd"]):
        from tests.intruders.targets import TARGETS
    from tests.intruders.test_bytes import SEEDS

    with tempfile.TemporaryDirectory(prefix="labd-corpus-") as corpus:
        for number, data in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(data)
        FOUND.mkdir(exist_ok=True)
        words = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed % 2**31}", "-timeout=20", "-max_len=65536"]
        atheris.Setup([sys.argv[0], corpus, *words, f"-artifact_prefix={FOUND}/{name}-"], TARGETS[name])
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A thousand rounds of harm, or half an hour of work without any; ends with 1 where a promise was broken.

python -m tests.chaos --rounds 1000 --seed 7
python -m tests.chaos --rounds 20 --seed 7 --fault power_loss --fault kill_daemon
python -m tests.chaos --soak 30
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

from tests.chaos import cast
from tests.chaos.rounds import Lab
from tests.chaos.soak import Soak

ROUNDS_A_LAB = 100
BEGAN = time.monotonic()


def main() -> int:
    """Play and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**31))
    parser.add_argument("--fault", action="append", default=[], help="only this one; may be said several times")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="no faults; nothing grows")
    parser.add_argument("--keep", action="store_true", help="leave the folders where no promise was broken, too")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, end_once)
    say(f"seed {given.seed}")
    problems: list[str] = []
    labs: list[dict[str, Any]] = []
    if given.soak:
        found, figures = one_lab(given.seed, None, given.keep, soak_minutes=given.soak)
        problems, labs = found, [figures]
    else:
        for number, rounds in enumerate(portions(given.rounds)):
            found, figures = one_lab(given.seed + number, given.fault, given.keep, rounds)
            problems += found
            labs.append(figures)
    what = f"{given.soak:g} minutes" if given.soak else f"{given.rounds} rounds"
    print(json.dumps({"bench": "chaos", "seed": given.seed, "what": what, **summed(labs)}, indent=1))
    for each in problems:
        print(f"BROKEN {each}")
    print(f"{len(problems)} promises broken in {what}, {time.monotonic() - BEGAN:.0f} s")
    return 1 if problems else 0


def end_once(*_: object) -> None:
    """As after Ctrl-C, what was started is ended; a second signal, as timeout(1) sends it, must not cut that short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def one_lab(
    seed: int, chosen: list[str] | None, keep: bool, rounds: int = 0, soak_minutes: float = 0.0
) -> tuple[list[str], dict[str, Any]]:
    """One lab in a folder of its own, which stays where a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="labd-"))
    parties = cast.parties_of(folder, seed)
    try:
        lab = Lab(folder, seed, chosen, parties, say)
    except BaseException:  # such as a SIGTERM while they start
        for party in parties.values():
            with contextlib.suppress(Exception):
                party.end()
        raise
    more: dict[str, Any] = {}
    if soak_minutes:
        soak = Soak(lab, say)
        soak.play(soak_minutes)
        more = soak.figures()
    else:
        lab.play(rounds)
    for name, why in lab.unable.items():
        say(f"{name}: not on this host: {why}")
    if lab.problems or keep:
        say(f"seed {seed}: everything is left in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"seed {seed}: {rounds} rounds, {len(lab.problems)} promises broken")
    return lab.problems, {**lab.figures(), "unable": lab.unable, **more}


def portions(rounds: int) -> list[int]:
    """How many rounds each lab lasts."""
    whole, rest = divmod(rounds, ROUNDS_A_LAB)
    return [ROUNDS_A_LAB] * whole + ([rest] if rest else [])


def summed(labs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of all labs together."""
    total: dict[str, Any] = {}
    for figures in labs:
        for name, value in figures.items():
            if isinstance(value, dict) and name in ("struck", "requests"):
                total[name] = dict(Counter(total.get(name, {})) + Counter(value))
            elif name == "unable":
                total.setdefault(name, {}).update(value)
            elif isinstance(value, dict):
                before = total.get(name, {})
                total[name] = {**before, **{k: max(v, before.get(k, v)) for k, v in value.items()}}
            elif name.endswith("_s"):
                total[name] = max(total.get(name, 0.0), value)
            elif isinstance(value, list):
                total[name] = [*total.get(name, []), *value]
            else:
                total[name] = total.get(name, 0) + value
    return total


def say(text: str) -> None:
    """One line at once, with the seconds since the beginning."""
    print(f"[{time.monotonic() - BEGAN:7.1f}] {text}", flush=True)


def told(play: Callable[[], int]) -> int:
    """As `play`; 2 and one line where this host lacks a server that the round cannot be without."""
    try:
        return play()
    except pytest.skip.Exception as lacking:
        print(f"chaos: this host {lacking.msg}".replace("host requires ", "host lacks "), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(told(main))

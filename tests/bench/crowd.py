"""A crowd at both doors: as many as the machine bears, a thousand listeners, clients that are stuck, and too many.

    python -m tests.bench.crowd --minutes 10
    python -m tests.bench.crowd --short
    python -m tests.bench.crowd --phases stuck,overload --journal /tmp/before.db --jobs 500000

1. Stops alone, for comparison.
2. 50 clients on the socket and 50 on TLS, each asking as soon as it is answered; stops in between.
3. 1,000 event streams, each of which must see every event once and in order; what a stream and an event cost.
4. Clients that never read, drip, or stop in the middle; the others must not notice.
5. Many more than labd bears at once; it must refuse in good form, keep the stop free, and be well afterwards.

The third form begins with a journal of so many ended jobs, made where there is none yet, and does only those phases.

Then the daemon ends, and its own file is compared with what the clients were told: each key once, with its number.
Ends with 1 where a promise was broken; figures alone never make it fail.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.bench import crowd_journal, crowd_phases
from tests.bench.crowd_house import House
from tests.bench.report import Report, arguments, say, work_folder
from tests.bench.stop import on_wire_s, torque_off_moments

Figures = dict[str, Any]


def keys_that_differ(database: Path, told: list[Path]) -> Figures:
    """What was acknowledged against what is in the file, read with sqlite3 alone."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        rows = opened.execute("SELECT idempotency_key, id FROM jobs WHERE idempotency_key IS NOT NULL").fetchall()
        unfinished = opened.execute("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").fetchone()[0]
    there: dict[str, list[int]] = {}
    for key, job_id in rows:
        there.setdefault(key, []).append(job_id)
    acknowledged = lost = wrong = 0
    for path in told:
        for line in path.read_text().splitlines():
            key, _, job_id = line.partition(" ")
            acknowledged += 1
            lost += key not in there
            wrong += key in there and there[key] != [int(job_id)]
    return {
        "acknowledged": acknowledged, "lost": lost, "doubled_or_other": wrong,
        "doubled_in_file": sum(len(ids) > 1 for ids in there.values()), "unfinished": unfinished,
    }  # fmt: skip


def broken(figures: Figures) -> list[str]:
    """Every promise that was broken, in words."""
    found = []
    for name in ("closed", "stuck", "overload"):
        for side, told in figures.get(name, {}).get("clients", {}).items():
            found += [f"{name}, {side}: {text}" for text in told["faults"]]
    for name, told in figures.get("listeners", {}).get("streams", {}).items():
        found += [f"listeners, {name}: {key} {told[key]}" for key in ("cut", "disorder", "not_at_goal") if told[key]]
        found += [f"listeners, {name}: not all saw the same"] if told["different"] != 1 or told["later_begun"] else []
    keys = figures["keys"]
    found += [f"keys: {name} {keys[name]}" for name in ("lost", "doubled_or_other", "doubled_in_file") if keys[name]]
    found += [f"overload: {text}" for text in figures.get("overload", {}).get("flood", {}).get("faults", [])]
    found += figures["stuck"].get("faults", []) if "stuck" in figures else []
    stops = figures["stops"]
    found += [f"stops: {stops['unconfirmed']} were not confirmed"] if stops["unconfirmed"] else []
    return found


def main() -> None:
    """Print the report; exit code 1 where a promise was broken."""
    given = arguments(
        "crowd", minutes=10.0, streams=1000, clients=50, seed=random.SystemRandom().randrange(2**31), phases="",
        journal="", jobs=500_000,
    )  # fmt: skip
    phases = given.phases.split(",") if given.phases else list(crowd_phases.PHASES)
    size = crowd_phases.short() if given.short else crowd_phases.long(given.minutes, given.streams, given.clients)
    say(f"seed {given.seed}")
    report = Report("crowd", given.short)
    report.figures |= {"seed": given.seed, "clients_per_door": size.clients, "closed_s": size.closed_s}
    begin = time.monotonic()
    faults: list[str] = []
    with work_folder(given.folder) as folder:
        before = crowd_journal.lay(Path(given.journal), given.jobs) if given.journal else None
        with House(folder, random.Random(given.seed), journal=before) as house:
            for name in phases:
                phase = crowd_phases.PHASES[name]
                say(f"{time.monotonic() - begin:5.0f} s  {name}")
                try:
                    report.figures[name] = phase(house, size)
                except (RuntimeError, OSError, ValueError) as fault:
                    faults.append(f"{name}: {type(fault).__name__}: {fault}")
            pressed, told = house.presses, house.told
        report.figures["keys"] = keys_that_differ(house.daemon.database, told)
        wire_ms = [each * 1000 for each in on_wire_s([press.at for press in pressed], house.wire_moments())]
        report.figures["stops"] = crowd_phases.stop_figures(pressed, wire_ms)
        report.figures["daemon_errors"] = house.errors()
    for name in ("closed", "listeners", "stuck", "overload"):
        if name in report.figures["stops"]:
            report.goal(f"stop_to_wire_p99_ms_{name}", report.figures["stops"][name]["wire_ms"]["p99"], at_most=50.0)
    faults += broken(report.figures)
    report.figures["broken"] = faults
    report.print()
    for text in faults:
        say(f"BROKEN: {text}")
    sys.exit(1 if faults else 0)


__all__ = ["broken", "keys_that_differ", "torque_off_moments"]

if __name__ == "__main__":
    main()

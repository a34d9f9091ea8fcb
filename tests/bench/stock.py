"""What stock costs: the admission of jobs that reserve it, and levels and forecast of a large ledger.

`admission`: the same daemon's socket takes jobs without stock and jobs with three reservoirs in turn, single ones with
64 in flight and lists of 100, the queue paused, each answered after its fsync; the ratio of the medians of both times.
`ledger`: 1,000 reservoirs with 1,000,000 movements, written into the file as the ledger writes them; a daemon is
started on it, and levels and forecast are asked for over the socket.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from labd.engine import store
from labd.inventory.wing import wing as inventory
from tests.bench.daemon import Daemon
from tests.bench.load import run_flood
from tests.bench.raw_http import NOOP, Caller
from tests.bench.report import Report, arguments, say, work_folder

MIX = '{"task": "test.mix"}'
IN_FLIGHT = 64
PER_LIST = 100
ROUNDS = 5
SETTINGS = "[queue.standard]\nconcurrency = 1000\n[inventory]\nevaporation_rate_ul_per_hour = 5\n"
RESERVOIRS, MOVEMENTS = 1_000, 1_000_000
ASKED = 30


def admission(report: Report, folder: Path, singles: int, lists: int) -> None:
    """Time of one submission with three reservoirs over one without."""
    times: dict[str, list[float]] = {"plain": [], "stock": [], "plain_list": [], "stock_list": []}
    with Daemon(folder, SETTINGS) as daemon, Caller(daemon.socket) as caller:
        volumes = dict.fromkeys(("red", "yellow", "blue"), 15000)
        caller.post("/api/v1/inventory/initialize", {"volumes_ul": volumes, "operator": "bench"})
        caller.post("/api/v1/queues/standard/pause", {"reason": "bench"})
        for body in (NOOP, MIX):
            run_flood(daemon.socket, body, 300, 8)
        for number in range(ROUNDS):
            for kind, body in (("plain", NOOP), ("stock", MIX)):
                one = run_flood(daemon.socket, body, singles, IN_FLIGHT)
                many = run_flood(daemon.socket, json.dumps([json.loads(body)] * PER_LIST), lists, 4)
                for found in (one, many):
                    if set(found["statuses"]) != {"201"}:
                        raise RuntimeError(f"not every submission was accepted: {found['statuses']}")
                times[kind].append(1 / one["requests_per_s"])
                times[f"{kind}_list"].append(1 / (many["requests_per_s"] * PER_LIST))
            say(f"round {number + 1} of {ROUNDS}: {times['stock'][-1] / times['plain'][-1]:.2f} times a plain job, "
                f"in lists {times['stock_list'][-1] / times['plain_list'][-1]:.2f}")  # fmt: skip
        proof = caller.get("/api/v1/inventory/verify")
        if not proof["ok"]:
            raise RuntimeError(f"the ledger does not add up: {proof['problems']}")
    middle = {kind: statistics.median(found) for kind, found in times.items()}
    report.figures["admission_us"] = {kind: value * 1e6 for kind, value in middle.items()}
    report.ratios["admission"] = middle["stock"] / middle["plain"]
    report.ratios["admission_in_lists"] = middle["stock_list"] / middle["plain_list"]
    report.goal("admission", report.ratios["admission"], at_most=1.5)


def ledger(report: Report, folder: Path, reservoirs: int, movements: int) -> None:
    """The slowest of the answers about a large ledger."""
    names = [f"tube{number:04}" for number in range(reservoirs)]
    tables = "".join(f'[inventory.reservoir.{name}]\nslot = "3"\nwell = "A{number + 1}"\n'
                     for number, name in enumerate(names))  # fmt: skip
    with Daemon(folder, f"[inventory]\n{tables}") as daemon, Caller(daemon.socket) as caller:
        for start in range(0, reservoirs, 100):
            volumes = dict.fromkeys(names[start : start + 100], 14000)
            caller.post("/api/v1/inventory/initialize", {"volumes_ul": volumes, "operator": "bench"})
    grow(daemon.database, names, movements)
    with Daemon(folder, f"[inventory]\n{tables}") as daemon, Caller(daemon.socket) as caller:
        caller.get("/api/v1/inventory")
        first = time.monotonic()
        caller.get("/api/v1/inventory/forecast")
        report.figures["first_forecast_ms"] = (time.monotonic() - first) * 1e3
        for what, path in (("levels", "/api/v1/inventory"), ("forecast", "/api/v1/inventory/forecast")):
            took = []
            for _ in range(ASKED):
                began = time.monotonic()
                answer = caller.get(path)
                took.append((time.monotonic() - began) * 1e3)
            if len(answer["reservoirs"]) != reservoirs:
                raise RuntimeError(f"{what}: {len(answer['reservoirs'])} of {reservoirs} reservoirs")
            report.figures[f"{what}_ms"] = {"median": statistics.median(took), "max": max(took)}
            report.goal(f"{what}_ms", max(took), at_most=50.0)
        report.figures |= {"reservoirs": reservoirs, "movements": movements, "start_s": daemon.ready_s}


def grow(path: Path, names: list[str], movements: int) -> None:
    """Consumptions and restocks behind what each reservoir has, until there are so many; the database checks each."""
    store.prepare(path, "journal", [inventory.schema])
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        opened.execute("PRAGMA synchronous = OFF")
        newest = opened.execute("SELECT max(id), max(at), max(ledger_s) FROM inventory_movement").fetchone()
        last: dict[str, list[Any]] = {
            key: [ordinal, level, reserved]
            for key, ordinal, level, reserved in opened.execute(
                "SELECT reservoir, max(ordinal), level_after_pl, reserved_after_pl FROM inventory_movement "
                "GROUP BY reservoir"
            )
        }
        opened.execute("BEGIN")
        for number in range(movements - sum(ordinal for ordinal, _, _ in last.values())):
            key = names[number % len(names)]
            ordinal, level, reserved = last[key]
            change = -1_000_000 if number // len(names) % 2 == 0 else 1_000_000
            kind = "consumption" if change < 0 else "restock"
            ident = newest[0] + number + 1
            opened.execute(
                "INSERT INTO inventory_movement (id, reservoir, ordinal, kind, at, ledger_s, volume_pl, "
                "level_before_pl, level_after_pl, reserve_pl, reserved_before_pl, reserved_after_pl, actor, cause, "
                "job_id, step, operation, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 'bench', 'bench', NULL, "
                "NULL, ?, '{}')",
                (ident, key, ordinal + 1, kind, newest[1], newest[2], change, level, level + change, reserved, reserved,
                 ident),
            )  # fmt: skip
            last[key] = [ordinal + 1, level + change, reserved]
        opened.execute("COMMIT")


def main() -> None:
    """Print the report."""
    given = arguments("stock", part="")
    report = Report("stock", given.short)
    if given.part in ("", "admission"):
        with work_folder(given.folder) as folder:
            admission(report, folder, 1_000 if given.short else 3_000, 30 if given.short else 60)
    if given.part in ("", "ledger"):
        with work_folder(given.folder) as folder:
            small = given.short
            ledger(report, folder, 100 if small else RESERVOIRS, 20_000 if small else MOVEMENTS)
    report.print()


if __name__ == "__main__":
    main()

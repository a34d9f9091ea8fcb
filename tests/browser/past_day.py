"""A journal with a day behind it: attempts in every queue, waits, faults, a stop, and an hour without a daemon."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from labd.engine import store
from labd.engine.audit import AuditChain

QUEUES = {"high-priority": 3.0, "standard": 8.0, "low-priority": 30.0, "maintenance": 90.0, "monitoring": 2.0}
TASKS = ("resort.activate_hotel", "ot2.mix_colours", "inventory.restock", "snapshots.load_database", "ingest.run")
JOB = """INSERT INTO jobs VALUES (:id, :task, '{}', :queue, 2, :state, :attempt, 3, 0, :at, :at, :started, :ended, NULL,
'unix:ada', :effect, NULL, '', NULL, 0, NULL, NULL, :error, :more)"""
AWAY_S = (5 * 3600.0, 4 * 3600.0)


def write(path: Path, now: float, jobs: int, seed: int = 7) -> None:
    """Make the journal at `path`: so many attempts in the 24 hours before `now`; none in `AWAY_S` before it."""
    random = Random(seed)
    store.prepare(path, "journal")
    moves: list[tuple[float, int | None, str, dict[str, object]]] = []
    rows = []
    for number in range(1, jobs + 1):
        at = now - 86_400 + 86_000 * number / jobs
        if now - AWAY_S[0] - 200 < at < now - AWAY_S[1]:
            at -= 3900
        queue = random.choice(list(QUEUES))
        took = random.expovariate(1 / QUEUES[queue]) + 0.2
        state = random.choices(["succeeded", "failed", "cancelled", "interrupted"], [90, 6, 2, 2])[0]
        task = random.choice(TASKS)
        resources = ["resort:main"] if task.startswith("resort") else ["ot2:main"] if task.startswith("ot2") else []
        rows.append({
            "id": number, "task": task, "queue": queue, "state": state, "attempt": 1, "at": at, "started": at,
            "ended": at + took, "effect": "physical" if state == "interrupted" else "repeatable",
            "error": '{"code": "x", "message": "x"}' if state in ("failed", "interrupted") else None,
            "more": json.dumps({"resources": resources, "simulated": True}),
        })  # fmt: skip
        body: dict[str, object] = {"task": task, "queue": queue, "attempt": 1}
        moves.append((at, number, "job.started", body))
        if number % 40 == 0:
            moves += [(at + took * 0.2, number, "job.waiting", body), (at + took * 0.8, number, "job.resumed", body)]
        moves.append((at + took, number, f"job.{state}", body))
    main: dict[str, object] = {"device": "main", "simulated": True}
    moves += [
        (now - 90_000, None, "device.connected", main),
        (now - 9000, None, "device.stop_latched", {**main, "by": "ada", "reason": "hand in the way"}),
        (now - 8000, None, "device.stop_reset", {**main, "by": "ada", "reason": "clear"}),
        (now - 7990, None, "device.connected", main),
        (now - 3000, None, "device.lost", {**main, "problem": "cable"}),
        (now - 2400, None, "device.reopened", main),
        (now - 20_000, None, "queue.paused", {"queue": "low-priority", "by": "ada", "reason": "cleaning"}),
        (now - 16_000, None, "queue.resumed", {"queue": "low-priority", "by": "ada", "reason": None}),
    ]
    chain = AuditChain()
    entries = [
        (now - 90_100, "labd", "daemon.start", "bench"), (now - 20_000, "ada", "queue.pause", "low-priority"),
        (now - AWAY_S[1], "labd", "daemon.start", "bench"), (now - 9000, "ada", "resort.stop", "resort:main"),
        (now - 8000, "ada", "resort.reset", "resort:main"), (now - 400, "ada", "job.cancel", "job 17"),
        (now - 399, "ada", "job.cancel", "job 18"),
    ]  # fmt: skip
    with closing(sqlite3.connect(path)) as opened:
        opened.executemany(JOB, rows)
        opened.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            [
                (seq, at, kind, job, json.dumps(data))
                for seq, (at, job, kind, data) in enumerate(sorted(moves, key=lambda move: move[0]), start=1)
            ],
        )
        audit = [chain.row(at, actor, action, subject, {}) for at, actor, action, subject in sorted(entries)]
        opened.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", audit)
        opened.commit()

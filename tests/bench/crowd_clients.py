"""Clients that ask as fast as they are answered, and check every word of it; a process of its own per listener.

    python -m tests.bench.crowd_clients '{"socket": "..."}' --name u --clients 50 --told FILE

It goes on until its standard input ends, then prints one JSON object. `--told` takes what was acknowledged, one line
`key id` each, which the outside checker compares with the daemon's own file.

Why a key for each submission: a job that the daemon made twice, or forgot, shows in its file as a key that is there
twice, or not at all; the client's own count could not tell.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from array import array
from pathlib import Path
from typing import Any, TextIO

from tests.bench.crowd_lines import Answer, Broken, Line, Place, context_of
from tests.bench.report import percentile

JOBS = "/api/v1/jobs"
FAULTS_SHOWN = 20
PATIENCE_AT_MOST_S = 5.0
ENOUGH_WITHIN_S = 60.0


class Crowd:
    """What all clients of one process found."""

    def __init__(self, place: Place, name: str, told: TextIO, dice: random.Random, at_least: int = 0) -> None:
        self.place, self.name, self.told, self.dice = place, name, told, dice
        self.context = None if place.socket else context_of(place)
        self.took_s: dict[str, array[float]] = {}
        self.statuses: dict[str, int] = {}
        self.faults: list[str] = []
        self.fault_count = 0
        self.reconnects = 0
        self.refused = 0
        self.ended = asyncio.Event()
        self.enough = asyncio.Event()
        self.at_least = at_least
        self.answers = 0

    def took(self, kind: str, took_s: float) -> None:
        """One answer."""
        self.took_s.setdefault(kind, array("d")).append(took_s)
        self.answers += 1
        if self.answers >= self.at_least:
            self.enough.set()

    def fault(self, text: str) -> None:
        """A promise that was not kept."""
        self.fault_count += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(text)

    def figures(self, took_s: float) -> dict[str, Any]:
        """Everything as JSON."""
        answers = sum(len(found) for found in self.took_s.values())
        return {
            "answers": answers, "answers_per_s": answers / took_s, "statuses": self.statuses, "faults": self.faults,
            "fault_count": self.fault_count, "reconnects": self.reconnects, "refused": self.refused,
            "ms": {
                kind: {str(p): percentile(found, p) * 1000 for p in (50, 99, 99.9)} | {"max": max(found) * 1000}
                for kind, found in sorted(self.took_s.items())
            },
            "client_cpu_share": time.process_time() / took_s,
        }  # fmt: skip


class Client:
    """One of the crowd."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._name = f"{crowd.name}-{number}"
        self._count = 0
        self._line: Line | None = None

    async def run(self) -> None:
        """Ask until the crowd ends."""
        crowd = self._crowd
        while not crowd.ended.is_set():
            try:
                await self._cycle()
            except (OSError, TimeoutError) as fault:
                crowd.fault(f"{self._name}: {type(fault).__name__}: {fault}")
                self._hang_up()
                await asyncio.sleep(0.1)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            if self._line.unasked_bytes:
                self._crowd.fault(f"{self._name}: {self._line.unasked_bytes} bytes that nobody had asked for")
            self._line.close()
            self._line = None

    async def _ask(self, kind: str, method: str, path: str, body: Any = None) -> Answer | None:
        """One answer; None where the daemon said to come back later, after the time it named."""
        crowd = self._crowd
        if self._line is None or not self._line.is_open:
            if self._line is not None:
                crowd.reconnects += 1
                self._hang_up()
            self._line = await Line.open(crowd.place, crowd.context)
        begin = time.perf_counter()
        answer = await self._line.ask(method, path, body)
        crowd.took(kind, time.perf_counter() - begin)
        told = f"{kind} {answer.status}"
        crowd.statuses[told] = crowd.statuses.get(told, 0) + 1
        if answer.status in (429, 503):
            crowd.refused += 1
            after = answer.headers.get("retry-after", "")
            if not after.isdigit():
                crowd.fault(f"{self._name}: {told} without Retry-After: {answer.body[:200]!r}")
            await asyncio.sleep(min(PATIENCE_AT_MOST_S, int(after or 1)) * crowd.dice.uniform(0.9, 1.3))
            return None
        return answer

    async def _cycle(self) -> None:
        """Submit, read it back; now and then ask twice, submit a list, look around."""
        self._count += 1
        key = f"{self._name}-{self._count}"
        body = {"task": "test.noop", "idempotency_key": key, "tags": [self._name]}
        job = await self._submit("submit", body, key, 201)
        if job is None:
            return
        if self._count % 4 == 0:
            again = await self._submit("submit again", body, key, 200)
            if again is not None and again["id"] != job["id"]:
                self._crowd.fault(f"{key}: job {job['id']}, asked again {again['id']}")
        answer = await self._ask("read", "GET", f"{JOBS}/{job['id']}")
        if answer is not None:
            self._check(answer, 200, key, job["id"])
        if self._count % 8 == 0:
            answer = await self._ask("status", "GET", "/api/v1/status")
            if answer is not None and (answer.status != 200 or "queues" not in answer.json()):
                self._crowd.fault(f"{key}: status {answer.status} {answer.body[:200]!r}")
            answer = await self._ask("list", "GET", f"{JOBS}?limit=20&tag={self._name}")
            if answer is not None:
                self._check_list(answer, key, job["id"])
        if self._count % 16 == 0:
            await self._submit_list(key)

    async def _submit(self, kind: str, body: dict[str, Any], key: str, status: int) -> dict[str, Any] | None:
        answer = await self._ask(kind, "POST", JOBS, body)
        if answer is None:
            return None
        job = self._check(answer, status, key)
        if job is not None and status == 201:
            self._crowd.told.write(f"{key} {job['id']}\n")
        return job

    def _check(self, answer: Answer, status: int, key: str, job_id: int | None = None) -> dict[str, Any] | None:
        """The answer is this client's, of this request and no other."""
        if answer.status != status:
            self._crowd.fault(f"{key}: answered {answer.status}, not {status}: {answer.body[:200]!r}")
            return None
        job = dict(answer.json())
        right = job["idempotency_key"] == key and job["tags"] == [self._name] and job_id in (None, job["id"])
        if not right:
            self._crowd.fault(f"{key}: got job {job['id']} of {job['idempotency_key']}, wanted {job_id}")
        return job

    def _check_list(self, answer: Answer, key: str, job_id: int) -> None:
        if answer.status != 200:
            self._crowd.fault(f"{key}: list answered {answer.status}: {answer.body[:200]!r}")
            return
        ids = [job["id"] for job in answer.json()["jobs"]]
        if ids != sorted(ids, reverse=True) or job_id not in ids or len(set(ids)) != len(ids):
            self._crowd.fault(f"{key}: job {job_id} is not once in the list {ids}")

    async def _submit_list(self, key: str) -> None:
        items = [{"task": "test.noop", "idempotency_key": f"{key}-{place}", "tags": [self._name]} for place in range(5)]
        answer = await self._ask("submit list", "POST", JOBS, items)
        if answer is None:
            return
        jobs = answer.json()["jobs"] if answer.status == 201 else []
        if [job["idempotency_key"] for job in jobs] != [item["idempotency_key"] for item in items]:
            self._crowd.fault(f"{key}: list answered {answer.status}: {answer.body[:200]!r}")
        for job in jobs:
            self._crowd.told.write(f"{job['idempotency_key']} {job['id']}\n")


async def work(place: Place, name: str, clients: int, told: Path, seed: int, at_least: int) -> dict[str, Any]:
    """All clients until standard input ends, and until there were so many answers at least."""
    loop = asyncio.get_running_loop()
    with told.open("w") as lines:
        crowd = Crowd(place, name, lines, random.Random(seed), at_least)
        begin = time.monotonic()
        tasks = [asyncio.create_task(Client(crowd, number).run()) for number in range(clients)]
        await loop.run_in_executor(None, sys.stdin.read)
        await asyncio.wait([asyncio.ensure_future(crowd.enough.wait())], timeout=ENOUGH_WITHIN_S)
        crowd.ended.set()
        await asyncio.gather(*tasks)
        return crowd.figures(time.monotonic() - begin)


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(prog="crowd_clients")
    parser.add_argument("place", type=json.loads)
    parser.add_argument("--name", required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--told", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-least", type=int, default=100, help="answers")
    given = parser.parse_args()
    place = Place(**given.place)
    print(json.dumps(asyncio.run(work(place, given.name, given.clients, given.told, given.seed, given.at_least))))


__all__ = ["Broken", "Crowd", "work"]

if __name__ == "__main__":
    main()

"""Many clients at once, in a process of their own.

    python -m tests.bench.load flood --socket S --path P --count N --connections 64 <BODY
    python -m tests.bench.load noise --socket S --pollers 8 --poll-every-s 0.05 --submit-per-s 200

Both print one JSON object. `flood` keeps every connection busy with one request each until N are answered; `noise`
polls and submits at a pace until its standard input is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.bench.raw_http import JOBS_PATH, NOOP, STATUS_PATH, TIMEOUT_S, request, split


class Line(asyncio.Protocol):
    """One connection of `flood` and `noise`: tells each answer, and what to send next is the teller's affair."""

    def __init__(self, answered: Callable[[Line, int], None]) -> None:
        self._answered = answered
        self._data = bytearray()
        self.transport: Any = None
        self.sent_at = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self.transport = transport

    def send(self, raw: bytes) -> None:
        """One request; the next one only after its answer."""
        self.sent_at = time.monotonic()
        self.transport.write(raw)

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or a whole one."""
        self._data += data
        found = split(self._data)
        if found is not None:
            del self._data[: found[2]]
            self._answered(self, found[0])

    def connection_lost(self, exc: Exception | None) -> None:
        """The daemon hung up, or we did."""
        if not self.ended.done():
            self.ended.set_result(None)


async def flood(path: Path, raw: bytes, count: int, connections: int) -> dict[str, Any]:
    """Send `raw` `count` times with so many in flight."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    sent, latencies, statuses = 0, [], dict[int, int]()

    def answered(line: Line, status: int) -> None:
        nonlocal sent
        latencies.append(time.monotonic() - line.sent_at)
        statuses[status] = statuses.get(status, 0) + 1
        if sent < count:
            sent += 1
            line.send(raw)
        elif len(latencies) == count and not done.done():
            done.set_result(None)

    lines = [(await loop.create_unix_connection(lambda: Line(answered), str(path)))[1] for _ in range(connections)]
    begin = time.monotonic()
    for line in lines[:count]:
        sent += 1
        line.send(raw)
    async with asyncio.timeout(TIMEOUT_S * 5):
        await done
    took_s = time.monotonic() - begin
    for line in lines:
        line.transport.close()
    latencies.sort()
    return {
        "requests": count, "took_s": took_s, "requests_per_s": count / took_s, "statuses": statuses,
        "p50_ms": latencies[count // 2] * 1000, "p99_ms": latencies[min(count - 1, count * 99 // 100)] * 1000,
        "client_cpu_share": time.process_time() / took_s,
    }  # fmt: skip


async def noise(path: Path, pollers: int, poll_every_s: float, submit_per_s: float) -> dict[str, Any]:
    """Poll and submit at a pace until standard input ends."""
    loop = asyncio.get_running_loop()
    statuses: dict[str, dict[int, int]] = {"polls": {}, "submissions": {}}
    slowest = {"polls": 0.0, "submissions": 0.0}
    begin = time.monotonic()

    async def client(kind: str, raw: bytes, every_s: float) -> None:
        fresh: asyncio.Future[None] = loop.create_future()

        def answered(line: Line, status: int) -> None:
            statuses[kind][status] = statuses[kind].get(status, 0) + 1
            slowest[kind] = max(slowest[kind], time.monotonic() - line.sent_at)
            if not fresh.done():
                fresh.set_result(None)

        line = (await loop.create_unix_connection(lambda: Line(answered), str(path)))[1]
        due = time.monotonic()
        while not line.ended.done():
            fresh = loop.create_future()
            line.send(raw)
            await asyncio.wait([fresh, line.ended], return_when=asyncio.FIRST_COMPLETED)
            due = max(due + every_s, time.monotonic() - every_s)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    submitters = 8 if submit_per_s else 0
    work = [client("polls", request("GET", STATUS_PATH), poll_every_s) for _ in range(pollers)]
    work += [
        client("submissions", request("POST", JOBS_PATH, NOOP.encode()), submitters / submit_per_s)
        for _ in range(submitters)
    ]
    tasks = [asyncio.create_task(each) for each in work]
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    took_s = time.monotonic() - begin
    return {
        kind: {"per_s": sum(found.values()) / took_s, "statuses": found, "slowest_ms": slowest[kind] * 1000}
        for kind, found in statuses.items()
    }


def run_flood(path: Path, body: str, count: int, connections: int, target: str = JOBS_PATH) -> dict[str, Any]:
    """`flood` in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.load", "flood", "--socket", str(path), "--path", target,
               "--count", str(count), "--connections", str(connections)]  # fmt: skip
    done = subprocess.run(command, input=body.encode(), stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S * 6)
    return dict(json.loads(done.stdout))


class Noise:
    """`noise` in a process of its own, for the length of a block; `result` has its figures afterwards."""

    def __init__(
        self, path: Path, *, pollers: int = 8, poll_every_s: float = 0.05, submit_per_s: float = 200.0
    ) -> None:
        self._command = [sys.executable, "-m", "tests.bench.load", "noise", "--socket", str(path),
                         "--pollers", str(pollers), "--poll-every-s", str(poll_every_s),
                         "--submit-per-s", str(submit_per_s)]  # fmt: skip
        self.result: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            out, _err = self._process.communicate(timeout=TIMEOUT_S)
            self.result = json.loads(out) if out else {}
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(prog="load")
    parser.add_argument("kind", choices=("flood", "noise"))
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--path", default=JOBS_PATH)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--pollers", type=int, default=8)
    parser.add_argument("--poll-every-s", type=float, default=0.05)
    parser.add_argument("--submit-per-s", type=float, default=200.0)
    given = parser.parse_args()
    if given.kind == "flood":
        raw = request("POST", given.path, sys.stdin.buffer.read())
        print(json.dumps(asyncio.run(flood(given.socket, raw, given.count, given.connections))))
    else:
        print(json.dumps(asyncio.run(noise(given.socket, given.pollers, given.poll_every_s, given.submit_per_s))))


if __name__ == "__main__":
    main()

"""Clients that are stuck, and more clients than there should be; a process of its own.

    python -m tests.bench.crowd_rude '{"socket": "..."}' stuck --count 40
    python -m tests.bench.crowd_rude '{"socket": "..."}' flood --per-s 3000 --told FILE
    python -m tests.bench.crowd_rude '{"socket": "..."}' lists --count 32 --told FILE
    python -m tests.bench.crowd_rude '{"socket": "..."}' bodies --count 40

Each says `{"ready": ...}`, goes on until its standard input ends, and prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO

from tests.bench.crowd_lines import Answer, Line, Place, context_of
from tests.bench.report import percentile

JOBS = "/api/v1/jobs"
OUTSTANDING_AT_MOST = 1500
ENOUGH_WITHIN_S = 15.0  # less than a request may take to arrive
BODY_BYTES = 3 * 1024 * 1024
Ended = Callable[[], Awaitable[None]]


class Rude:
    """What rude clients heard."""

    def __init__(self, place: Place, told: TextIO | None) -> None:
        self.place, self.told = place, told
        self.context = None if place.socket else context_of(place)
        self.statuses: dict[str, int] = {}
        self.faults: list[str] = []
        self.took_s: list[float] = []
        self.hung_up = 0
        self.unanswered = 0

    def heard(self, answer: Answer, begin: float, keys: list[str]) -> None:
        """An answer: taken, or refused in good form."""
        self.took_s.append(time.monotonic() - begin)
        self.statuses[str(answer.status)] = self.statuses.get(str(answer.status), 0) + 1
        if answer.status in (429, 503):
            body = answer.json()
            if not answer.headers.get("retry-after", "").isdigit() or "code" not in body:
                self.fault(f"{answer.status} in bad form: {answer.headers} {answer.body[:200]!r}")
        elif answer.status == 201 and self.told is not None:
            found = answer.json()
            for job in found.get("jobs", [found]):
                self.told.write(f"{job['idempotency_key']} {job['id']}\n")
        elif answer.status not in (200, 201, 408):
            self.fault(f"answered {answer.status}: {answer.body[:200]!r}, asked for {keys[:1]}")

    def fault(self, text: str) -> None:
        """Something that should not be."""
        if len(self.faults) < 20:
            self.faults.append(text)

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        ms = {str(p): percentile(self.took_s, p) * 1000 for p in (50, 99)} if self.took_s else {}
        return {"statuses": self.statuses, "faults": self.faults, "hung_up": self.hung_up, "ms": ms,
                "unanswered": self.unanswered}  # fmt: skip


async def stuck(rude: Rude, count: int, ended: Ended, ready: Callable[[Any], None]) -> None:
    """As many of each sort of stuck client, until the end."""
    place = rude.place
    auth = f"Authorization: Bearer {place.token}\r\n" if place.token else ""
    get = f"GET {JOBS}?limit=1000 HTTP/1.1\r\nHost: localhost\r\n{auth}\r\n".encode()
    events = f"GET /api/v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n{auth}\r\n".encode()
    post = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\n{auth}Content-Length: 5000\r\n\r\n".encode()
    scripts = {
        "never speaks": (b"", b""), "drips its headers": (b"GET / HTTP/1.1\r\nX: ", b"x"),
        "drips its body": (post, b" "), "never reads": (get * 20, b""), "never reads events": (events, b""),
    }  # fmt: skip
    lines: list[tuple[Line, bytes]] = []
    for first, drip in scripts.values():
        for _ in range(count):
            line = await Line.open(place, rude.context)
            lines.append((line, drip))
            if not drip or first != b"":
                line.transport.write(first)
            if first in (get * 20, events):
                line.transport.pause_reading()
    bare = []
    if not place.socket:
        for _ in range(count):
            bare.append(socket.create_connection(("127.0.0.1", place.port)))  # and no handshake
    ready({**dict.fromkeys(scripts, count), "half open": len(bare)})
    over = asyncio.ensure_future(ended())
    while not over.done():
        await asyncio.wait([over], timeout=1.0)
        for line, drip in lines:
            if drip and line.is_open:
                line.transport.write(drip)
    rude.hung_up = sum(not line.is_open for line, _ in lines)
    for line, _ in lines:
        line.transport.abort()
    for each in bare:
        each.close()


async def flood(rude: Rude, per_s: float, ended: Ended, ready: Callable[[Any], None]) -> None:
    """New clients at a pace that does not care for answers, each on a connection of its own."""
    open_now: set[asyncio.Task[None]] = set()
    count = skipped = 0

    async def one(key: str) -> None:
        begin = time.monotonic()
        try:
            line = await Line.open(rude.place, rude.context)
        except (OSError, TimeoutError):
            rude.unanswered += 1
            return
        try:
            body = {"task": "test.noop", "idempotency_key": key}
            rude.heard(await line.ask("POST", JOBS, body), begin, [key])
        except (OSError, TimeoutError):
            rude.hung_up += 1
        finally:
            line.close()

    over = asyncio.ensure_future(ended())
    ready({"per_s": per_s})
    begin = time.monotonic()
    while not over.done():
        due = int((time.monotonic() - begin) * per_s)
        while count < due:
            count += 1
            if len(open_now) >= OUTSTANDING_AT_MOST:
                skipped += 1
                continue
            task = asyncio.create_task(one(f"flood-{rude.place.kind}-{count}"))
            open_now.add(task)
            task.add_done_callback(open_now.discard)
        await asyncio.wait([over], timeout=0.01)
    if open_now:
        await asyncio.wait(set(open_now))
    rude.statuses["not sent: 1500 under way"] = skipped


async def lists(rude: Rude, count: int, ended: Ended, ready: Callable[[Any], None]) -> None:
    """Lists of a thousand, from each client one after the other."""
    over = asyncio.ensure_future(ended())

    async def client(number: int) -> None:
        line = await Line.open(rude.place, rude.context)
        turn = 0
        while not over.done():
            turn += 1
            keys = [f"lists-{rude.place.kind}-{number}-{turn}-{item}" for item in range(1000)]
            begin = time.monotonic()
            items = [{"task": "test.noop", "idempotency_key": key, "delay_s": 86400} for key in keys]
            answer = await line.ask("POST", JOBS, items)
            rude.heard(answer, begin, keys)
            if answer.status in (429, 503):
                await asyncio.sleep(int(answer.headers["retry-after"]))
            if not line.is_open:
                line = await Line.open(rude.place, rude.context)
        line.close()

    ready({"clients": count})
    await asyncio.gather(*(client(number) for number in range(count)))


async def bodies(rude: Rude, count: int, ended: Ended, ready: Callable[[Any], None]) -> None:
    """Long bodies from all at once, which stop just before their end, so that labd holds them all."""
    over = asyncio.ensure_future(ended())
    auth = f"Authorization: Bearer {rude.place.token}\r\n" if rude.place.token else ""
    head = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\n{auth}Content-Length: {BODY_BYTES}\r\n\r\n".encode()
    enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def client() -> None:
        begin = time.monotonic()
        line = await Line.open(rude.place, rude.context)
        line._asked = asyncio.get_running_loop().create_future()
        line.transport.write(head + b" " * (BODY_BYTES - 1))
        await asyncio.wait([over, line._asked], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([enough, line._asked], return_when=asyncio.FIRST_COMPLETED, timeout=ENOUGH_WITHIN_S)
        if line._asked.done() and line._asked.exception() is None:
            rude.heard(line._asked.result(), begin, [])
            if rude.statuses.get("503", 0) >= count // 2 and not enough.done():
                enough.set_result(None)
        elif line._asked.done():
            rude.hung_up += 1
        line.transport.abort()

    tasks = [asyncio.create_task(client()) for _ in range(count)]
    ready({"clients": count})
    await asyncio.gather(*tasks)


async def work(given: argparse.Namespace, told: TextIO | None) -> dict[str, Any]:
    """Be rude until standard input ends."""
    rude = Rude(Place(**given.place), told)
    loop = asyncio.get_running_loop()

    async def ended() -> None:
        await loop.run_in_executor(None, sys.stdin.read)

    def ready(what: Any) -> None:
        print(json.dumps({"ready": what}), flush=True)

    if given.kind == "flood":
        await flood(rude, given.per_s, ended, ready)
    else:
        await {"stuck": stuck, "lists": lists, "bodies": bodies}[given.kind](rude, given.count, ended, ready)
    return rude.figures()


def main() -> None:
    """Print what was heard."""
    parser = argparse.ArgumentParser(prog="crowd_rude")
    parser.add_argument("place", type=json.loads)
    parser.add_argument("kind", choices=("stuck", "flood", "lists", "bodies"))
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--per-s", type=float, default=2000.0)
    parser.add_argument("--told", type=Path)
    given = parser.parse_args()
    if given.told is None:
        print(json.dumps(asyncio.run(work(given, None))))
    else:
        with given.told.open("w") as told:
            print(json.dumps(asyncio.run(work(given, told))))


if __name__ == "__main__":
    main()

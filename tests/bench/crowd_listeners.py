"""Event streams by the thousand in one process; each must see every number once, and in order.

    python -m tests.bench.crowd_listeners '{"socket": "..."}' --streams 1000

It says `ready` when all streams are open, goes on until its standard input ends (one line of it is the last number of
the feed, which every stream must reach), and prints one JSON object.

Why numbers may be left out: `seq` counts changes, and a change need not be an event. What every stream must have seen
is what the others saw: all hash the numbers in the order in which they came, and the hashes must be equal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from hashlib import blake2b
from typing import Any

from tests.bench.crowd_lines import Line, Place, context_of
from tests.bench.report import percentile

AT_ONCE = 50
REACH_S = 240.0
SEQ = re.compile(rb"^id: (\d+)$", re.MULTILINE)
AT = re.compile(rb'"kind":"crowd.tick".*?"mono_ns":(\d+)')


class Stream(Line):
    """One listener: hashes the numbers of what it sees."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.status = 0
        self.retry_after = ""
        self.first = self.last = 0
        self.count = 0
        self.disorder = 0
        self.hash = blake2b(digest_size=8)
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.reached: asyncio.Future[None] = self._loop.create_future()
        self.goal = 0
        self.when: dict[int, float] = {}
        self.watches = False
        self.was_cut = False

    def data_received(self, data: bytes) -> None:
        """Head first, then frames; chunk marks between them do not matter to `id:` lines."""
        self._data += data
        if not self.status:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._data[:end]).decode("latin-1").lower()
            self.status = int(head[9:12])
            self.retry_after = head.partition("retry-after: ")[2].partition("\r\n")[0]
            del self._data[: end + 4]
            if not self.opened.done():
                self.opened.set_result(None)
        whole = self._data.rfind(b"\n\n")
        if whole < 0:
            return
        text = bytes(self._data[: whole + 2])
        del self._data[: whole + 2]
        now = time.monotonic()
        for found in SEQ.finditer(text):
            seq = int(found[1])
            if seq <= self.last:
                self.disorder += 1
            self.first = self.first or seq
            self.last = seq
            self.count += 1
            self.hash.update(found[1] + b" ")
            if self.watches:
                self.when[seq] = now
        if self.goal and self.last >= self.goal and not self.reached.done():
            self.reached.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        super().connection_lost(exc)
        self.was_cut = True
        for future in (self.opened, self.reached):
            if not future.done():
                future.set_result(None)


async def open_streams(place: Place, count: int, query: str) -> list[Stream]:
    """As many as asked for, some at a time; who is told to come back comes back."""
    context = None if place.socket else context_of(place)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> Stream:
        async with gate:
            while True:
                stream = await Stream.open(place, context)
                assert isinstance(stream, Stream)
                stream.send("GET", f"/api/v1/events{query}")
                async with asyncio.timeout(REACH_S):
                    await stream.opened
                if stream.status != 503:
                    return stream
                stream.close()
                await asyncio.sleep(int(stream.retry_after))

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def work(place: Place, count: int) -> dict[str, Any]:
    """Listen until told the last number."""
    loop = asyncio.get_running_loop()
    begin = time.monotonic()
    streams = await open_streams(place, count, "")
    opened_s = time.monotonic() - begin
    statuses: dict[int, int] = {}
    for stream in streams:
        statuses[stream.status] = statuses.get(stream.status, 0) + 1
    print(json.dumps({"ready": statuses, "opened_s": opened_s}), flush=True)
    for stream in streams[:: max(1, count // 20)]:
        stream.watches = True
    goal = int((await loop.run_in_executor(None, sys.stdin.readline)).strip() or 0)
    for stream in streams:
        stream.goal = goal
        if stream.last >= goal and not stream.reached.done():
            stream.reached.set_result(None)
    asked = time.monotonic()
    await asyncio.wait([stream.reached for stream in streams], timeout=REACH_S)
    behind_s = time.monotonic() - asked
    first = max(stream.first for stream in streams)
    watched = [stream for stream in streams if stream.watches]
    spread = []
    for seq in watched[0].when:
        moments = [stream.when[seq] for stream in watched if seq in stream.when]
        spread.append((max(moments) - min(moments)) * 1000)
    found = {
        "streams": count, "opened_s": opened_s, "statuses": statuses, "behind_s": behind_s,
        "events": max(stream.count for stream in streams), "fewest_events": min(stream.count for stream in streams),
        "cut": sum(stream.was_cut for stream in streams), "disorder": sum(stream.disorder for stream in streams),
        "not_at_goal": sum(stream.last < goal for stream in streams),
        "different": len({stream.hash.digest() for stream in streams if stream.first == first}),
        "later_begun": sum(stream.first != streams[0].first for stream in streams),
        "first_to_last_ms": {str(p): percentile(spread, p) for p in (50, 99)} if spread else {},
        "client_cpu_share": time.process_time() / (time.monotonic() - begin),
    }  # fmt: skip
    for stream in streams:
        stream.close()
    return found


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(prog="crowd_listeners")
    parser.add_argument("place", type=json.loads)
    parser.add_argument("--streams", type=int, default=1000)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(work(Place(**given.place), given.streams))))


if __name__ == "__main__":
    main()

"""The turnstile: how many requests may begin in one turn of the event loop.

Why: a stop is never queued, but it is read by the same loop as everything else, and a loop that begins five hundred
requests in one turn reads nothing else until the last has had its first step. Requests that come faster than they can
be served wait here in a line, from which each turn takes as many as keep it short; a stop walks past the line.

Why the number adapts: what a request costs is known only afterwards, and differs by a factor of a thousand. It grows
while turns are short and is halved when one was long, as a congestion window is.
"""

from __future__ import annotations

import asyncio
from collections import deque

FEWEST, MOST = 2, 64
SHORT_TURN_S = 0.004
LONG_TURN_S = 0.010


class Turnstile:
    """Counts beginnings by turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._line: deque[asyncio.Future[None]] = deque()
        self._heavy: deque[asyncio.Future[None]] = deque()
        self._at_once = self._left = MOST // 4
        self._is_turning = self._had_heavy = False
        self._turn_began = 0.0

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line) + len(self._heavy)

    def lets_in(self) -> bool:
        """Whether a request may begin at once; if not, it has to `wait`."""
        if not self._left or self._line:
            return False
        self._left -= 1
        self._turn()
        return True

    async def wait(self) -> None:
        """Stand in line; returns in a turn that has room, in the order of coming."""
        await self._stand_in(self._line)

    async def wait_heavy(self) -> None:
        """As `wait`, for what takes a large part of a turn by itself: one of them a turn."""
        if not self._had_heavy and not self._heavy:
            self._had_heavy = True
            self._turn()
            return
        await self._stand_in(self._heavy)

    async def _stand_in(self, line: deque[asyncio.Future[None]]) -> None:
        place: asyncio.Future[None] = self._loop.create_future()
        line.append(place)
        self._turn()
        await place

    def _turn(self) -> None:
        """Have the next turn counted."""
        if not self._is_turning:
            self._is_turning = True
            self._turn_began = self._loop.time()
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        now = self._loop.time()
        took_s, self._turn_began = now - self._turn_began, now
        if took_s > LONG_TURN_S:
            self._at_once = max(FEWEST, self._at_once // 2)
        elif took_s < SHORT_TURN_S:
            self._at_once = min(MOST, self._at_once + 1)
        self._left = self._at_once - _let_in(self._line, self._at_once)
        self._had_heavy = bool(_let_in(self._heavy, 1))
        if self._left < self._at_once or self._had_heavy or self._line:
            self._loop.call_soon(self._next)
        else:
            self._is_turning = False


def _let_in(line: deque[asyncio.Future[None]], at_most: int) -> int:
    count = 0
    while line and count < at_most:
        place = line.popleft()
        if not place.done():  # who left the line meanwhile takes nobody's place
            place.set_result(None)
            count += 1
    return count

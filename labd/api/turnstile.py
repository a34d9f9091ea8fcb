"""The turnstile: how many requests may begin in one turn of the event loop.

Why: a stop is never queued, but it is read by the same loop as everything else, and a loop that begins five hundred
requests in one turn reads nothing else until the last has had its first step. Requests that come faster than they can
be served wait here in a line, from which each turn takes as many as keep it short; a stop walks past the line.

Why the number adapts: what a request costs is known only afterwards, and differs by a factor of a thousand. It grows
while turns are short and is halved when one was long, as a congestion window is.

Why callers take turns in the line: who sends two hundred requests at once waits behind their own, and who sends one
waits behind one of each.
"""

from __future__ import annotations

import asyncio
from collections import deque

FEWEST, MOST = 2, 64
SHORT_TURN_S = 0.004
LONG_TURN_S = 0.010


class Line:
    """Who waits, by caller; callers take turns, and each has its own order of coming."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[asyncio.Future[None]]] = {}  # the first key is whose turn it is

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __len__(self) -> int:
        return sum(len(row) for row in self._rows.values())

    def join(self, place: asyncio.Future[None], who: str) -> None:
        """Stand at the end of a caller's row."""
        self._rows.setdefault(who, deque()).append(place)

    def let_in(self, at_most: int) -> int:
        """Let so many go on, one of each caller in turn; returns how many."""
        count = 0
        while self._rows and count < at_most:
            who = next(iter(self._rows))
            row = self._rows.pop(who)
            while row:
                place = row.popleft()
                if not place.done():  # who left the line meanwhile takes nobody's place
                    place.set_result(None)
                    count += 1
                    break
            if row:
                self._rows[who] = row
        return count


class Turnstile:
    """Counts beginnings by turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._line = Line()
        self._heavy = Line()
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

    async def wait(self, who: str = "") -> None:
        """Stand in line; returns in a turn that has room, in the order in which this caller's requests came."""
        await self._stand_in(self._line, who)

    async def wait_heavy(self, who: str = "") -> None:
        """As `wait`, for what takes a large part of a turn by itself: one of them a turn."""
        if not self._had_heavy and not self._heavy:
            self._had_heavy = True
            self._turn()
            return
        await self._stand_in(self._heavy, who)

    async def _stand_in(self, line: Line, who: str) -> None:
        place: asyncio.Future[None] = self._loop.create_future()
        line.join(place, who)
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
        self._left = self._at_once - self._line.let_in(self._at_once)
        self._had_heavy = bool(self._heavy.let_in(1))
        if self._left < self._at_once or self._had_heavy or self._line:
            self._loop.call_soon(self._next)
        else:
            self._is_turning = False

"""A clock that stands until a test moves it; sleepers wake when their time has come."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Both clocks under the test's hand.

    `advance` moves both; `step_wall` moves the wall clock alone, as a person or NTP would.
    """

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self._wall = wall
        self._monotonic = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, delay_s: float) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._monotonic + delay_s, done))
        await done

    def advance(self, by_s: float) -> None:
        self._wall += by_s
        self._monotonic += by_s
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._monotonic]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._monotonic]
        for _, done in due:
            if not done.done():
                done.set_result(None)

    def step_wall(self, by_s: float) -> None:
        self._wall += by_s

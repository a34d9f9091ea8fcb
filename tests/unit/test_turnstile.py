"""The line before the doors: order, few at a time, fewer where turns are long, one that is heavy a turn."""

from __future__ import annotations

import asyncio
import time

from labd.api.turnstile import FEWEST, MOST, Turnstile


async def test_the_line_is_kept_in_order_and_lets_in_a_few_at_a_time() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    order: list[int] = []

    async def come(number: int) -> None:
        if not turnstile.lets_in():
            await turnstile.wait()
        order.append(number)

    crowd = [asyncio.ensure_future(come(number)) for number in range(500)]
    await asyncio.sleep(0)
    assert FEWEST <= len(order) <= MOST
    assert turnstile.waiting == 500 - len(order)
    crowd[300].cancel()
    await asyncio.wait(crowd)
    assert order == [number for number in range(500) if number != 300]
    assert turnstile.waiting == 0


async def test_long_turns_let_fewer_in() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    most_in_a_turn = 0
    this_turn: list[int] = []

    async def come() -> None:
        nonlocal most_in_a_turn
        if not turnstile.lets_in():
            await turnstile.wait()
        this_turn.append(1)
        busy_until = time.perf_counter() + 0.004
        while time.perf_counter() < busy_until:
            pass

    crowd = [asyncio.ensure_future(come()) for _ in range(100)]
    turns = []
    while not all(task.done() for task in crowd):
        this_turn.clear()
        await asyncio.sleep(0)
        turns.append(len(this_turn))
    assert max(turns[-10:-1]) <= FEWEST + 1 < max(turns)


async def test_what_is_heavy_goes_one_a_turn() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    done: list[int] = []

    async def come(number: int) -> None:
        await turnstile.wait_heavy()
        done.append(number)

    crowd = [asyncio.ensure_future(come(number)) for number in range(20)]
    before = 0
    while not all(task.done() for task in crowd):
        await asyncio.sleep(0)
        assert len(done) - before <= 1
        before = len(done)
    assert done == list(range(20))

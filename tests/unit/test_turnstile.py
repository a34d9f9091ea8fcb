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


async def test_callers_take_turns_in_the_line() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    while turnstile.lets_in():
        pass
    order: list[str] = []

    async def come(who: str) -> None:
        await turnstile.wait(who)
        order.append(who)

    crowd = [asyncio.ensure_future(come("flood")) for _ in range(300)]
    crowd += [asyncio.ensure_future(come(who)) for who in ("anna", "ben", "anna")]
    await asyncio.wait(crowd)
    assert [order.index("anna"), order.index("ben")] == [1, 2], order[:8]
    assert order[:6].count("anna") == 2
    assert order.count("flood") == 300
    assert turnstile.waiting == 0


async def test_what_is_heavy_of_one_caller_does_not_hold_anothers() -> None:
    turnstile = Turnstile(asyncio.get_running_loop())
    order: list[str] = []

    async def come(who: str) -> None:
        await turnstile.wait_heavy(who)
        order.append(who)

    crowd = [asyncio.ensure_future(come("flood")) for _ in range(20)]
    crowd.append(asyncio.ensure_future(come("anna")))
    await asyncio.wait(crowd)
    assert order.index("anna") <= 3

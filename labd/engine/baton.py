"""Runs many short coroutines in one asyncio task, and gives a coroutine that waits the task for itself.

Why: most tasks of a busy queue end without ever waiting, and an asyncio task of their own costs more than all the rest
of their life (5 of 20 microseconds). Python 3.12 has eager tasks for this; 3.11, the oldest that labd runs on, has not.

How: the carrier drives each coroutine to its first wait itself. One that ends there is done. One that waits keeps the
carrier, so `asyncio.current_task()`, timeouts and cancellation mean what they say; the runners behind it go on in a new
carrier. All coroutines of one carrier share its context: they must set, not expect, context variables. After `SLICE` of
them a carrier hands on, so that the loop comes to other things and the journal writes while the next ones run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

SLICE = 64
Begin = Callable[["asyncio.Task[None]"], Coroutine[Any, Any, None] | None]


class _Rest:
    """Awaits the rest of a coroutine that has been driven to its first wait."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        coroutine, waits_for = self._coroutine, self._first
        try:
            while True:
                try:
                    value = yield waits_for
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as fault:  # noqa: BLE001 it goes to where the coroutine waits
                    waits_for = coroutine.throw(fault)
                else:
                    waits_for = coroutine.send(value)
        except StopIteration:
            return


def carry(begins: deque[Begin]) -> None:
    """Run everything that `begins` begins; returns at once.

    Args:
        begins: Each is called with the carrying task and gives its coroutine, or None where there is nothing to do.
    """
    asyncio.get_running_loop().create_task(_carry(begins))


async def _carry(begins: deque[Begin]) -> None:
    carrier = asyncio.current_task()
    assert carrier is not None
    for _ in range(SLICE):
        if not begins:
            return
        coroutine = begins.popleft()(carrier)
        if coroutine is None:
            continue
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            if carrier.cancelling():  # it was cancelled in its last moment: that must not reach the next one
                if begins:
                    carry(begins)
                return
            continue
        if begins:
            carry(begins)
        await _Rest(coroutine, waits_for)
        return
    if begins:
        carry(begins)

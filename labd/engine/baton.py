"""Runs many short coroutines in few asyncio tasks, the first of them at once.

Why: most tasks of a busy queue end without ever waiting, and an asyncio task of their own costs more than all the rest
of their life (5 of 20 microseconds). Python 3.12 has eager tasks for this; 3.11, the oldest that labd runs on, has not.

How: a carrier drives each coroutine to its first wait itself. One that ends there is done. One that waits keeps the
carrier, so `asyncio.current_task()`, timeouts and cancellation mean what they say; the runners behind it go on in a new
one.
Why the first of a turn of the loop is driven before `carry` returns: a job that is waited for begins when its start is
on disk, not after everybody else who waited for that commit, and not after one more look at all sockets.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import tasks
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

SLICE = 64
Begin = Callable[["asyncio.Task[None]"], Coroutine[Any, Any, None] | None]


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine of which the first step may have been done already; its first `send` gives what that waits for."""

    def __init__(self) -> None:
        self.is_taken = False
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._first: Any = None
        self._fault: BaseException | None = None

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Do the first step."""
        try:
            self._first = coroutine.send(None)
        except StopIteration:
            return
        except BaseException as fault:  # noqa: BLE001 it is the carrying task's to end with
            self._fault = fault
            return
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        """Go on, or give what the first step waits for."""
        if self.is_taken:
            assert self._coroutine is not None
            return self._coroutine.send(value)
        self.is_taken = True
        if self._fault is not None:
            raise self._fault
        if self._coroutine is None:
            raise StopIteration
        return self._first

    def throw(self, *fault: Any) -> Any:
        """Into where the coroutine waits; into nowhere where it has ended."""
        self.is_taken = True
        if self._coroutine is None:
            raise StopIteration
        return self._coroutine.throw(*fault)

    def close(self) -> None:
        """Of the coroutine."""
        self.is_taken = True
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("only a task drives it")


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


_latest: tuple[asyncio.AbstractEventLoop, _Begun] | None = None  # the last one that was begun at once


def carry(begins: deque[Begin]) -> None:
    """Run everything that `begins` begins; the first of this turn of the loop before this returns.

    Args:
        begins: Each is called with the carrying task and gives its coroutine, or None where there is nothing to do.
    """
    global _latest
    loop = asyncio.get_running_loop()
    is_first = _latest is None or _latest[0] is not loop or _latest[1].is_taken
    if not is_first or asyncio.current_task() is not None:
        _go_on(begins)
        return
    begun, context = _Begun(), contextvars.copy_context()
    _latest = loop, begun
    carrier = loop.create_task(begun, context=context)
    tasks._enter_task(loop, carrier)  # as "Extending asyncio" of its documentation says
    try:
        coroutine = begins.popleft()(carrier)
        if coroutine is not None:
            context.run(begun.begin, coroutine)
    finally:
        tasks._leave_task(loop, carrier)
    if begins:
        _go_on(begins)


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
                    _go_on(begins)
                return
            continue
        if begins:
            _go_on(begins)
        await _Rest(coroutine, waits_for)
        return
    if begins:
        _go_on(begins)


def _go_on(begins: deque[Begin]) -> None:
    asyncio.get_running_loop().create_task(_carry(begins))

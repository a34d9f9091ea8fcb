"""Short coroutines in few tasks: the first of a turn begins at once, and every one is cancelled where it waits."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from labd.engine import baton

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody")
Body = Callable[[], Coroutine[Any, Any, None]]


class Stage:
    """Carries bodies from a callback of the loop, as the journal does, and keeps who carries which."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.carriers: dict[str, asyncio.Task[None]] = {}

    async def carry(self, bodies: dict[str, Body], then: Callable[[], None] = lambda: None) -> None:
        """Begin them all in one callback, one call of `carry` each where it is the only one that waits."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def callback() -> None:
            begins: deque[baton.Begin] = deque()
            for name, body in bodies.items():
                begins.append(self._begin(name, body))
                if len(begins) == 1:
                    baton.carry(begins)
            self.told.append("carried")
            then()
            done.set_result(None)

        asyncio.get_running_loop().call_soon(callback)
        await done

    def _begin(self, name: str, body: Body) -> baton.Begin:
        def begin(carrier: asyncio.Task[None]) -> Coroutine[Any, Any, None]:
            self.carriers[name] = carrier
            return body()

        return begin

    async def rest(self) -> None:
        """All carriers have ended; what one raised is raised."""
        await asyncio.gather(*set(self.carriers.values()))

    async def turns(self) -> None:
        """Some turns of the loop, more than any body here needs."""
        for _ in range(20):
            await asyncio.sleep(0)

    def cancel(self, name: str) -> None:
        self.carriers[name].cancel()

    def body(self, name: str, wait: asyncio.Event | None = None) -> Body:
        """Tells its steps, its name as the context has it, and that its carrier is the current task."""

        async def run() -> None:
            NAME.set(name)
            self.told.append(f"{name} begins")
            assert asyncio.current_task() is self.carriers[name]
            try:
                async with asyncio.timeout(20):
                    if wait is not None:
                        await wait.wait()
            except asyncio.CancelledError:
                self.told.append(f"{NAME.get()} is cancelled")
                return
            assert asyncio.current_task() is self.carriers[name]
            self.told.append(f"{NAME.get()} ends")

        return run


async def test_the_first_begins_before_anything_else_and_the_rest_in_order_behind() -> None:
    stage, gate = Stage(), asyncio.Event()
    await stage.carry({"a": stage.body("a", gate), "b": stage.body("b"), "c": stage.body("c", gate)})
    assert stage.told[:2] == ["a begins", "carried"]
    gate.set()
    await asyncio.wait_for(stage.carriers["a"], 5)
    await stage.turns()
    await stage.rest()
    assert stage.told[2:5] == ["b begins", "b ends", "c begins"]
    assert sorted(stage.told[5:]) == ["a ends", "c ends"]
    assert stage.carriers["a"] is not stage.carriers["b"]
    assert NAME.get() == "nobody"


async def test_one_of_each_turn_begins_at_once() -> None:
    stage = Stage()
    for name in ("a", "b"):
        await stage.carry({name: stage.body(name)})
        await stage.rest()
    assert stage.told == ["a begins", "a ends", "carried", "b begins", "b ends", "carried"]


async def test_within_a_task_nothing_begins_before_its_turn() -> None:
    stage = Stage()
    baton.carry(deque([stage._begin("a", stage.body("a"))]))
    assert stage.told == []
    await asyncio.sleep(0)
    await stage.rest()
    assert stage.told == ["a begins", "a ends"]


async def test_a_cancel_in_the_same_turn_reaches_the_body_where_it_waits() -> None:
    stage = Stage()
    body = stage.body("a", asyncio.Event())
    await stage.carry({"a": body}, then=lambda: stage.cancel("a"))
    await stage.rest()
    assert stage.told == ["a begins", "carried", "a is cancelled"]


async def test_a_cancel_of_a_body_that_has_ended_harms_nobody() -> None:
    stage = Stage()
    await stage.carry({"a": stage.body("a")}, then=lambda: stage.cancel("a"))
    await stage.rest()
    assert stage.told == ["a begins", "a ends", "carried"]


async def test_a_body_that_only_gives_up_its_turn_goes_on() -> None:
    stage = Stage()

    async def polite() -> None:
        for number in range(3):
            stage.told.append(str(number))
            await asyncio.sleep(0)

    await stage.carry({"a": polite})
    await stage.rest()
    assert stage.told == ["0", "carried", "1", "2"]


async def test_what_a_first_step_raises_ends_its_own_carrier() -> None:
    stage = Stage()

    async def faulty() -> None:
        raise KeyError("no plate")

    await stage.carry({"a": faulty, "b": stage.body("b")})
    results = await asyncio.gather(stage.carriers["a"], return_exceptions=True)
    assert isinstance(results[0], KeyError)
    await stage.turns()
    assert stage.told == ["carried", "b begins", "b ends"]

"""A robot server that says markup wherever the makers of a robot may say what they like: a wire that alters words."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from labd.clock import SystemClock
from labd.ot2.simulator import application
from labd.ot2.virtual_robot import Faults, VirtualRobot

FREE = {"name": 41, "robot_serial": 42, "robot_model": 43, "api_version": 44, "fw_version": 45, "detail": 46}
FREE |= {"errorType": 47, "title": 48, "message": 49}


def altered(value: Any, bad: Callable[[int], str], key: str = "") -> Any:
    """An answer with markup in every text that a robot is free in."""
    if isinstance(value, dict):
        return {name: altered(inner, bad, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [altered(inner, bad, key) for inner in value]
    return bad(FREE[key]) if isinstance(value, str) and key in FREE else value


@contextmanager
def odd_robot(bad: Callable[[int], str], fail_at: int) -> Iterator[str]:
    """Its address; every run of it fails at this command."""
    loop = asyncio.new_event_loop()

    @web.middleware
    async def alter(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> web.StreamResponse:
        answer: web.Response = await handler(request)
        if isinstance(answer.body, bytes) and answer.content_type == "application/json":
            answer.body = json.dumps(altered(json.loads(answer.body), bad)).encode()
        return answer

    async def open_door() -> tuple[web.AppRunner, str]:
        robot = VirtualRobot(SystemClock(), name="odd", time_scale=1000.0)
        await robot.change_faults(Faults(fail_at=fail_at))
        app = application(robot)
        app.middlewares.insert(0, alter)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever, name="odd robot")
    thread.start()
    try:
        runner, url = asyncio.run_coroutine_threadsafe(open_door(), loop).result(10)
        yield url
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

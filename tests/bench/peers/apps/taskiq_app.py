"""taskiq on Redis, the stream broker that acknowledges: `taskiq worker taskiq_app:broker`."""

from __future__ import annotations

import asyncio
import os

import bodies
import redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}"
ENDED = ("done",)
broker = RedisStreamBroker(f"{URL}/0").with_result_backend(RedisAsyncResultBackend(f"{URL}/1"))
_results = redis.Redis.from_url(f"{URL}/1")
_loop = asyncio.new_event_loop()
_started = False


@broker.task
async def noop() -> None:
    """Nothing."""


@broker.task
async def stamp() -> None:
    """When it began."""
    bodies.stamp()


@broker.task
def hold(seconds: float) -> None:
    """Takes its time, in a thread."""
    bodies.hold(seconds)


def _run(work):
    global _started
    if not _started:
        _loop.run_until_complete(broker.startup())
        _started = True
    return _loop.run_until_complete(work)


def enqueue(count):
    """100 at once: it has no call for many."""

    async def all_of_them():
        for first in range(0, count, 100):
            await asyncio.gather(*(noop.kiq() for _ in range(min(100, count - first))))

    _run(all_of_them())


def enqueue_one():
    """One."""
    _run(noop.kiq())


def done():
    """Results that are kept."""
    return _results.dbsize()


def submit_stamp():
    """One stamp."""
    return _run(stamp.kiq()).task_id


def submit_hold(seconds):
    """One long one."""
    return _run(hold.kiq(seconds)).task_id


def state(handle):
    """Whether it has a result."""
    return "done" if _results.exists(handle) else "no result"

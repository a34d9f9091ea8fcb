"""Dramatiq on Redis with results: `dramatiq dramatiq_app`."""

from __future__ import annotations

import os

import bodies
import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}"
ENDED = ("done",)
broker = RedisBroker(url=f"{URL}/0")
_backend = RedisBackend(url=f"{URL}/1")
broker.add_middleware(Results(backend=_backend))
dramatiq.set_broker(broker)
_results = redis.Redis.from_url(f"{URL}/1")


@dramatiq.actor(store_results=True)
def noop():
    """Nothing."""


@dramatiq.actor(store_results=True)
def stamp():
    """When it began."""
    bodies.stamp()


@dramatiq.actor(store_results=True)
def hold(seconds):
    """Takes its time."""
    bodies.hold(seconds)


def enqueue(count):
    """A group of all."""
    dramatiq.group(noop.message() for _ in range(count)).run()


def enqueue_one():
    """One."""
    noop.send()


def done():
    """Results that are kept."""
    return _results.dbsize()


def submit_stamp():
    """One stamp."""
    return _backend.build_message_key(stamp.send())


def submit_hold(seconds):
    """One long one."""
    return _backend.build_message_key(hold.send(seconds))


def state(handle):
    """Whether it has a result."""
    return "done" if _results.exists(handle) else "no result"

"""Celery on Redis: `celery -A celery_app worker`."""

from __future__ import annotations

import os

import bodies
import redis
from celery import Celery

URL = f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}"
ENDED = ("SUCCESS",)
app = Celery("celery_app", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = int(os.environ.get("PEERS_PREFETCH", "4"))
if os.environ.get("PEERS_ACKS_LATE"):
    app.conf.task_acks_late = True
_results = redis.Redis.from_url(f"{URL}/1")


@app.task(name="noop")
def noop():
    """Nothing."""


@app.task(name="stamp")
def stamp():
    """When it began."""
    bodies.stamp()


@app.task(name="hold")
def hold(seconds):
    """Takes its time."""
    bodies.hold(seconds)


def enqueue(count):
    """One producer for all: what its documents say instead of a call for many."""
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            noop.apply_async(producer=producer)


def enqueue_one():
    """One."""
    noop.delay()


def done():
    """Results that are kept."""
    return _results.dbsize()


def submit_stamp():
    """One stamp."""
    return stamp.delay().id


def submit_hold(seconds):
    """One long one."""
    return hold.delay(seconds).id


def state(handle):
    """As the result backend says."""
    found = _results.get(f"celery-task-meta-{handle}")
    return "SUCCESS" if found and b'"SUCCESS"' in found else app.AsyncResult(handle).state

"""What a run takes from stock while it goes on: each debit is put on disk beside the channel, and then answered."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from labd.engine.worker_messages import Message
from labd.errors import Conflict, LabdError

log = structlog.get_logger()
AT_ONCE = 1000  # a body asks for one and waits, in each of its threads
Consume = Callable[[int, dict[str, float]], Awaitable[None]]
_encode = msgspec.json.Encoder().encode


class Debits:
    """The debits of one worker.

    Args:
        send: Takes a line for the child.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_crowded(self) -> bool:
        """Whether more debits are on their way than any body waits for."""
        return len(self._tasks) >= AT_ONCE

    def begin(self, request: Message, consume: Consume | None) -> None:
        """Debit what the child asks for, and tell it what became of that, whatever goes wrong here.

        The debit is staged before the end of the run is, were both in one piece: the first step of a task comes in the
        order in which tasks are made.

        Args:
            consume: Takes ordinal and volumes; None: labd keeps the stock of this run itself.
        """
        task = asyncio.get_running_loop().create_task(_debit(consume, request.ordinal, request.volumes_ul or {}))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._answer, request))

    def _answer(self, request: Message, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        answer: dict[str, Any] = {"type": "consumed", "run": request.run, "ordinal": request.ordinal}
        fault = asyncio.CancelledError() if task.cancelled() else task.exception()
        if isinstance(fault, LabdError):
            answer["error"] = {"code": fault.code, "message": fault.message}
        elif fault is not None:
            log.error("worker.debit_failed", run=request.run, exc_info=fault)
            text = f"labd could not debit {request.volumes_ul} ul: {fault!r}; see its log"
            answer["error"] = {"code": "internal", "message": text}
        self._send(_encode(answer) + b"\n")


async def _debit(consume: Consume | None, ordinal: int, volumes_ul: dict[str, float]) -> None:
    if consume is None:
        raise Conflict("consume() is for tasks; what this run takes from stock labd finds out by itself")
    await consume(ordinal, volumes_ul)

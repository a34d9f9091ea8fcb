"""Runs that a worker is given before its last one has ended, and how those that it has not begun are taken back.

Why ahead: between the answer of a short run and the next run a worker and the event loop would wait for each other, and
each run would cost both of them a wake-up, a read and a write of its own.

Why tickets: whoever takes a run back must know that it was not begun, and a child in the middle of a C library answers
nobody. So there is a counter in the kernel that both sides hold: the child takes one ticket before it begins a run that
was sent ahead, and what this side takes first the child can never begin. Runs begin in the order in which they were
sent, so the number of tickets says which ones they are.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from labd.engine.worker_debits import Consume
from labd.engine.worker_messages import Message
from labd.engine.worker_output import JobOutput

Told = Callable[[float, float | None, str], None]


@dataclass(eq=False, slots=True)
class Sent:
    """A run that a worker has been given and that is not over.

    `answer` gets None where the run was taken back; `late` is an answer that came when nobody was waiting.
    """

    number: int
    job: int | None
    request: bytes
    output: JobOutput
    progress: Told
    consume: Consume | None
    answer: asyncio.Future[Message | None]
    is_ahead: bool
    late: Message | None = None
    is_back: bool = False


class NotBegun(Exception):
    """A run was taken back: the child has not begun it and never will."""


class Tickets:
    """The counter; the child gets its descriptor."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)

    def give(self, count: int) -> None:
        """Allow so many more runs to begin."""
        os.eventfd_write(self.fd, count)

    def take_back(self) -> int:
        """How many were left; nobody has them now."""
        count = 0
        try:
            while os.eventfd_read(self.fd):
                count += 1
        except BlockingIOError:
            return count
        return count

    def close(self) -> None:
        """The child has ended."""
        os.close(self.fd)

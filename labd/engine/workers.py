"""Warm workers: one pool per environment, several jobs at once, each in its own child process.

A pool starts workers as they are needed, up to its size, lends one to a job at a time and keeps them for the next. It
replaces those that held too much, ran often enough or were idle for long. Jobs of one `affinity` share a worker of
their own, one after the other, which is never idle enough to end.

Why a generation: the task files are read when a worker starts. After a change the pool starts new workers; those that
run a job finish it on the code they have and end. A worker with an affinity stays as long as its task's file does.

While jobs wait for a worker, one whose runs are short gets some of them before its last one has ended, as many as it
does within `PACE_S`. Those that it has not begun are taken back when it is at one run for so long, when another
worker is idle, and when the task files have changed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from labd.clock import Clock
from labd.engine.worker_process import WorkerProcess
from labd.engine.worker_start import Outfit, StartFailed, Worker, start_worker

log = structlog.get_logger()
LOOK_S = 15.0
TELL_S = 0.2
PACE_S = 0.02
DEEPEST = 16
Progress = Callable[[float, float | None, str], None]


@dataclass(eq=False, slots=True)
class Turn:
    """A job that waits for a worker."""

    worker: asyncio.Future[Worker]
    may_be_sent_ahead: bool


@dataclass(slots=True)
class Sticky:
    """The worker of one affinity."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    worker: Worker | None = None


class Pool:
    """The workers of one environment."""

    def __init__(self, name: str, outfit: Outfit, clock: Clock) -> None:
        self.name = name
        self.outfit = outfit
        self.busy = 0
        self._clock = clock
        self._idle: list[Worker] = []
        self._all: dict[int, Worker] = {}
        self._starting = 0
        self._to_warm = 0
        self._waiting: deque[Turn] = deque()
        self._untold: deque[tuple[float, asyncio.Future[Worker], Callable[[], None]]] = deque()
        self._teller: asyncio.TimerHandle | None = None
        self._pacer: asyncio.TimerHandle | None = None
        self._sticky: dict[str, Sticky] = {}
        self._starts: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._closed = False
        self._upkeep = asyncio.get_running_loop().create_task(self._look_after(), name=f"pool {name}")

    @property
    def workers(self) -> int:
        """How many processes there are."""
        return len(self._all)

    def all_workers(self) -> list[Worker]:
        """Every worker, idle or not."""
        return list(self._all.values())

    def change(self, outfit: Outfit, worker: Worker | None) -> None:
        """Start new workers with another outfit; running jobs finish in the old ones.

        Args:
            worker: One that was started with it already, to look at the task files.
        """
        if outfit is self.outfit and worker is None:
            return
        self.outfit = outfit
        idle, self._idle = self._idle, []
        if worker is not None and worker.process.is_alive:
            self._all[worker.process.pid] = worker
            self._put_back(worker)
        for old in idle:
            self._retire(old)
        for old in self._all.values():
            if old.outfit is not outfit:
                old.process.take_back()
        self._warm_up()

    def ended(self, process: WorkerProcess) -> None:
        """A process of this pool has ended."""
        worker = self._all.pop(process.pid, None)
        if worker in self._idle:
            self._idle.remove(worker)
        self._start_for_waiting()

    def idle_worker(self) -> Worker | None:
        """A worker that is free now; give it back."""
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_usable:
                self._lend(worker)
                return worker
        return None

    def _lend(self, worker: Worker) -> None:
        worker.lent += 1
        self.busy += worker.lent == 1

    async def borrow(
        self, tell: Callable[[], None], *, may_be_sent_ahead: bool = False, is_back: bool = False
    ) -> Worker:
        """A worker when one is free; more are started up to the pool's size.

        Args:
            tell: Called if that takes longer than `TELL_S`.
            may_be_sent_ahead: One that is at another job does as well, if that is as good as over.
            is_back: A worker had it and did not begin it: it goes before all others.

        Raises:
            StartFailed: None could be started.
        """
        turn: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        if is_back:
            self._waiting.appendleft(Turn(turn, may_be_sent_ahead))
        else:
            self._waiting.append(Turn(turn, may_be_sent_ahead))
        self._tell_later(turn, tell)
        self._start_for_waiting()
        if self._pacer is None:
            for worker in self._all.values():
                worker.answered = worker.process.answered
            self._pacer = asyncio.get_running_loop().call_later(PACE_S, self._pace)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back(turn.result())
            raise

    def _tell_later(self, turn: asyncio.Future[Worker], tell: Callable[[], None]) -> None:
        """One timer for all who wait: of a busy queue's jobs hardly one waits so long, and a timer each costs more."""
        loop = asyncio.get_running_loop()
        self._untold.append((loop.time() + TELL_S, turn, tell))
        if self._teller is None:
            self._teller = loop.call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        self._teller = None
        while self._untold and (self._untold[0][1].done() or self._untold[0][0] <= loop.time()):
            _, turn, tell = self._untold.popleft()
            if not turn.done():
                tell()
        if self._untold:
            self._teller = loop.call_at(self._untold[0][0], self._tell)

    def _places_left(self) -> int:
        sticky = sum(1 for one in self._sticky.values() if one.worker is not None)
        return self.outfit.settings.size - (len(self._all) - sticky) - self._starting

    def give_back(self, worker: Worker) -> None:
        """The job has ended; the worker goes on, or is replaced."""
        worker.lent -= 1
        if worker.lent:
            self._lend_ahead(worker)
            return
        self.busy -= 1
        self._put_back(worker)

    def _put_back(self, worker: Worker) -> None:
        if not worker.process.is_usable or self._used_up(worker):
            self._retire(worker)
            return
        while self._waiting:
            turn = self._waiting.popleft().worker
            if not turn.done():
                self._lend(worker)
                turn.set_result(worker)
                self._lend_ahead(worker)
                return
        worker.free_since = self._clock.monotonic()
        self._idle.append(worker)

    def _lend_ahead(self, worker: Worker) -> None:
        """Fill it up once half of what it may have ahead is done, so that several go out in one piece."""
        waiting = self._waiting
        if not waiting or worker.lent > worker.depth // 2 or not worker.process.takes_ahead or self._used_up(worker):
            return
        while waiting and worker.lent < worker.depth:
            if not waiting[0].worker.done():
                if not waiting[0].may_be_sent_ahead:
                    return  # the next worker that has nothing to do is its own
                self._lend(worker)
                waiting[0].worker.set_result(worker)
            waiting.popleft()

    def _pace(self) -> None:
        """Once in a while, as long as jobs wait for a worker or are sent ahead."""
        self._pacer = None
        settings = self.outfit.settings
        is_deep = not settings.recycle_jobs and not settings.cpu_s
        for worker in self._all.values():
            done, worker.answered = worker.process.answered - worker.answered, worker.process.answered
            worker.depth = max(1, min(DEEPEST, done)) if is_deep else 1
            if worker.lent > 1 and (not done or (self._idle and not self._waiting)):
                worker.process.take_back()
        if self._waiting or any(worker.lent > 1 for worker in self._all.values()):
            self._pacer = asyncio.get_running_loop().call_later(PACE_S, self._pace)

    def _used_up(self, worker: Worker) -> bool:
        settings = worker.outfit.settings
        if self._closed or worker.outfit is not self.outfit:
            return True
        if settings.recycle_jobs and worker.process.jobs >= settings.recycle_jobs:
            return True
        return bool(settings.recycle_mib) and worker.process.size_bytes() > settings.recycle_mib * 2**20

    def _retire(self, worker: Worker) -> None:
        if worker.process.is_alive:
            _spawn(worker.process.close(worker.outfit.settings.grace_s), self._ends)
            self._all.pop(worker.process.pid, None)  # its place is free for the next one at once
        self._start_for_waiting()

    def _start_for_waiting(self) -> None:
        while not self._closed and self._starting < len(self._waiting) and self._places_left() > 0:
            self._starting += 1
            _spawn(self._start(), self._starts)

    async def _start(self) -> None:
        outfit = self.outfit
        try:
            worker = await start_worker(outfit, self.ended)
        except StartFailed as fault:
            self._starting -= 1
            log.error("worker.not_started", environment=self.name, problem=str(fault))
            while self._waiting:
                turn = self._waiting.popleft().worker
                if not turn.done():
                    turn.set_exception(fault)
                    break
            self._start_for_waiting()
            return
        self._starting -= 1
        log.info("worker.started", environment=self.name, pid=worker.process.pid, python=worker.process.python_version)
        self._all[worker.process.pid] = worker
        self._put_back(worker)
        self._warm_next()

    async def borrow_sticky(self, affinity: str, task: str, digest: str) -> Worker:
        """The worker of an affinity, alone; another is started where its task's file has changed or it has ended.

        Raises:
            StartFailed: None could be started.
        """
        sticky = self._sticky.setdefault(affinity, Sticky())
        await sticky.lock.acquire()
        try:
            worker = sticky.worker
            is_other = worker is not None and (not worker.process.is_usable or worker.digests.get(task) != digest)
            if worker is not None and worker.process.is_alive and is_other:
                log.info("worker.replaced", environment=self.name, affinity=affinity, pid=worker.process.pid)
                await worker.process.close(worker.outfit.settings.grace_s)
            if worker is None or not worker.process.is_alive:
                sticky.worker = None
                worker = sticky.worker = await start_worker(self.outfit, self.ended)
                self._all[worker.process.pid] = worker
        except BaseException:
            sticky.lock.release()
            raise
        self.busy += 1
        return worker

    def give_back_sticky(self, affinity: str) -> None:
        """The job has ended; its worker keeps what it holds."""
        self.busy -= 1
        self._sticky[affinity].lock.release()

    async def _look_after(self) -> None:
        self._warm_up()
        while not self._closed:
            settings = self.outfit.settings
            await self._clock.sleep(min(LOOK_S, max(settings.idle_s / 4, 0.05)))
            now = self._clock.monotonic()
            spare = len(self._all) - settings.warm
            for worker in list(self._idle):  # the longest idle stand first
                if spare > 0 and now - worker.free_since >= settings.idle_s:
                    spare -= 1
                    self._idle.remove(worker)
                    self._retire(worker)
            self._warm_up()

    def _warm_up(self) -> None:
        """Start as many as are missing, although nobody waits for them.

        Why one after the other: they would take all of a small host just when labd itself starts, or has read changed
        task files. For those who wait for a worker as many are started at once as they are.
        """
        self._to_warm = self.outfit.settings.warm - len(self._all) - self._starting
        self._warm_next()

    def _warm_next(self) -> None:
        """One more, unless one is on its way; no more than were missing, even if they end as fast as they come."""
        is_missing = self.outfit.settings.warm > len(self._all) + self._starting and self._to_warm > 0
        if is_missing and not self._starting and not self._closed and self.outfit.files + self.outfit.modules:
            self._to_warm -= 1
            self._starting += 1
            _spawn(self._start(), self._starts)

    def _send_away(self, reason: str) -> None:
        self._untold.clear()
        if self._teller is not None:
            self._teller.cancel()
            self._teller = None
        if self._pacer is not None:
            self._pacer.cancel()
            self._pacer = None
        for turn in self._waiting:
            if not turn.worker.done():
                turn.worker.set_exception(StartFailed(reason))
        self._waiting.clear()

    async def retire(self) -> None:
        """End a pool that no task needs any more: its workers go when their jobs have ended."""
        self._closed = True
        self._upkeep.cancel()
        self._send_away("the environment is not in use any more")
        idle, self._idle = self._idle, []
        for worker in idle:
            self._retire(worker)
        while self.busy:
            await self._clock.sleep(0.2)
        await self.close()

    async def close(self) -> None:
        """End all workers; jobs must have ended before. A second call does nothing."""
        self._closed = True
        begun = [self._upkeep, *self._starts]
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        self._send_away("labd is ending")
        grace_s = self.outfit.settings.grace_s
        ends = [worker.process.close(grace_s) for worker in self._all.values()]
        await asyncio.gather(*ends, *self._ends, return_exceptions=True)


def _spawn(work: Coroutine[Any, Any, None], into: set[asyncio.Task[None]]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    into.add(task)
    task.add_done_callback(into.discard)

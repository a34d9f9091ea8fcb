"""The owner thread of one bus: lanes, the lease gate, the memory latch, and stops that are re-sent until confirmed.

Why a thread and not a lock: the SDK's port is no lock (its `is_using` is a plain flag that loses races), a lock has no
order, and a stop must pass everything that waits. So one thread owns the line, everybody else leaves functions in a
lane, and the thread looks at the stop lane before each single transaction: a stop waits for at most one of them. The
re-sending of a stop lives in this thread too, so that a hung event loop cannot keep torque on.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from labd.errors import DeviceLost
from labd.resort.drive.exchange import Exchange, Line
from labd.resort.drive.gate import Gate
from labd.resort.drive.stop_lane import StopLane
from labd.resort.drive.stopping import StopReport, StopTicket

T = TypeVar("T")
DRAIN_SLICE_S = 0.005
LONGEST_DRAIN_SLICES = 100


class Lane(IntEnum):
    """Who goes first; stops are no lane of functions, they go before all of these."""

    MOTION = 1
    POLL = 2


@dataclass(slots=True)
class _Request:
    function: Callable[[Exchange], Any]
    settle: Callable[[Any, BaseException | None], None]
    mover: int | None = None
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class _Motor:
    on_lost: Callable[[DeviceLost], None]
    on_stop_unconfirmed: Callable[[StopReport], None]


class Bus:
    """One line and its owner thread.

    Args:
        line: The line; nobody else may touch it.
        monotonic: Seconds.
    """

    def __init__(
        self,
        line: Line,
        *,
        monotonic: Callable[[], float],
        tries: int = 3,
    ) -> None:
        self.line = line
        self._monotonic = monotonic
        self._exchange = Exchange(self, tries)
        self._motors: dict[int, _Motor] = {}
        self._needed_by: set[int] = set()
        self._starts = 0
        self._lock = threading.Lock()
        self._lanes: dict[Lane, deque[_Request]] = {lane: deque() for lane in Lane}
        self._gate = Gate(line.name, monotonic)
        self._stops = StopLane(line, self._gate, monotonic, self.line_lost, self._tell_unconfirmed)
        self._serving_mover = False
        self._ending = False
        self._ended = True
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = -1, -1

    def join(
        self,
        servo_id: int,
        on_lost: Callable[[DeviceLost], None],
        on_stop_unconfirmed: Callable[[StopReport], None] = lambda report: None,
    ) -> None:
        """Drive one motor of this bus; several motors share line, thread and lease gate.

        Args:
            on_lost: Called in the owner thread when the line is gone.
            on_stop_unconfirmed: Called in the owner thread, now and again while a stop cannot be confirmed.

        Raises:
            ValueError: Somebody drives that motor already.
        """
        if servo_id in self._motors:
            raise ValueError(f"{self.line.name}: servo {servo_id} is driven twice; give each carousel its own servo_id")
        self._motors[servo_id] = _Motor(on_lost, on_stop_unconfirmed)

    def start(self) -> None:
        """Start the owner thread, or count one more user of it."""
        self._starts += 1
        if self._starts > 1:
            return
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._ending = self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"bus {self.line.name}", daemon=True)
        self._thread.start()

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """End the thread and close the line with the last user; what waits is refused. More calls do nothing."""
        with self._lock:  # two carousels may leave at the same time, in two threads
            self._starts = max(0, self._starts - 1)
            if self._starts:
                return
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._ending = True
        self._wake()
        thread.join(timeout_s)
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1

    def submit(self, lane: Lane, function: Callable[[Exchange], T]) -> Future[T]:
        """Leave a function for the owner thread; from any thread."""
        future: Future[T] = Future()

        def settle(value: Any, fault: BaseException | None) -> None:
            try:
                future.set_result(value) if fault is None else future.set_exception(fault)
            except InvalidStateError:
                pass  # withdrawn by its owner

        self._enqueue(lane, _Request(function, settle))
        return future

    async def run(self, lane: Lane, function: Callable[[Exchange], T], mover: int | None = None) -> T:
        """Run a function in the owner thread; if the caller is cancelled before its turn it is left out.

        Args:
            mover: The servo that a motion supervisor asks for. While it has a lease, its turn comes between two
                transactions of whatever a neighbour on the bus is having done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def deliver(value: Any, fault: BaseException | None) -> None:
            if not future.done():
                future.set_result(value) if fault is None else future.set_exception(fault)

        def settle(value: Any, fault: BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(deliver, value, fault)
            except RuntimeError:
                pass  # the loop has ended; nobody waits

        request = _Request(function, settle, mover)
        self._enqueue(lane, request)
        try:
            return await future
        except asyncio.CancelledError:
            request.withdrawn = True
            raise

    # -- the gate ----------------------------------------------------------------------------------------------------

    def renew_lease(self, servo_id: int, lease_s: float) -> None:
        """The supervisor of this motor lives; the bus may talk for `lease_s`."""
        self._gate.renew_lease(servo_id, lease_s)

    def end_lease(self, servo_id: int) -> None:
        """No move of this motor is under way."""
        self._gate.end_lease(servo_id)

    def before_transaction(self) -> None:
        """Serve stops, then motors on the move, then refuse to talk for a supervisor that gives no sign of life."""
        self._stops.serve()
        self._serve_movers()
        self._gate.refuse_without_lease()

    def release(self, servo_id: int) -> None:
        """Memory latch off; a stop that is not confirmed yet is still re-sent."""
        self._gate.latched.discard(servo_id)

    def is_latched(self, servo_id: int) -> bool:
        """The memory latch."""
        return servo_id in self._gate.latched

    def refuse_if_latched(self, servo_id: int, address: int, data: bytes) -> None:
        """Whether these bytes could move a stopped motor."""
        self._gate.refuse_if_latched(servo_id, address, data)

    # -- stop --------------------------------------------------------------------------------------------------------

    def latch(self, servo_id: int) -> None:
        """Memory latch on; torque-off goes out as soon as the line is open."""
        self._stops.latch(servo_id)
        self._wake()

    def stop(self, servo_id: int) -> StopTicket:
        """Latch, and torque off before anything else; from any thread, never blocks on the bus."""
        ticket = self._stops.stop(servo_id)
        self._wake()
        return ticket

    def _tell_unconfirmed(self, servo_id: int, report: StopReport) -> None:
        motor = self._motors.get(servo_id)
        if motor is not None:
            motor.on_stop_unconfirmed(report)

    # -- moving motors -----------------------------------------------------------------------------------------------

    def _serve_movers(self) -> None:
        """Let moving motors have their look in the middle of a neighbour's work.

        Why: connecting a motor takes dozens of transactions, longer than the lease of one that is moving beside it.
        Each work is on the registers of its own servo, so the order between them means nothing.
        """
        if self._serving_mover or len(self._motors) < 2:
            return
        self._serving_mover = True
        try:
            while (request := self._next_of_mover()) is not None:
                if not request.withdrawn:
                    self._serve(request)
        finally:
            self._serving_mover = False

    def _next_of_mover(self) -> _Request | None:
        with self._lock:
            waiting = self._lanes[Lane.MOTION]
            for request in waiting:
                if request.mover is not None and self._gate.has_lease(request.mover):
                    waiting.remove(request)
                    return request
        return None

    # -- the line ----------------------------------------------------------------------------------------------------

    def open_line(self, exchange: Exchange, servo_id: int) -> None:
        """To be run in a lane: open, and if a stop is latched send torque-off before anything else."""
        if not self.line.is_open:
            self.line.open()
        self._needed_by.add(servo_id)
        self._stops.send_all_again()

    def close_line(self, exchange: Exchange, servo_id: int) -> None:
        """To be run in a lane: close unless another motor's driver needs the line; torque stays as it is."""
        self.end_lease(servo_id)
        self._needed_by.discard(servo_id)
        if not self._needed_by:
            self.line.close()

    def quiet_line(self) -> None:
        """After a failed transaction: read away late bytes until none come for `quiet_s`, so that a late reply does not
        answer the next question. A stop does not wait for that.
        """
        silent_s = 0.0
        for _ in range(LONGEST_DRAIN_SLICES):
            if silent_s >= self.line.quiet_s or self._stops.is_due():
                return
            silent_s = 0.0 if self.line.drain(DRAIN_SLICE_S) else silent_s + DRAIN_SLICE_S

    def line_lost(self, fault: DeviceLost) -> None:
        """The line is gone: close it and tell."""
        self.line.close()
        self._gate.clear_leases()
        self._needed_by.clear()
        for motor in list(self._motors.values()):
            motor.on_lost(fault)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _enqueue(self, lane: Lane, request: _Request) -> None:
        with self._lock:
            ended = self._ended or self._ending
            if not ended:
                self._lanes[lane].append(request)
        if ended:
            request.settle(None, self.not_open())
        else:
            self._wake()

    def not_open(self) -> DeviceLost:
        """The error for whoever asks a bus that is closed."""
        return DeviceLost(f"{self.line.name}: the bus is closed; `labctl resort connect` opens it", port=self.line.name)

    def _wake(self) -> None:
        with self._lock:
            if self._wake_write < 0:
                return
            try:
                os.write(self._wake_write, b"w")
            except BlockingIOError:
                pass  # the pipe is full of wake-ups already

    def _next(self) -> _Request | None:
        with self._lock:
            for lane in Lane:
                if self._lanes[lane]:
                    return self._lanes[lane].popleft()
        return None

    def _run(self) -> None:
        try:
            while not self._ending:
                self._stops.serve()
                request = self._next()
                if request is None:
                    self._wait()
                elif not request.withdrawn:
                    self._serve(request)
        finally:
            if not self._ending:  # something ended the thread; nothing is sent any more
                for motor in list(self._motors.values()):
                    motor.on_lost(self.not_open())
            with self._lock:
                self._ended = True
                left = [request for lane in self._lanes.values() for request in lane]
                for lane in self._lanes.values():
                    lane.clear()
            for request in left:
                request.settle(None, self.not_open())
            self.line.close()

    def _serve(self, request: _Request) -> None:
        try:
            value = request.function(self._exchange)
        except BaseException as fault:  # handed to who asked; only what ends a thread ends this one
            request.settle(None, fault if isinstance(fault, Exception) else self.not_open())
            if not isinstance(fault, Exception):
                raise
        else:
            request.settle(value, None)

    def _wait(self) -> None:
        """Sleep until somebody asks, a stop is due, or the line hangs up: no wake-ups while nothing happens.

        Why POLLHUP and no timer: the kernel hangs a terminal up when its adapter is pulled (and a pseudo-terminal when
        its master closes), which poll reports at once even with no events asked for.
        """
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        line_fd = self.line.fileno() if self.line.is_open else None
        if line_fd is not None:
            poller.register(line_fd, 0)
        due_at = self._stops.due_at()
        timeout_ms = None if due_at is None else max(0.0, (due_at - self._monotonic()) * 1000 + 1)
        for fd, _ in poller.poll(timeout_ms):
            if fd == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self.line_lost(
                    DeviceLost(
                        f"{self.line.name}: the port hung up (unplugged?); labd reopens it when it is back",
                        port=self.line.name,
                    )
                )

"""The lane that goes before all others: stops of any motor of one bus, re-sent until each is confirmed.

Asked for from any thread, served by the owner thread of the bus before each single transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from labd.errors import DeviceLost, LabdError
from labd.resort.drive.exchange import Line
from labd.resort.drive.gate import Gate
from labd.resort.drive.stopping import StopReport, StopTicket, StopWork


class StopLane:
    """Stops of the motors on one line.

    Args:
        on_lost: The line is gone; in the owner thread.
        on_unconfirmed: A stop of this servo cannot be confirmed; in the owner thread, now and again.
    """

    def __init__(
        self,
        line: Line,
        gate: Gate,
        monotonic: Callable[[], float],
        on_lost: Callable[[DeviceLost], None],
        on_unconfirmed: Callable[[int, StopReport], None],
    ) -> None:
        self._line = line
        self._gate = gate
        self._monotonic = monotonic
        self._on_lost = on_lost
        self._on_unconfirmed = on_unconfirmed
        self._lock = threading.Lock()
        self._stops: dict[int, StopWork] = {}
        self._serving = False

    def latch(self, servo_id: int) -> None:
        """Memory latch on; torque-off goes out as soon as the line is open."""
        self._gate.latched.add(servo_id)
        with self._lock:
            self._stops.setdefault(servo_id, StopWork(servo_id, self._monotonic()))

    def stop(self, servo_id: int) -> StopTicket:
        """Latch, and torque off before anything else."""
        ticket = StopTicket(self._monotonic())
        self._gate.latched.add(servo_id)
        with self._lock:
            self._stops.setdefault(servo_id, StopWork(servo_id, ticket.called_at)).add(ticket)
        return ticket

    def due_at(self) -> float | None:
        """When the next one is to be sent, None while there is none."""
        return min((work.due_at for work in list(self._stops.values())), default=None)

    def is_due(self) -> bool:
        """Whether one is to be sent now."""
        due_at = self.due_at()
        return due_at is not None and due_at <= self._monotonic()

    def send_all_again(self) -> None:
        """The line is open again: whatever is latched gets its torque-off before anything else."""
        with self._lock:
            for servo_id in tuple(self._gate.latched):
                self._stops.setdefault(servo_id, StopWork(servo_id, self._monotonic()))
            for work in self._stops.values():
                work.due_at = 0.0
        self.serve()

    def serve(self) -> None:
        """Send and read back what is due; in the owner thread."""
        if not self._stops or self._serving:
            return
        self._serving = True
        try:
            now = self._monotonic()
            due = [work for work in list(self._stops.values()) if work.due_at <= now]
            for work in due:  # every motor's torque first, then the reading back
                self._step(work, work.send_torque_off)
            for work in due:
                if work.sent and self._step(work, work.read_back):
                    self._confirmed(work)
        finally:
            self._serving = False

    def _step(self, work: StopWork, step: Callable[[Line, float], bool]) -> bool:
        try:
            if not self._line.is_open:
                work.failed(
                    f"{self._line.name}: the port is not open; torque-off goes out first when it is", self._monotonic()
                )
            elif step(self._line, self._monotonic()):
                return True
        except DeviceLost as fault:
            work.failed(fault.message, self._monotonic())
            self._on_lost(fault)
        except LabdError as fault:
            work.failed(fault.message, self._monotonic())
        if work.worth_telling(self._monotonic()):
            self._on_unconfirmed(work.servo_id, work.report())
        return False

    def _confirmed(self, work: StopWork) -> None:
        with self._lock:
            if not work.all_sent():  # another stop was asked for meanwhile; it gets its own torque-off
                return
            self._stops.pop(work.servo_id, None)
        self._gate.end_lease(work.servo_id)  # torque is off: the watchdog counts no more
        work.resolve()

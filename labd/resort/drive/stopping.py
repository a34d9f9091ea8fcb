"""One motor's stop: torque off, re-sent with bounded backoff until Torque Enable and velocity read back as 0."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labd.resort.drive.exchange import Line

TORQUE_ENABLE = 64
TORQUE_LENGTH = 2  # with the LED: a length of its own, so that a stale reply to another read is recognised
MOVING = 122
MOVING_LENGTH = 10
VELOCITY_OFFSET = 6  # Present Velocity (128) within that read
FIRST_DELAY_S = 0.02
LONGEST_DELAY_S = 0.5
TELL_AFTER_S = 0.5
TELL_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class StopReport:
    """What is known of a stop.

    `confirmed`: Torque Enable was read back as 0 and the velocity as 0. `wire_ms`: from the call to after the bytes of
    torque-off were written, None while they are not. `problem`: why it is not confirmed.
    """

    confirmed: bool
    attempts: int
    wire_ms: float | None
    problem: str | None


@dataclass(slots=True)
class StopTicket:
    """One call of stop; `sent` resolves with the milliseconds to the wire, `confirmed` with the final report."""

    called_at: float
    wire_ms: float | None = None
    attempts: int = 0
    problem: str | None = "torque-off has not been sent yet"
    sent: Future[float] = field(default_factory=Future)
    confirmed: Future[StopReport] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.sent.set_running_or_notify_cancel()  # a caller that gives up waiting must not cancel the stop
        self.confirmed.set_running_or_notify_cancel()

    def report(self) -> StopReport:
        """What is known now."""
        if self.confirmed.done():
            return self.confirmed.result()
        return StopReport(False, self.attempts, self.wire_ms, self.problem)


class StopWork:
    """The stop of one motor and everybody who asked for it; used by the owner thread."""

    def __init__(self, servo_id: int, now: float) -> None:
        self.servo_id = servo_id
        self.due_at = now
        self.sent = False
        self._since = now
        self._told_at: float | None = None
        self._delay_s = FIRST_DELAY_S
        self._attempts = 0
        self._problem: str | None = "torque-off has not been sent yet"
        self._tickets: list[StopTicket] = []

    def add(self, ticket: StopTicket) -> None:
        """One more caller; torque-off is sent again for it."""
        self._tickets.append(ticket)
        self.due_at = ticket.called_at

    def send_torque_off(self, line: Line, now: float) -> bool:
        """Torque Enable := 0. The bytes count as sent even where the answer is lost."""
        self.sent = False
        waiting = list(self._tickets)
        before = line.written_at
        try:
            line.write(self.servo_id, TORQUE_ENABLE, b"\x00")
            self.sent = True
        finally:
            if line.written_at != before:
                self._attempts += 1
                for ticket in waiting:
                    ticket.attempts += 1
                    if ticket.wire_ms is None:
                        ticket.wire_ms = (line.written_at - ticket.called_at) * 1000
                        ticket.sent.set_result(ticket.wire_ms)
        return True

    def read_back(self, line: Line, now: float) -> bool:
        """Whether the motor is off and at rest."""
        torque = line.read(self.servo_id, TORQUE_ENABLE, TORQUE_LENGTH).data[0]
        motion = line.read(self.servo_id, MOVING, MOVING_LENGTH).data
        velocity = int.from_bytes(motion[VELOCITY_OFFSET:], "little", signed=True)
        if torque == 0 and velocity == 0:
            return True
        if torque == 0:
            self.failed(f"torque is off, the motor still turns at {velocity * 0.229:.1f} rpm", now)
            self.due_at, self._delay_s = now + FIRST_DELAY_S, FIRST_DELAY_S
        else:
            self.failed(f"Torque Enable (64) of servo {self.servo_id} reads {torque} after torque-off", now)
        return False

    def failed(self, problem: str, now: float) -> None:
        """This attempt did not confirm; another follows."""
        self._problem = problem
        for ticket in self._tickets:
            ticket.problem = problem
        self.due_at = now + self._delay_s if self.all_sent() else now
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)

    def worth_telling(self, now: float) -> bool:
        """Whether people should hear of it now: after half a second, then every ten."""
        if now - self._since < TELL_AFTER_S or (self._told_at is not None and now - self._told_at < TELL_EVERY_S):
            return False
        self._told_at = now
        return True

    def all_sent(self) -> bool:
        """Whether each caller's torque-off has been written."""
        return all(ticket.wire_ms is not None for ticket in self._tickets)

    def report(self) -> StopReport:
        """What is known now."""
        return StopReport(False, self._attempts, None, self._problem)

    def resolve(self) -> None:
        """Confirmed: tell every caller."""
        for ticket in self._tickets:
            ticket.problem = None
            ticket.confirmed.set_result(StopReport(True, ticket.attempts, ticket.wire_ms, None))

"""The virtual Dynamixel bus: servos behind a pseudo-terminal that the real `dynamixel_sdk` opens.

Why a pseudo-terminal and not a fake port object: everything that can go wrong between a driver and a serial line stays
in play (exclusive opening, raw mode, lost bytes, hang-up), with the vendor's own code unchanged on the other side.

Why the lock is one for bus and motors: a record of state needs all motors at one moment, and two locks taken in either
order would wait for each other.
"""

from __future__ import annotations

import os
import selectors
import termios
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, Self

from labd.clock import Clock, SystemClock
from labd.resort.registers import BAUD_RATES
from labd.resort.virtual.bus_record import BusRecord
from labd.resort.virtual.frames import FrameReader, InstructionPacket, ParsingError, StatusPacket, decode
from labd.resort.virtual.pty_port import PtyPort
from labd.resort.virtual.transactions import Answer, carry_out, complain_of_checksum
from labd.resort.virtual.virtual_servo import VirtualServo
from labd.resort.virtual.wire_faults import WireFaults

STALE_PACKET_S = 0.1
"""A real servo drops a packet whose bytes pause for 1.5 ms; a process on a busy host may be held up for longer."""
_SHORT_S = 0.002


class VirtualBus:
    """Several servos on one wire, served by one thread that sleeps while nothing happens.

    Args:
        servos: Motors on the bus; each id once.
        clock: Time of the motors; answers on the wire take real time in any case.
        seed: Of the faults; chosen and kept in `seed` where None.
        link: A symbolic link that always points to the present pseudo-terminal.
        record: File of every packet and change, see `bus_record`.
        check_baud: Let servos be deaf to a host that has set another speed than their Baud Rate (8).
    """

    def __init__(
        self,
        servos: list[VirtualServo],
        clock: Clock | None = None,
        seed: int | None = None,
        *,
        link: Path | None = None,
        record: Path | None = None,
        check_baud: bool = False,
    ) -> None:
        ids = [servo.servo_id for servo in servos]
        if len(set(ids)) != len(ids):
            raise ValueError(f"two servos with one id on a virtual bus: {sorted(ids)}; give each its own")
        self.servos = servos
        self.clock: Clock = clock or SystemClock()
        self.seed = seed if seed is not None else int.from_bytes(os.urandom(4), "little")
        self.faults = WireFaults(Random(self.seed))
        self.link = link
        self.check_baud = check_baud
        self.frames_received = 0
        self.frames_sent = 0
        self.lock = threading.RLock()
        self._record = BusRecord(record, self.clock) if record else None
        self._changed = False
        self._reader = FrameReader()
        self._read_at_s = 0.0
        self._waiting: list[tuple[float, Answer, bool]] = []
        self._port: PtyPort | None = None
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._stopping = False
        self._stopped = False
        self._thread: threading.Thread | None = None
        for servo in servos:
            servo.attach(self.clock, self._on_event, self.lock)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def path(self) -> str:
        """The pseudo-terminal that hosts open; empty while unplugged."""
        port = self._port
        return port.path if port else ""

    @property
    def is_plugged(self) -> bool:
        """Whether there is something to open."""
        return self._port is not None

    def start(self) -> str:
        """Begin to serve; gives the path for hosts."""
        with self.lock:
            self.plug()
            self._note("opened", path=self.path, seed=self.seed, servos=[servo.state() for servo in self.servos])
            self._changed = True
            self._thread = threading.Thread(target=self._run, name="virtual-bus", daemon=True)
            self._thread.start()
            return self.path

    def stop(self) -> None:
        """End, remove the link, close everything; a second call does nothing."""
        with self.lock:
            if self._stopped:
                return
            self._stopped = self._stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        with self.lock:
            self.unplug()
            self._note("closed", **self.state())
            if self._record is not None:
                self._record.state(self.state())
                self._record.close()
                self._record = None
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def plug(self) -> str:
        """Put the adapter in: a new pseudo-terminal, and the link onto it; nothing where it is in."""
        with self.lock:
            if self._port is None:
                self._port = PtyPort(self.link)
                self._reader = FrameReader()
                self._selector.register(self._port.master, selectors.EVENT_READ)
                self._note("plugged", path=self._port.path)
                self._wake()
            return self._port.path

    def unplug(self) -> None:
        """Pull the adapter: hosts see a hang-up, the link goes; the motors keep power and go on."""
        with self.lock:
            if self._port is not None:
                self._selector.unregister(self._port.master)
                self._port.close()
                self._port = None
                self._waiting.clear()
                self._note("unplugged")

    def servo(self, servo_id: int) -> VirtualServo:
        """The motor of that id.

        Raises:
            KeyError: None has it; the message lists those there are.
        """
        for servo in self.servos:
            if servo.servo_id == servo_id:
                return servo
        raise KeyError(f"no servo {servo_id} on the virtual bus; there are {[s.servo_id for s in self.servos]}")

    def state(self) -> dict[str, Any]:
        """The facts for checks, now."""
        with self.lock:
            return {
                "path": self.path,
                "plugged": self.is_plugged,
                "seed": self.seed,
                "frames_received": self.frames_received,
                "frames_sent": self.frames_sent,
                "faults": self.faults.state(),
                "servos": [servo.state() for servo in self.servos],
            }

    def advance(self) -> None:
        """Work off what is due by the clock; for a clock that a test moves by hand."""
        with self.lock:
            for servo in self.servos:
                servo.advance()

    # The thread.

    def _run(self) -> None:
        while True:
            ready = self._selector.select(self._wait_s())
            with self.lock:
                if self._stopping:
                    return
                for key, _ in ready:
                    if key.fd == self._wake_read:
                        _drain(self._wake_read)
                    elif self._port is not None and key.fd == self._port.master:
                        self._receive()
                self._send_due()
                moment = min((m for s in self.servos if (m := s.next_event_s()) is not None), default=None)
                if moment is not None and moment <= self.clock.monotonic():
                    self.advance()
                if self._changed and self._record is not None:
                    self._changed = False
                    self._record.state(self.state())

    def _wait_s(self) -> float | None:
        """Seconds until something is due; None to sleep until somebody speaks."""
        with self.lock:
            waits = [due - time.monotonic() for due, _, _ in self._waiting]
            now = self.clock.monotonic()
            waits += [moment - now for servo in self.servos if (moment := servo.next_event_s()) is not None]
            return max(0.0, min(waits)) if waits else None

    def _wake(self) -> None:
        """Make the thread look again; a full pipe has woken it already."""
        try:
            os.write(self._wake_write, b"\x00")
        except BlockingIOError:
            pass

    def _on_event(self, servo: VirtualServo, event: str, facts: dict[str, Any]) -> None:
        """A servo has changed; the lock is held."""
        self._changed = True
        if self._record is not None:
            self._record.event(servo, event, facts)
        if threading.current_thread() is not self._thread and not self._stopped:
            self._wake()

    def _note(self, kind: str, **facts: Any) -> None:
        self._changed = True
        if self._record is not None:
            self._record.line(kind, **facts)

    def _receive(self) -> None:
        """Take bytes from the host and carry the packets out."""
        data = self._port.read() if self._port else b""
        if not data:
            return
        now, real = self.clock.monotonic(), time.monotonic()
        if self._reader.is_inside_packet and real - self._read_at_s > STALE_PACKET_S:
            self._reader.abandon()
        self._read_at_s = real
        for frame in self._reader.feed(data):
            self._take(frame, now)
            self._send_due()

    def _take(self, frame: bytes, now: float) -> None:
        """One packet from the host."""
        self.frames_received += 1
        unheard = self.faults.strikes("unheard")
        facts: dict[str, Any] = {"fault": "unheard"} if unheard else {}
        try:
            packet = decode(frame)
        except ParsingError as error:
            self._frame("rx", frame, None, now, problem=str(error), **facts)
            if not unheard and error.expected_crc is not None:
                self._queue(complain_of_checksum(frame[4], self._listening()))
            return
        self._frame("rx", frame, packet, now, **facts)
        if unheard or not isinstance(packet, InstructionPacket):
            return
        listening = self._listening()
        for servo in listening:
            # First what happened before this packet (a watchdog may have expired), then the packet feeds it.
            servo.advance()
            servo.feed_watchdog(now)
        self._queue(carry_out(packet, listening))

    def _listening(self) -> list[VirtualServo]:
        """The servos that understand the speed the host has set."""
        if not self.check_baud:
            return self.servos
        speed = self._port.speed if self._port else 0
        return [s for s in self.servos if getattr(termios, f"B{BAUD_RATES[s.table['baud_rate']]}", None) == speed]

    def _queue(self, answers: list[Answer]) -> None:
        """Answers after their return delay, and what faults make of them."""
        due = time.monotonic()
        for answer in answers:
            due += answer.delay_s
            if self.faults.strikes("lost"):
                self._frame("tx", answer.data, None, self.clock.monotonic(), servo=answer.servo_id, fault="lost")
                continue
            late = self.faults.strikes("late")
            self._waiting.append((due + self.faults.late_s if late else due, answer, late))
        self._waiting.sort(key=lambda waiting: waiting[0])

    def _send_due(self) -> None:
        """Send what is due, or will be in a moment too short for the selector's milliseconds."""
        while self._waiting and self._waiting[0][0] - time.monotonic() <= _SHORT_S:
            due, answer, late = self._waiting.pop(0)
            time.sleep(max(0.0, due - time.monotonic()))
            self._send(answer, late)

    def _send(self, answer: Answer, late: bool) -> None:
        facts: dict[str, Any] = {"fault": "late"} if late else {}
        data = answer.data
        if self.faults.strikes("corrupt"):
            data, facts = self.faults.damage(data), {"fault": "corrupt"}
        copies = 1
        if self.faults.strikes("duplicated"):
            copies, facts = 2, {"fault": "duplicated"}
        for _ in range(copies):
            problem = self._port.write(data) if self._port else "unplugged"
            if problem:
                facts = {"problem": problem}
            self.frames_sent += 1
            self._frame("tx", data, StatusPacket(answer.servo_id, answer.error), self.clock.monotonic(), **facts)

    def _frame(self, direction: str, data: bytes, packet: Any, now: float, **facts: Any) -> None:
        if self._record is not None:
            if direction == "tx" and "fault" not in facts:
                packet = _status_of(data) or packet
            self._record.frame(direction, data, packet, self.servos, now, **facts)


def _status_of(data: bytes) -> StatusPacket | None:
    """The answer as a packet; None for a fast one, which has a layout of its own."""
    try:
        packet = decode(data)
    except ParsingError:
        return None
    return packet if isinstance(packet, StatusPacket) else None


def _drain(file: int) -> None:
    """Empty the wake-up pipe."""
    try:
        while os.read(file, 512):
            pass
    except BlockingIOError:
        pass

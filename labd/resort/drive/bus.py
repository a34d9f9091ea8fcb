"""A Dynamixel line through the real dynamixel_sdk: opened exclusively, every call checked, every error named.

The only module that imports dynamixel_sdk and pyserial, when the first port is opened. One transaction and one try per
call; tries, order and stops are in `lanes.py`.

Why a port of our own under the SDK's packet handler: the SDK's port spins through its waits at full load and times them
by the wall clock, which may step. `_port_class` waits in poll(2) under the monotonic clock and keeps the bytes it got,
so that a reply can be told from a stale one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
from collections.abc import Callable
from typing import Any, TypeVar

from labd.errors import DeviceBusy, DeviceCorrupt, DeviceError, DeviceFault, DeviceLost, DeviceTimeout, GoalRefused
from labd.resort.drive.exchange import Reply
from labd.resort.registers import ALERT_BIT, StatusError, status_error_words

T = TypeVar("T")
HEADER = b"\xff\xff\xfd"
STATUS_HEAD = 9  # header, reserved, id, length, instruction, error
RX_TIMEOUT, RX_CORRUPT, TX_FAIL = -3001, -3002, -1001
WRITE_TIMEOUT_S = 0.2
LONGEST_QUIET_S = 0.1


class DynamixelLine:
    """One serial port with Dynamixel servos (Protocol 2.0) on it; used by one thread.

    Args:
        path: The port, or a link to it; looked up anew at each `open`.
        baud_rate: Bits per second, one that the SDK knows.
        reply_timeout_s: Wait for a status packet, on top of the time its bytes need on the line.
        monotonic: Seconds.
    """

    def __init__(self, path: str, baud_rate: int, reply_timeout_s: float, monotonic: Callable[[], float]) -> None:
        self.name = path
        self.written_at = 0.0
        self.quiet_s = min(reply_timeout_s, LONGEST_QUIET_S)
        self._baud_rate = baud_rate
        self._reply_timeout_s = reply_timeout_s
        self._monotonic = monotonic
        self._port: Any = None
        self._packets: Any = None

    @property
    def is_open(self) -> bool:
        """The port is open as far as is known."""
        return self._port is not None

    def fileno(self) -> int | None:
        """File descriptor of the port, for seeing it hang up."""
        return None if self._port is None else int(self._port.ser.fd)

    def open(self) -> None:
        """Open the port for this process alone.

        Raises:
            DeviceLost: No such port, or it went away at once.
            DeviceBusy: Another process has it.
            DeviceError: No permission, or a baud rate the SDK cannot set.
        """
        from dynamixel_sdk import PacketHandler

        port = _port_class()(self.name, self._reply_timeout_s, self._monotonic)
        try:
            if not port.setBaudRate(self._baud_rate):
                raise DeviceError(
                    f"{self.name}: dynamixel_sdk cannot set {self._baud_rate} baud; set `baud_rate` to 57600, 115200, "
                    "1000000 or another rate of the servo's table",
                    port=self.name,
                )
            _claim(port.ser.fd)
        except (OSError, termios.error, ValueError) as fault:
            if port.ser is not None:
                port.ser.close()
            raise self._open_error(fault) from fault
        self._port, self._packets = port, PacketHandler(2.0)

    def close(self) -> None:
        """Close; a second call does nothing."""
        port, self._port = self._port, None
        if port is not None:
            port.is_using = False
            try:
                port.closePort()
            except (OSError, termios.error):
                pass  # the adapter is gone; the descriptor is closed all the same

    def drain(self, wait_s: float) -> bool:
        """Read away what arrives within `wait_s`; whether there was anything."""
        if self._port is None:
            return False
        try:
            return bool(self._port.drain(wait_s))
        except (OSError, termios.error):
            return False  # the next transaction reports it

    def ping(self, servo_id: int) -> int:
        """Model number of the servo."""
        model, result, error = self._call(servo_id, "ping", lambda port: self._packets.ping(port, servo_id))
        self._check(servo_id, "ping", result, error)
        self._data(servo_id, "ping", 3)
        return int(model)

    def read(self, servo_id: int, address: int, length: int) -> Reply:
        """`length` bytes of the control table."""
        what = f"read of register {address}"
        _, result, error = self._call(
            servo_id, what, lambda port: self._packets.readTxRx(port, servo_id, address, length)
        )
        self._check(servo_id, what, result, error, address)
        return Reply(self._data(servo_id, what, length), bool(error & ALERT_BIT))

    def write(self, servo_id: int, address: int, data: bytes, *, answered: bool = True) -> Reply:
        """Bytes into the control table.

        Raises:
            GoalRefused: The bytes hold FF FF FD: the SDK computes the stuffed form and sends the other one
                (dynamixel_sdk 4.1.0, `addStuffing` builds a new list that `txPacket` ignores), which may leave a
                servo waiting for more bytes.
        """
        what = f"write of register {address}"
        if HEADER in address.to_bytes(2, "little") + data:
            raise GoalRefused(
                f"servo {servo_id} on {self.name}: {what} with {data.hex(' ')} holds FF FF FD, which dynamixel_sdk "
                "cannot send safely; use a value one step beside it",
                servo_id=servo_id,
                port=self.name,
                register=address,
            )
        values = list(data)
        if not answered:
            result = self._call(
                servo_id, what, lambda port: self._packets.writeTxOnly(port, servo_id, address, len(values), values)
            )
            self._check(servo_id, what, result, 0, address)
            return Reply(b"", False)
        result, error = self._call(
            servo_id, what, lambda port: self._packets.writeTxRx(port, servo_id, address, len(values), values)
        )
        self._check(servo_id, what, result, error, address)
        self._data(servo_id, what, 0)
        return Reply(b"", bool(error & ALERT_BIT))

    def _call(self, servo_id: int, what: str, transaction: Callable[[Any], T]) -> T:
        port = self._port
        if port is None:
            raise DeviceLost(f"{self.name}: the port is not open", port=self.name)
        try:
            return transaction(port)
        except (OSError, termios.error) as fault:
            # An exception between sending and receiving leaves `is_using` set and every later call refused.
            self.close()
            raise DeviceLost(
                f"servo {servo_id} on {self.name}: {what}: the port failed ({fault}); labd reopens it when it is back",
                servo_id=servo_id,
                port=self.name,
            ) from fault
        except (ValueError, IndexError, TypeError, UnboundLocalError) as fault:
            raise DeviceCorrupt(
                f"servo {servo_id} on {self.name}: {what}: bytes that dynamixel_sdk cannot parse ({fault})",
                servo_id=servo_id,
                port=self.name,
            ) from fault
        finally:
            port.is_using = False
            self.written_at = port.written_at

    def _check(self, servo_id: int, what: str, result: int, error: int, address: int | None = None) -> None:
        subject = f"servo {servo_id} on {self.name}: {what}"
        facts: dict[str, Any] = {"servo_id": servo_id, "port": self.name}
        if address is not None:
            facts["register"] = address
        if result == RX_TIMEOUT:
            raise DeviceTimeout(f"{subject}: no status packet within {self._reply_timeout_s:g} s", **facts)
        if result == RX_CORRUPT:
            raise DeviceCorrupt(f"{subject}: damaged status packet ({self._port.received[-48:].hex(' ')})", **facts)
        if result == TX_FAIL:
            self.close()
            raise DeviceLost(f"{subject}: the port took only part of the packet", **facts)
        if result != 0:
            raise DeviceError(f"{subject}: dynamixel_sdk reports {self._packets.getTxRxResult(result)}", **facts)
        number = error & ~ALERT_BIT
        if number == StatusError.CRC_ERROR:
            raise DeviceCorrupt(f"{subject}: {status_error_words(error)}", **facts)
        if number:  # looked at before the data: such a packet carries none, and the SDK hands out its CRC instead
            raise DeviceFault(
                f"{subject}: {status_error_words(error)} (status error {number})", status_error=number, **facts
            )

    def _data(self, servo_id: int, what: str, length: int) -> bytes:
        """The parameters of the status packet, unpacked from its bytes.

        Why again, after the SDK did it: its unpacking loses a byte in rare payloads, and takes any packet of the right
        id for the answer, such as the late acknowledgement of a write for the value of a read.
        """
        frame = bytes(self._port.received)
        start = frame.rfind(HEADER + b"\x00" + bytes([servo_id]))
        stated = int.from_bytes(frame[start + 5 : start + 7], "little") if start >= 0 else 0
        data = frame[start + STATUS_HEAD : start + 7 + stated - 2].replace(HEADER + b"\xfd", HEADER)
        if start < 0 or len(data) != length:
            raise DeviceCorrupt(
                f"servo {servo_id} on {self.name}: {what}: {len(data)} bytes of answer where {length} were asked for",
                servo_id=servo_id,
                port=self.name,
            )
        return data

    def _open_error(self, fault: Exception) -> DeviceError | DeviceBusy:
        code = getattr(fault, "errno", None) or (fault.args[0] if fault.args else None)
        facts = {"port": self.name, "errno": code}
        if code == errno.ENOENT:
            return DeviceLost(
                f"{self.name}: no such port; plug the adapter in, or correct `device` (see /dev/serial/by-id)", **facts
            )
        if code in (errno.EAGAIN, errno.EBUSY):
            return DeviceBusy(f"{self.name}: another process has the port; `fuser {self.name}` names it", **facts)
        if code == errno.EACCES:
            return DeviceError(
                f"{self.name}: no permission to open the port; add the user of labd to the group dialout",
                **facts,
            )
        if code == errno.EPERM:
            return DeviceError(
                f"{self.name}: opening is forbidden although file permissions allow it; check the sandbox of the "
                "service (DeviceAllow= in labd.service)",
                **facts,
            )
        return DeviceLost(f"{self.name}: the port does not open ({fault}); check the adapter", **facts)


def _claim(fd: int) -> None:
    """Keep other programs out, also those that take no lock.

    Not on a pseudo-terminal: there the flag outlives a killed daemon, because the simulator holds the terminal open.
    """
    if not os.ttyname(fd).startswith("/dev/pts/"):
        fcntl.ioctl(fd, termios.TIOCEXCL)


def _port_class() -> Any:
    """The SDK's port with poll(2), the monotonic clock and a lock; made when first needed."""
    import serial
    from dynamixel_sdk import PortHandler

    class LockedPort(PortHandler):  # type: ignore[misc]
        def __init__(self, path: str, reply_timeout_s: float, monotonic: Callable[[], float]) -> None:
            super().__init__(path)
            self.received = bytearray()
            self.written_at = 0.0
            self._reply_timeout_ms = reply_timeout_s * 1000
            self._monotonic = monotonic

        def setupPort(self, cflag_baud: int) -> bool:  # noqa: N802
            self.ser = serial.Serial(
                self.port_name, self.baudrate, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True
            )
            self.is_open = True
            self.ser.reset_input_buffer()
            self.tx_time_per_byte = 10_000.0 / self.baudrate
            return True

        def getCurrentTime(self) -> float:  # noqa: N802
            return self._monotonic() * 1000

        def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
            self.setPacketTimeoutMillis(self.tx_time_per_byte * packet_length + self._reply_timeout_ms)

        def clearPort(self) -> None:  # noqa: N802
            self.received.clear()
            super().clearPort()

        def writePort(self, packet: list[int]) -> int:  # noqa: N802
            written = int(super().writePort(packet))
            self.written_at = self._monotonic()
            return written

        def readPort(self, length: int) -> bytes:  # noqa: N802
            left_ms = self.packet_timeout - self.getTimeSinceStart()
            if length > 0 and left_ms > 0:
                self._readable(left_ms)
            data = bytes(super().readPort(length))
            self.received += data
            return data

        def drain(self, wait_s: float) -> bytes:
            return bytes(self.ser.read(1024)) if self._readable(wait_s * 1000) else b""

        def _readable(self, timeout_ms: float) -> bool:
            poller = select.poll()
            poller.register(self.ser.fd, select.POLLIN)
            return bool(poller.poll(timeout_ms))

    return LockedPort

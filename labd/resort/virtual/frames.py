"""Packets of Dynamixel Protocol 2.0 as frozen values, and the reader that finds them in a stream of bytes.

Why the reader never looks for a header inside a packet: dynamixel_sdk 4.1.0 sends a payload that holds FF FF FD without
the extra FD (its `addStuffing` fills a list that `txPacket` then ignores). Taking `length` bytes at once reads such a
packet as it was meant; searching for headers would cut it in two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from labd.resort.registers import ALERT_BIT, BROADCAST_ID, Instruction

HEADER = b"\xff\xff\xfd\x00"
_STUFFED = b"\xff\xff\xfd\xfd"
_TO_STUFF = b"\xff\xff\xfd"
_PREFIX_BYTES = 7
_MAXIMUM_LENGTH = 1024


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes, crc: int = 0) -> int:
    """CRC-16/BUYPASS: polynomial 0x8005, start 0, no reflection, no final exclusive or.

    Args:
        crc: Result for the bytes before, to go on from.
    """
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC_TABLE[(crc >> 8) ^ byte]
    return crc


def stuff(payload: bytes) -> bytes:
    """Put one FD behind every FF FF FD of instruction and parameters."""
    return payload.replace(_TO_STUFF, _STUFFED)


def unstuff(payload: bytes) -> bytes:
    """Take the extra FD out again; a payload that was never stuffed passes unchanged."""
    return payload.replace(_STUFFED, _TO_STUFF)


class ParsingError(ValueError):
    """Bytes that are no packet.

    Attributes:
        data: The bytes.
        expected_crc: What the bytes add up to; None where it did not come to that.
        received_crc: What the packet says.
    """

    def __init__(
        self, problem: str, data: bytes, expected_crc: int | None = None, received_crc: int | None = None
    ) -> None:
        super().__init__(f"{problem}: {data.hex(' ')}")
        self.data = data
        self.expected_crc = expected_crc
        self.received_crc = received_crc


def _pack(servo_id: int, payload: bytes) -> bytes:
    """Header, length and checksum around an already stuffed payload."""
    body = HEADER + bytes((servo_id,)) + (len(payload) + 2).to_bytes(2, "little") + payload
    return body + crc16(body).to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class InstructionPacket:
    """What the host says to one servo, or to all with id 254."""

    servo_id: int
    instruction: int
    params: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the wire, stuffed."""
        return _pack(self.servo_id, stuff(bytes((self.instruction,)) + self.params))

    @property
    def name(self) -> str:
        """The instruction in words."""
        try:
            return Instruction(self.instruction).name.lower()
        except ValueError:
            return f"unknown_0x{self.instruction:02x}"

    @property
    def broadcast(self) -> bool:
        """Whether it is for every servo."""
        return self.servo_id == BROADCAST_ID


@dataclass(frozen=True, slots=True)
class StatusPacket:
    """What a servo answers.

    Args:
        error: Bit 7 tells of a latched hardware error; bits 0 to 6 are the number of this instruction's error.
    """

    servo_id: int
    error: int = 0
    params: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the wire, stuffed."""
        return _pack(self.servo_id, stuff(bytes((Instruction.STATUS, self.error)) + self.params))

    @property
    def alert(self) -> bool:
        """Whether a hardware error is latched."""
        return bool(self.error & ALERT_BIT)

    @property
    def error_number(self) -> int:
        """What went wrong with this instruction; 0 is nothing."""
        return self.error & ~ALERT_BIT


Packet = InstructionPacket | StatusPacket


def decode(data: bytes) -> Packet:
    """Read exactly one packet.

    Raises:
        ParsingError: Too short, no header, another length than it says, or a wrong checksum (then with both sums).
    """
    if len(data) < _PREFIX_BYTES + 3:
        raise ParsingError(f"a packet has at least {_PREFIX_BYTES + 3} bytes, got {len(data)}", data)
    if not data.startswith(HEADER):
        raise ParsingError("a packet begins with ff ff fd 00", data)
    length = int.from_bytes(data[5:7], "little")
    if len(data) != _PREFIX_BYTES + length:
        raise ParsingError(f"the length field says {_PREFIX_BYTES + length} bytes in all, got {len(data)}", data)
    expected, received = crc16(data[:-2]), int.from_bytes(data[-2:], "little")
    if expected != received:
        raise ParsingError(f"checksum 0x{received:04x} received, 0x{expected:04x} expected", data, expected, received)
    payload = unstuff(data[_PREFIX_BYTES:-2])
    if payload[0] != Instruction.STATUS:
        return InstructionPacket(data[4], payload[0], payload[1:])
    if len(payload) < 2:
        raise ParsingError("a status packet has an error byte", data)
    return StatusPacket(data[4], payload[1], payload[2:])


def encode_fast_status(parts: list[StatusPacket]) -> bytes:
    """The one answer of several servos to Fast Sync Read or Fast Bulk Read.

    Each servo's checksum runs over everything before it, earlier checksums included; nothing is stuffed.
    Source: ROBOTIS e-Manual, Protocol 2.0, "Fast Sync Read", recomputed from its example.
    """
    length = 1 + sum(len(part.params) + 4 for part in parts)
    data = HEADER + bytes((BROADCAST_ID,)) + length.to_bytes(2, "little") + bytes((Instruction.STATUS,))
    crc = crc16(data)
    for part in parts:
        segment = bytes((part.error, part.servo_id)) + part.params
        crc = crc16(segment, crc)
        checksum = crc.to_bytes(2, "little")
        crc = crc16(checksum, crc)
        data += segment + checksum
    return data


@dataclass(slots=True)
class FrameReader:
    """Cuts a stream into packets by their own length; bytes before a header are dropped and counted."""

    dropped_bytes: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes in, give the packets that are complete now, checksums not yet looked at."""
        self._buffer += data
        frames: list[bytes] = []
        while True:
            self._skip_to_header()
            if len(self._buffer) < _PREFIX_BYTES:
                return frames
            length = int.from_bytes(self._buffer[5:7], "little")
            if not 3 <= length <= _MAXIMUM_LENGTH:
                self._drop(1)
                continue
            if len(self._buffer) < _PREFIX_BYTES + length:
                return frames
            frames.append(bytes(self._buffer[: _PREFIX_BYTES + length]))
            del self._buffer[: _PREFIX_BYTES + length]

    def abandon(self) -> int:
        """Drop an unfinished packet, as a servo does when the bytes stop coming; gives how many bytes it had."""
        waiting = len(self._buffer)
        self._drop(waiting)
        return waiting

    @property
    def is_inside_packet(self) -> bool:
        """Whether a packet has begun and not ended."""
        return bool(self._buffer)

    def _skip_to_header(self) -> None:
        """Drop what cannot be the beginning of a packet."""
        at = self._buffer.find(HEADER)
        if at >= 0:
            self._drop(at)
            return
        for kept in range(min(len(HEADER) - 1, len(self._buffer)), 0, -1):
            if self._buffer.endswith(HEADER[:kept]):
                self._drop(len(self._buffer) - kept)
                return
        self._drop(len(self._buffer))

    def _drop(self, count: int) -> None:
        self.dropped_bytes += count
        del self._buffer[:count]

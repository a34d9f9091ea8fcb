"""What the servos of one virtual bus do on an instruction packet, and what they answer, in order.

Source: ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0". Why answers are values with a delay and not writes: the bus decides
afterwards which of them are lost, late or damaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labd.resort.registers import (
    ALERT_BIT,
    BROADCAST_ID,
    RETURN_DELAY_UNIT_S,
    Instruction,
    StatusError,
)
from labd.resort.virtual.control_table import Refusal
from labd.resort.virtual.frames import InstructionPacket, StatusPacket, encode_fast_status
from labd.resort.virtual.virtual_servo import VirtualServo

FACTORY_RESET_REFUSES_BROADCAST_SINCE_FIRMWARE = 42
CLEAR_MULTI_TURN = bytes.fromhex("01 44 58 4c 22")
BACKUP_STORE = bytes.fromhex("01 43 54 52 4c")
BACKUP_RESTORE = bytes.fromhex("02 43 54 52 4c")
_READS = frozenset({Instruction.READ, Instruction.SYNC_READ, Instruction.BULK_READ})


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that a servo sends, after its return delay."""

    servo_id: int
    data: bytes
    delay_s: float
    error: int = 0


def carry_out(packet: InstructionPacket, servos: Sequence[VirtualServo]) -> list[Answer]:
    """Let every servo on the bus do what the packet says."""
    if packet.instruction in (Instruction.SYNC_READ, Instruction.BULK_READ):
        return _read_in_order(packet, servos)
    if packet.instruction in (Instruction.FAST_SYNC_READ, Instruction.FAST_BULK_READ):
        return _fast_read(packet, servos)
    if packet.instruction in (Instruction.SYNC_WRITE, Instruction.BULK_WRITE):
        _write_many(packet, servos)
        return []
    if packet.broadcast:
        answers = [_answer(servo, packet) for servo in sorted(servos, key=lambda servo: servo.servo_id)]
        return [answer for answer in answers if answer and packet.instruction == Instruction.PING]
    found = []
    for servo in servos:
        if servo.servo_id == packet.servo_id:
            found.append(_answer(servo, packet))
        elif servo.table["secondary_id"] == packet.servo_id:
            _answer(servo, packet)
    return [answer for answer in found if answer]


def complain_of_checksum(servo_id: int, servos: Sequence[VirtualServo]) -> list[Answer]:
    """The CRC Error of the servo that a damaged packet was for."""
    if servo_id == BROADCAST_ID:
        return []
    return [
        _status(servo, StatusError.CRC_ERROR)
        for servo in servos
        if servo.servo_id == servo_id and servo.table["status_return_level"] == 2
    ]


def _status(servo: VirtualServo, error: int, params: bytes = b"", servo_id: int | None = None) -> Answer:
    """A status packet with the alert bit as it is now."""
    error |= ALERT_BIT if servo.table["hardware_error_status"] else 0
    at = servo.servo_id if servo_id is None else servo_id
    delay_s = servo.table["return_delay_time"] * RETURN_DELAY_UNIT_S
    return Answer(at, StatusPacket(at, error, params).encode(), delay_s, error)


def _answer(servo: VirtualServo, packet: InstructionPacket) -> Answer | None:
    """One servo's part of a packet that is for it; None where its Status Return Level says to be quiet."""
    servo_id = servo.servo_id
    level = servo.table["status_return_level"]
    try:
        params = _do(servo, packet)
        error = int(StatusError.NONE)
    except Refusal as refusal:
        params, error = b"", int(refusal.error)
    needed = 0 if packet.instruction == Instruction.PING else 1 if packet.instruction in _READS else 2
    # A write to the id is answered under the old one, so the id is the one from before.
    return _status(servo, error, params, servo_id) if level >= needed else None


def _do(servo: VirtualServo, packet: InstructionPacket) -> bytes:
    """The instruction itself.

    Raises:
        Refusal: With the error number of the answer.
    """
    params = packet.params
    match packet.instruction:
        case Instruction.PING:
            servo.advance()
            return servo.model.number.to_bytes(2, "little") + bytes((servo.firmware,))
        case Instruction.READ if not packet.broadcast:
            if len(params) != 4:
                raise Refusal(StatusError.DATA_LENGTH_ERROR)
            return servo.read(*_two_words(params))
        case Instruction.WRITE:
            servo.write(_word(params), params[2:])
        case Instruction.REG_WRITE:
            servo.register_write(_word(params), params[2:])
        case Instruction.ACTION:
            if not servo.act():
                raise Refusal(StatusError.INSTRUCTION_ERROR)
        case Instruction.FACTORY_RESET:
            option = params[0] if params else 0
            keeps_nothing = packet.broadcast and option == 0xFF
            if keeps_nothing and servo.firmware >= FACTORY_RESET_REFUSES_BROADCAST_SINCE_FIRMWARE:
                raise Refusal(StatusError.RESULT_FAIL)
            _succeed(servo.factory_reset(option), StatusError.DATA_RANGE_ERROR)
        case Instruction.REBOOT:
            servo.reboot()
        case Instruction.CLEAR:
            _succeed(params == CLEAR_MULTI_TURN, StatusError.DATA_RANGE_ERROR)
            _succeed(servo.clear_multi_turn(), StatusError.RESULT_FAIL)
        case Instruction.CONTROL_TABLE_BACKUP:
            _succeed(servo.has_newest_features, StatusError.INSTRUCTION_ERROR)
            _succeed(params in (BACKUP_STORE, BACKUP_RESTORE), StatusError.DATA_RANGE_ERROR)
            _succeed(servo.backup(restore=params == BACKUP_RESTORE), StatusError.RESULT_FAIL)
        case _:
            raise Refusal(StatusError.INSTRUCTION_ERROR)
    return b""


def _succeed(done: bool, otherwise: StatusError) -> None:
    if not done:
        raise Refusal(otherwise)


def _word(params: bytes) -> int:
    if len(params) < 2:
        raise Refusal(StatusError.DATA_LENGTH_ERROR)
    return int.from_bytes(params[:2], "little")


def _two_words(params: bytes) -> tuple[int, int]:
    return int.from_bytes(params[:2], "little"), int.from_bytes(params[2:4], "little")


def _wanted(packet: InstructionPacket) -> Iterator[tuple[int, int, int]]:
    """Id, address and length of each read that a sync or bulk packet asks for."""
    params = packet.params
    if packet.instruction in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
        address, length = _two_words(params)
        yield from ((servo_id, address, length) for servo_id in params[4:])
        return
    for at in range(0, len(params) - 4, 5):
        yield (params[at], *_two_words(params[at + 1 : at + 5]))


def _read_in_order(packet: InstructionPacket, servos: Sequence[VirtualServo]) -> list[Answer]:
    """One status each; every servo waits for the one before it, so behind a missing one nobody speaks."""
    by_id = {servo.servo_id: servo for servo in servos}
    answers = []
    for servo_id, address, length in _wanted(packet):
        servo = by_id.get(servo_id)
        if servo is None or servo.table["status_return_level"] < 1:
            break
        try:
            answers.append(_status(servo, 0, servo.read(address, length)))
        except Refusal as refusal:
            answers.append(_status(servo, refusal.error))
    return answers


def _fast_read(packet: InstructionPacket, servos: Sequence[VirtualServo]) -> list[Answer]:
    """One packet of all; none if one of them is missing or too old for it."""
    by_id = {servo.servo_id: servo for servo in servos}
    parts, delay_s = [], 0.0
    for servo_id, address, length in _wanted(packet):
        servo = by_id.get(servo_id)
        if servo is None or not servo.has_newest_features:
            return []
        try:
            error, data = 0, servo.read(address, length)
        except Refusal as refusal:
            error, data = int(refusal.error), bytes(length)
        error |= ALERT_BIT if servo.table["hardware_error_status"] else 0
        parts.append(StatusPacket(servo_id, error, data))
        delay_s = max(delay_s, servo.table["return_delay_time"] * RETURN_DELAY_UNIT_S)
    return [Answer(BROADCAST_ID, encode_fast_status(parts), delay_s)] if parts else []


def _write_many(packet: InstructionPacket, servos: Sequence[VirtualServo]) -> None:
    """Sync and bulk write: nobody answers, a refused write is simply not done."""
    by_id = {servo.servo_id: servo for servo in servos}
    for servo_id, address, data in writes_of(packet):
        servo = by_id.get(servo_id)
        if servo is None:
            continue
        try:
            servo.write(address, data)
        except Refusal:
            continue


def writes_of(packet: InstructionPacket) -> Iterator[tuple[int, int, bytes]]:
    """Id, address and bytes of each write in a write, sync write or bulk write packet; none in others."""
    params = packet.params
    if packet.instruction in (Instruction.WRITE, Instruction.REG_WRITE) and len(params) >= 2:
        yield packet.servo_id, int.from_bytes(params[:2], "little"), params[2:]
    elif packet.instruction == Instruction.SYNC_WRITE and len(params) >= 4:
        address, length = _two_words(params)
        for at in range(4, len(params) - length, length + 1):
            yield params[at], address, params[at + 1 : at + 1 + length]
    elif packet.instruction == Instruction.BULK_WRITE:
        at = 0
        while at + 5 <= len(params):
            address, length = _two_words(params[at + 1 : at + 5])
            yield params[at], address, params[at + 5 : at + 5 + length]
            at += 5 + length

"""Packets as the e-Manual prints them, stuffing, checksums, and a reader that survives rubbish."""

from __future__ import annotations

import itertools
import random

import pytest

from labd.resort.registers import Instruction
from labd.resort.virtual.frames import (
    FrameReader,
    InstructionPacket,
    ParsingError,
    StatusPacket,
    crc16,
    decode,
    encode_fast_status,
    stuff,
    unstuff,
)

GOLDEN = [
    ("ff ff fd 00 01 03 00 01 19 4e", InstructionPacket(1, Instruction.PING)),
    ("ff ff fd 00 01 07 00 55 00 06 04 26 65 5d", StatusPacket(1, 0, bytes.fromhex("06 04 26"))),
    ("ff ff fd 00 01 07 00 02 84 00 04 00 1d 15", InstructionPacket(1, Instruction.READ, bytes.fromhex("84000400"))),
    ("ff ff fd 00 01 08 00 55 00 a6 00 00 00 8c c0", StatusPacket(1, 0, (166).to_bytes(4, "little"))),
    (
        "ff ff fd 00 01 09 00 03 74 00 00 02 00 00 ca 89",
        InstructionPacket(1, Instruction.WRITE, bytes.fromhex("740000020000")),
    ),
    ("ff ff fd 00 01 04 00 55 00 a1 0c", StatusPacket(1, 0)),
    ("ff ff fd 00 01 03 00 08 2f 4e", InstructionPacket(1, Instruction.REBOOT)),
    ("ff ff fd 00 01 04 00 06 01 a1 e6", InstructionPacket(1, Instruction.FACTORY_RESET, b"\x01")),
    (
        "ff ff fd 00 01 08 00 10 01 44 58 4c 22 b1 dc",
        InstructionPacket(1, Instruction.CLEAR, bytes.fromhex("0144584c22")),
    ),
]


@pytest.mark.parametrize(("wire", "packet"), GOLDEN, ids=[wire for wire, _ in GOLDEN])
def test_golden_packets_of_the_manual_both_ways(wire, packet) -> None:
    assert packet.encode().hex(" ") == wire
    assert decode(bytes.fromhex(wire)) == packet


def test_crc_check_value_and_going_on_from_a_part() -> None:
    assert crc16(b"123456789") == 0xFEE8
    assert crc16(b"6789", crc16(b"12345")) == 0xFEE8


def test_every_payload_of_the_worst_bytes_survives_stuffing() -> None:
    for length in range(1, 7):
        for letters in itertools.product(b"\xff\xfd\x00", repeat=length):
            payload = bytes(letters)
            assert unstuff(stuff(payload)) == payload
            assert decode(InstructionPacket(1, Instruction.WRITE, payload).encode()).params == payload
            assert decode(StatusPacket(1, 0, payload).encode()).params == payload


def test_an_unstuffed_payload_as_dynamixel_sdk_sends_it_is_taken_as_meant() -> None:
    body = bytes.fromhex("ff ff fd 00 01 09 00 03 74 00 ff ff fd 00")
    wire = body + crc16(body).to_bytes(2, "little")
    assert FrameReader().feed(wire) == [wire]
    assert decode(wire) == InstructionPacket(1, Instruction.WRITE, bytes.fromhex("74 00 ff ff fd 00"))


def test_a_damaged_packet_tells_its_bytes_and_both_checksums() -> None:
    wire = bytes.fromhex("ff ff fd 00 01 07 00 02 84 00 05 00 1d 15")
    with pytest.raises(ParsingError) as caught:
        decode(wire)
    error = caught.value
    assert str(error) == "checksum 0x151d received, 0x931e expected: ff ff fd 00 01 07 00 02 84 00 05 00 1d 15"
    assert (error.data, error.received_crc, error.expected_crc) == (wire, 0x151D, 0x931E)


@pytest.mark.parametrize(
    ("wire", "problem"),
    [
        ("ff ff fd", "a packet has at least 10 bytes, got 3"),
        ("ff ff fe 00 01 03 00 01 19 4e", "a packet begins with ff ff fd 00"),
        ("ff ff fd 00 01 04 00 01 19 4e", "the length field says 11 bytes in all, got 10"),
    ],
)
def test_bytes_that_are_no_packet(wire, problem) -> None:
    with pytest.raises(ParsingError, match=problem) as caught:
        decode(bytes.fromhex(wire))
    assert caught.value.expected_crc is None


def test_a_status_packet_needs_an_error_byte() -> None:
    body = bytes.fromhex("ff ff fd 00 01 03 00 55")
    with pytest.raises(ParsingError, match="a status packet has an error byte"):
        decode(body + crc16(body).to_bytes(2, "little"))


def test_alert_and_error_number_are_apart() -> None:
    packet = StatusPacket(1, 0x87)
    assert packet.alert
    assert packet.error_number == 7


def test_fast_status_checksums_run_over_everything_before() -> None:
    data = encode_fast_status([StatusPacket(3, 0, b"\xa6\x00"), StatusPacket(7, 0x80, b"\x01\x02")])
    assert data[:8] == bytes.fromhex("ff ff fd 00 fe 0d 00 55")
    first, second = data[8:14], data[14:20]
    assert first[:4] == b"\x00\x03\xa6\x00"
    assert int.from_bytes(first[4:], "little") == crc16(data[:12])
    assert second[:4] == b"\x80\x07\x01\x02"
    assert int.from_bytes(second[4:], "little") == crc16(data[:18])
    assert len(data) == 7 + 0x0D


def test_reader_finds_packets_whatever_the_pieces() -> None:
    rng = random.Random(7)
    packets = [InstructionPacket(1, Instruction.WRITE, rng.randbytes(rng.randrange(12))).encode() for _ in range(50)]
    stream = b"".join(packets)
    reader, found = FrameReader(), []
    at = 0
    while at < len(stream):
        size = rng.randrange(1, 9)
        found += reader.feed(stream[at : at + size])
        at += size
    assert found == packets
    assert reader.dropped_bytes == 0
    assert not reader.is_inside_packet


def test_reader_drops_rubbish_and_goes_on() -> None:
    ping = InstructionPacket(1, Instruction.PING).encode()
    reader = FrameReader()
    assert reader.feed(b"\x00\xff\xff\x12" + ping + b"\xff\xff\xfd\x00\x01\xff\xff" + ping) == [ping, ping]
    assert reader.dropped_bytes == 11


def test_reader_gives_an_unfinished_packet_up_on_request() -> None:
    ping = InstructionPacket(1, Instruction.PING).encode()
    reader = FrameReader()
    assert reader.feed(ping[:6]) == []
    assert reader.is_inside_packet
    assert reader.abandon() == 6
    assert reader.feed(ping) == [ping]

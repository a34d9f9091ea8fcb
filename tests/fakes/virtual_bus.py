"""A running virtual bus for tests, a clock that a test moves by hand, and the vendor's driver opened on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dynamixel_sdk import PacketHandler, PortHandler

from labd.clock import Clock
from labd.resort.virtual.simulator import VirtualBus
from labd.resort.virtual.virtual_servo import VirtualServo


class HandClock:
    """Time stands still until a test moves it."""

    def __init__(self, monotonic_s: float = 1000.0, wall_s: float = 1_800_000_000.0) -> None:
        self._monotonic_s, self._wall_s = monotonic_s, wall_s

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._wall_s

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self._monotonic_s

    async def sleep(self, delay_s: float) -> None:
        """Move the time itself on."""
        self.forward(delay_s)
        await asyncio.sleep(0)

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self._monotonic_s += seconds
        self._wall_s += seconds


@contextmanager
def virtual_bus(*servos: VirtualServo, clock: Clock | None = None, seed: int = 1, **more: Any) -> Iterator[VirtualBus]:
    """A bus that is served inside the block; one XL430 with id 1 unless servos are given. The seed is printed."""
    bus = VirtualBus(list(servos) or [VirtualServo(clock=clock)], clock, seed, **more)
    print(f"virtual bus seed {bus.seed}")
    for servo in bus.servos:
        servo.table["return_delay_time"] = 0
    with bus:
        yield bus


class PatientPort(PortHandler):  # type: ignore[misc]
    """The vendor's port, waiting longer for an answer.

    Its 34 ms are right for a wire, and short for two threads of one process on a busy host: 54 ms were seen.
    """

    patience_ms = 150.0

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802 - the vendor's name
        """Wait for a packet of that many bytes."""
        super().setPacketTimeout(packet_length)
        self.packet_timeout += self.patience_ms


class Host:
    """The unmodified dynamixel_sdk on a path, with exceptions in place of codes."""

    def __init__(self, path: str, baud_rate: int = 1_000_000) -> None:
        self.port = PatientPort(path)
        self.port.baudrate = baud_rate
        assert self.port.openPort()
        self.packets = PacketHandler(2.0)

    def read(self, servo_id: int, address: int, size: int, *, signed: bool = False) -> int:
        """A register's value; asserts that all went well."""
        data, result, error = self.packets.readTxRx(self.port, servo_id, address, size)
        assert (result, error & 0x7F) == (0, 0), (result, error)
        assert len(data) == size
        return int.from_bytes(bytes(data), "little", signed=signed)

    def write(self, servo_id: int, address: int, size: int, value: int) -> tuple[int, int]:
        """Result and error byte of a write."""
        data = list(value.to_bytes(size, "little", signed=value < 0))
        result, error = self.packets.writeTxRx(self.port, servo_id, address, size, data)
        return result, error

    def close(self) -> None:
        """Close the port."""
        self.port.closePort()


@contextmanager
def host_on(bus: VirtualBus, baud_rate: int = 1_000_000) -> Iterator[Host]:
    """The vendor's driver, opened on a bus and closed after the block."""
    host = Host(bus.path, baud_rate)
    try:
        yield host
    finally:
        host.close()

"""A line without a port: registers in memory, transactions that a test can hold up, and failures by order."""

from __future__ import annotations

import threading

from labd.errors import DeviceLost, LabdError
from labd.resort.drive.exchange import Reply


class FakeLine:
    """One servo's bytes; keeps a log of every transaction in `log`."""

    name = "/dev/fake"
    quiet_s = 0.01

    def __init__(self) -> None:
        self.registers = bytearray(256)
        self.log: list[tuple[str, int, bytes]] = []
        self.fail_next: list[LabdError] = []
        self.written_at = 0.0
        self.opened = True
        self.moments = 0.0
        self.held = threading.Event()
        self.held.set()
        self.inside = threading.Event()

    def open(self) -> None:
        self.opened = True

    def close(self) -> None:
        self.opened = False

    @property
    def is_open(self) -> bool:
        return self.opened

    def fileno(self) -> int | None:
        return None

    def drain(self, wait_s: float) -> bool:
        return False

    def ping(self, servo_id: int) -> int:
        self._transaction("ping", 0, b"")
        return 1060

    def read(self, servo_id: int, address: int, length: int) -> Reply:
        self._transaction("read", address, b"")
        return Reply(bytes(self.registers[address : address + length]), False)

    def write(self, servo_id: int, address: int, data: bytes, *, answered: bool = True) -> Reply:
        self.moments += 1.0
        self.written_at = self.moments
        self._transaction("write", address, data)
        self.registers[address : address + len(data)] = data
        return Reply(b"", False)

    def _transaction(self, kind: str, address: int, data: bytes) -> None:
        if not self.opened:
            raise DeviceLost(f"{self.name}: the port is not open")
        self.log.append((kind, address, data))
        self.inside.set()
        assert self.held.wait(5.0), "a test held the line up for good"
        if self.fail_next:
            fault = self.fail_next.pop(0)
            if isinstance(fault, DeviceLost):
                self.opened = False
            raise fault

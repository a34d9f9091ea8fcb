"""The virtual bus's own record, so that somebody who trusts nobody can check what happened.

`FILE` holds one JSON object a line: `frame` for every packet in either direction, and one kind for each change of a
servo (`torque`, `goal`, `move_started`, `move_ended`, `watchdog_tripped`, ...). All have `seq`, `mono` (seconds of
CLOCK_MONOTONIC, which all processes of a Linux host share) and `wall`. `FILE.state.json` holds the state as of the
last change. Why unbuffered lines: the record must tell the truth up to the moment of a `kill -9`. A full disk costs
lines and not the bus: `seq` shows the gap, and `missed` in the next line its length.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from labd.clock import Clock
from labd.resort.registers import Instruction, Register
from labd.resort.virtual.frames import InstructionPacket, Packet
from labd.resort.virtual.transactions import writes_of
from labd.resort.virtual.virtual_servo import VirtualServo


class BusRecord:
    """Writes the record. Callers hold the bus's lock.

    Args:
        path: The file of lines; appended to if it is there.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.state_path = path.with_name(path.name + ".state.json")
        self._clock = clock
        self._seq = 0
        self._missed = 0
        self._torn = False
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def line(self, kind: str, mono: float | None = None, **facts: Any) -> None:
        """One line.

        Args:
            mono: Moment of the fact; now unless said.
        """
        self._seq += 1
        now = self._clock.monotonic()
        at = now if mono is None else mono
        head: dict[str, Any] = {
            "seq": self._seq,
            "kind": kind,
            "mono": round(at, 6),
            "wall": round(self._clock.wall() - now + at, 6),
        }
        if self._missed:
            head["missed"] = self._missed
        data = json.dumps({**head, **facts}, separators=(",", ":")).encode() + b"\n"
        if self._torn:
            data = b"\n" + data
        try:
            written = os.write(self._file, data)
        except OSError:
            written = 0
        self._torn = self._torn if not written else written < len(data)
        self._missed = 0 if written == len(data) else self._missed + 1

    def frame(
        self, direction: str, data: bytes, packet: Packet | None, servos: list[VirtualServo], mono: float, **facts: Any
    ) -> None:
        """One packet: `rx` from the host to the servos, `tx` back."""
        self.line("frame", mono, direction=direction, hex=data.hex(), **_facts_of(packet, servos), **facts)

    def event(self, servo: VirtualServo, event: str, facts: dict[str, Any]) -> None:
        """One change of a servo; `at_s` in the facts is the moment where it is not now."""
        rest = {key: value for key, value in facts.items() if key != "at_s"}
        self.line(event, facts.get("at_s"), servo=servo.servo_id, **rest)

    def state(self, state: dict[str, Any]) -> None:
        """The whole state, put in place at a stroke."""
        now = self._clock.monotonic()
        whole = {"seq": self._seq, "mono": now, "wall": self._clock.wall(), **state}
        waiting = self.state_path.with_name(self.state_path.name + ".new")
        try:
            waiting.write_text(json.dumps(whole, indent=1) + "\n")
            waiting.replace(self.state_path)
        except OSError:
            return  # a full disk; the next change tries again

    def close(self) -> None:
        """No more lines."""
        os.close(self._file)


def _facts_of(packet: Packet | None, servos: list[VirtualServo]) -> dict[str, Any]:
    """What a packet says, in names."""
    if packet is None:
        return {}
    if not isinstance(packet, InstructionPacket):
        return {"servo": packet.servo_id, "instruction": "status", "error": packet.error, "data": packet.params.hex()}
    facts: dict[str, Any] = {"servo": packet.servo_id, "instruction": packet.name}
    tables = {servo.servo_id: servo.model.registers for servo in servos}
    if packet.instruction == Instruction.READ and len(packet.params) == 4:
        facts["address"] = int.from_bytes(packet.params[:2], "little")
        facts["length"] = int.from_bytes(packet.params[2:], "little")
        item = _item_at(tables.get(packet.servo_id, {}), facts["address"])
        if item:
            facts["register"] = item.name
    writes = []
    for servo_id, address, data in writes_of(packet):
        known = tables.get(servo_id) or next(iter(tables.values()), {})
        while data:
            item = _item_at(known, address)
            if item is None or len(data) < item.size:
                break
            writes.append({"servo": servo_id, "register": item.name, "value": item.decode(data[: item.size])})
            address, data = address + item.size, data[item.size :]
    if writes:
        facts["writes"] = writes
    return facts


def _item_at(registers: Any, address: int) -> Register | None:
    """The item that begins at an address."""
    return next((item for item in registers.values() if item.address == address), None)

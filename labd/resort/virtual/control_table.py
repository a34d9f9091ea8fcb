"""The memory of a virtual servo: bytes at addresses, and what may be written where.

Why bytes and not a dictionary of values: hosts read across items in one transaction (126 to 146 at a stroke), and what
they get must be laid out exactly as in the motor.
"""

from __future__ import annotations

from labd.resort.registers import EEPROM_END, Model, OperatingMode, Register, StatusError

TABLE_END = 256
LONGEST_READ_BYTES = 1000
"""What fits, with header and checksum, into the 1024 bytes that dynamixel_sdk takes."""
GOAL_REGISTERS = frozenset({"goal_pwm", "goal_current", "goal_velocity", "goal_position"})
GAINS = (
    "velocity_i_gain",
    "velocity_p_gain",
    "position_d_gain",
    "position_i_gain",
    "position_p_gain",
    "feedforward_2nd_gain",
    "feedforward_1st_gain",
)


class Refusal(Exception):
    """A read or write that the servo answers with an error number."""

    def __init__(self, error: StatusError) -> None:
        super().__init__(error.name)
        self.error = error


class ControlTable:
    """The registers of one servo, by name for itself and by address for the bus."""

    def __init__(self, model: Model, firmware: int) -> None:
        self.model = model
        self._at: dict[int, Register] = {
            item.address: item
            for item in model.registers.values()
            if item.name != "bus_watchdog" or model.supports_watchdog(firmware)
        }
        self._defined = {item.address + n for item in self._at.values() for n in range(item.size)}
        self._memory = bytearray(TABLE_END)
        self.reset_eeprom()
        self["firmware_version"] = firmware
        self.reset_ram()

    def __getitem__(self, name: str) -> int:
        """Value of a register of this model."""
        item = self.model.registers[name]
        return item.decode(bytes(self._memory[item.address : item.address + item.size]))

    def __setitem__(self, name: str, value: int) -> None:
        """Set a register from inside the servo, access and limits left aside."""
        item = self.model.registers[name]
        self._memory[item.address : item.address + item.size] = item.encode(value)

    def has(self, name: str) -> bool:
        """Whether this model with this firmware has the register."""
        item = self.model.registers.get(name)
        return item is not None and item.address in self._at

    def reset_eeprom(self, keep: tuple[str, ...] = ()) -> None:
        """Factory values in the EEPROM part, save the registers named and what no reset changes."""
        for item in self.model.registers.values():
            if item.eeprom and item.name not in (*keep, "firmware_version"):
                self[item.name] = item.default

    def reset_ram(self) -> None:
        """Values as after power-on in the RAM part."""
        self._memory[EEPROM_END:] = bytes(TABLE_END - EEPROM_END)
        for item in self.model.registers.values():
            if not item.eeprom:
                self[item.name] = item.default
        self.reset_for_mode()

    def reset_for_mode(self) -> None:
        """What a change of Operating Mode resets. Source: e-Manual, "Operating Mode(11)"."""
        for name in GAINS:
            self[name] = self.model.registers[name].default
        self["profile_acceleration"] = self["profile_velocity"] = self["goal_velocity"] = 0
        self["goal_pwm"] = self["pwm_limit"]
        if self.model.has_current:
            self["goal_current"] = self["current_limit"]

    def ram_values(self) -> dict[str, int]:
        """The writable values of the RAM part, for Control Table Backup; torque is none of them."""
        return {
            item.name: self[item.name]
            for item in self._at.values()
            if not item.eeprom and item.access == "RW" and item.name not in ("torque_enable", "bus_watchdog")
        }

    def read(self, address: int, length: int) -> bytes:
        """Bytes for the bus; gaps between items read as 0.

        Raises:
            Refusal: Access Error where no byte of it belongs to an item, so that a host that asks an XL430 for a
                current is told; Data Length Error where the answer would be no packet.
        """
        if length > LONGEST_READ_BYTES:
            raise Refusal(StatusError.DATA_LENGTH_ERROR)
        if not any(at in self._defined for at in range(address, address + length)):
            raise Refusal(StatusError.ACCESS_ERROR)
        return bytes(self._memory[address : address + length]).ljust(length, b"\x00")

    def writes(self, address: int, data: bytes) -> list[tuple[Register, int]]:
        """What a write means, item by item, all checked before any is carried out.

        Raises:
            Refusal: Access Error (undefined, read-only, EEPROM while torque is on), Data Length Error (cut inside an
                item), Data Range Error, Data Limit Error.
        """
        changes: list[tuple[Register, int]] = []
        if not data:
            raise Refusal(StatusError.DATA_LENGTH_ERROR)
        while data:
            item = self._at.get(address)
            if item is None or item.access == "R" or (item.eeprom and self["torque_enable"]):
                raise Refusal(StatusError.ACCESS_ERROR)
            if len(data) < item.size:
                raise Refusal(StatusError.DATA_LENGTH_ERROR)
            value = item.decode(data[: item.size])
            self._check(item, value)
            changes.append((item, value))
            address, data = address + item.size, data[item.size :]
        return changes

    def _check(self, item: Register, value: int) -> None:
        """Range of the item, then the limits that are configured in other items."""
        if not item.minimum <= value <= item.maximum:
            raise Refusal(StatusError.DATA_RANGE_ERROR)
        if item.name == "operating_mode" and value not in self.model.operating_modes:
            raise Refusal(StatusError.DATA_RANGE_ERROR)
        if item.name in GOAL_REGISTERS and self.has("bus_watchdog") and self["bus_watchdog"] == -1:
            # The documented answer to a goal after a trip is Data Range Error, though the register is "read-only".
            raise Refusal(StatusError.DATA_RANGE_ERROR)
        low, high = self._limits(item)
        if not low <= value <= high:
            raise Refusal(StatusError.DATA_LIMIT_ERROR)

    def _limits(self, item: Register) -> tuple[int, int]:
        """The configured limits of a goal; its own range where nothing is configured."""
        limit_of = {"goal_pwm": "pwm_limit", "goal_current": "current_limit", "goal_velocity": "velocity_limit"}
        if item.name in limit_of:
            limit = self[limit_of[item.name]]
            return -limit, limit
        if item.name == "goal_position" and self["operating_mode"] == OperatingMode.POSITION:
            return self["min_position_limit"], self["max_position_limit"]
        return item.minimum, item.maximum

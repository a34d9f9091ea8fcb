"""One virtual X-series servo as the bus and the world around it see it.

Why the world has a face of its own: a hand on the carousel, a wall, a hot room and a weak supply are what real motors
fail of, and a test or a person at the simulator must be able to bring them about while it runs.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from labd.resort.registers import EXTENDED_POSITION_LIMIT
from labd.resort.virtual.living_servo import LivingServo


class VirtualServo(LivingServo):
    """A motor on the virtual bus. Every public method may be called from any thread.

    Args:
        model_number: As a ping tells it; one of `registers.MODELS`.
        servo_id: 0 to 252.
        firmware: Version; decides on watchdog, fast reads and startup configuration.
        position: Steps at power-on.
        clock: The bus puts its own in.
        on_event: Called with (servo, event, facts) on every change of torque, goal, motion, watchdog and health.
    """

    # What the world may ask and do.

    @property
    def position(self) -> int:
        """Present Position in steps, now."""
        return self.register("present_position")

    @property
    def velocity(self) -> int:
        """Present Velocity in units of 0.229 rpm, now."""
        return self.register("present_velocity")

    @property
    def torque_enabled(self) -> bool:
        """Whether the motor holds, now."""
        return bool(self.register("torque_enable"))

    def register(self, name: str) -> int:
        """Any register, now."""
        with self.lock:
            self.advance()
            return self.table[name]

    def state(self) -> dict[str, Any]:
        """The facts for records and checks, now."""
        with self.lock:
            now = self.advance()
            table = self.table
            return {
                "servo": self.servo_id,
                "model": self.model.name,
                "firmware": self.firmware,
                "position": table["present_position"],
                "shaft": round(self._frame.shaft_of(self.motor.position_at(now))),
                "goal": table["goal_position"],
                "velocity": table["present_velocity"],
                "moving": table["present_velocity"] != 0,
                "move_under_way": self._aim is not None,
                "torque": bool(table["torque_enable"]),
                "operating_mode": table["operating_mode"],
                "hardware_error": table["hardware_error_status"],
                "watchdog": table["bus_watchdog"],
                "temperature_celsius": table["present_temperature"],
                "voltage_v": table["present_input_voltage"] / 10,
                **asdict(self.counts),
            }

    def surround(self, **changes: Any) -> None:
        """Change what acts from outside: `stalled`, `wall`, `load`, `supply_v`, `ambient_celsius`, `overload_s`."""
        with self.lock:
            now = self.advance()
            self.motor.surround(replace(self.motor.surroundings, **changes), now)
            if self._aim is not None or self.motor.torque:
                self._drive(now)
            self.advance()
            self.on_event(self, "surroundings_changed", dict(changes))

    @property
    def stall(self) -> bool:
        """Whether the shaft is held fast; may be set."""
        return self.motor.surroundings.stalled

    @stall.setter
    def stall(self, stalled: bool) -> None:
        self.surround(stalled=stalled)

    def push(self, steps: int) -> bool:
        """Turn the shaft by hand, up to 256 turns; a motor under torque does not give way, then False."""
        if abs(steps) > EXTENDED_POSITION_LIMIT:
            raise ValueError(f"a hand turns it by up to {EXTENDED_POSITION_LIMIT} steps, not {steps}")
        with self.lock:
            now = self.advance()
            if self.motor.torque:
                return False
            self.motor.rest(self.motor.position_at(now) + steps, now)
            self.advance()
            self.on_event(self, "pushed", {"steps": steps, "position": self.table["present_position"]})
            return True

    def warm(self, celsius: float) -> None:
        """Set the temperature, -50 to 250; it goes on from there by load and ambient."""
        if not -50 <= celsius <= 250:
            raise ValueError(f"a winding has -50 to 250 degrees Celsius here, not {celsius}")
        with self.lock:
            now = self.advance()
            self.motor.warmth = replace(self.motor.warmth, at_s=now, celsius=celsius)
            self.advance()
            self.on_event(self, "warmed", {"celsius": celsius})

    def hardware_error(self, bits: int) -> None:
        """Latch hardware errors, as the motor itself does; those in Shutdown (63) take the torque away."""
        if not 0 <= bits <= 0xFF:
            raise ValueError(f"hardware errors are bits of one byte, not {bits}")
        with self.lock:
            self._latch(self.advance(), bits)
            self.advance()

    def trip_watchdog(self) -> None:
        """Trip the Bus Watchdog now, as silence would have; nothing on a firmware that has none."""
        with self.lock:
            now = self.advance()
            if self.table.has("bus_watchdog"):
                self._trip(now)
                self.advance()

    # What the bus may do.

    def feed_watchdog(self, now: float) -> None:
        """An instruction packet was on the bus, for whomever."""
        self._fed_s = now

    def write(self, address: int, data: bytes) -> None:
        """Write registers.

        Raises:
            Refusal: With the error number; nothing was changed.
        """
        with self.lock:
            now = self.advance()
            for item, value in self.table.writes(address, data):
                self._apply(item.name, value, now)
            self.advance()

    def read(self, address: int, length: int) -> bytes:
        """Read registers as of now.

        Raises:
            Refusal: With the error number.
        """
        with self.lock:
            self.advance()
            return self.table.read(address, length)

    def reboot(self) -> None:
        """As after power-on: RAM to its defaults, errors cleared, the turns folded away, torque off."""
        with self.lock:
            now = self.advance()
            self.counts.reboots += 1
            if self.motor.torque:
                self._set_torque(0, now, "reboot")
            self.motor.halt(now)
            self.table.reset_ram()
            self._power_on(now)
            self.on_event(self, "rebooted", {})
            if self.has_newest_features and self.table["startup_configuration"] & 1:
                self._set_torque(1, now, "startup")
            self.advance()

    def factory_reset(self, option: int) -> bool:
        """EEPROM to its defaults, then reboot.

        Args:
            option: 0xFF all, 1 all but the id, 2 all but id and baud rate; anything else is refused with False.
        """
        keep = {0xFF: (), 1: ("id",), 2: ("id", "baud_rate")}.get(option)
        if keep is None:
            return False
        with self.lock:
            self.table.reset_eeprom(keep)
            self.on_event(self, "factory_reset", {"option": option})
            self.reboot()
        return True

    def register_write(self, address: int, data: bytes) -> None:
        """Keep a write for Action.

        Raises:
            Refusal: The write would be refused now.
        """
        with self.lock:
            self.advance()
            self.table.writes(address, data)
            self.registered = (address, data)
            self.table["registered_instruction"] = 1

    def act(self) -> bool:
        """Carry out the registered write; False if there is none.

        Raises:
            Refusal: The write is refused by now.
        """
        with self.lock:
            waiting, self.registered = self.registered, None
            self.table["registered_instruction"] = 0
            if waiting is not None:
                self.write(*waiting)
            return waiting is not None

    def clear_multi_turn(self) -> bool:
        """Fold the turns away; False while it moves."""
        with self.lock:
            now = self.advance()
            if self.motor.velocity_at(now):
                return False
            self._fold(now)
            self.table["goal_position"] = self.table["present_position"]
            return True

    def backup(self, restore: bool) -> bool:
        """Store or restore the RAM part (a restore reboots); False with torque on or with nothing stored."""
        with self.lock:
            self.advance()
            if self.motor.torque or (restore and self._backup is None):
                return False
            if self._backup is not None and restore:
                self.reboot()
                for name, value in self._backup.items():
                    self.table[name] = value
                self.table["goal_position"] = self.table["present_position"]
            else:
                self._backup = self.table.ram_values()
            self.table["backup_ready"] = 1
            return True

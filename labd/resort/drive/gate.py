"""What may not go out on a bus: anything while a supervisor is silent, and whatever could move a stopped motor.

Why a lease: the motor's Bus Watchdog counts every packet on the bus, so status polls would keep a motor going whose
supervisor hangs. While a move is under way nothing but a stop is sent unless the supervisor renewed its lease in time.
"""

from __future__ import annotations

from collections.abc import Callable

from labd.errors import DeviceBusy, StopLatched

TORQUE_ENABLE = 64
MOTION_REGISTERS = range(100, 120)  # goals and profile


class Gate:
    """Leases and memory latches of one bus, by servo id. Asked in the owner thread, set from any."""

    def __init__(self, port: str, monotonic: Callable[[], float]) -> None:
        self.latched: set[int] = set()
        self._port = port
        self._monotonic = monotonic
        self._leases: dict[int, float] = {}

    def renew_lease(self, servo_id: int, lease_s: float) -> None:
        """The supervisor of this motor lives."""
        self._leases[servo_id] = self._monotonic() + lease_s

    def has_lease(self, servo_id: int) -> bool:
        """A move of this motor is under way, its supervisor alive or not."""
        return servo_id in self._leases

    def end_lease(self, servo_id: int) -> None:
        """No move of this motor is under way."""
        self._leases.pop(servo_id, None)

    def clear_leases(self) -> None:
        """The line is gone; every move on it is over."""
        self._leases.clear()

    def refuse_without_lease(self) -> None:
        """Nothing, if no move is under way or all supervisors live.

        Raises:
            DeviceBusy: A lease is over. Also for the other motors of the bus: any packet feeds every watchdog.
        """
        now = self._monotonic()
        for servo_id, until in list(self._leases.items()):
            if now > until:
                raise DeviceBusy(
                    f"servo {servo_id} on {self._port}: the motion supervisor gave no sign of life for "
                    f"{now - until:.2f} s past its lease, so the bus sends nothing but stop and the motor's watchdog "
                    "ends the move; stop or wait",
                    servo_id=servo_id,
                    port=self._port,
                )

    def refuse_if_latched(self, servo_id: int, address: int, data: bytes) -> None:
        """Nothing, if these bytes cannot move a stopped motor.

        Raises:
            StopLatched: Goals, profile or torque on for a motor whose stop is latched.
        """
        if servo_id not in self.latched:
            return
        end = address + len(data)
        torque_on = address <= TORQUE_ENABLE < end and data[TORQUE_ENABLE - address] != 0
        if torque_on or (address < MOTION_REGISTERS.stop and end > MOTION_REGISTERS.start):
            raise StopLatched(
                f"servo {servo_id} on {self._port}: stopped, so register {address} is not written; "
                "find out why, then `labctl resort reset --by NAME --reason TEXT`",
                servo_id=servo_id,
                port=self._port,
            )

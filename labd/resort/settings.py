"""The `[resort]` table of labd.toml: one carousel, or several as `[resort.left]`, `[resort.right]`.

Why the keys of a single table and of an instance are the same: a host that gets a second carousel moves its table one
level down and changes nothing in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from labd.errors import GoalRefused
from labd.resort.angles import Geometry
from labd.resort.drive.drive_settings import DriveSettings
from labd.settings import Problems, read_table

DEFAULT_INSTANCE = "main"
INSTANCE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
OPERATING_MODES = {"extended_position": 4, "position": 3}
BAUD_RATES = (9600, 57600, 115200, 1000000, 2000000, 3000000, 4000000)  # e-Manual, X series, Baud Rate(8)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where readings begin to warn; None takes what the motor itself is set to, or no limit."""

    temperature_celsius: Annotated[float, Meta(gt=0, le=100)] = 65.0
    voltage_low_v: Annotated[float, Meta(gt=0, le=48)] | None = None
    voltage_high_v: Annotated[float, Meta(gt=0, le=48)] | None = None
    current_ma: Annotated[float, Meta(gt=0)] | None = None
    load_percent: Annotated[float, Meta(gt=0, le=100)] | None = None


class SimulatedOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The virtual motor of `driver = "simulated"`."""

    model_number: int = 1060
    position_deg: float = 0.0
    seed: int = 1
    record: str | None = None
    bus: Annotated[str, Meta(min_length=1)] | None = None


class ResortSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One carousel. Degrees are those of the carousel except `offset_deg`, which is where the motor stands at 0."""

    device: Annotated[str, Meta(min_length=1)] = "/dev/ttyUSB0"
    driver: Literal["dynamixel", "simulated"] = "dynamixel"
    baud_rate: int = 57600
    servo_id: Annotated[int, Meta(ge=0, le=252)] = 1
    mode: Literal["extended_position", "position"] = "extended_position"
    hotels: Annotated[tuple[str, ...], Meta(min_length=1)] = ("A", "B", "C", "D")
    hotel_angles: dict[str, float] = {}
    offset_deg: float = 0.0
    direction: Literal[1, -1] = 1
    home_deg: float = 0.0
    tolerance_deg: Annotated[float, Meta(gt=0, le=45)] = 1.0
    speed: Annotated[float, Meta(gt=0, le=460)] = 8.0
    acceleration: Annotated[float, Meta(gt=0, le=10000)] = 20.0
    watchdog_period_s: Annotated[float, Meta(ge=0.1, le=2.54)] = 0.5
    lease_s: Annotated[float, Meta(gt=0)] = 0.3
    move_timeout_s: Annotated[float, Meta(gt=0)] | None = None
    stall_s: Annotated[float, Meta(gt=0)] = 1.0
    auto_connect: bool = True
    hold_torque_at_exit: bool = True
    queue: str = "standard"
    limits: Limits = Limits()
    simulated: SimulatedOptions = SimulatedOptions()

    def __post_init__(self) -> None:
        for problem in _problems_of(self):
            raise ValueError(problem)

    def geometry(self) -> Geometry:
        """Where the hotels stand and how the motor's steps become degrees of the carousel."""
        return Geometry.of(
            self.hotels,
            self.hotel_angles,
            offset_deg=self.offset_deg,
            direction=self.direction,
            tolerance_deg=self.tolerance_deg,
            multi_turn=self.mode == "extended_position",
        )

    def bus(self, name: str) -> str:
        """What this carousel hangs on: its port, or its virtual bus, which is its own (`name`) unless named."""
        if self.driver == "simulated":
            return f"virtual bus {self.simulated.bus}" if self.simulated.bus else f"virtual bus of {name}"
        return self.device

    def drive(self, port: str) -> DriveSettings:
        """What the motor's driver needs to know, on this port."""
        return DriveSettings(
            port=port,
            baud_rate=self.baud_rate,
            servo_id=self.servo_id,
            operating_mode=OPERATING_MODES[self.mode],
            speed_rpm=self.speed,
            acceleration_rpm_per_s=self.acceleration,
            position_tolerance_deg=self.tolerance_deg,
            watchdog_period_s=self.watchdog_period_s,
            lease_s=self.lease_s,
            move_timeout_s=self.move_timeout_s,
            stall_s=self.stall_s,
            temperature_warning_celsius=self.limits.temperature_celsius,
            voltage_low_warning_v=self.limits.voltage_low_v,
            voltage_high_warning_v=self.limits.voltage_high_v,
            current_warning_ma=self.limits.current_ma,
            load_warning_percent=self.limits.load_percent,
            torque_off_at_close=not self.hold_torque_at_exit,
        )


class ResortWingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Every carousel of the host by its name."""

    carousels: dict[str, ResortSettings]


def parse(table: Mapping[str, Any], where: str, problems: Problems) -> ResortWingSettings:
    """The carousels of the `[resort]` table; faults go into `problems`, none are raised.

    Keys beside the tables of several carousels are the defaults of all of them.
    """
    fields = {field.encode_name for field in msgspec.structs.fields(ResortSettings)}
    instances = {name: part for name, part in table.items() if isinstance(part, Mapping) and name not in fields}
    carousels: dict[str, ResortSettings] = {}
    if not instances:
        settings = read_table(ResortSettings, table, where, "resort", problems)
        return ResortWingSettings(carousels={} if settings is None else {DEFAULT_INSTANCE: settings})
    shared = {name: value for name, value in table.items() if name not in instances}
    for name, part in instances.items():
        if not INSTANCE_NAME.fullmatch(name):
            problems.add(
                where, f"resort.{name}", "the name of a carousel is a-z, 0-9, - and _, at most 32, such as left"
            )
            continue
        settings = read_table(ResortSettings, {**shared, **part}, where, f"resort.{name}", problems)
        if settings is not None:
            carousels[name] = settings
    _check_buses(carousels, where, problems)
    return ResortWingSettings(carousels=carousels)


def _check_buses(carousels: Mapping[str, ResortSettings], where: str, problems: Problems) -> None:
    """Carousels on one bus differ in their servo, not in their speed of talking."""
    buses: dict[str, dict[str, ResortSettings]] = {}
    for name, settings in carousels.items():
        neighbours = buses.setdefault(settings.bus(name), {})
        for other, theirs in neighbours.items():
            if theirs.servo_id == settings.servo_id:
                text = f"servo {settings.servo_id} on {settings.bus(name)} is already that of {other}"
                problems.add(where, f"resort.{name}.servo_id", f"{text}; give each motor of a bus its own id")
                break
            if theirs.baud_rate != settings.baud_rate:
                text = f"{settings.baud_rate}, but {other} on the same {settings.bus(name)} has {theirs.baud_rate}"
                problems.add(where, f"resort.{name}.baud_rate", f"{text}; all motors of a bus talk at one rate")
                break
        neighbours[name] = settings


def _problems_of(settings: ResortSettings) -> list[str]:
    """Rules over several keys, the first of which is told."""
    found: list[str] = []
    if settings.baud_rate not in BAUD_RATES:
        known = ", ".join(str(rate) for rate in BAUD_RATES)
        found.append(f"baud_rate {settings.baud_rate} is none that the motor and the driver share: {known}")
    numbers = (settings.offset_deg, settings.home_deg, settings.simulated.position_deg, *settings.hotel_angles.values())
    if not all(math.isfinite(number) for number in numbers):
        found.append("degrees must be finite numbers")
        return found
    if settings.lease_s >= settings.watchdog_period_s:
        text = f"lease_s {settings.lease_s} must be shorter than watchdog_period_s {settings.watchdog_period_s}"
        found.append(f"{text}, or the bus would feed the motor's watchdog for a supervisor that hangs")
    try:
        settings.geometry()
    except GoalRefused as fault:
        found.append(fault.message)
    return found

"""The resort wing at work: every carousel of the host, and the stop that none of them can queue."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog

from labd.clock import Clock, iso
from labd.engine.job import Caller
from labd.engine.registry import StopSpec, TaskSpec
from labd.errors import LabdError, UnknownDevice
from labd.resort.contract import DeviceContract
from labd.resort.device import ResortDevice
from labd.resort.drive.carousel import bus_of
from labd.resort.overview import attention_of, status_of
from labd.resort.routes import resort_endpoints
from labd.resort.settings import DEFAULT_INSTANCE, OPERATING_MODES, ResortSettings, ResortWingSettings
from labd.resort.tasks import resort_tasks
from labd.resort.virtual.simulator import VirtualBus
from labd.resort.virtual.virtual_servo import VirtualServo
from labd.wing import Host

MOVING_S = 870.0  # the driver ends a move long before by its own limit; this one is for a driver that hangs

log = structlog.get_logger("resort")


class ResortService:
    """Owns the carousels; satisfies `labd.wing.Wing`."""

    def __init__(self, settings: ResortWingSettings, host: Host) -> None:
        self._host = host
        self._buses: dict[str, VirtualBus] = {}
        self.devices: dict[str, ResortDevice] = {}
        for neighbours in _by_bus(settings).values():
            self._hang_on_bus(neighbours)
        limits_s = [table.move_timeout_s or 0.0 for table in settings.carousels.values()]
        self.longest_move_s = max(MOVING_S, *limits_s)
        self.contracts = {name: DeviceContract(device, self, host) for name, device in self.devices.items()}

    def _hang_on_bus(self, carousels: dict[str, ResortSettings]) -> None:
        """The carousels of one bus: one port, one owner thread, one lease gate."""
        host, (first, *_) = self._host, carousels
        port = carousels[first].device
        if carousels[first].driver == "simulated":
            link = host.runtime_dir / f"resort-{first}.port"
            simulated = virtual_bus(list(carousels.values()), host.clock, link)
            self._buses |= dict.fromkeys(carousels, simulated)
            port = str(link)
        bus = bus_of(carousels[first].drive(port), host.clock)
        for name, table in carousels.items():
            self.devices[name] = ResortDevice(name, table, host, port, bus)

    # Wing

    async def start(self) -> None:
        """Start the virtual buses, read the latches, open the ports; an absent carousel is no error."""
        for bus in dict.fromkeys(self._buses.values()):
            bus.start()
        await asyncio.gather(*(device.start() for device in self.devices.values()))
        await asyncio.gather(*(contract.start() for contract in self.contracts.values()))

    async def drain(self) -> None:
        """Every carousel to rest, torque stays."""
        for device in self.devices.values():
            try:
                await device.drain()
            except LabdError as fault:
                log.error("device.hold_failed", device=device.name, error=fault.message)

    async def stop(self) -> None:
        """Close every port; a second call does nothing."""
        await asyncio.gather(*(device.close() for device in self.devices.values()))
        buses, self._buses = self._buses, {}
        for bus in dict.fromkeys(buses.values()):
            await asyncio.to_thread(bus.stop)

    def tasks(self) -> list[TaskSpec | StopSpec]:
        """The verbs as tasks."""
        return resort_tasks(self)

    def endpoints(self) -> list[Any]:
        """The routes of the wing and of the lab's device contract."""
        return resort_endpoints(self)

    def status(self) -> dict[str, Any]:
        """Short lines for `labctl status`; reads no bus."""
        devices = [
            {
                "name": device.name,
                "state": device.carousel.state,
                "since": iso(device.carousel.since),
                "stop_latched": device.latch.latched,
                "moving": device.situation().moving,
                "simulated": device.simulated,
            }
            for device in self.devices.values()
        ]
        return {
            "devices": devices,
            "attention": [line for device in self.devices.values() for line in attention_of(device)],
        }

    def change(self, settings: ResortWingSettings) -> list[str]:
        """Changed settings of carousels that are there; one more, one less and other wiring need a restart."""
        restart = {f"resort.{name}" for name in settings.carousels.keys() ^ self.devices.keys()}
        for name, device in self.devices.items():
            if name in settings.carousels:
                prefix = "resort" if self.devices.keys() == {DEFAULT_INSTANCE} else f"resort.{name}"
                keys = device.change(settings.carousels[name], self.longest_move_s)
                restart |= {f"{prefix}.{key}" for key in keys}
        return sorted(restart)

    # devices

    def device(self, name: str | None) -> ResortDevice:
        """The carousel of this name; no name is right where there is only one.

        Raises:
            UnknownDevice: With the names there are.
        """
        known = list(self.devices)
        if name is None and len(known) == 1:
            return self.devices[known[0]]
        if name is None:
            raise UnknownDevice(
                f"this host has several carousels, say which: --device {' or '.join(known)}", devices=known
            )
        if name not in self.devices:
            raise UnknownDevice(f"no carousel is named {name!r}; there are {', '.join(known)}", devices=known)
        return self.devices[name]

    async def device_status(self, name: str | None) -> dict[str, Any]:
        """The status of one carousel, fresh from the motor where it answers."""
        device = self.device(name)
        status = status_of(device, await device.seen.look())
        status["claimed_by"] = self.contracts[device.name].claims.holder()
        return status

    # the stop

    async def emergency_stop(self, name: str | None, caller: Caller, reason: str = "") -> dict[str, Any]:
        """Torque off now; without a name every carousel of the host. Nothing is awaited before it is on its way.

        Raises:
            UnknownDevice: No carousel of that name; nothing was stopped.
        """
        chosen = list(self.devices.values()) if name is None else [self.device(name)]
        cancelled = [device.switch.press(caller, reason) for device in chosen]
        pairs = zip(chosen, cancelled, strict=True)
        answers = await asyncio.gather(*(device.switch.answer(jobs) for device, jobs in pairs))
        for device in chosen:
            device.seen.activity()
        return answers[0] if len(answers) == 1 else _combined(answers)


def _by_bus(settings: ResortWingSettings) -> dict[str, dict[str, ResortSettings]]:
    """Bus -> name -> carousel, in the order of the settings."""
    buses: dict[str, dict[str, ResortSettings]] = {}
    for name, table in settings.carousels.items():
        buses.setdefault(table.bus(name), {})[name] = table
    return buses


def virtual_bus(carousels: list[ResortSettings], clock: Clock, link: Path) -> VirtualBus:
    """The motors of `driver = "simulated"` on one bus, each set up as a carousel's is: right mode, torque off.

    Seed and record are those of the first.
    """
    servos = []
    for settings in carousels:
        steps = settings.geometry().residue_steps(settings.simulated.position_deg)
        servo = VirtualServo(settings.simulated.model_number, settings.servo_id, position=steps)
        servo.table["operating_mode"] = OPERATING_MODES[settings.mode]
        servos.append(servo)
    options = carousels[0].simulated
    record = None if options.record is None else Path(options.record)
    return VirtualBus(servos, clock, options.seed, link=link, record=record)


def _combined(answers: list[dict[str, Any]]) -> dict[str, Any]:
    wire_ms = [answer["wire_ms"] for answer in answers]
    return {
        "device": None,
        "stopped": all(answer["stopped"] for answer in answers),
        "confirmed": all(answer["confirmed"] for answer in answers),
        "latched": True,
        "latched_durably": all(answer["latched_durably"] for answer in answers),
        "note": "; ".join(f"{answer['device']}: {answer['note']}" for answer in answers if answer["note"]),
        "wire_ms": None if None in wire_ms else max(wire_ms, default=None),
        "cancelled_jobs": sorted({job for answer in answers for job in answer["cancelled_jobs"]}),
        "devices": answers,
    }

"""The OT-2 wing at work: every robot of the host, the protocols it was given, and what simulates them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from labd.clock import iso
from labd.engine.job import Caller
from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.engine.worker_start import Worker
from labd.errors import LabdError, UnknownDevice, WingOff
from labd.ot2 import preflight
from labd.ot2.allowed import allowed, refused
from labd.ot2.analysis import Analyser, robot_type
from labd.ot2.device import OT2Device
from labd.ot2.overview import attention_of, status_of
from labd.ot2.performing import Performance
from labd.ot2.protocols import ProtocolShelf, StoredProtocol
from labd.ot2.robot import Document
from labd.ot2.robot_http import HttpRobot
from labd.ot2.robot_ssh import SshRobot
from labd.ot2.routes import ot2_endpoints
from labd.ot2.settings import DEFAULT_INSTANCE, OT2Settings, OT2WingSettings
from labd.ot2.simulator_process import RobotServer
from labd.ot2.tasks import ot2_tasks
from labd.ot2.virtual_robot import VirtualRobot
from labd.wing import Host

KEPT_ANALYSES = 16
SIMULATIONS = 2  # each is a process of about 100 MiB
LIVE_KEYS = ("deck", "preflight", "python", "env", "flex_env", "analysis_timeout_s", "poll_s", "stop_timeout_s")


class OT2Service:
    """Owns the robots; satisfies `labd.wing.Wing`."""

    def __init__(self, settings: OT2WingSettings, host: Host) -> None:
        self._host = host
        self.shelf = ProtocolShelf(host.state_dir / "ot2" / "protocols")
        self.simulators: dict[str, RobotServer] = {}
        self.devices = {name: self._device(name, table) for name, table in settings.robots.items()}
        self._analyses: OrderedDict[tuple[str, str, str], dict[str, Any]] = OrderedDict()
        self._simulating = asyncio.Semaphore(SIMULATIONS)

    def _device(self, name: str, table: OT2Settings) -> OT2Device:
        clock = self._host.clock
        if table.driver == "ssh":
            return OT2Device(name, table, self._host, self._over_ssh(name, table))
        socket_path: Path | None = None
        if table.driver == "simulated":
            socket_path = self._host.runtime_dir / f"ot2-{name}.robot"
            record = None if table.simulated.record is None else Path(table.simulated.record)
            virtual = VirtualRobot(
                clock, name=f"virtual-{name}", time_scale=table.simulated.time_scale, record=record,
                analyse=self._for_simulator(name),
            )  # fmt: skip
            self.simulators[name] = RobotServer(virtual, socket_path=socket_path)
        robot = HttpRobot(
            name, table.url or "http://localhost", clock, api_version=table.api_version,
            answer_timeout_s=table.answer_timeout_s, home_timeout_s=table.home_timeout_s,
            analysis_timeout_s=table.analysis_timeout_s,
            socket_path=None if socket_path is None else str(socket_path),
        )  # fmt: skip
        return OT2Device(name, table, self._host, robot)

    def _over_ssh(self, name: str, table: OT2Settings) -> SshRobot:
        start, env = self._host.worker_of, table.ssh_env or ""

        async def start_there(module: str) -> Worker:
            if start is None:
                raise WingOff(f"ot2 {name}: there are no environments here", environment=env)
            return await start(env, module)

        return SshRobot(
            name, start_there, self._host.clock, answer_timeout_s=table.answer_timeout_s,
            home_timeout_s=table.home_timeout_s,
        )  # fmt: skip

    def _for_simulator(self, name: str) -> Any:
        """The virtual robot's own analysis: opentrons where it is at hand, else a reading of the file."""
        from labd.ot2.virtual_commands import static_reading

        async def analyse(documents: Sequence[Document], parameters: dict[str, Any]) -> dict[str, Any]:
            device = self.devices[name]
            try:
                analyser = await self._analyser(device.settings, documents[0])
                return await analyser.analyze(documents, parameters, commands=True)
            except LabdError:
                return await static_reading(documents, parameters)

        return analyse

    # Wing

    async def start(self) -> None:
        """Start the virtual robots, read what an earlier daemon left, begin to look at the robots."""
        for server in self.simulators.values():
            await server.start()
        for device in self.devices.values():
            await device.start()

    async def drain(self) -> None:
        """Runs of this daemon were paused with their jobs; a run that nobody follows goes on as its owner wanted."""

    async def stop(self) -> None:
        """Let go of every robot; a second call does nothing."""
        await asyncio.gather(*(device.close() for device in self.devices.values()))
        for server in self.simulators.values():
            await server.stop()

    def tasks(self) -> list[TaskSpec | StopSpec]:
        """The verbs as tasks."""
        return ot2_tasks(self)

    def endpoints(self) -> list[Any]:
        """The routes of the wing."""
        return ot2_endpoints(self)

    def status(self) -> dict[str, Any]:
        """Short lines for `labctl status`; asks no robot."""
        devices = [
            {
                "name": device.name,
                "state": device.watch.state,
                "since": iso(device.watch.since),
                "stop_latched": device.latch.latched,
                "run": device.own.run_id,
                "simulated": device.simulated,
            }
            for device in self.devices.values()
        ]
        return {
            "devices": devices,
            "attention": [line for device in self.devices.values() for line in attention_of(device)],
        }

    def change(self, settings: OT2WingSettings) -> list[str]:
        """What is asked anew for every run is in force at once; addresses, drivers and more robots need a restart."""
        restart = {f"ot2.{name}" for name in settings.robots.keys() ^ self.devices.keys()}
        for name, device in self.devices.items():
            if name not in settings.robots:
                continue
            prefix = "ot2" if self.devices.keys() == {DEFAULT_INSTANCE} else f"ot2.{name}"
            fresh = settings.robots[name]
            live = {key: getattr(fresh, key) for key in LIVE_KEYS}
            device.settings = msgspec.structs.replace(device.settings, **live)
            keys = device.settings.__struct_fields__
            restart |= {f"{prefix}.{key}" for key in keys if getattr(device.settings, key) != getattr(fresh, key)}
        return sorted(restart)

    # devices

    def device(self, name: str | None) -> OT2Device:
        """The robot of this name; no name is right where there is only one.

        Raises:
            UnknownDevice: With the names there are.
        """
        known = list(self.devices)
        if name is None and len(known) == 1:
            return self.devices[known[0]]
        if name is None:
            text = f"this host has several robots, say which: --device {' or '.join(known)}"
            raise UnknownDevice(text, devices=known)
        if name not in self.devices:
            raise UnknownDevice(f"no robot is named {name!r}; there are {', '.join(known)}", devices=known)
        return self.devices[name]

    async def device_status(self, name: str | None) -> dict[str, Any]:
        """The whole of one robot, asked now."""
        device = self.device(name)
        if device.watch.state != "closed":
            await device.watch.look()
        now = device.situation()
        told = {"attention": attention_of(device), "allowed_actions": allowed(now), "refused_actions": refused(now)}
        return {**status_of(device), **told}

    async def emergency_stop(self, name: str | None, caller: Caller, reason: str = "") -> dict[str, Any]:
        """Stop the own run of a robot; without a name those of every robot."""
        chosen = list(self.devices.values()) if name is None else [self.device(name)]
        answers = await asyncio.gather(*(device.stop(caller, reason) for device in chosen))
        if len(answers) == 1:
            return answers[0]
        return {
            "device": None,
            "stopped": all(answer["stopped"] for answer in answers),
            "confirmed": all(answer["confirmed"] for answer in answers),
            "latched": True,
            "latched_durably": all(answer["latched_durably"] for answer in answers),
            "cancelled_jobs": sorted({job for answer in answers for job in answer["cancelled_jobs"]}),
            "note": "; ".join(f"{answer['device']}: {answer['note']}" for answer in answers if answer["note"]),
            "devices": answers,
        }

    # protocols

    async def analyze(
        self, protocol: StoredProtocol, parameters: Mapping[str, Any], device: OT2Device
    ) -> dict[str, Any]:
        """What a protocol would do, in opentrons' simulator; the newest answers are remembered."""
        analyser = await self._analyser(device.settings, protocol.documents[0])
        key = (protocol.protocol_id, msgspec.json.encode(parameters, order="sorted").decode(), str(analyser.python))
        async with self._simulating:
            if key not in self._analyses:
                self._analyses[key] = await analyser.analyze(protocol.documents, parameters)
                if len(self._analyses) > KEPT_ANALYSES:
                    self._analyses.popitem(last=False)
            return self._analyses[key]

    async def needs(self, args: Mapping[str, Any]) -> dict[str, float] | None:
        """What a run will draw from each well, in ul by `device/slot/well`; None where that cannot be known before.

        Nothing is refused here: a protocol that is faulty, or an environment that is off, is the job's own error.
        """
        device = self.device(args.get("device"))
        if device.settings.preflight != "required":
            return None
        try:
            found = await self.analyze(self.shelf.get(args["protocol"]), args.get("parameters") or {}, device)
        except LabdError:
            return None
        if not found["ok"]:
            return None
        return {f"{device.name}/{place}": float(volume) for place, volume in found["drawn"].items()}

    async def _analyser(self, table: OT2Settings, document: Document) -> Analyser:
        """The interpreter for a protocol.

        Raises:
            WingOff, EnvironmentOff: There is none, and what to do.
        """
        env = table.flex_env if table.flex_env and robot_type(document) == "Flex" else table.env
        if table.python is not None and env == table.env:
            return Analyser(Path(table.python), self._host.clock, table.analysis_timeout_s)
        if self._host.python_of is None:
            text = f"ot2: no interpreter for environment {env}; set ot2.python to one that has opentrons 9.0"
            raise WingOff(text, environment=env)
        python = await asyncio.to_thread(self._host.python_of, env)
        return Analyser(python, self._host.clock, table.analysis_timeout_s)

    async def run(
        self, ctx: JobContext, device: OT2Device, protocol: StoredProtocol, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Preflight, then the robot."""
        found: dict[str, Any] | None = None
        if device.settings.preflight == "required":
            ctx.log(f"preflight: simulating {protocol.name}")
            ctx.progress(0, None, "preflight")
            found = await self.analyze(protocol, parameters, device)
            preflight.check(device.name, protocol.name, found, device.settings.deck, device.watch.health)
            duration_s, tips = found["duration_s"], found["tips"]["used"]
            ctx.log(f"preflight passed: {found['command_count']} commands, about {duration_s:g} s, {tips} tips")
        elif device.keeps_account:
            ctx.log('preflight = "robot": what it will take from stock is not known before it has moved', "warning")
        air = None if found is None else found.get("air")
        answer = await Performance(device, ctx, protocol, parameters, air).perform()
        if found is not None:
            answer |= {key: found[key] for key in ("tips", "aspirated", "dispensed", "duration_s")}
        return answer

"""What `labctl doctor` looks at: each check is short, changes nothing, and names the remedy.

Why here and not in the parts: a check compares what a part says of itself with what the host says, and only the whole
daemon knows both.
"""

from __future__ import annotations

import asyncio
import calendar
import ctypes
import os
import shutil
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labd.api.doctor import Finding
from labd.clock import Clock, iso
from labd.engine.engine import Engine
from labd.engine.registry import StopSpec
from labd.engine.worker_tasks import WorkerTasks
from labd.errors import LabdError

LEAST_FREE_BYTES = 200 * 2**20
LOW_PERCENT = 5.0
CERTIFICATE_WARNING_S = 21 * 86_400.0
STA_UNSYNC = 0x0040  # adjtimex(2): the kernel's clock is not kept right by anybody
TIMEX_BYTES = 208  # struct timex on 64-bit Linux; longer than on 32-bit
STATUS_OFFSET = 40  # of `status` in it: five longs before it, the first an unsigned int with its padding
BAD_STATES = ("lost", "faulty", "away")
Json = dict[str, Any]


class Doctor:
    """Looks at one daemon.

    Args:
        wings: State of every wing, as in `labctl status`.
        certificate: The PEM file of the TCP listener, if it has one.
        outlets: State of each outlet, None where there is none, such as the MQTT door.
    """

    def __init__(
        self, engine: Engine, workers: WorkerTasks, state_dir: Path, wings: Callable[[], list[Json]],
        outlets: Mapping[str, Callable[[], Json | None]], certificate: Path | None, clock: Clock,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._workers = workers
        self._state_dir = state_dir
        self._wings = wings
        self._outlets = outlets
        self._certificate = certificate
        self._clock = clock

    async def look(self) -> list[Finding]:
        """All findings, in a fixed order; a check that cannot be made says so."""
        found = [*await self._databases(), await self._audit(), await self._disk(), *await self._clocks()]
        found += [*self._devices(), *self._connections(), *await self._environments(), *self._schedules()]
        if self._certificate is not None:
            found.append(await asyncio.to_thread(certificate, self._certificate, self._clock.wall()))
        return found

    async def _databases(self) -> list[Finding]:
        found = []
        for name, problems in (await self._engine.check_stores()).items():
            if problems:
                text = f"{name} is damaged: {'; '.join(problems[:3])}"
                remedy = "stop labd, keep the file, and `labd restore` the newest backup"
                found.append(Finding("database", "fault", text, remedy, name))
            else:
                found.append(Finding("database", "ok", f"{name} is whole", subject=name))
        if self._engine.store_full:
            text = "the disk takes no more writes: nothing new is accepted"
            found.append(Finding("database", "fault", text, f"free some space below {self._state_dir}", "labd.db"))
        return found

    async def _audit(self) -> Finding:
        report = await self._engine.audit_verify()
        if report.ok:
            return Finding("audit", "ok", f"the chain of {report.entries} entries is whole")
        text = f"the chain is broken at entry {report.broken_at} of {report.entries}: {report.problem}"
        return Finding("audit", "fault", text, "somebody changed the record: keep the file, compare it with a backup")

    async def _disk(self) -> Finding:
        usage = await asyncio.to_thread(shutil.disk_usage, self._state_dir)
        percent = 100.0 * usage.free / usage.total if usage.total else 0.0
        text = f"{usage.free / 2**20:,.0f} MiB free ({percent:.0f} %) where {self._state_dir} lies"
        remedy = "free some space, or lower engine.retention_days"
        if usage.free < LEAST_FREE_BYTES:
            return Finding("disk", "fault", text, remedy)
        if percent < LOW_PERCENT:
            return Finding("disk", "warning", text, remedy)
        return Finding("disk", "ok", text)

    async def _clocks(self) -> list[Finding]:
        """The clock is kept right, and has not gone behind what is on record."""
        now, newest = self._clock.wall(), await self._engine.audit_page(None, 1)
        found = [synchronisation(kernel_status())]
        if newest and newest[0].at > now + 1.0:
            text = f"it is {iso(now)} here, but audit entry {newest[0].id} is of {iso(newest[0].at)}"
            remedy = "set the clock; schedules and retention go by it"
            found.append(Finding("clock", "fault", text, remedy))
        return found

    def _devices(self) -> list[Finding]:
        found = []
        for wing in self._wings():
            name = wing["name"]
            if wing["state"] == "faulty" or wing["install"]:
                remedy = wing["install"] or "see the daemon's log, mend it, and restart labd"
                found.append(Finding("wing", "fault", f"{name} is {wing['state']}: {wing['reason']}", remedy, name))
            found += [_device(name, device) for device in wing["devices"]]
        return found

    def _connections(self) -> list[Finding]:
        found = []
        for name, state in self._outlets.items():
            told = state()
            if told is None:
                continue
            connected = bool(told.get("connected"))
            text = f"{name} is {'connected' if connected else 'not connected'}"
            problem = str(told.get("problem") or told.get("last_error") or "")
            if connected:
                found.append(Finding("connection", "ok", text, subject=name))
            else:
                text = f"{text}: {problem}" if problem else text
                found.append(Finding("connection", "fault", text, f"see [{name}] in the settings", name))
        return found

    async def _environments(self) -> list[Finding]:
        found = [
            Finding("tasks", "fault", f"{fault.file}:{fault.line or 0}: {fault.message}", "mend the file", fault.file)
            for fault in self._workers.faults
        ]
        for view in await self._workers.views():
            if view.state == "ready":
                tasks = f"{view.tasks} task{'' if view.tasks == 1 else 's'}"
                text = f"{view.name}: ready, Python {view.version}, {tasks}"
                found.append(Finding("environment", "ok", text, subject=view.name))
            else:
                text = f"{view.name} is {view.state}: {view.reason}"
                found.append(Finding("environment", "fault", text, f"`labctl env sync {view.name}`", view.name))
        return found

    def _schedules(self) -> list[Finding]:
        found = []
        for view in self._engine.schedules():
            spec, problem = view.spec, ""
            try:
                task = self._engine.registry.find(spec.task)
                if not isinstance(task, StopSpec):
                    self._engine.registry.check_args(task, spec.args)
            except LabdError as fault:
                problem = fault.message
            if problem:
                text = f"{spec.name} would fail: {problem}"
                remedy = f"`labctl schedule edit {spec.name}`, or `labctl schedule delete {spec.name}`"
                found.append(Finding("schedule", "fault", text, remedy, spec.name))
            elif not spec.paused and view.next_run_at is not None and view.next_run_at < self._clock.wall() - 60.0:
                text = f"{spec.name} was due at {iso(view.next_run_at)} and has not run"
                found.append(Finding("schedule", "fault", text, "restart labd, and report this", spec.name))
            else:
                when = "paused" if spec.paused else f"next at {iso(view.next_run_at) or 'no time'}"
                found.append(Finding("schedule", "ok", f"{spec.name}: {when}", subject=spec.name))
        return found


def _device(wing: str, device: Mapping[str, Any]) -> Finding:
    """One device or store; a serial port is best named by what is plugged in, not by the order of plugging."""
    subject, state = f"{wing}:{device['name']}", str(device.get("state"))
    port = str(device.get("port") or "")
    if state in BAD_STATES:
        why = device.get("problem") or device.get("reason") or state
        return Finding("device", "fault", f"{subject} is {state}: {why}", f"`labctl {wing} status`", subject)
    if port.startswith(("/dev/ttyUSB", "/dev/ttyACM")):
        text = f"{subject} is {state} at {port}, a name that goes to whatever is plugged in first"
        return Finding("device", "warning", text, f"name it by /dev/serial/by-id/... in [{wing}]", subject)
    simulated = " (simulated)" if device.get("simulated") else ""
    return Finding("device", "ok", f"{subject} is {state}{simulated}", subject=subject)


def kernel_status() -> int | None:
    """`status` of adjtimex(2), None where the system has none or does not tell."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(TIMEX_BYTES)
        if ctypes.sizeof(ctypes.c_long) != 8 or libc.adjtimex(buffer) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return int.from_bytes(buffer.raw[STATUS_OFFSET : STATUS_OFFSET + 4], "little")


def synchronisation(status: int | None) -> Finding:
    """What the kernel's status says of the clock."""
    if status is None:
        return Finding("clock", "unknown", "this system does not tell whether its clock is kept right")
    if status & STA_UNSYNC:
        text = "nobody keeps the clock right: it is not synchronised"
        return Finding("clock", "warning", text, "switch on systemd-timesyncd or chrony")
    return Finding("clock", "ok", "the clock is synchronised")


def certificate(path: Path, now: float) -> Finding:
    """How long the certificate of the TCP listener is good."""
    try:
        # Why this function: the standard library decodes a certificate for its user only as the peer of a connection.
        decoded = ssl._ssl._test_decode_cert(os.fspath(path))  # type: ignore[attr-defined]
        ends_at = float(calendar.timegm(time.strptime(str(decoded["notAfter"]), "%b %d %H:%M:%S %Y %Z")))
    except (OSError, ssl.SSLError, ValueError, KeyError, AttributeError) as fault:
        return Finding("certificate", "fault", f"{path} cannot be read: {fault}", "see api.tls_cert", str(path))
    left_s, text = ends_at - now, f"{path} is good until {iso(ends_at)}"
    remedy = "put a new one in its place, and restart labd"
    if left_s <= 0:
        return Finding("certificate", "fault", f"{path} ended at {iso(ends_at)}", remedy, str(path))
    if left_s < CERTIFICATE_WARNING_S:
        days = f"{left_s / 86_400:.0f} days"
        return Finding("certificate", "warning", f"{text}, {days} from now", remedy, str(path))
    return Finding("certificate", "ok", text, subject=str(path))

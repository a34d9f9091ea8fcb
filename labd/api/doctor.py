"""`GET /api/v1/doctor`: is everything as it should be, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from labd.api.endpoint import Call, Endpoint
from labd.clock import Clock, iso


class Finding(msgspec.Struct):
    """What one look found. `remedy` is what a person does about it, empty where nothing is to be done.

    `unknown` means that the host does not tell; it is no fault, and it is never shown as good.
    """

    check: str
    state: Literal["ok", "warning", "fault", "unknown"]
    message: str
    remedy: str = ""
    subject: str = ""


class DoctorReport(msgspec.Struct):
    """All findings; `ok` where there is no fault."""

    ok: bool
    at: str
    findings: list[Finding]


def endpoints(look: Callable[[], Awaitable[list[Finding]]], clock: Clock) -> list[Endpoint]:
    """The route of the doctor."""

    async def doctor(call: Call) -> DoctorReport:
        findings = await look()
        faulty = any(finding.state == "fault" for finding in findings)
        return DoctorReport(not faulty, iso(clock.wall()) or "", findings)

    return [
        Endpoint(
            "GET", "/api/v1/doctor", doctor, "read", "Databases, audit, devices, disk, clock, environments, schedules",
            answer=DoctorReport, tags=("daemon",),
        )
    ]  # fmt: skip

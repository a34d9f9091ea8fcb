"""The HTTP of the OT-2 wing: `/api/v1/ot2/...`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.ot2.analysis import robot_type
from labd.ot2.robot import Document

if TYPE_CHECKING:
    from labd.ot2.service import OT2Service

REFUSALS = ("stop_latched", "not_connected", "device_busy", "refused")


class DeviceQuery(msgspec.Struct, kw_only=True):
    """Which robot; may be left out where there is one."""

    device: str | None = None


class DeviceBody(msgspec.Struct, kw_only=True):
    """Which robot."""

    device: str | None = None


class StopBody(msgspec.Struct, kw_only=True):
    """Which robot (all if left out) and why."""

    device: str | None = None
    reason: str = ""


class ResetBody(msgspec.Struct, kw_only=True):
    """Which robot, the person who looked at it, and why it may move again."""

    by: str = ""
    reason: str = ""
    device: str | None = None


class LightsBody(msgspec.Struct, kw_only=True):
    """Which robot, on or off; asks only if left out."""

    on: bool | None = None
    device: str | None = None


class FileBody(msgspec.Struct, kw_only=True):
    """One file."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    text: str


class ProtocolBody(msgspec.Struct, kw_only=True):
    """A protocol file and the custom labware it loads."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    text: str
    labware: Annotated[list[FileBody], Meta(max_length=50)] = []


def ot2_endpoints(service: OT2Service) -> list[Endpoint]:
    """All routes of the wing."""
    root, tags, anything = "/api/v1/ot2", ("ot2",), dict[str, Any]

    async def status(call: Call) -> Any:
        return await service.device_status(call.query.device)

    async def deck(call: Call) -> Any:
        return await service.device(call.query.device).deck_view.look()

    async def stop(call: Call) -> Any:
        body = call.body or StopBody()
        return await service.emergency_stop(body.device, call.caller, body.reason)

    async def reset(call: Call) -> Any:
        body = call.body or ResetBody()
        return await service.device(body.device).reset(body.by, body.reason, call.caller)

    async def pause(call: Call) -> Any:
        body = call.body or DeviceBody()
        return await service.device(body.device).pause(call.caller)

    async def resume(call: Call) -> Any:
        body = call.body or DeviceBody()
        return await service.device(body.device).resume(call.caller)

    async def lights(call: Call) -> Any:
        body = call.body or LightsBody()
        return await service.device(body.device).lights(body.on, call.caller)

    async def keep(call: Call) -> Any:
        files = [call.body, *call.body.labware]
        documents = [Document(file.name, file.text) for file in files]
        stored = await asyncio.to_thread(service.shelf.put, documents)
        return {"protocol": stored.protocol_id, "name": stored.name, "robot_type": robot_type(documents[0]),
                "size_bytes": sum(len(document.text.encode()) for document in documents)}  # fmt: skip

    unknown = ("unknown_device",)
    return [
        Endpoint("GET", f"{root}/status", status, "read", "Everything about a robot and what is allowed now",
                 query=DeviceQuery, answer=anything, tags=tags, errors=unknown),
        Endpoint("GET", f"{root}/deck", deck, "read", "What the newest run has done: commands, tips, wells",
                 query=DeviceQuery, answer=anything, tags=tags, errors=unknown),
        Endpoint("POST", f"{root}/protocols", keep, "operate", "Keep a protocol; jobs name it by its hash",
                 body=ProtocolBody, answer=anything, status=201, tags=tags, errors=("invalid_arguments",)),
        Endpoint("POST", f"{root}/stop", stop, "operate", "Stop labd's own run at once, latched until reset",
                 body=StopBody, answer=anything, tags=tags, errors=unknown, urgent=True),
        Endpoint("POST", f"{root}/reset", reset, "operate", "End a stop, by name and with a reason",
                 body=ResetBody, answer=anything, tags=tags, errors=(*unknown, "refused", "invalid_arguments")),
        Endpoint("POST", f"{root}/pause", pause, "operate", "Pause labd's own run after the command under way",
                 body=DeviceBody, answer=anything, tags=tags, errors=(*unknown, *REFUSALS)),
        Endpoint("POST", f"{root}/resume", resume, "operate", "Go on with labd's own run",
                 body=DeviceBody, answer=anything, tags=tags, errors=(*unknown, *REFUSALS)),
        Endpoint("POST", f"{root}/lights", lights, "operate", "Switch the lights, or ask whether they are on",
                 body=LightsBody, answer=anything, tags=tags, errors=(*unknown, "not_connected")),
    ]  # fmt: skip

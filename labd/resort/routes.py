"""The HTTP of the resort wing: `/api/v1/resort/...`, and the lab's device contract at `/equipment/resort/...`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.errors import DeviceClaimed
from labd.resort.allowed import ACTIONS
from labd.resort.contract import DeviceContract, Reply, claimed

if TYPE_CHECKING:
    from labd.resort.service import ResortService

TOKEN_HEADER = "X-Claim-Token"  # noqa: S105 - the name of a header
FAULTS = ("invalid_arguments", "device_timeout", "device_lost")
CLAIMS = ("device_claimed", "conflict")  # 423 while somebody holds it, 409 where the caller's own has gone
REFUSALS = ("stop_latched", "not_connected", "mode_mismatch", "device_busy")


class DeviceQuery(msgspec.Struct, kw_only=True):
    """Which carousel; may be left out where there is one."""

    device: str | None = None


class StopBody(msgspec.Struct, kw_only=True):
    """Which carousel (all if left out) and why."""

    device: str | None = None
    reason: str = ""


class HoldBody(msgspec.Struct, kw_only=True):
    """Which carousel."""

    device: str | None = None


class ResetBody(msgspec.Struct, kw_only=True):
    """Which carousel, the person who looked at it, and why motion is safe again."""

    by: str = ""
    reason: str = ""
    device: str | None = None


class ControlBody(msgspec.Struct, kw_only=True):
    """Arguments of any action; each takes its own and leaves the others."""

    hotel: str | None = None
    degrees: float | None = None
    speed: float | None = None
    configure: bool | None = None
    by: str | None = None
    reason: str | None = None
    claim_token: str | None = None
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.0


class ClaimBody(msgspec.Struct, kw_only=True):
    """Who claims, in which session, for how long."""

    owner: Annotated[str, Meta(min_length=1, max_length=200)]
    session_id: Annotated[str, Meta(min_length=1, max_length=200)]
    ttl_s: Annotated[float, Meta(gt=0)] = 30.0


class ContractRefusal(msgspec.Struct):
    """A refusal as the device contract has it; further fields tell the kinds apart."""

    detail: str
    code: str


class TokenBody(msgspec.Struct, kw_only=True):
    """The token that the claim gave."""

    claim_token: Annotated[str, Meta(min_length=1, max_length=200)]


TAKES = {
    "connect": ("configure",),
    "activate_hotel": ("hotel",),
    "move_to_angle": ("degrees",),
    "set_speed": ("speed",),
    "stop": ("reason",),
    "reset": ("by", "reason"),
}


def resort_endpoints(service: ResortService) -> list[Endpoint]:
    """All routes of the wing."""
    found = _own_endpoints(service)
    for contract in service.contracts.values():
        found += _contract_endpoints(contract)
    return found


def _own_endpoints(service: ResortService) -> list[Endpoint]:
    root, tags = "/api/v1/resort", ("resort",)

    async def status(call: Call) -> Any:
        return await service.device_status(call.query.device)

    async def position(call: Call) -> Any:
        return await service.device(call.query.device).position()

    async def health(call: Call) -> Any:
        return await service.device(call.query.device).health()

    async def readings(call: Call) -> Any:
        device = service.device(call.query.device)
        return device.seen.trend.shown(device.name)

    async def stop(call: Call) -> Any:
        body = call.body or StopBody()
        return await service.emergency_stop(body.device, call.caller, body.reason)

    async def hold(call: Call) -> Any:
        body = call.body or HoldBody()
        return await service.device(body.device).hold(call.caller)

    async def reset(call: Call) -> Any:
        body = call.body or ResetBody()
        return await service.device(body.device).reset(body.by, body.reason, call.caller)

    unknown = ("unknown_device",)
    return [
        Endpoint("GET", f"{root}/status", status, "read", "Everything about a carousel and what is allowed now",
                 query=DeviceQuery, answer=dict[str, Any], tags=tags, errors=unknown),
        Endpoint("GET", f"{root}/position", position, "read", "Where a carousel stands, read from the motor",
                 query=DeviceQuery, answer=dict[str, Any], tags=tags, errors=(*unknown, "not_connected")),
        Endpoint("GET", f"{root}/health", health, "read", "How a motor is, read from it",
                 query=DeviceQuery, answer=dict[str, Any], tags=tags, errors=(*unknown, "not_connected")),
        Endpoint("GET", f"{root}/readings", readings, "read", "A motor's readings of the last hour; since labd started",
                 query=DeviceQuery, answer=dict[str, Any], tags=tags, errors=unknown),
        Endpoint("POST", f"{root}/stop", stop, "operate", "Torque off at once, latched until reset; never queued",
                 body=StopBody, answer=dict[str, Any], tags=tags, errors=unknown, urgent=True),
        Endpoint("POST", f"{root}/hold", hold, "operate", "Stop where it is; torque stays",
                 body=HoldBody, answer=dict[str, Any], tags=tags, errors=(*unknown, *REFUSALS), urgent=True),
        Endpoint("POST", f"{root}/reset", reset, "operate", "End a stop, by name and with a reason",
                 body=ResetBody, answer=dict[str, Any], tags=tags, errors=(*unknown, "refused", "invalid_arguments")),
    ]  # fmt: skip


def _contract_endpoints(contract: DeviceContract) -> list[Endpoint]:
    root, tags = f"/equipment/{contract.slug}", ("equipment",)

    async def probe(_call: Call) -> Any:
        return contract.probe()

    async def health(_call: Call) -> Any:
        return {"status": "healthy"}

    async def status(_call: Call) -> Any:
        return await contract.status()

    async def claim(call: Call) -> Any:
        body = call.body
        return await _answer(lambda: contract.claims.claim(body.owner, body.session_id, body.ttl_s))

    async def heartbeat(call: Call) -> Any:
        return await _answer(lambda: contract.claims.heartbeat(call.body.claim_token))

    async def release(call: Call) -> Any:
        return await _answer(lambda: contract.claims.release(call.body.claim_token))

    def control(action: str) -> Callable[[Call], Awaitable[Any]]:
        async def handler(call: Call) -> Any:
            body = call.body or ControlBody()
            args = {key: getattr(body, key) for key in TAKES.get(action, ()) if getattr(body, key) is not None}
            token = body.claim_token or call.request.headers.get(TOKEN_HEADER)
            return _response(await contract.control(action, args, token, body.wait_s, call.caller))

        return handler

    anything = dict[str, Any]
    found = [
        Endpoint("GET", root, probe, "read", "Who this device is", answer=anything, tags=tags),
        Endpoint("GET", f"{root}/", probe, "read", "Who this device is", answer=anything, tags=tags),
        Endpoint("GET", f"{root}/health", health, "read", "The service lives", answer=anything, tags=tags),
        Endpoint("GET", f"{root}/status", status, "read", "The lab's status envelope", answer=anything, tags=tags),
        Endpoint("POST", f"{root}/control/claim", claim, "operate", "Claim the device for a session",
                 body=ClaimBody, answer=anything, tags=tags, refusal=ContractRefusal, refused=CLAIMS),
        Endpoint("POST", f"{root}/control/heartbeat", heartbeat, "operate", "Keep a claim",
                 body=TokenBody, answer=anything, tags=tags, refusal=ContractRefusal, refused=CLAIMS),
        Endpoint("POST", f"{root}/control/release", release, "operate", "Give a claim back",
                 body=TokenBody, answer=anything, tags=tags, refusal=ContractRefusal, refused=CLAIMS),
    ]  # fmt: skip
    for action in ACTIONS:
        summary = f"{action.replace('_', ' ').capitalize()}; 412 where `allowed_actions` does not list it"
        path, is_stop = f"{root}/control/{action}", action == "stop"
        found.append(
            Endpoint("POST", path, control(action), "operate", summary, body=ControlBody, answer=anything, tags=tags,
                     also=() if is_stop else (202,), errors=() if is_stop else FAULTS,
                     refusal=ContractRefusal, refused=() if is_stop else (*REFUSALS, *CLAIMS), urgent=is_stop)
        )  # fmt: skip
    return found


async def _answer(work: Callable[[], Awaitable[dict[str, Any]]]) -> Any:
    try:
        return await work()
    except DeviceClaimed as fault:
        return _response(claimed(fault))


def _response(reply: Reply) -> web.Response:
    headers = {} if reply.retry_after is None else {"Retry-After": reply.retry_after}
    body = msgspec.json.encode(reply.body)
    return web.Response(body=body, status=reply.status, headers=headers, content_type="application/json")

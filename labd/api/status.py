"""`/api/v1/status` and `/healthz`: what the daemon is, what it does, what needs a person."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
from aiohttp import web

from labd.api.endpoint import Call, Endpoint
from labd.api.options import ApiOptions
from labd.api.queues import QueueBody, queue_body
from labd.clock import Clock, iso

if TYPE_CHECKING:
    from labd.engine.engine import Engine


class StatusSource(Protocol):
    """What only the whole daemon knows; given by whoever connects the parts."""

    version: str
    started_at: float

    def wings(self) -> list[dict[str, Any]]:
        """`{"name", "state": "on|off|faulty", "reason", "install", "devices": [...]}` of each wing."""
        ...

    def attention(self) -> list[dict[str, Any]]:
        """`{"code", "message", "subject"}` of each thing that needs a person."""
        ...

    def mqtt(self) -> dict[str, Any] | None:
        """Broker, connection and its last error; None where there is no MQTT door."""
        ...

    def mongo(self) -> dict[str, Any] | None:
        """Server, connection, its last error and how many movements wait; None where there is no MongoDB outlet."""
        ...

    def simulated(self) -> bool:
        """Whether any device of this daemon is a simulator."""
        ...


class StoreView(msgspec.Struct):
    """The databases."""

    full: bool
    size_bytes: int
    wal_bytes: int


class WingView(msgspec.Struct):
    """One wing and its devices."""

    name: str
    state: str
    reason: str = ""
    install: str = ""
    devices: list[dict[str, Any]] = []


class Attention(msgspec.Struct):
    """Something that needs a person."""

    code: str
    message: str
    subject: str = ""


class Status(msgspec.Struct):
    """Everything `labctl status` shows."""

    host: str
    version: str
    pid: int
    started_at: str
    uptime_s: float
    state: Literal["serving", "draining", "store_full"]
    store: StoreView
    jobs: dict[str, int]
    queues: list[QueueBody]
    wings: list[WingView]
    attention: list[Attention]
    simulated: bool
    socket: str
    state_dir: str
    mqtt: dict[str, Any] | None = None
    mongo: dict[str, Any] | None = None


def endpoints(engine: Engine, options: ApiOptions, source: StatusSource, clock: Clock) -> list[Endpoint]:
    """Routes about the daemon itself."""

    async def status(call: Call) -> Status:
        numbers = engine.statistics()
        size_bytes = numbers.get("store_size_bytes", 0) + numbers.get("logbook_size_bytes", 0)
        state: Literal["serving", "draining", "store_full"] = "serving"
        if engine.store_full:
            state = "store_full"
        if engine.draining:
            state = "draining"
        attention = [msgspec.convert(item, Attention) for item in source.attention()]
        if engine.store_full:
            attention.insert(0, Attention("store_full", engine.store_problem, "store"))
        return Status(
            host=options.host_name,
            version=source.version,
            pid=os.getpid(),
            started_at=iso(source.started_at) or "",
            uptime_s=round(clock.wall() - source.started_at, 3),
            state=state,
            store=StoreView(engine.store_full, int(size_bytes), int(numbers.get("store_wal_size_bytes", 0))),
            jobs={str(name): count for name, count in engine.counts().items()},
            queues=[queue_body(queue) for queue in engine.queues()],
            wings=[msgspec.convert(item, WingView) for item in source.wings()],
            attention=attention,
            simulated=source.simulated(),
            socket=str(options.socket),
            state_dir=str(options.state_dir),
            mqtt=source.mqtt(),
            mongo=source.mongo(),
        )

    async def healthz(call: Call) -> web.Response:
        return web.Response(text="ok")

    return [
        Endpoint("GET", "/healthz", healthz, "none", "The daemon answers", tags=("daemon",), urgent=True),
        Endpoint("GET", "/api/v1/status", status, "read", "State of the daemon", answer=Status, tags=("daemon",)),
    ]


class Reloaded(msgspec.Struct):
    """Keys of the settings that are different now."""

    changed: list[str]


def reload_endpoints(engine: Engine, reload: Callable[[], Awaitable[list[str]]]) -> list[Endpoint]:
    """The route that reads the settings again."""

    async def apply(call: Call) -> Reloaded:
        changed = await reload()
        engine.audit(call.caller, "settings.reload", "settings", {"changed": changed})
        return Reloaded(changed)

    return [
        Endpoint(
            "POST",
            "/api/v1/reload",
            apply,
            "admin",
            "Apply changed settings as a whole, or refuse them as a whole",
            answer=Reloaded,
            tags=("daemon",),
            errors=("settings_invalid",),
        )
    ]

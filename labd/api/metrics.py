"""`/metrics`: numbers for Prometheus, text format 0.0.4."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from aiohttp import web

from labd.api.connection import connection_of
from labd.api.door import Door
from labd.api.endpoint import Call, Endpoint
from labd.api.status import StatusSource
from labd.clock import Clock

if TYPE_CHECKING:
    from labd.engine.engine import Engine
    from labd.engine.views import QueueView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
Sample = tuple[dict[str, str], float]


def family(name: str, kind: str, help_text: str, samples: Iterable[Sample]) -> str:
    """One metric with its samples."""
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        text = ",".join(f'{key}="{_label(each)}"' for key, each in labels.items())
        lines.append(f"{name}{{{text}}} {value:.17g}" if text else f"{name} {value:.17g}")
    return "\n".join(lines) + "\n"


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def render(engine: Engine, source: StatusSource, clock: Clock) -> str:
    """All metrics."""
    queues = engine.queues()
    wings = source.wings()

    def per_queue(number: Callable[[QueueView], float]) -> list[Sample]:
        return [({"queue": queue.name}, number(queue)) for queue in queues]

    parts = [
        family("labd_info", "gauge", "Version of the daemon.", [({"version": source.version}, 1)]),
        family("labd_uptime_seconds", "gauge", "Time since the start.", [({}, clock.wall() - source.started_at)]),
        family(
            "labd_jobs",
            "gauge",
            "Jobs in the store by state.",
            [({"state": str(state)}, count) for state, count in engine.counts().items()],
        ),
        family("labd_queue_depth", "gauge", "Queued jobs.", per_queue(lambda queue: queue.queued)),
        family("labd_queue_running", "gauge", "Running jobs.", per_queue(lambda queue: queue.running)),
        family("labd_queue_held", "gauge", "Jobs that wait for a person.", per_queue(lambda queue: queue.held)),
        family("labd_queue_paused", "gauge", "1 while paused.", per_queue(lambda queue: queue.paused)),
        family(
            "labd_wing_on",
            "gauge",
            "1 where the wing is at work.",
            [({"wing": str(wing["name"])}, wing["state"] == "on") for wing in wings],
        ),
        family("labd_attention", "gauge", "Things that need a person.", [({}, len(source.attention()))]),
    ]
    parts += [family(*figure) for figure in engine.figures()]
    taken = {part.split(" ", 3)[2] for part in parts}
    for key, value in engine.statistics().items():
        name = "labd_" + _NO_NAME.sub("_", str(key))
        if name not in taken:
            kind = "counter" if name.endswith("_total") else "gauge"
            parts.append(family(name, kind, "Engine statistic.", [({}, value)]))
    return "".join(parts)


def doors(door: Door) -> str:
    """Who is inside, and who was refused."""
    inside: list[Sample] = [({"listener": kind}, count) for kind, count in door.inside.items()]
    refused: list[Sample] = [({"limit": what}, count) for what, count in door.refusals.items()]
    return "".join(
        (
            family("labd_connections", "gauge", "Open connections, event streams not counted.", inside),
            family("labd_event_streams", "gauge", "Open event streams.", [({}, door.streams)]),
            family("labd_requests_waiting", "gauge", "Requests in line.", [({}, door.turnstile.waiting)]),
            family("labd_refused_total", "counter", "Clients refused because a limit was reached.", refused),
        )
    )


def endpoints(engine: Engine, source: StatusSource, clock: Clock) -> list[Endpoint]:
    """The route of the metrics."""

    async def metrics(call: Call) -> web.Response:
        return web.Response(
            body=(render(engine, source, clock) + doors(connection_of(call.request).door)).encode(),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )

    return [Endpoint("GET", "/metrics", metrics, "read", "Numbers for Prometheus (text)", tags=("daemon",))]

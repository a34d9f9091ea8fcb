"""The doors of a daemon put together: every endpoint there is, behind one server.

Why a module of its own: it brings the web server along, the largest part of what a daemon imports. `app.py` has it
imported while the first worker starts, which is time that nobody else uses.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from labd import credentials
from labd.api import alerts, doctor, environments
from labd.api import settings as api_settings
from labd.api.options import ApiOptions
from labd.api.server import ApiServer, build
from labd.api.status import StatusSource
from labd.clock import Clock
from labd.doctor import Doctor
from labd.engine.engine import Engine
from labd.engine.worker_tasks import WorkerTasks
from labd.notify import AlertDelivery
from labd.settings import Settings


def server_of(
    engine: Engine, workers: WorkerTasks, outlets: AlertDelivery, source: StatusSource,
    settings: Callable[[], Settings], of_wings: Iterable[Any], reload: Callable[[], Awaitable[list[str]]], clock: Clock,
    inherited: socket.socket | None,
) -> ApiServer:  # fmt: skip
    """The server, not yet open.

    Args:
        settings: Those in force when asked.
        of_wings: Endpoints of the wings and of what is beside them.
    """
    given = settings()
    states = {"mqtt": source.mqtt, "mongo": source.mongo}
    certificate = credential(given.api.tls_cert)
    look = Doctor(engine, workers, given.state_dir, source.wings, states, certificate, clock).look
    own = [
        *environments.endpoints(engine, workers, clock),
        *alerts.endpoints(engine.alerts, outlets),
        *api_settings.endpoints(lambda: (settings().given, settings().origin)),
        *doctor.endpoints(look, clock),
    ]
    return build(engine, options_of(given), [*own, *of_wings], source, reload, clock=clock, inherited=inherited)


def options_of(settings: Settings) -> ApiOptions:
    """What the settings say of the doors."""
    api = settings.api
    return ApiOptions(
        socket=settings.socket,
        state_dir=settings.state_dir,
        host_name=settings.host.name,
        listen=api.listen,
        tls_cert=credential(api.tls_cert),
        tls_key=credential(api.tls_key),
        behind_proxy=api.behind_proxy,
        allowed_hosts=api.allowed_hosts,
        allowed_origins=api.allowed_origins,
        users=settings.access.users,
        groups=settings.access.groups,
        max_body_bytes=api.max_body_bytes,
        request_timeout_s=api.request_timeout_s,
        connections_at_most=api.connections_at_most,
        event_streams_at_most=api.event_streams_at_most,
        bodies_at_most_bytes=api.bodies_at_most_bytes,
        share_per_caller=api.share_per_caller,
        event_write_timeout_s=api.write_timeout_s,
    )


def credential(reference: str | None) -> Path | None:
    """Where a certificate or a key lies."""
    return None if reference is None else credentials.path_of(reference, os.environ)

"""All routes of the daemon: each resource's list, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labd.api import jobs, queues, status
from labd.api.bearer import BrowserSessions, TokenBook
from labd.api.endpoint import Endpoint
from labd.api.options import ApiOptions
from labd.api.status import StatusSource
from labd.clock import Clock

if TYPE_CHECKING:
    from labd.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Parts:
    """What the resources need."""

    engine: Engine
    options: ApiOptions
    status_source: StatusSource
    reload: Callable[[], Awaitable[list[str]]]
    clock: Clock
    tokens: TokenBook
    sessions: BrowserSessions
    token_made: Callable[[], Awaitable[None]]


def all_endpoints(parts: Parts, of_wings: list[Endpoint]) -> list[Endpoint]:
    """Every route, the wings' last."""
    engine, options = parts.engine, parts.options
    return [
        *status.endpoints(engine, options, parts.status_source, parts.clock),
        *jobs.endpoints(engine),
        *queues.endpoints(engine),
        *of_wings,
    ]

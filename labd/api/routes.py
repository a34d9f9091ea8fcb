"""All routes of the daemon: each resource's list, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labd.api import (
    audit,
    backup,
    docs,
    events,
    execute,
    jobs,
    metrics,
    openapi,
    queues,
    runbook,
    schedules,
    session,
    status,
    tasks,
    timeline,
    tokens,
    web,
)
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
    """Every route, in the order in which a path is compared with them."""
    engine, options, source, clock = parts.engine, parts.options, parts.status_source, parts.clock
    found: list[Endpoint] = []
    found += web.endpoints(source.version)
    found += docs.endpoints(found, source.version)
    found += runbook.endpoints()
    found += openapi.endpoints(engine, found, source.version)
    found += status.endpoints(engine, options, source, clock)
    found += status.reload_endpoints(engine, parts.reload)
    found += metrics.endpoints(engine, source, clock)
    found += session.endpoints(options, parts.sessions)
    found += jobs.endpoints(engine)
    found += execute.endpoints(engine)
    found += queues.endpoints(engine)
    found += schedules.endpoints(engine)
    found += events.endpoints(engine, options)
    found += audit.endpoints(engine)
    found += timeline.endpoints(engine, clock)
    found += tokens.endpoints(engine, parts.tokens, parts.token_made)
    found += backup.endpoints(engine, options, clock)
    found += of_wings
    found += tasks.endpoints(engine)  # the last: a name may hold slashes, so its route takes all that is left
    return found

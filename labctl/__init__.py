"""labctl: the command line and the Python clients of labd.

from labctl import AsyncClient, Client, orchestrator
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labctl.async_client import AsyncClient as AsyncClient
    from labctl.client import Client as Client


def __getattr__(name: str) -> Any:
    """Import a client when it is asked for: the commands must not pay for asyncio."""
    if name == "Client":
        from labctl.client import Client

        return Client
    if name == "AsyncClient":
        from labctl.async_client import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

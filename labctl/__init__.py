"""labctl: the command line and the Python clients of labd.

from labctl import AsyncClient, Client, orchestrator
from labctl import AsyncOrchestratorClient, MQTTOrchestratorClient, OrchestratorClient
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labctl.async_client import AsyncClient as AsyncClient
    from labctl.async_orchestrator import AsyncOrchestratorClient as AsyncOrchestratorClient
    from labctl.client import Client as Client
    from labctl.mqtt_client import MQTTOrchestratorClient as MQTTOrchestratorClient
    from labctl.orchestrator import OrchestratorClient as OrchestratorClient


def __getattr__(name: str) -> Any:
    """Import a client when it is asked for: the commands must not pay for asyncio."""
    if name == "Client":
        from labctl.client import Client

        return Client
    if name == "AsyncClient":
        from labctl.async_client import AsyncClient

        return AsyncClient
    if name == "AsyncOrchestratorClient":
        from labctl.async_orchestrator import AsyncOrchestratorClient

        return AsyncOrchestratorClient
    if name == "OrchestratorClient":
        from labctl.orchestrator import OrchestratorClient

        return OrchestratorClient
    if name == "MQTTOrchestratorClient":
        from labctl.mqtt_client import MQTTOrchestratorClient

        return MQTTOrchestratorClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

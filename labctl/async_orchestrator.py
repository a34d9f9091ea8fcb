"""`OrchestratorClient` for programs that run on asyncio; many tasks may be under way at once."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from labctl.async_client import AsyncClient
from labctl.client import ENDED
from labctl.outcome import result_of


class AsyncOrchestratorClient:
    """A daemon by its address, for programs that run tasks and want their results.

    async with AsyncOrchestratorClient("http://ot2-device:8000") as client:
        result = await client.execute_task("mix_color", R=120, Y=50, B=80)

    Arguments and errors are those of `OrchestratorClient`.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout_s: float | None = None) -> None:
        self._client = AsyncClient(url, token=token)
        self._timeout_s = timeout_s

    async def __aenter__(self) -> AsyncOrchestratorClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a second call does nothing."""
        await self._client.close()

    async def execute_task(self, task_name: str, /, **args: Any) -> Any:
        """Run a task, follow it to its end, and return its result; raises as `OrchestratorClient.execute_task`."""
        job = await self._client.submit(task_name, args)
        return result_of(job if job["state"] in ENDED else await self._client.follow(job["id"], self._timeout_s))

    async def list_tasks(self) -> list[dict[str, Any]]:
        """All tasks that can be asked for."""
        return await self._client.tasks()

    async def health(self) -> str:
        """`ok` as long as the daemon serves."""
        return await self._client.health()

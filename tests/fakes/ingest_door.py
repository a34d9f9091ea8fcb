"""The ingest wing behind the real doors in this process, with the lake in memory or real children."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from labctl.__main__ import answer
from tests.fakes.api_door import open_door
from tests.fakes.ingest_house import IngestHouse
from tests.fakes.raw_http import RawClient

ROOT = "/api/v1/ingestions"
Labctl = Callable[..., Awaitable[tuple[int, str, str]]]


class IngestDoor(IngestHouse):
    """A house with a door."""

    client: RawClient

    @property
    def url(self) -> str:
        """For a client of labctl."""
        return f"unix:{self.state_dir / 'labd.sock'}"

    @asynccontextmanager
    async def open_door(self) -> AsyncIterator[IngestDoor]:
        """The engine, the wing and the server; closed, with nothing left, on the way out."""
        async with (
            self.open(),
            open_door(self.engine, self.state_dir, of_wings=self.service.endpoints()),
            await RawClient.unix(self.state_dir / "labd.sock") as self.client,
        ):
            yield self
            await self.engine.drain(0.0)

    def body(self, name: str = "sales", **fields: Any) -> dict[str, Any]:
        """A definition as a caller writes it."""
        source = {"url": self.inbox.as_uri(), "settle_s": 0, **fields.pop("source", {})}
        form = {"type": "jsonl", **fields.pop("format", {})}
        return {"name": name, "source": source, "format": form, "destination": {"table": name}, **fields}

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The body of an answer of that status."""
        told = await self.client.ask(method, f"{ROOT}{path}", body)
        assert told.status == status, (told.status, told.json)
        return told.json

    async def get(self, path: str, status: int = 200) -> Any:
        """A read."""
        return await self.ask("GET", path, None, status)

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """A change."""
        return await self.ask("POST", path, {} if body is None else body, status)

    async def job(self, told: dict[str, Any]) -> Any:
        """The job of an answer when it has ended."""
        return await self.ended(await self.engine.job(told["id"]))


def labctl_of(capsys: Any) -> Labctl:
    """`labctl ingest` in a thread of this process: exit code, standard output, standard error."""

    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(answer, ["ingest", *words])
        out, err = capsys.readouterr()
        lines = [line for line in out.splitlines(keepends=True) if not line.startswith("20") or "[" not in line]
        return code, "".join(lines), err

    return run

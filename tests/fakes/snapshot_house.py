"""The snapshots wing behind the real doors in this process, with the small graph store or one that is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.api_door import open_door
from tests.fakes.raw_http import RawClient
from tests.fakes.snapshot_yard import Yard


class SnapshotHouse(Yard):
    """A yard with a door."""

    client: RawClient

    @property
    def url(self) -> str:
        """For a client of labctl."""
        return f"unix:{self.state_dir / 'labd.sock'}"

    @asynccontextmanager
    async def open_door(self) -> AsyncIterator[SnapshotHouse]:
        """The engine, the wing and the server; closed, with nothing left, on the way out."""
        async with (
            self.open(),
            open_door(self.engine, self.state_dir, of_wings=self.service.endpoints()),
            await RawClient.unix(self.state_dir / "labd.sock") as self.client,
        ):
            yield self
            await self.engine.drain(0.0)

    async def get(self, path: str, status: int = 200) -> Any:
        """The body of a read."""
        answer = await self.client.ask("GET", f"/api/v1/snapshots{path}")
        assert answer.status == status, answer.json
        return answer.json

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """The body of a change."""
        answer = await self.client.ask("POST", f"/api/v1/snapshots{path}", {} if body is None else body)
        assert answer.status == status, answer.json
        return answer.json

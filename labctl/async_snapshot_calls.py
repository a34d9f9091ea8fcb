"""The snapshots in the asynchronous client; the same methods as in the blocking one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from labctl import snapshot_requests as snapshots
from labctl.routes import Request, get, post

Json = dict[str, Any]


class AsyncSnapshotCalls:
    """What a client asks of the snapshots wing; what takes time answers with its job, for `wait`.

    Raises:
        BadRequest, UnknownSnapshot, Refused, GraphRefused, GraphUnreachable: Nothing was changed.
    """

    @abstractmethod
    async def _object(self, request: Request, timeout_s: float | None = None) -> Json: ...

    async def snapshots(
        self,
        customer: str | None = None,
        state: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Json:
        """One page by customer, newest first: `{"snapshots": [...], "next": offset or None}`."""
        return await self._object(snapshots.page(customer, state, limit, offset))

    async def snapshot(self, customer: str, timestamp: str) -> Json:
        """One snapshot."""
        return await self._object(get(snapshots.version_path(customer, timestamp)))

    async def snapshot_customers(self) -> Json:
        """Which version serves each customer: `{"customers": [...]}`."""
        return await self._object(get(f"{snapshots.ROOT}/customers"))

    async def snapshot_customer(self, customer: str) -> Json:
        """Which version serves a customer, which one before, and what else is in the store."""
        return await self._object(get(snapshots.customer_path(customer)))

    async def snapshot_health(self) -> Json:
        """How the graph store is, and what loads wait for."""
        return await self._object(get(f"{snapshots.ROOT}/health"))

    async def scan_snapshots(self) -> Json:
        """Look for new snapshots now."""
        return await self._object(post(f"{snapshots.ROOT}/scan"), snapshots.SCAN_ANSWER_S)

    async def load_snapshots(self, switch: bool | None = None) -> Json:
        """Look for new snapshots: `{"jobs": [...]}` that load them; `switch=False` leaves the aliases alone."""
        return await self._object(snapshots.load_new(switch), snapshots.SCAN_ANSWER_S)

    async def load_snapshot(self, customer: str, timestamp: str | None = None, switch: bool | None = None) -> Json:
        """The job that loads a snapshot, the newest of the customer if none is named."""
        return await self._object(snapshots.load(customer, timestamp, switch), snapshots.SCAN_ANSWER_S)

    async def verify_snapshot(self, customer: str, timestamp: str) -> Json:
        """The job that compares a database with its snapshot again."""
        return await self._object(snapshots.act("verify", customer, timestamp))

    async def switch_snapshot(self, customer: str, timestamp: str) -> Json:
        """The job that lets a verified version serve, the newest or not."""
        return await self._object(snapshots.act("switch", customer, timestamp))

    async def rollback_snapshot(self, customer: str, reason: str = "") -> Json:
        """The job that lets the version before serve again."""
        return await self._object(snapshots.rollback(customer, reason))

    async def approve_snapshot(self, customer: str, timestamp: str, reason: str = "") -> Json:
        """Let a held snapshot go on in spite of its differences; its job."""
        return await self._object(snapshots.decide("approve", customer, timestamp, reason))

    async def reject_snapshot(self, customer: str, timestamp: str, reason: str = "") -> Json:
        """Never serve a held snapshot; its database is dropped."""
        return await self._object(snapshots.decide("reject", customer, timestamp, reason), snapshots.DROP_ANSWER_S)

    async def pin_snapshot(self, customer: str, timestamp: str) -> Json:
        """Keep a version whatever its age."""
        return await self._object(snapshots.act("pin", customer, timestamp))

    async def unpin_snapshot(self, customer: str, timestamp: str) -> Json:
        """Keep it no longer."""
        return await self._object(snapshots.act("unpin", customer, timestamp))

    async def drop_snapshot(self, customer: str, timestamp: str) -> Json:
        """Drop one version's database; refused while it is in use."""
        return await self._object(snapshots.act("drop", customer, timestamp), snapshots.DROP_ANSWER_S)

    async def snapshot_cleanup_plan(self, customer: str | None = None) -> Json:
        """What a cleanup would drop and keep: `{"dropped": [...], "verdicts": [...]}`."""
        return await self._object(snapshots.cleanup_plan(customer))

    async def cleanup_snapshots(self, customer: str | None = None) -> Json:
        """The job that drops what nobody needs any more."""
        return await self._object(snapshots.cleanup(customer))

    async def query_snapshot(
        self,
        customer: str,
        cypher: str,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        limit: int | None = None,
        database: str | None = None,
    ) -> Json:
        """Rows of the version that serves, or of another one; read only.

        Raises:
            GraphRefused: The statement is wrong, would write, or took too long.
        """
        request = snapshots.query(customer, cypher, parameters, timeout_s, limit, database)
        return await self._object(request, snapshots.query_answer_s(timeout_s))

    async def simulate_snapshot(
        self, customer: str = "customer1", rows: int | None = None, damage: str | None = None
    ) -> Json:
        """Lay down a made-up snapshot: `{"snapshots": [...], "jobs": [...]}`; refused unless the settings allow it."""
        return await self._object(snapshots.simulate(customer, rows, damage), snapshots.DEMO_ANSWER_S)

    async def snapshot_demo_data(self, rows: int | None = None, damaged: bool = False) -> Json:
        """Lay down the first snapshot of each demo customer; refused unless the settings allow it."""
        return await self._object(snapshots.demo_data(rows, damaged), snapshots.DEMO_ANSWER_S)

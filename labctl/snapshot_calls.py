"""The snapshots in the blocking client."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from labctl import snapshot_requests as snapshots
from labctl.routes import Request, get, post

Json = dict[str, Any]


class SnapshotCalls:
    """What a client asks of the snapshots wing; what takes time answers with its job, for `wait`.

    Raises:
        BadRequest, UnknownSnapshot, Refused, GraphRefused, GraphUnreachable: Nothing was changed.
    """

    @abstractmethod
    def _object(self, request: Request, timeout_s: float | None = None) -> Json: ...

    def snapshots(
        self,
        customer: str | None = None,
        state: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> Json:
        """One page by customer, newest first: `{"snapshots": [...], "next": offset or None}`."""
        return self._object(snapshots.page(customer, state, limit, offset))

    def snapshot(self, customer: str, timestamp: str) -> Json:
        """One snapshot."""
        return self._object(get(snapshots.version_path(customer, timestamp)))

    def snapshot_customers(self) -> Json:
        """Which version serves each customer: `{"customers": [...]}`."""
        return self._object(get(f"{snapshots.ROOT}/customers"))

    def snapshot_customer(self, customer: str) -> Json:
        """Which version serves a customer, which one before, and what else is in the store."""
        return self._object(get(snapshots.customer_path(customer)))

    def snapshot_health(self) -> Json:
        """How the graph store is, and what loads wait for."""
        return self._object(get(f"{snapshots.ROOT}/health"))

    def scan_snapshots(self) -> Json:
        """Look for new snapshots now."""
        return self._object(post(f"{snapshots.ROOT}/scan"), snapshots.SCAN_ANSWER_S)

    def load_snapshots(self, switch: bool | None = None) -> Json:
        """Look for new snapshots: `{"jobs": [...]}` that load them; `switch=False` leaves the aliases alone."""
        return self._object(snapshots.load_new(switch), snapshots.SCAN_ANSWER_S)

    def load_snapshot(self, customer: str, timestamp: str | None = None, switch: bool | None = None) -> Json:
        """The job that loads a snapshot, the newest of the customer if none is named."""
        return self._object(snapshots.load(customer, timestamp, switch), snapshots.SCAN_ANSWER_S)

    def verify_snapshot(self, customer: str, timestamp: str) -> Json:
        """The job that compares a database with its snapshot again."""
        return self._object(snapshots.act("verify", customer, timestamp))

    def switch_snapshot(self, customer: str, timestamp: str) -> Json:
        """The job that lets a verified version serve, the newest or not."""
        return self._object(snapshots.act("switch", customer, timestamp))

    def rollback_snapshot(self, customer: str, reason: str = "") -> Json:
        """The job that lets the version before serve again."""
        return self._object(snapshots.rollback(customer, reason))

    def approve_snapshot(self, customer: str, timestamp: str, reason: str = "") -> Json:
        """Let a held snapshot go on in spite of its differences; its job."""
        return self._object(snapshots.decide("approve", customer, timestamp, reason))

    def reject_snapshot(self, customer: str, timestamp: str, reason: str = "") -> Json:
        """Never serve a held snapshot; its database is dropped."""
        return self._object(snapshots.decide("reject", customer, timestamp, reason), snapshots.DROP_ANSWER_S)

    def pin_snapshot(self, customer: str, timestamp: str) -> Json:
        """Keep a version whatever its age."""
        return self._object(snapshots.act("pin", customer, timestamp))

    def unpin_snapshot(self, customer: str, timestamp: str) -> Json:
        """Keep it no longer."""
        return self._object(snapshots.act("unpin", customer, timestamp))

    def drop_snapshot(self, customer: str, timestamp: str) -> Json:
        """Drop one version's database; refused while it is in use."""
        return self._object(snapshots.act("drop", customer, timestamp), snapshots.DROP_ANSWER_S)

    def snapshot_cleanup_plan(self, customer: str | None = None) -> Json:
        """What a cleanup would drop and keep: `{"dropped": [...], "verdicts": [...]}`."""
        return self._object(snapshots.cleanup_plan(customer))

    def cleanup_snapshots(self, customer: str | None = None) -> Json:
        """The job that drops what nobody needs any more."""
        return self._object(snapshots.cleanup(customer))

    def query_snapshot(
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
        return self._object(request, snapshots.query_answer_s(timeout_s))

    def simulate_snapshot(
        self, customer: str = "customer1", rows: int | None = None, damage: str | None = None
    ) -> Json:
        """Lay down a made-up snapshot: `{"snapshots": [...], "jobs": [...]}`; refused unless the settings allow it."""
        return self._object(snapshots.simulate(customer, rows, damage), snapshots.DEMO_ANSWER_S)

    def snapshot_demo_data(self, rows: int | None = None, damaged: bool = False) -> Json:
        """Lay down the first snapshot of each demo customer; refused unless the settings allow it."""
        return self._object(snapshots.demo_data(rows, damaged), snapshots.DEMO_ANSWER_S)

"""The HTTP of the snapshots: `/api/v1/snapshots/...`; what takes time answers with its job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.engine.job import Job, JobView, view
from labd.snapshots.desk import SnapshotDesk
from labd.snapshots.record import SnapshotView, State
from labd.snapshots.views import Cleanup, CustomerView, HealthView, Laid, QueryAnswer, ScanView

if TYPE_CHECKING:
    from labd.snapshots.service import SnapshotService

ROOT = "/api/v1/snapshots"
CUSTOMER = f"{ROOT}/customers/{{customer}}"
VERSION = f"{CUSTOMER}/versions/{{timestamp}}"
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=500)]
Rows = Annotated[int, Meta(ge=1, le=1_000_000)]
Handler = Callable[[Call], Awaitable[Any]]
TAGS = ("snapshots",)
WRONG = ("bad_request", "unknown_snapshot")
STORE = ("graph_unreachable", "graph_refused")


class PageQuery(msgspec.Struct, kw_only=True):
    """Which snapshots; `offset` is the `next` of the page before."""

    customer: Name | None = None
    state: State | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class PlanQuery(msgspec.Struct, kw_only=True):
    """Of one customer, else of all."""

    customer: Name | None = None


class LoadBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether the alias goes there in the end; the settings' word if left out."""

    switch: bool | None = None


class ReasonBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why; it stands in the audit."""

    reason: Text = ""


class CleanupBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of one customer, else of all."""

    customer: Name | None = None


class QueryBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A statement that reads; limits are those of the settings, or less.

    `database` is the timestamp or the database of a version; else the one that serves.
    """

    cypher: Annotated[str, Meta(min_length=1, max_length=100_000)]
    parameters: dict[str, Any] = {}
    timeout_s: Annotated[float, Meta(gt=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    database: Name | None = None


class SimulateBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A made-up snapshot: `rows` people, else about as many as serve; with `damage` a broken one."""

    customer: Name = "customer1"
    rows: Rows | None = None
    damage: Literal["cut", "dangling"] | None = None


class DemoBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One snapshot a customer of the demo, the largest of three times `rows` people; and a broken one if `damaged`."""

    rows: Rows = 1000
    damaged: bool = False


class SnapshotPage(msgspec.Struct):
    """By customer, newest first; `next` is the `offset` of the next page, null at the end."""

    snapshots: list[SnapshotView]
    next: int | None = None


class Customers(msgspec.Struct):
    """All customers, by name."""

    customers: list[CustomerView]


class Jobs(msgspec.Struct):
    """Jobs that load."""

    jobs: list[JobView]


def snapshot_endpoints(service: SnapshotService) -> list[Endpoint]:
    """All routes of the wing."""
    desk = service.desk
    return [*_looks(desk), *_whole(desk), *_of_customer(service, desk), *_of_version(service, desk)]


def _looks(desk: SnapshotDesk) -> list[Endpoint]:
    async def page(call: Call) -> Any:
        asked: PageQuery = call.query
        found = await desk.page(asked.customer, asked.state, asked.limit, asked.offset)
        return SnapshotPage(found, asked.offset + len(found) if len(found) == asked.limit else None)

    async def health(_call: Call) -> Any:
        return await desk.health()

    async def customers(_call: Call) -> Any:
        return Customers(desk.customers())

    async def customer(call: Call) -> Any:
        return desk.customer(call.path["customer"])

    async def one(call: Call) -> Any:
        return await desk.one(**call.path)

    async def plan(call: Call) -> Any:
        return await desk.plan_cleanup(call.query.customer)

    return [
        Endpoint("GET", ROOT, page, "read", "All snapshots, by customer, newest first",
                 query=PageQuery, answer=SnapshotPage, tags=TAGS, errors=("bad_request",)),
        Endpoint("GET", f"{ROOT}/health", health, "read", "How the graph store is, and what loads wait for",
                 answer=HealthView, tags=TAGS),
        Endpoint("GET", f"{ROOT}/cleanup", plan, "read", "What a cleanup would drop and keep, and why",
                 query=PlanQuery, answer=Cleanup, tags=TAGS, errors=("bad_request", *STORE)),
        Endpoint("GET", f"{ROOT}/customers", customers, "read", "Which version serves each customer",
                 answer=Customers, tags=TAGS),
        Endpoint("GET", CUSTOMER, customer, "read", "Which version serves a customer",
                 answer=CustomerView, tags=TAGS, errors=WRONG),
        Endpoint("GET", VERSION, one, "read", "One snapshot", answer=SnapshotView, tags=TAGS, errors=WRONG),
    ]  # fmt: skip


def _whole(desk: SnapshotDesk) -> list[Endpoint]:
    async def scan(_call: Call) -> Any:
        return await desk.scan()

    async def load(call: Call) -> Any:
        return Jobs([view(job) for job in await desk.load_new(call.caller, call.body.switch)])

    async def cleanup(call: Call) -> Any:
        return view(await desk.cleanup(call.caller, call.body.customer))

    async def simulate(call: Call) -> Any:
        body: SimulateBody = call.body
        return await desk.simulate(call.caller, body.customer, body.rows, body.damage)

    async def demo_data(call: Call) -> Any:
        return await desk.demo_data(call.caller, call.body.rows, call.body.damaged)

    full = ("bad_request", "refused", "store_full")
    return [
        Endpoint("POST", f"{ROOT}/scan", scan, "operate", "Look for new snapshots now; each gets its job",
                 answer=ScanView, tags=TAGS, errors=("store_full",)),
        Endpoint("POST", f"{ROOT}/load", load, "operate", "Look for new snapshots; the jobs that load them",
                 body=LoadBody, answer=Jobs, status=202, tags=TAGS, errors=full),
        Endpoint("POST", f"{ROOT}/cleanup", cleanup, "operate", "Drop what nobody needs any more, as a job",
                 body=CleanupBody, answer=JobView, status=202, tags=TAGS, errors=full),
        Endpoint("POST", f"{ROOT}/simulate", simulate, "operate", "Lay down a made-up snapshot, as a producer would",
                 body=SimulateBody, answer=Laid, status=201, tags=TAGS, errors=full),
        Endpoint("POST", f"{ROOT}/demo-data", demo_data, "operate", "Lay down the demo's first snapshots",
                 body=DemoBody, answer=Laid, status=201, tags=TAGS, errors=full),
    ]  # fmt: skip


def _of_customer(service: SnapshotService, desk: SnapshotDesk) -> list[Endpoint]:
    async def load(call: Call) -> Any:
        return view(await service.load(call.caller, call.path["customer"], None, call.body.switch))

    async def rollback(call: Call) -> Any:
        return view(await desk.rollback(call.caller, call.path["customer"], call.body.reason))

    async def query(call: Call) -> Any:
        body: QueryBody = call.body
        return await desk.query(
            call.path["customer"], body.cypher, body.parameters, body.timeout_s, body.limit, body.database
        )

    changes = (*WRONG, "refused", "job_state_conflict", "store_full")
    return [
        Endpoint("POST", f"{CUSTOMER}/load", load, "operate", "Load the newest snapshot of a customer",
                 body=LoadBody, answer=JobView, status=202, tags=TAGS, errors=changes),
        Endpoint("POST", f"{CUSTOMER}/rollback", rollback, "operate", "Let the version before serve again",
                 body=ReasonBody, answer=JobView, status=202, tags=TAGS, errors=changes),
        Endpoint("POST", f"{CUSTOMER}/query", query, "read", "Ask the version that serves; read only",
                 body=QueryBody, answer=QueryAnswer, tags=TAGS, errors=(*WRONG, "refused", *STORE)),
    ]  # fmt: skip


def _of_version(service: SnapshotService, desk: SnapshotDesk) -> list[Endpoint]:
    changes = (*WRONG, "refused", "job_state_conflict", "store_full")

    def job(verb: str, body: Any, act: Callable[[Call], Awaitable[Job]], summary: str) -> Endpoint:
        async def handler(call: Call) -> Any:
            return view(await act(call))

        return _post(verb, handler, summary, body=body, answer=JobView, status=202)

    def _post(verb: str, handler: Handler, summary: str, **kept: Any) -> Endpoint:
        kept = {"answer": SnapshotView, **kept}
        return Endpoint("POST", f"{VERSION}/{verb}", handler, "operate", summary, tags=TAGS, errors=changes, **kept)

    async def reject(call: Call) -> Any:
        return await service.reject(call.caller, **call.path, reason=call.body.reason)

    async def pin(call: Call) -> Any:
        return await service.pin(call.caller, **call.path, pinned=True)

    async def unpin(call: Call) -> Any:
        return await service.pin(call.caller, **call.path, pinned=False)

    async def drop(call: Call) -> Any:
        return await service.drop(call.caller, **call.path)

    return [
        job("load", LoadBody, lambda call: service.load(call.caller, **call.path, switch=call.body.switch),
            "Load a snapshot, whatever became of it before"),
        job("verify", None, lambda call: desk.verify(call.caller, **call.path), "Compare a database with its snapshot"),
        job("switch", None, lambda call: desk.switch(call.caller, **call.path),
            "Let a verified version serve, the newest or not"),
        job("approve", ReasonBody, lambda call: service.approve(call.caller, **call.path, reason=call.body.reason),
            "Let a held snapshot go on in spite of its differences"),
        _post("reject", reject, "Never serve a held snapshot; its database is dropped", body=ReasonBody),
        _post("pin", pin, "Keep a version whatever its age"),
        _post("unpin", unpin, "Keep it no longer"),
        _post("drop", drop, "Drop one version's database"),
    ]  # fmt: skip

"""The HTTP of the inventory: `/api/v1/inventory/...`; every volume is microlitres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.inventory.desk import Availability, StockDesk
from labd.inventory.history import HistoryQuery, filter_of
from labd.inventory.outlook import FitView, ForecastView
from labd.inventory.reservoir import MovementView, ReservoirSpec, ReservoirView
from labd.inventory.transfer import Transfer

if TYPE_CHECKING:
    from labd.inventory.service import InventoryService

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Person = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=1000)]
EXPORT_PAGE = 1000
ROOT = "/api/v1/inventory"


class InitializeBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Volumes by reservoir or colour; without any, every reservoir is full."""

    volumes_ul: dict[str, float] = {}
    operator: Person = ""
    reset: bool = False
    reason: Text = ""
    evaporation_rate_ul_per_hour: float | None = None


class RestockBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Volumes by reservoir or colour, and who fills them in."""

    volumes_ul: dict[str, float]
    operator: Person = ""
    cause: Text = ""
    lot: Text = ""


class MeasureBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A level that was read."""

    reservoir: Name
    level_ul: float
    operator: Person = ""


class AdjustBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A correction; negative takes away."""

    reservoir: Name
    change_ul: float
    reason: Text
    operator: Person = ""


class LidBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`open` or `closed`."""

    reservoir: Name
    lid: str
    operator: Person = ""


class RemoveBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why it goes out of use."""

    reason: Text
    operator: Person = ""


class AvailabilityBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a job would need; `threshold_ul` must be left behind, else the configured one."""

    required_ul: dict[str, float]
    threshold_ul: float | None = None


class ImportBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An export; its movements may be left out, only its reservoirs and levels are taken over."""

    document: dict[str, Any]
    operator: Person = ""
    reason: Text = ""


class CheckQuery(msgspec.Struct, kw_only=True):
    """What counts as low; else each reservoir's own level."""

    low_threshold_ul: Annotated[float, Meta(ge=0)] | None = None


class Overview(msgspec.Struct):
    """All reservoirs in the configured order."""

    simulated: bool
    threshold_ul: float
    reservoirs: list[ReservoirView]


class Done(msgspec.Struct):
    """What an act has done, and how things stand now."""

    movements: list[MovementView]
    reservoirs: list[ReservoirView]
    reservoir: ReservoirView | None = None


class MovementPage(msgspec.Struct):
    """Movements, newest first; `next` is the `before` of the next page, null at the end."""

    movements: list[MovementView]
    next: int | None = None


def inventory_endpoints(service: InventoryService) -> list[Endpoint]:
    """All routes of the wing."""
    desk = service.desk
    return [*_looks(desk), *_acts(desk), *_reservoirs(desk)]


def _looks(desk: StockDesk) -> list[Endpoint]:
    async def overview(_call: Call) -> Any:
        return desk.overview()

    async def check(call: Call) -> Any:
        return desk.check(call.query.low_threshold_ul)

    async def availability(call: Call) -> Any:
        return desk.availability(call.body.required_ul, call.body.threshold_ul).view

    async def history(call: Call) -> Any:
        query: HistoryQuery = call.query
        key = None if query.reservoir is None else desk.ledger.find(query.reservoir)
        which = filter_of(query, key)
        await desk.engine.journal.settle()
        found = await desk.ledger.history(which)
        return MovementPage(found, found[-1].id if len(found) == call.query.limit else None)

    async def forecast(_call: Call) -> Any:
        return await desk.outlook.forecast()

    async def verify(_call: Call) -> Any:
        return await desk.ledger.verify()

    async def export(call: Call) -> Any:
        return await _export(desk, call)

    anything, tags = dict[str, Any], ("inventory",)
    return [
        Endpoint("GET", ROOT, overview, "read", "All reservoirs: levels, reserved and available",
                 answer=Overview, tags=tags),
        Endpoint("GET", f"{ROOT}/check", check, "read", "What is low, with warnings and recommendations",
                 query=CheckQuery, answer=anything, tags=tags),
        Endpoint("POST", f"{ROOT}/availability", availability, "read",
                 "Whether a job with these volumes would be accepted",
                 body=AvailabilityBody, answer=Availability, tags=tags, errors=("bad_volume", "unknown_reservoir")),
        Endpoint("GET", f"{ROOT}/history", history, "read", "Movements, newest first",
                 query=HistoryQuery, answer=MovementPage, tags=tags, errors=("bad_request", "unknown_reservoir")),
        Endpoint("GET", f"{ROOT}/forecast", forecast, "read",
                 "When each reservoir runs out, and during which queued job, with its band",
                 answer=ForecastView, tags=tags),
        Endpoint("GET", f"{ROOT}/verify", verify, "read", "Replay all movements and compare with the balances",
                 answer=anything, tags=tags),
        Endpoint("GET", f"{ROOT}/export", export, "read", "All reservoirs and movements as one document",
                 answer=anything, tags=tags, streams=True),
    ]  # fmt: skip


def _acts(desk: StockDesk) -> list[Endpoint]:
    verbs = desk.verbs

    async def initialize(call: Call) -> Any:
        body: InitializeBody = call.body
        return await verbs.initialize(
            body.volumes_ul, call.caller, body.operator, reset=body.reset, reason=body.reason,
            evaporation_rate_ul_per_hour=body.evaporation_rate_ul_per_hour,
        )  # fmt: skip

    async def restock(call: Call) -> Any:
        body: RestockBody = call.body
        return await verbs.restock(body.volumes_ul, body.operator, call.caller, body.cause, body.lot)

    async def measure(call: Call) -> Any:
        body: MeasureBody = call.body
        return await verbs.measure(body.reservoir, body.level_ul, call.caller, body.operator)

    async def adjust(call: Call) -> Any:
        body: AdjustBody = call.body
        return await verbs.adjust(body.reservoir, body.change_ul, body.reason, call.caller, body.operator)

    async def lid(call: Call) -> Any:
        return await verbs.set_lid(call.body.reservoir, call.body.lid, call.caller, call.body.operator)

    async def take_over(call: Call) -> Any:
        return await verbs.take_over(Transfer(call.body.document), call.body.operator, call.body.reason, call.caller)

    bad = ("bad_request", "bad_volume", "unknown_reservoir", "store_full")
    filled = (*bad, "inventory_not_initialized")
    policy: dict[str, Any] = {"answer": Done, "tags": ("inventory",)}
    return [
        Endpoint("POST", f"{ROOT}/initialize", initialize, "operate",
                 "Say how much is there; on stock that exists only with reset and a reason",
                 body=InitializeBody, errors=(*bad, "refused", "conflict"), **policy),
        Endpoint("POST", f"{ROOT}/restock", restock, "operate", "Add to the stock",
                 body=RestockBody, errors=filled, **policy),
        Endpoint("POST", f"{ROOT}/measure", measure, "operate", "Tell a level that was read",
                 body=MeasureBody, errors=filled, **policy),
        Endpoint("POST", f"{ROOT}/adjust", adjust, "operate", "Correct a level, with a reason",
                 body=AdjustBody, errors=filled, **policy),
        Endpoint("POST", f"{ROOT}/lid", lid, "operate", "Tell that a lid is open or closed",
                 body=LidBody, errors=bad, **policy),
        Endpoint("POST", f"{ROOT}/import", take_over, "admin", "Bring all reservoirs to the levels of an export",
                 body=ImportBody, errors=(*bad, "refused"), **policy),
    ]  # fmt: skip


def _reservoirs(desk: StockDesk) -> list[Endpoint]:
    verbs = desk.verbs

    async def read(call: Call) -> Any:
        return desk.ledger.view(call.path["name"])

    async def fit(call: Call) -> Any:
        return await desk.outlook.fit(call.path["name"])

    async def add(call: Call) -> Any:
        return await verbs.add(call.body, call.caller)

    async def edit(call: Call) -> Any:
        return await verbs.edit(call.path["name"], call.body, call.caller)

    async def remove(call: Call) -> Any:
        return await verbs.remove(call.path["name"], call.body.reason, call.caller, call.body.operator)

    at, unknown = f"{ROOT}/reservoirs/{{name}}", ("unknown_reservoir",)
    bad = ("bad_request", "bad_volume", "store_full")
    tags = ("inventory",)
    return [
        Endpoint("GET", at, read, "read", "One reservoir", answer=ReservoirView, tags=tags, errors=unknown),
        Endpoint("GET", f"{at}/fit", fit, "read", "The evaporation rate that its measured levels tell",
                 answer=FitView, tags=tags, errors=unknown),
        Endpoint("POST", f"{ROOT}/reservoirs", add, "operate", "A new reservoir",
                 body=ReservoirSpec, answer=Done, status=201, tags=tags, errors=(*bad, "conflict")),
        Endpoint("PUT", at, edit, "operate", "Other facts of a reservoir; what is left out stays",
                 body=dict[str, Any], answer=Done, tags=tags, errors=(*bad, *unknown)),
        Endpoint("POST", f"{at}/remove", remove, "operate", "Take a reservoir out of use; its movements stay",
                 body=RemoveBody, answer=Done, tags=tags, errors=(*bad, *unknown, "refused")),
    ]  # fmt: skip


async def _export(desk: StockDesk, call: Call) -> web.StreamResponse:
    """One document, written a page of movements at a time: a ledger may be larger than the daemon's memory."""
    page = HistoryQuery(limit=EXPORT_PAGE)
    desk.ledger.settle()
    head, last_id = msgspec.json.encode(desk.export_head()), desk.ledger.book.last_id
    await desk.engine.journal.settle()
    found = await desk.ledger.history(filter_of(page, None, before=last_id + 1))
    answer = web.StreamResponse(
        headers={"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    )
    await answer.prepare(call.request)
    await answer.write(head[:-1] + b',"movements":[')
    first = True
    while found:
        block = msgspec.json.encode(found)[1:-1]
        await answer.write(block if first else b"," + block)
        first = False
        if len(found) < EXPORT_PAGE:
            break
        found = await desk.ledger.history(filter_of(page, None, before=found[-1].id))
    await answer.write(b"]}")
    await answer.write_eof()
    return answer

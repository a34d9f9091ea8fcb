"""`/api/v1/alerts`: what needs a person, who has seen it, and the outlets that are told.

Why the outlets come as a face of their own: the API knows no outlet, and a labd without `[notify]` has the same routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from labd.api import runbook
from labd.api.endpoint import Call, Endpoint
from labd.clock import iso
from labd.engine.alert_rules import Alert
from labd.errors import NotFound

if TYPE_CHECKING:
    from labd.engine.alerts import AlertBook


class OutletView(msgspec.Struct):
    """One outlet as it stands; `failures` counts since the last message that went through."""

    name: str
    kind: str
    place: str
    only: tuple[str, ...]
    min_severity: str
    failures: int
    problem: str | None
    last_told_at: str | None


class OutletTrial(msgspec.Struct):
    """What became of a test message."""

    outlet: str
    kind: str
    place: str
    delivered: bool
    problem: str | None = None


class Outlets(Protocol):
    """What the routes ask of whoever delivers alerts."""

    def views(self) -> Sequence[OutletView]:
        """All outlets by name."""
        ...

    async def test(self, name: str | None = None) -> Sequence[OutletTrial]:
        """Send a test message to one or all; raises NotFound where there is none."""
        ...


class ToldView(msgspec.Struct):
    """An outlet that has been told of the alert as it stands."""

    outlet: str
    at: str | None
    reminders: int


class AlertView(msgspec.Struct):
    """One alert; `id` is another one each time it is raised, `runbook` the place of its text on this daemon."""

    key: str
    id: int
    code: str
    subject: str
    severity: str
    message: str
    state: Literal["open", "acknowledged", "cleared"]
    count: int
    jobs: list[int]
    raised_at: str | None
    changed_at: str | None
    cleared_at: str | None
    acknowledged_at: str | None
    acknowledged_by: str | None
    note: str | None
    told: list[ToldView] = []
    runbook: str | None = None


class AlertList(msgspec.Struct):
    """Alerts, newest first, and the outlets."""

    alerts: list[AlertView]
    outlets: list[OutletView]


class AlertsQuery(msgspec.Struct):
    """`all`: also what is over."""

    all: bool = False


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    """Who has seen it, the caller unless said, and what there is to say of it."""

    by: Annotated[str, Meta(max_length=200)] = ""
    note: Annotated[str, Meta(max_length=2000)] = ""


class OutletWish(msgspec.Struct, forbid_unknown_fields=True):
    """The outlet to be tried; all where none is named."""

    outlet: str | None = None


class OutletTrials(msgspec.Struct):
    """What became of each test message."""

    results: list[OutletTrial]


def endpoints(book: AlertBook, outlets: Outlets | None) -> list[Endpoint]:
    """Routes of the alerts.

    Args:
        outlets: None where no outlet is configured.
    """

    def view(alert: Alert) -> AlertView:
        state: Literal["open", "acknowledged", "cleared"] = "open" if alert.is_owed else "acknowledged"
        return AlertView(
            alert.key, alert.id, alert.code, alert.subject, alert.severity, alert.message,
            state if alert.is_open else "cleared", alert.count, alert.jobs, iso(alert.raised_at), iso(alert.changed_at),
            iso(alert.cleared_at), iso(alert.acked_at), alert.acked_by, alert.acked_note, told(alert),
            runbook.address(alert.code),
        )  # fmt: skip

    def told(alert: Alert) -> list[ToldView]:
        found = []
        for outlet in outlets.views() if outlets is not None else ():
            last = book.told(outlet.name, alert.key)
            if last is not None and last.alert_id == alert.id:
                found.append(ToldView(outlet.name, iso(last.at), last.reminders))
        return found

    async def list_alerts(call: Call) -> AlertList:
        shown = [view(alert) for alert in book.all() if alert.is_open or call.query.all]
        return AlertList(shown, list(outlets.views()) if outlets is not None else [])

    async def show(call: Call) -> AlertView:
        return view(book.find(call.path["key"]))

    async def acknowledge(call: Call) -> AlertView:
        wish: Acknowledgement = call.body or Acknowledgement()
        return view(await book.acknowledge(call.path["key"], call.caller, wish.by, wish.note))

    async def test(call: Call) -> OutletTrials:
        wish: OutletWish = call.body or OutletWish()
        if outlets is None:
            raise NotFound("no outlet is configured; see [notify] in labd.toml")
        return OutletTrials(list(await outlets.test(wish.outlet)))

    tags = ("alerts",)
    return [
        Endpoint(
            "GET", "/api/v1/alerts", list_alerts, "read", "What needs a person, and the outlets that are told",
            query=AlertsQuery, answer=AlertList, tags=tags,
        ),
        Endpoint(
            "POST", "/api/v1/alerts/test", test, "operate", "Send a test message to one outlet or to all",
            body=OutletWish, answer=OutletTrials, tags=tags, errors=("not_found",),
        ),
        Endpoint(
            "GET", "/api/v1/alerts/{key}", show, "read", "One alert", answer=AlertView, tags=tags,
            errors=("not_found",),
        ),
        Endpoint(
            "POST", "/api/v1/alerts/{key}/ack", acknowledge, "operate", "Say that somebody has seen it",
            body=Acknowledgement, answer=AlertView, tags=tags, errors=("not_found", "conflict", "store_full"),
        ),
    ]  # fmt: skip

"""`labctl alert`: what needs a person, who has seen it, and whether the outlets work."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, render
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation

COLUMNS = [
    *("key", "severity", "state", "count", "raised_at", "changed_at", "cleared_at"),
    *("acknowledged_by", "note", "message"),
]
SHOWN = ["key", "severity", "state", "changed_at", "acknowledged_by", "message"]
Json = dict[str, Any]


@click.group(cls=LabGroup)
def command() -> None:
    """What needs a person, and who has seen it."""


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what is over.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(call: Invocation, everything: bool, form: str) -> int:
    """What needs a person, newest first; exit code 6 where nobody has acknowledged something."""
    alerts = call.client.alerts(everything)
    call.listing({"alerts": alerts}, COLUMNS, [_row(alert) for alert in alerts], form, SHOWN)
    return exits.ATTENTION if any(alert["state"] == "open" for alert in alerts) else exits.DONE


@command.command()
@click.argument("key")
@click.pass_obj
def show(call: Invocation, key: str) -> int:
    """Everything about one alert, and what to do about it."""
    alert = call.client.alert(key)
    return _show(call, alert, call.client.runbook(alert["code"]) if alert.get("runbook") else None)


@command.command()
@click.argument("key")
@click.option("--by", metavar="NAME", help="Who has seen it, if not the caller.")
@click.option("--note", metavar="TEXT", help="Kept with it.")
@click.pass_obj
def ack(call: Invocation, key: str, by: str | None, note: str | None) -> int:
    """Say that somebody has seen it: nobody is told any more, until it changes."""
    alert = call.client.acknowledge_alert(key, by, note)
    over = "; it is over with that" if alert["state"] == "cleared" else ""
    call.emit(alert, lambda: f"alert {alert['key']}: acknowledged by {alert['acknowledged_by']}{over}")
    return exits.DONE


@command.command()
@click.argument("outlet", required=False)
@click.pass_obj
def test(call: Invocation, outlet: str | None) -> int:
    """Send a test message to OUTLET or to all; exit code 1 where one was not taken."""
    results = call.client.test_alerts(outlet)

    def line(one: Json) -> str:
        became = "taken" if one["delivered"] else f"NOT taken: {one['problem']}"
        return render.printable(f"{one['outlet']} ({one['place']}): {became}")

    call.emit({"results": results}, lambda: "\n".join(line(one) for one in results))
    return exits.DONE if all(one["delivered"] for one in results) else exits.JOB_FAILED


def _show(call: Invocation, alert: Json, text: Json | None) -> int:
    facts = {key: value for key, value in alert.items() if value not in (None, [], "")}
    call.emit(alert, lambda: "\n".join([render.pairs(facts), *_runbook(text)]))
    return exits.DONE


def _runbook(text: Json | None) -> list[str]:
    if text is None:
        return []
    steps = [f"  {number}. {step}" for number, step in enumerate(text["steps"], 1)]
    return ["", f"{text['title']}. {text['means']}", f"Meanwhile: {text['meanwhile']}", *steps]


def _row(alert: Json) -> list[str]:
    return [render.instant(alert.get(key)) if key.endswith("_at") else render.cell(alert.get(key)) for key in COLUMNS]

"""`labctl audit`: who did what, and whether the record is whole."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, render
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation

COLUMNS = ["id", "at", "actor", "action", "subject", "details"]
Json = dict[str, Any]


@click.group(cls=LabGroup)
def command() -> None:
    """Who did what."""


@command.command("list")
@click.option("--before", type=click.IntRange(min=1), help="Only entries in front of this number.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(call: Invocation, before: int | None, limit: int, form: str) -> int:
    """Entries, newest first."""
    page = call.client.audit(before, limit)
    call.listing(page, COLUMNS, [_row(entry) for entry in page["entries"]], form)
    return exits.DONE


@command.command()
@click.pass_obj
def verify(call: Invocation) -> int:
    """Check the hash chain; exit code 6 where it is broken."""
    report = call.client.verify_audit()

    def text() -> str:
        if report["ok"]:
            return f"audit: whole, {report['entries']} entries, head {report['head']}"
        problem = render.printable(str(report.get("problem") or ""))
        return f"audit: BROKEN at entry {report['broken_at']} of {report['entries']}: {problem}"

    call.emit(report, text)
    return exits.DONE if report["ok"] else exits.ATTENTION


def _row(entry: Json) -> list[str]:
    return [render.instant(entry["at"]) if key == "at" else render.cell(entry.get(key)) for key in COLUMNS]

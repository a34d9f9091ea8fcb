"""`labctl doctor`: is everything as it should be, and what to do where it is not."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, render
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation

Json = dict[str, Any]
SIGNS = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  ", "unknown": "unknown"}


@click.command(cls=LabCommand)
@click.option("--faults", is_flag=True, help="Leave out what is as it should be.")
@click.pass_obj
def command(call: Invocation, faults: bool) -> int:
    """Look at databases, audit, devices, disk, clock, environments, schedules; exit code 6 on any fault."""
    report = call.client.doctor()
    shown = [one for one in report["findings"] if not faults or one["state"] in ("warning", "fault")]
    call.emit(report, lambda: "\n".join([*(_line(one) for one in shown), _sum(report["findings"])]))
    return exits.DONE if report["ok"] else exits.ATTENTION


def _line(finding: Json) -> str:
    line = f"{SIGNS[finding['state']]}  {finding['check']:<12} {render.printable(finding['message'])}"
    return f"{line}\n{'':9}next: {render.printable(finding['remedy'])}" if finding["remedy"] else line


def _sum(findings: list[Json]) -> str:
    count = {state: sum(one["state"] == state for one in findings) for state in SIGNS}
    others = ", ".join(f"{count[state]} {state}" for state in ("warning", "unknown") if count[state])
    faults = f"{count['fault']} fault{'' if count['fault'] == 1 else 's'}" if count["fault"] else "no fault"
    return f"doctor: {faults} in {len(findings)} findings" + (f" ({others})" if others else "")

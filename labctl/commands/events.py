"""`labctl events`: what happens, as it happens."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from labctl import exits, render
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.terminal import say

QUIET_S = 0.5
Json = dict[str, Any]


@click.command(cls=LabCommand)
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C; with --json one object a line.")
@click.option("--after", type=click.IntRange(min=0), help="Everything behind the event of this number.")
@click.option("--last", type=click.IntRange(min=0), help="So many before now; 50 unless --follow or --after.")
@click.option("--kind", "kinds", multiple=True, metavar="PREFIX", help="Such as job. or device.; several are fine.")
@click.pass_obj
def command(call: Invocation, follow: bool, after: int | None, last: int | None, kinds: tuple[str, ...]) -> int:
    """What happened, and what happens."""
    wanted = [kind for one in kinds for kind in one.split(",") if kind]
    newest = None
    if after is None and (last is not None or not follow):
        newest = call.client.last_event()
        after = max(0, newest - (50 if last is None else last))
    if follow:
        try:
            for event in call.client.events(after, wanted):
                say(json.dumps(event, ensure_ascii=False) if call.as_json else _line(event))
                sys.stdout.flush()
        except KeyboardInterrupt:
            return exits.INTERRUPTED
        return exits.DONE
    newest = call.client.last_event() if newest is None else newest
    found: list[Json] = []
    if after is not None and after < newest:
        for event in call.client.events(after, wanted, quiet_s=QUIET_S):
            if event["seq"] <= newest:
                found.append(event)
            if event["seq"] >= newest:
                break
    call.emit({"events": found}, lambda: "\n".join(map(_line, found)) or "nothing happened")
    return exits.DONE


def _line(event: Json) -> str:
    job = f" job {event['job_id']}" if event.get("job_id") is not None else ""
    facts = " ".join(f"{key}={render.cell(value)}" for key, value in (event.get("data") or {}).items())
    return render.printable(f"{event['seq']} {render.instant(event['at'])} {event['kind']}{job} {facts}".rstrip())

"""`labctl inventory import-mongo`: an existing lab's MongoDB as the beginning of the ledger."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits
from labctl.commands.root import LabCommand
from labctl.invocation import Invocation
from labctl.routes import post

Json = dict[str, Any]


@click.command("import-mongo", cls=LabCommand)
@click.option("--dry-run", is_flag=True, help="Only tell what is there and what it comes to.")
@click.option("--operator", metavar="NAME", default="", help="Who does it, where the login does not say it.")
@click.option("--reset", is_flag=True, help="Replace stock that is in the ledger already; needs --reason.")
@click.option("--reason", metavar="TEXT", default="", help="Stands in every movement.")
@click.pass_obj
def command(call: Invocation, dry_run: bool, operator: str, reset: bool, reason: str) -> int:
    """Take over the collections inventory and restock_log of the MongoDB in the settings.

    The levels are those that the lab's programs would compute now, evaporation included.
    """
    body = {"dry_run": dry_run, "operator": operator, "reset": reset, "reason": reason}
    answer = call.client.ask(post("/inventory/import-mongo", body))
    call.emit(answer, lambda: told(answer))
    return exits.DONE if answer["refusal"] is None else exits.REFUSED


def told(answer: Json) -> str:
    """The answer for a terminal."""
    found = answer["found"]
    lines = [f"{found['source']}: {len(found['levels'])} reservoirs, {found['restocks_total']} restocks"]
    for one in found["levels"]:
        since = f"{one['volume_ul'] / 1000:.2f} ml on {one['last_updated']}"
        rate = f"{one['evaporation_rate_ul_per_hour']:g} ul/h"
        lines.append(f"  {one['reservoir']} ({one['color_key']}): {one['level_ul'] / 1000:.2f} ml now; {since}, {rate}")
    lines += [f"  problem: {problem}" for problem in found["problems"]]
    if answer["refusal"] is not None:
        lines.append(f"it would be refused: {answer['refusal']}")
    elif answer["dry_run"]:
        lines.append("nothing was changed; the same without --dry-run takes it over")
    else:
        lines.append(f"taken over in {len(answer['movements'])} movements; `labctl inventory history` shows them")
    return "\n".join(lines)

"""`labctl token`: tokens for access over TCP."""

from __future__ import annotations

import click

from labctl import arguments, exits, render
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation

COLUMNS = ["id", "name", "scopes", "created_at", "created_by", "expires_at", "last_used_at", "revoked_at"]


@click.group(cls=LabGroup)
def command() -> None:
    """Tokens for access over TCP."""


@command.command("list")
@click.pass_obj
def list_(call: Invocation) -> int:
    """All tokens, without their secrets."""
    tokens = call.client.tokens()
    rows = [
        [render.instant(one.get(key)) if key.endswith("_at") else render.cell(one.get(key)) for key in COLUMNS]
        for one in tokens
    ]
    call.listing({"tokens": tokens}, COLUMNS, rows)
    return exits.DONE


@command.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(["read", "operate", "admin"]), help="Several are fine."
)
@click.option("--expires", metavar="SPAN", help="Such as 30d; never unless said.")
@click.pass_obj
def create(call: Invocation, name: str, scopes: tuple[str, ...], expires: str | None) -> int:
    """A new token; its secret is shown once, now."""
    expires_in_s = None if expires is None else arguments.required_span_s(expires)
    token = call.client.create_token(name, list(scopes) or ["read"], expires_in_s)
    call.emit(token, lambda: str(token["token"]))
    if not call.as_json:
        told = f"token {token['id']} {name} ({', '.join(token['scopes'])}): keep it, it is not shown again; elsewhere"
        call.tell(f"{told} `labctl host add NAME URL --token-stdin` or LABD_TOKEN")
    return exits.DONE


@command.command()
@click.argument("token_id", type=int)
@click.pass_obj
def revoke(call: Invocation, token_id: int) -> int:
    """Make a token worthless at once."""
    answer = call.client.revoke_token(token_id)
    call.emit(answer, f"token {token_id}: revoked")
    return exits.DONE

"""`labctl snapshot`: versions of each customer's graph."""

from __future__ import annotations

from typing import Any

import click

from labctl import exits, snapshot_words
from labctl.commands.root import LabGroup
from labctl.commands.snapshot_ask import query
from labctl.commands.snapshot_demo import demo_data, simulate
from labctl.commands.snapshot_load import approve, load, reject, rollback, switch, verify
from labctl.commands.snapshot_watch import CleanupWatch
from labctl.commands.verbs import finish, waits
from labctl.invocation import Invocation

STATES = [
    *("settled", "gated", "loading", "loaded", "verified", "active", "superseded", "held", "rejected", "dropping"),
    *("dropped", "failed", "quarantined"),
]
PAGE = 1000


@click.group(cls=LabGroup)
def command() -> None:
    """Versions of each customer's graph.

    A snapshot is loaded into a database of its own, verified, and then served through the customer's alias; the version
    before stays as the way back.
    """


for _one in (load, verify, switch, rollback, approve, reject, query, simulate, demo_data):
    command.add_command(_one)


@command.command("list")
@click.argument("customer", required=False)
@click.option("--state", type=click.Choice(STATES))
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(call: Invocation, customer: str | None, state: str | None, limit: int, form: str) -> int:
    """Snapshots by customer, newest first."""
    found, after = _pages(call, customer, state, limit)
    plain = form == "csv"
    rows = [snapshot_words.row(one, plain) for one in found]
    answer = {"snapshots": found, "next": after}
    call.listing(answer, snapshot_words.COLUMNS, rows, form, snapshot_words.shown(found))
    if after is not None and form == "table" and not call.as_json:
        call.tell(f"the first {len(found)}; more with --limit")
    return exits.DONE


@command.command()
@click.argument("customer")
@click.argument("timestamp", required=False)
@click.pass_obj
def show(call: Invocation, customer: str, timestamp: str | None) -> int:
    """Everything about one snapshot; without TIMESTAMP who serves CUSTOMER, and its versions."""
    if timestamp is not None:
        one = call.client.snapshot(customer, timestamp)
        call.emit(one, lambda: snapshot_words.snapshot(one))
        return exits.DONE
    serving = call.client.snapshot_customer(customer)
    found, _ = _pages(call, customer, None, PAGE)
    call.emit({**serving, "snapshots": found}, lambda: snapshot_words.customer(serving, found))
    return exits.DONE


@command.command()
@click.pass_obj
def scan(call: Invocation) -> int:
    """Look for new snapshots now; exit code 6 if the folder cannot be scanned."""
    answer = call.client.scan_snapshots()
    call.emit(answer, lambda: snapshot_words.scan(answer))
    return exits.ATTENTION if answer["problem"] else exits.DONE


@command.command()
@click.pass_obj
def health(call: Invocation) -> int:
    """How the graph store is; exit code 6 if loads wait for it."""
    answer = call.client.snapshot_health()
    call.emit(answer, lambda: snapshot_words.health(answer))
    return exits.DONE if answer["ok"] and not answer["scan_problem"] else exits.ATTENTION


@command.command()
@click.argument("customer")
@click.argument("timestamp")
@click.pass_obj
def pin(call: Invocation, customer: str, timestamp: str) -> int:
    """Keep a version whatever its age."""
    one = call.client.pin_snapshot(customer, timestamp)
    call.emit(one, lambda: f"{snapshot_words.name(one)} is pinned; no cleanup drops it")
    return exits.DONE


@command.command()
@click.argument("customer")
@click.argument("timestamp")
@click.pass_obj
def unpin(call: Invocation, customer: str, timestamp: str) -> int:
    """Keep it no longer."""
    one = call.client.unpin_snapshot(customer, timestamp)
    call.emit(one, lambda: f"{snapshot_words.name(one)} is not pinned")
    return exits.DONE


@command.command()
@click.argument("customer")
@click.argument("timestamp")
@click.pass_obj
def drop(call: Invocation, customer: str, timestamp: str) -> int:
    """Drop one version's database; refused while anything needs it."""
    one = call.client.drop_snapshot(customer, timestamp)
    call.emit(one, lambda: f"{snapshot_words.name(one)} is {one['state']}; it has no database")
    return exits.DONE


@command.command()
@click.argument("customer", required=False)
@click.option("--dry-run", is_flag=True, help="Only tell what would be dropped and what is kept.")
@waits
@click.pass_obj
def cleanup(call: Invocation, /, customer: str | None, dry_run: bool, **waiting: Any) -> int:
    """Drop what nobody needs: never what serves, the version before, what is pinned or read."""
    if not dry_run:
        return finish(call, call.client.cleanup_snapshots(customer), **waiting, watch=CleanupWatch())
    plan = call.client.snapshot_cleanup_plan(customer)
    call.emit(plan, lambda: snapshot_words.cleanup(plan, dry_run=True))
    return exits.DONE


def _pages(
    call: Invocation, customer: str | None, state: str | None, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    found: list[dict[str, Any]] = []
    after: int | None = None
    while len(found) < limit:
        page = call.client.snapshots(customer, state, min(PAGE, limit - len(found)), after)
        found += page["snapshots"]
        after = page["next"]
        if after is None:
            break
    return found, after

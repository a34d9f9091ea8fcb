"""`labctl snapshot load`, `verify`, `switch`, `rollback`, `approve` and `reject`: what decides who serves."""

from __future__ import annotations

import time
from typing import Any

import click

from labctl import exits, snapshot_words
from labctl.commands.root import LabCommand
from labctl.commands.snapshot_watch import SnapshotWatch
from labctl.commands.verbs import finish, until_end, waits
from labctl.invocation import Invocation
from labctl.waiting import Interrupted

Json = dict[str, Any]
_WORST_FIRST = (exits.JOB_FAILED, exits.REFUSED, exits.ATTENTION, exits.STILL_GOING)


@click.command(cls=LabCommand)
@click.argument("customer", required=False)
@click.argument("timestamp", required=False)
@click.option(
    "--switch/--no-switch", default=None, help="Whether the alias goes there in the end; else as the settings say."
)
@waits
@click.pass_obj
def load(call: Invocation, /, customer: str | None, timestamp: str | None, switch: bool | None, **waiting: Any) -> int:
    """Load a snapshot, verify it, and let it serve if it is the newest.

    Without TIMESTAMP the newest of CUSTOMER; without CUSTOMER all that is new. Exit code 6 if one ended held.
    """
    if customer is not None:
        job = call.client.load_snapshot(customer, timestamp, switch)
        return finish(call, job, **waiting, watch=SnapshotWatch(call))
    return _all(call, call.client.load_snapshots(switch)["jobs"], **waiting)


def _all(call: Invocation, jobs: list[Json], wait: bool, timeout: float | None, interrupt: str) -> int:
    """Follow them one after the other; the worst end is the exit code."""
    if not jobs:
        call.emit({"jobs": []}, "nothing new; `labctl snapshot list` shows all")
        return exits.DONE
    deadline = None if timeout is None else time.monotonic() + timeout
    ended, codes = [], {exits.DONE}
    for job in jobs:
        watch, started = SnapshotWatch(call), time.monotonic()
        if wait:
            left_s = None if deadline is None else max(0.0, deadline - started)
            try:
                job = until_end(call, job, left_s, interrupt, watch)
            except Interrupted as cut:
                ended.append(cut.job)
                codes = {exits.INTERRUPTED}
                break
            codes.add(watch.code(job))
        ended.append(job)
        if not call.as_json:
            call.emit(job, _told(job, watch, time.monotonic() - started))
    if call.as_json:
        call.emit({"jobs": ended}, "")
    return next((code for code in (exits.INTERRUPTED, *_WORST_FIRST) if code in codes), exits.DONE)


def _told(job: Json, watch: SnapshotWatch, seconds: float) -> str:
    if exits.of_job(job) == exits.STILL_GOING:
        which = f"{job['args'].get('customer')}/{job['args'].get('timestamp')}"
        return f"{which}: job {job['id']} is {job['state']}; `labctl job wait {job['id']}`"
    return watch.ended(job, seconds)


@click.command(cls=LabCommand)
@click.argument("customer")
@click.argument("timestamp")
@waits
@click.pass_obj
def verify(call: Invocation, /, customer: str, timestamp: str, **waiting: Any) -> int:
    """Compare a database with its snapshot again; exit code 6 if they differ."""
    return finish(call, call.client.verify_snapshot(customer, timestamp), **waiting, watch=SnapshotWatch(call))


@click.command(cls=LabCommand)
@click.argument("customer")
@click.argument("timestamp")
@waits
@click.pass_obj
def switch(call: Invocation, /, customer: str, timestamp: str, **waiting: Any) -> int:
    """Let a verified version serve, the newest or not."""
    return finish(call, call.client.switch_snapshot(customer, timestamp), **waiting, watch=SnapshotWatch(call))


@click.command(cls=LabCommand)
@click.argument("customer")
@click.option("--reason", metavar="TEXT", default="", help="Why; stands at the version that is left.")
@waits
@click.pass_obj
def rollback(call: Invocation, /, customer: str, reason: str, **waiting: Any) -> int:
    """Let the version before serve again; a second rollback goes forth again."""
    return finish(call, call.client.rollback_snapshot(customer, reason), **waiting, watch=SnapshotWatch(call))


@click.command(cls=LabCommand)
@click.argument("customer")
@click.argument("timestamp")
@click.option("--reason", metavar="TEXT", default="", help="Why it is right in spite of its differences.")
@waits
@click.pass_obj
def approve(call: Invocation, /, customer: str, timestamp: str, reason: str, **waiting: Any) -> int:
    """Let a held snapshot go on to serve."""
    job = call.client.approve_snapshot(customer, timestamp, reason)
    return finish(call, job, **waiting, watch=SnapshotWatch(call))


@click.command(cls=LabCommand)
@click.argument("customer")
@click.argument("timestamp")
@click.option("--reason", metavar="TEXT", required=True, help="What is wrong with it.")
@click.pass_obj
def reject(call: Invocation, customer: str, timestamp: str, reason: str) -> int:
    """Never serve a held snapshot; its database is dropped."""
    one = call.client.reject_snapshot(customer, timestamp, reason)
    serving = call.client.snapshot_customer(customer)
    call.emit(one, lambda: f"{snapshot_words.name(one)} is {one['state']}\n{snapshot_words.serves(serving)}")
    return exits.DONE

"""`labctl schedule`: jobs by cron or interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from labctl import arguments, exits, render
from labctl.commands.root import LabGroup
from labctl.invocation import Invocation
from labd.errors import BadRequest

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]
COLUMNS = ["name", "task", "when", "timezone", "paused", "next_run_at", "last_run_at", "args"]
SHOWN = ["name", "task", "when", "paused", "next_run_at", "args"]
FIELDS = [
    *("name", "task", "args", "cron", "interval_s", "anchor_at", "timezone", "misfire", "misfire_limit", "overlap"),
    *("overlap_limit", "jitter_s", "queue", "priority", "tags", "paused"),
]


@click.group(cls=LabGroup)
def command() -> None:
    """Jobs by cron or interval."""


def _rules(function: F) -> F:
    options = [
        click.option("--cron", metavar="'M H D M W'", help="Five fields, such as '0 3 * * *'."),
        click.option("--every", "interval", metavar="SPAN", help="Such as 30s, 10m or 2h."),
        click.option("--anchor", "anchor_at", metavar="TIME", help="Intervals count from here."),
        click.option("--timezone", metavar="ZONE", help="Such as Europe/Berlin; UTC unless said."),
        click.option("--misfire", type=click.Choice(["skip", "latest", "all"]), help="Runs missed while labd was off."),
        click.option("--misfire-limit", type=click.IntRange(min=1)),
        click.option(
            "--overlap", type=click.Choice(["skip", "queue_one", "parallel"]), help="When the last one is not done."
        ),
        click.option("--overlap-limit", type=click.IntRange(min=1)),
        click.option("--jitter", metavar="SPAN", help="Later by chance, at most so much."),
        click.option("--queue"),
        click.option("--priority", type=click.IntRange(0, 9)),
        click.option("--tag", "tags", multiple=True),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@command.command("list")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
@click.pass_obj
def list_(call: Invocation, form: str) -> int:
    """All schedules."""
    schedules = call.client.schedules()
    call.listing({"schedules": schedules}, COLUMNS, [_row(one) for one in schedules], form, SHOWN)
    return exits.DONE


@command.command()
@click.argument("name")
@click.argument("task")
@click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--args", "args_json", metavar="JSON")
@_rules
@click.option("--paused", is_flag=True, help="Make it, and let it make nothing yet.")
@click.pass_obj
def add(
    call: Invocation, /, name: str, task: str, pairs: tuple[str, ...], args_json: str | None, paused: bool, **rules: Any
) -> int:
    """Make a schedule NAME for TASK."""
    args = arguments.task_arguments(call.client, task, pairs, args_json)
    return _show(
        call, call.client.add_schedule({"name": name, "task": task, "args": args, "paused": paused, **_said(rules)})
    )


@command.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--args", "args_json", metavar="JSON", help="All arguments anew.")
@click.option("--task")
@_rules
@click.pass_obj
def edit(
    call: Invocation, /, name: str, pairs: tuple[str, ...], args_json: str | None, task: str | None, **rules: Any
) -> int:
    """Change what is said; the rest stays."""
    kept = call.client.schedule(name)
    fresh = {key: kept[key] for key in FIELDS if key in kept}
    said = _said(rules)
    if "cron" in said:
        fresh["interval_s"] = fresh["anchor_at"] = None
    if "interval_s" in said:
        fresh["cron"] = None
    fresh.update(said)
    fresh["task"] = task or fresh["task"]
    if pairs or args_json is not None:
        old = {} if args_json is not None else fresh.get("args", {})
        fresh["args"] = {**old, **arguments.task_arguments(call.client, fresh["task"], pairs, args_json)}
    return _show(call, call.client.put_schedule(name, fresh))


@command.command()
@click.argument("name")
@click.pass_obj
def show(call: Invocation, name: str) -> int:
    """Everything about one schedule."""
    return _show(call, call.client.schedule(name))


@command.command()
@click.argument("name")
@click.pass_obj
def pause(call: Invocation, name: str) -> int:
    """Make no jobs until it is resumed."""
    return _show(call, call.client.pause_schedule(name))


@command.command()
@click.argument("name")
@click.pass_obj
def resume(call: Invocation, name: str) -> int:
    """Make jobs again."""
    return _show(call, call.client.resume_schedule(name))


@command.command()
@click.argument("name")
@click.pass_obj
def delete(call: Invocation, name: str) -> int:
    """Remove a schedule; its jobs stay."""
    answer = call.client.delete_schedule(name)
    call.emit(answer, f"schedule {name}: deleted")
    return exits.DONE


@command.command()
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True)
@click.pass_obj
def preview(call: Invocation, name: str, count: int) -> int:
    """When the next runs would be."""
    runs = call.client.preview_schedule(name, count)
    call.emit({"runs": runs}, lambda: "\n".join(render.instant(run) for run in runs) or "no run to come")
    return exits.DONE


def _said(rules: Json) -> Json:
    """The rules that were given, as fields of the API."""
    interval, jitter, tags = rules.pop("interval"), rules.pop("jitter"), rules.pop("tags")
    if rules["cron"] and interval:
        raise BadRequest("say --cron or --every, not both")
    said = {key: value for key, value in rules.items() if value is not None}
    if interval:
        said["interval_s"] = arguments.required_span_s(interval)
    if jitter:
        said["jitter_s"] = arguments.required_span_s(jitter)
    if tags:
        said["tags"] = list(tags)
    if "anchor_at" in said:
        said["anchor_at"] = arguments.instant(said["anchor_at"])
    return said


def _show(call: Invocation, schedule: Json) -> int:
    facts = {key: value for key, value in schedule.items() if value not in (None, [], {}, "")}
    call.emit(schedule, lambda: render.pairs(facts))
    return exits.DONE


def _row(schedule: Json) -> list[str]:
    interval = schedule.get("interval_s")
    when = schedule.get("cron") or (f"every {interval:g} s" if interval else "")
    told = {**schedule, "when": when}
    told["next_run_at"] = render.instant(schedule.get("next_run_at"))
    told["last_run_at"] = render.instant(schedule.get("last_run_at"))
    return [render.cell(told.get(column)) for column in COLUMNS]

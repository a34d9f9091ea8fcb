"""`labctl task`: what can be asked for."""

from __future__ import annotations

from typing import Any

import click

from labctl import arguments, exits, render
from labctl.commands.root import LabGroup
from labctl.commands.verbs import finish, override, waits
from labctl.invocation import Invocation

COLUMNS = ["name", "wing", "queue", "effect", "description"]
PIN_COLUMNS = ["task", "sha256", "file", "commit", "by", "at"]
Json = dict[str, Any]


@click.group(cls=LabGroup)
def command() -> None:
    """What can be asked for."""


@command.command("list")
@click.option("--wing", help="Only tasks of this wing.")
@click.pass_obj
def list_(call: Invocation, wing: str | None) -> int:
    """All tasks; task files that cannot be used are named on standard error, with file and line."""
    tasks = [one for one in call.client.tasks() if wing is None or one.get("wing") == wing]
    rows = [["stop" if one.get("stop") and key == "effect" else _cell(one, key) for key in COLUMNS] for one in tasks]
    call.listing({"tasks": tasks}, COLUMNS, rows)
    for note in call.client.status().get("attention") or []:
        if note.get("code") == "task_off":
            call.tell(render.printable(str(note["message"])))
    return exits.DONE


@command.command()
@click.argument("name")
@click.pass_obj
def show(call: Invocation, name: str) -> int:
    """One task, its policy and its arguments."""
    task = call.client.task(name)
    call.emit(task, lambda: _page(task))
    return exits.DONE


@command.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--args", "args_json", metavar="JSON", help="All arguments as one JSON object.")
@click.option("--queue")
@click.option("--tag", "tags", multiple=True)
@click.option("--no-cache", is_flag=True, help="Run it even if a recorded result for these arguments still counts.")
@override
@waits
@click.pass_obj
def run(
    call: Invocation,
    /,
    name: str,
    pairs: tuple[str, ...],
    args_json: str | None,
    queue: str | None,
    tags: tuple[str, ...],
    no_cache: bool,
    override: str | None,
    **waiting: Any,
) -> int:
    """Run a task as a job and wait for it."""
    args = arguments.task_arguments(call.client, name, pairs, args_json)
    options = {"queue": queue, "tags": list(tags) or None, "no_cache": no_cache or None, "override": override}
    return finish(call, call.client.submit(name, args, **options), **waiting)


@command.command()
@click.pass_obj
def reload(call: Invocation) -> int:
    """Look at the task files again; exit code 6 if one of them cannot be used."""
    report = call.client.reload_tasks()

    def text() -> str:
        lines = [f"{report['tasks']} tasks in {report['files']} files"]
        lines += [f"{fault['file']}:{fault.get('line') or 0}: {fault['message']}" for fault in report["faults"]]
        return "\n".join(map(render.printable, lines))

    call.emit(report, text)
    return exits.ATTENTION if report["faults"] else exits.DONE


@command.command()
@click.argument("name", required=False)
@click.pass_obj
def pin(call: Invocation, name: str | None) -> int:
    """Let a task run the code that its file holds now, and refuse any other; without NAME: all pins."""
    if name is None:
        pins = call.client.environments()["pins"]
        call.listing({"pins": pins}, PIN_COLUMNS, [[render.cell(one.get(key)) for key in PIN_COLUMNS] for one in pins])
        return exits.DONE
    pinned = call.client.pin_task(name)
    call.emit(pinned, lambda: f"{pinned['task']} is pinned to {pinned['sha256'][:12]} of {pinned['file']}")
    return exits.DONE


@command.command()
@click.argument("name")
@click.pass_obj
def unpin(call: Invocation, name: str) -> int:
    """Let a task run whatever its file holds."""
    answer = call.client.unpin_task(name)
    call.emit(answer, lambda: f"{name} is free" if answer["was_pinned"] else f"{name} was not pinned")
    return exits.DONE


def _cell(task: Json, key: str) -> str:
    return render.cell(task.get(key)).partition("\n")[0]


def _page(task: Json) -> str:
    facts = {key: value for key, value in task.items() if key != "schema" and value not in (None, [], "")}
    lines = [render.pairs(facts), "arguments:"]
    schema = task.get("schema") or {}
    needed = schema.get("required") or []
    for name, kind in (schema.get("properties") or {}).items():
        told = "needed" if name in needed else f"else {render.cell(kind.get('default')) or 'none'}"
        lines.append(f"  {name} ({_kind(kind)}, {told}) {render.cell(kind.get('description'))}".rstrip())
    return "\n".join(lines if len(lines) > 2 else [lines[0], "arguments: none"])


def _kind(schema: Json) -> str:
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    kinds = [one.get("type", "any") for one in schema.get("anyOf", [])] or [schema.get("type", "any")]
    return " or ".join(render.cell(kind) for kind in kinds if kind != "null")

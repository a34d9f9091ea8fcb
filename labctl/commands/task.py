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
    call.emit(task, lambda: page(task))
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


def page(task: Json) -> str:
    """`labctl task show`."""
    facts = {key: value for key, value in task.items() if key not in ("schema", "code") and value not in (None, [], "")}
    code = task.get("code") or {}
    for key, name in (("environment", "env"), ("file", "file"), ("sha256", "sha256"), ("commit", "commit")):
        if code.get(key):
            facts[name] = code[key]
    lines = [render.pairs(facts), "arguments:"]
    schema = task.get("schema") or {}
    needed, shapes = schema.get("required") or [], schema.get("$defs") or {}
    for name, kind in (schema.get("properties") or {}).items():
        told = "needed" if name in needed else _default(kind)
        text = f"  {name} ({_kind(kind, shapes)}, {told}) {render.cell(kind.get('description'))}"
        lines.append(render.printable(text.rstrip()))
    return "\n".join(lines if len(lines) > 2 else [lines[0], "arguments: none"])


def _default(schema: Json) -> str:
    if "default" not in schema:
        return "may be left out"  # JSON schema has no word for a default that is made anew each time
    return f"else {render.cell(schema['default']) or ('none' if schema['default'] is None else 'empty')}"


def _kind(schema: Json, shapes: Json, depth: int = 0) -> str:
    """In words: the kind, what it holds, its limits.

    Args:
        schema: Of one argument.
        shapes: The dataclasses that it may name.
        depth: Around it; a dataclass within a dataclass is told by its name.
    """
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_kind(one, shapes, depth) for one in schema["anyOf"] if one.get("type") != "null") or "null"
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        fields = {} if depth else (shapes.get(name) or {}).get("properties") or {}
        inner = ", ".join(f"{key}: {_kind(one, shapes, depth + 1)}" for key, one in fields.items())
        return f"object with {inner}" if inner else name
    kind = render.cell(schema.get("type", "any"))
    if kind == "array" and schema.get("items"):
        kind = f"array of {_kind(schema['items'], shapes, depth + 1)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        kind = f"object of {_kind(schema['additionalProperties'], shapes, depth + 1)}"
    return kind + _limits(schema)


def _limits(schema: Json) -> str:
    low = schema.get("minimum", schema.get("minLength", schema.get("minItems")))
    high = schema.get("maximum", schema.get("maxLength", schema.get("maxItems")))
    if low is None and high is None:
        return ""
    what = "" if "minimum" in schema or "maximum" in schema else " long"
    if low is None or high is None:
        return f" at most {render.cell(high)}{what}" if low is None else f" at least {render.cell(low)}{what}"
    return f" {render.cell(low)} to {render.cell(high)}{what}"

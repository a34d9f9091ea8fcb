"""The few command lines that must answer at once, without a command-line package.

Not for anything with arguments to check: a command line that is not understood here to the last word goes to click.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labctl import carousel_words, exits, summaries
from labctl.invocation import Invocation

Json = dict[str, Any]
READ_TIMEOUT_S = 10.0  # these are answered from memory; who waits longer should know why


def status(call: Invocation) -> int:
    """State of the daemon."""
    answer = call.client.status()
    call.emit(answer, lambda: summaries.daemon(answer))
    return exits.DONE


def resort_status(call: Invocation, device: str | None = None) -> int:
    """State of a carousel; what a later stop needs to know is kept."""
    from labctl import deadman

    answer = call.client.resort_status(device)
    deadman.remember(call.client.url, answer)
    call.emit(answer, lambda: carousel_words.status(answer))
    return exits.DONE


def resort_position(call: Invocation, device: str | None = None) -> int:
    """Where a carousel stands."""
    answer = call.client.resort_position(device)
    call.emit(answer, lambda: summaries.position(answer))
    return exits.DONE


def resort_health(call: Invocation, device: str | None = None) -> int:
    """How the motor is."""
    answer = call.client.resort_health(device)
    call.emit(answer, lambda: carousel_words.health(answer))
    return exits.DONE


def resort_stop(call: Invocation, device: str | None = None, reason: str | None = None) -> int:
    """Stop now."""
    from labctl.stop import stop

    return stop(call, device, reason)


_COMMANDS: Mapping[tuple[str, ...], tuple[Callable[..., int], tuple[str, ...]]] = {
    ("status",): (status, ()),
    ("resort", "status"): (resort_status, ("device",)),
    ("resort", "position"): (resort_position, ("device",)),
    ("resort", "health"): (resort_health, ("device",)),
    ("resort", "stop"): (resort_stop, ("device", "reason")),
}


def quick(arguments: list[str]) -> int | None:
    """The exit code of a command line that is one of these, None for every other; options may stand anywhere."""
    words: list[str] = []
    values: dict[str, str] = {}
    as_json = False
    rest = iter(arguments)
    for argument in rest:
        if argument == "--json":
            as_json = True
        elif argument in ("--host", "--device", "--reason"):
            value = next(rest, None)
            if value is None:
                return None
            values[argument[2:]] = value
        elif argument.startswith(("--host=", "--device=", "--reason=")):
            name, _, value = argument[2:].partition("=")
            values[name] = value
        elif argument.startswith("-"):
            return None
        else:
            words.append(argument)
    found = _COMMANDS.get(tuple(words))
    host = values.pop("host", None)
    if found is None or not set(values) <= set(found[1]):
        return None
    call = Invocation(host, as_json, READ_TIMEOUT_S)
    try:
        return found[0](call, **values)
    finally:
        call.close()

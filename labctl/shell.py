"""The interactive prompt: the short words of the carousel, and every command of labctl.

Why a stop here is no job and no coroutine: `stop` at the prompt takes the same way as `labctl resort stop`.
prompt_toolkit gives history and completion where it is installed and a terminal is there; else plain lines are read.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labctl import exits
from labctl.commands.root import COMMANDS, RootGroup, cli, run
from labctl.invocation import Invocation, tell_error
from labctl.terminal import say
from labd.errors import LabdError

SHORT: Mapping[str, tuple[str, ...]] = {
    "connect": ("resort", "connect"),
    "activate": ("resort", "activate"),
    "position": ("resort", "position"),
    "stop": ("resort", "stop"),
    "disconnect": ("resort", "disconnect"),
    "health": ("resort", "health"),
    "hold": ("resort", "hold"),
    "reset": ("resort", "reset"),
    "home": ("resort", "home"),
    "move": ("resort", "move"),
    "speed": ("resort", "speed"),
}
HELP = """connect | activate <A|B|C|D> | position | stop | disconnect | help | exit
also: home | move DEGREES | speed N | health | hold | reset --by NAME --reason TEXT
and every command of labctl: """ + ", ".join(name for name in COMMANDS if name not in ("shell", "completion"))
_END = ("exit", "quit")


class Shell:
    """Reads lines and runs them until `exit` or the end of input.

    Args:
        read: Gives the next line for a prompt; raises EOFError at the end. Chosen by what is there unless given.
    """

    def __init__(self, call: Invocation, read: Callable[[str], str] | None = None) -> None:
        self._call = call
        self._as_json = call.as_json
        self._read = read or self._reader()
        self._worst = exits.DONE

    def run(self) -> int:
        """The exit code of the last line that did not end well, for scripts that pipe lines in; 0 at a terminal."""
        interactive = sys.stdin is not None and sys.stdin.isatty()
        if interactive:
            say(f"labd at {self._call.client.url}\n{HELP}")
        while True:
            try:
                line = self._read("labctl> ")
            except EOFError:
                break
            except KeyboardInterrupt:
                continue
            try:
                words = shlex.split(line)
            except ValueError as fault:
                self._call.tell(f"labctl: {fault}")
                continue
            if words and words[0].lower() in _END:
                break
            code = self.line(words)
            self._worst = code or self._worst
        return exits.DONE if interactive else self._worst

    def line(self, words: list[str]) -> int:
        """Run one line; its exit code."""
        if not words:
            return exits.DONE
        if words[0] in ("help", "?"):
            say(HELP)
            return exits.DONE
        if words[0] == "shell":
            return exits.DONE
        words = [*SHORT.get(words[0].lower(), (words[0],)), *words[1:]]
        self._call.as_json = self._as_json
        host = self._call.host
        try:
            return run(words, self._call)
        except LabdError as error:
            return tell_error(error)
        except KeyboardInterrupt:
            return exits.INTERRUPTED
        finally:
            self._call.host = host
            sys.stdout.flush()

    def _reader(self) -> Callable[[str], str]:
        if sys.stdin is None or not sys.stdin.isatty():
            return _plain
        try:
            from prompt_toolkit import PromptSession
            from prompt_toolkit.completion import NestedCompleter
            from prompt_toolkit.history import FileHistory, InMemoryHistory
        except ImportError:
            return _plain
        path = _history_file(os.environ)
        history: Any = InMemoryHistory() if path is None else FileHistory(str(path))
        completer = NestedCompleter.from_nested_dict(words_of(cli, self._hotels()))
        session: Any = PromptSession(history=history, completer=completer, complete_while_typing=False)
        return lambda prompt: str(session.prompt(prompt))

    def _hotels(self) -> list[str]:
        try:
            return sorted(self._call.client.resort_status().get("hotels") or {})
        except LabdError:
            return []


def words_of(group: RootGroup, hotels: list[str]) -> dict[str, Any]:
    """What can be completed: groups, their commands and the names of hotels."""
    import click

    context = click.Context(group)
    found: dict[str, Any] = {}
    for name in COMMANDS:
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found[name] = dict.fromkeys(command.commands)
        else:
            found[name] = None
    choices = dict.fromkeys(hotels) or None
    found["resort"]["activate"] = choices
    return {**found, **dict.fromkeys(SHORT), "activate": choices, "help": None, "exit": None}


def _plain(prompt: str) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        return input(prompt)
    line = sys.stdin.readline() if sys.stdin is not None else ""
    if not line:
        raise EOFError
    return line


def _history_file(environ: Mapping[str, str]) -> Path | None:
    folder = Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "labd"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / "labctl_history"

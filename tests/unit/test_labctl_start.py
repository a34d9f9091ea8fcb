"""The start of labctl: what is not imported on the way of the commands that must be fast, and on other platforms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from labctl.__main__ import answer
from labctl.commands import root
from labctl.commands.root import COMMANDS, cli
from labctl.invocation import Invocation
from labctl.quick import quick
from labd import __version__

HEAVY = {
    *("rich", "aiohttp", "asyncio", "prompt_toolkit", "click", "msgspec", "structlog"),
    *("dataclasses", "inspect", "ssl", "email", "http"),
}
LOOK = f"""
import sys
from labctl.__main__ import answer
code = answer(sys.argv[1:])
print(code, sorted({HEAVY} & set(sys.modules)))
"""


def run(program: str, *words: str, home: Path) -> str:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LABD_HOST": f"unix:{home}/nobody.sock"}
    ended = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert "Traceback" not in ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize(
    "words",
    [["status"], ["--json", "status"], ["resort", "position"], ["resort", "status", "--json"], ["resort", "stop"]],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_on_the_way(words: list[str], tmp_path: Path) -> None:
    assert run(LOOK, *words, home=tmp_path) == "3 []"


def test_the_other_commands_import_no_asyncio_and_no_table_package(tmp_path: Path) -> None:
    told = run(LOOK, "job", "list", home=tmp_path)
    assert told.startswith("3 ")
    assert not {"rich", "aiohttp", "asyncio", "prompt_toolkit"} & set(told.replace("'", " ").replace(",", " ").split())


def test_the_modules_load_where_there_are_no_unix_sockets(tmp_path: Path) -> None:
    program = """
import socket, sys
del socket.AF_UNIX
from labctl.__main__ import answer
import labctl.async_client, labctl.orchestrator, labctl.commands.root
print(answer(["status"]))
"""
    assert run(program, home=tmp_path) == "3"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["job", "list"],
        ["status", "extra"],
        ["status", "--help"],
        ["status", "--device", "left"],
        ["resort", "stop", "--direct"],
        ["resort", "position", "--device"],
        ["resort", "activate", "B"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_not_understood_to_the_last_word_goes_to_click(words: list[str]) -> None:
    assert quick(words) is None


@pytest.mark.parametrize("name", COMMANDS)
def test_every_group_in_the_table_loads_and_has_help(name: str) -> None:
    import click

    command = cli.get_command(click.Context(cli), name)  # type: ignore[attr-defined]
    assert command is not None
    assert command.help
    for inner in getattr(command, "commands", {}).values():
        assert inner.help
        assert {"--json", "--host"} <= {word for parameter in inner.params for word in parameter.opts}


def test_a_group_of_another_package_comes_through_its_entry_point(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import click

    @click.command("greet")
    @click.pass_obj
    def greet(call: Invocation) -> int:
        call.emit({"hello": True}, "hello")
        return 6

    class Point:
        def load(self) -> click.Command:
            return greet

    monkeypatch.setattr(root, "_foreign", lambda: {"greet": Point()})
    assert answer(["greet"]) == 6
    assert answer(["--json", "greet"]) == 6
    assert capsys.readouterr().out == 'hello\n{\n  "hello": true\n}\n'
    assert answer(["--help"]) == 0
    assert "greet" in capsys.readouterr().out


def test_a_defect_is_two_lines_and_no_traceback(tmp_path: Path) -> None:
    program = """
import sys
from labctl import __main__, quick
quick._COMMANDS = {("status",): (lambda call: {}["x"], ())}
sys.argv[1:] = ["status"]
sys.exit(__main__.main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr == (
        "labctl: unexpected KeyError: 'x'\n"
        "  next: this is a defect of labctl; LABCTL_TRACEBACK=1 shows where, please report it\n"
    )


def test_the_version_is_told_as_labd_tells_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["--version"]) == 0
    assert capsys.readouterr().out == f"labctl, version {__version__}\n"

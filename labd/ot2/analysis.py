"""Runs `remote.py` in the interpreter that has opentrons, as a child process, and brings back what it says.

Why a process for every analysis: opentrons 9.0 leaves two threads behind for every protocol it simulated, and a
protocol is somebody's Python that may hang or end its process.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from labd.clock import Clock
from labd.errors import TaskFailed, TaskTimeout, WingOff
from labd.ot2.robot import Document

REMOTE = Path(__file__).with_name("remote.py")
LAST_WORDS = 600
Json = dict[str, Any]


class Analyser:
    """Simulates protocols with one interpreter.

    Args:
        python: An interpreter whose environment has opentrons 9.0.
        timeout_s: A protocol that takes longer is ended.
    """

    def __init__(self, python: Path, clock: Clock, timeout_s: float = 180.0) -> None:
        self.python = python
        self._clock = clock
        self._timeout_s = timeout_s

    async def analyze(
        self, documents: Sequence[Document], parameters: Mapping[str, Any], *, commands: bool = False
    ) -> Json:
        """What the protocol would do; a faulty protocol is an answer with `ok` false.

        Raises:
            WingOff: The interpreter is not there, or has no opentrons.
            TaskTimeout: It took longer than the limit.
            TaskFailed: The child ended without an answer; its last words are in the message.
        """
        first, *rest = [{"name": one.name, "text": one.text} for one in documents]
        request = {"protocol": first, "labware": rest, "parameters": dict(parameters), "commands": commands}
        try:
            child = await asyncio.create_subprocess_exec(
                str(self.python), "-I", "-X", "utf8", str(REMOTE),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                start_new_session=True, env=_environ(),
            )  # fmt: skip
        except OSError as fault:
            raise WingOff(f"ot2: {self.python} cannot be started ({fault.strerror}); set ot2.python") from fault
        try:
            async with asyncio.timeout(self._timeout_s):
                said, complained = await child.communicate(json.dumps(request).encode())
        except TimeoutError:
            text = f"ot2: simulating {first['name']} took longer than {self._timeout_s:g} s"
            raise TaskTimeout(f"{text}; a loop without end? else raise ot2.analysis_timeout_s") from None
        finally:
            await _end(child)
        return self._answer(child.returncode or 0, said, complained.decode(errors="replace"), first["name"])

    def _answer(self, code: int, said: bytes, complained: str, name: str) -> Json:
        try:
            answer = json.loads(said)
        except ValueError:
            answer = None
        if code == 0 and isinstance(answer, dict):
            return answer
        if "No module named 'opentrons" in complained:
            raise WingOff(f"ot2: {self.python} has no opentrons; pip install 'opentrons>=9.0,<9.1' there")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        last = complained.strip()[-LAST_WORDS:]
        raise TaskFailed(f"ot2: the simulation of {name} ended by {how} without an answer: {last}", exit_code=code)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill what is left, with everything the protocol started; nothing if it has ended."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    await child.wait()


def _environ() -> dict[str, str]:
    """What the child needs of the daemon's environment: no secrets, no Python settings."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ")}


def robot_analysis(analyser: Analyser) -> Callable[[Sequence[Document], Json], Awaitable[Json]]:
    """An analysis with commands, for the virtual robot to play."""

    async def analyse(documents: Sequence[Document], parameters: Json) -> Json:
        return await analyser.analyze(documents, parameters, commands=True)

    return analyse


def robot_type(document: Document) -> Literal["OT-2", "Flex"]:
    """Which robot a protocol says it is for, without running it; OT-2 where it does not say.

    `requirements = {"robotType": ...}` of a Python protocol, `robot.model` of a JSON one.
    """
    named = ""
    if document.name.endswith(".py"):
        try:
            tree = ast.parse(document.text)
        except (SyntaxError, ValueError):
            return "OT-2"
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "requirements" for target in node.targets
            ):
                try:
                    named = str(dict(ast.literal_eval(node.value)).get("robotType", ""))
                except (ValueError, TypeError):
                    named = ""
    else:
        try:
            named = str(json.loads(document.text)["robot"]["model"])
        except (ValueError, TypeError, KeyError):
            named = ""
    return "Flex" if named.startswith(("Flex", "OT-3")) else "OT-2"

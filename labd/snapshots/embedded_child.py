"""One child process of the embedded store, as the daemon sees it: a request, progress, an answer or its end."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labd import errors
from labd.errors import GraphRefused, GraphUnreachable, LabdError

PACKAGE_ROOT = Path(__file__).parents[2]
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from labd.snapshots.remote import main; main()"
LINE_LIMIT_BYTES = 64 * 2**20
LAST_WORDS = 600
REFUSALS: dict[str, type[LabdError]] = {
    kind.code: kind for kind in (errors.DatasetRefused, errors.GraphRefused, errors.GraphUnreachable)
}
Json = dict[str, Any]


class Child:
    """A process that answers one request at a time; used by one caller at a time.

    `opened` has the names of the databases that it may have open, for who deletes them.
    """

    def __init__(self, transport: asyncio.SubprocessTransport, process: asyncio.subprocess.Process) -> None:
        self.opened: set[str] = set()
        self._transport = transport
        self._process = process
        self._last_words = b""
        self._descriptor = _descriptor(process.pid)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls) -> Child:
        """Start a process.

        Why not `create_subprocess_exec`: it keeps the transport, which must be closed before the loop is.

        Raises:
            GraphUnreachable: The host starts none.
        """
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: asyncio.subprocess.SubprocessStreamProtocol(LINE_LIMIT_BYTES, loop),
                sys.executable, "-I", "-X", "utf8", "-c", BOOT, str(PACKAGE_ROOT),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                start_new_session=True, env=_environ(),
            )  # fmt: skip
        except OSError as fault:
            raise GraphUnreachable(f"embedded graph store: no process for it ({fault.strerror})") from fault
        return cls(transport, asyncio.subprocess.Process(transport, protocol, loop))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it could answer; known at once, not only when the loop has heard of its end."""
        if self._process.returncode is not None:
            return False
        if self._descriptor is None:
            return True
        asked = select.poll()
        asked.register(self._descriptor, select.POLLIN)
        return not asked.poll(0)

    async def ask(self, request: Json, told: Callable[[Json], None] | None = None) -> Json:
        """One request; what comes before the answer is told.

        After a cancellation, or any error but a refusal, the process has ended.

        Raises:
            DatasetRefused, GraphRefused: As the child says.
            GraphUnreachable: It died; the signal and its last words are in the message. Or its disk fails.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise GraphUnreachable("embedded graph store: its process has no pipes")
        try:
            try:
                stdin.write(json.dumps(request).encode() + b"\n")
                await stdin.drain()
                while line := await stdout.readline():
                    message = json.loads(line)
                    if "answer" in message or "error" in message:
                        break
                    if told is not None:
                        told(message)
                else:
                    message = {}
            except (ConnectionError, BrokenPipeError):
                message = {}
        except BaseException:
            await self.end()
            raise
        if "answer" in message:
            return dict(message["answer"])
        if "error" in message:
            fault = _refusal(message["error"])
            if isinstance(fault, GraphUnreachable):  # what it has open may be no good any more
                await self.end()
            raise fault
        await self.end()
        raise GraphUnreachable(f"embedded graph store: its process {self._told_end()}")

    async def end(self) -> None:
        """End the process, now; returns when it has ended, whoever is cancelled meanwhile."""
        ending = asyncio.ensure_future(self._end())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            while await self._process.stdout.read(65536):
                pass
        await self._listening
        await self._process.wait()
        self._transport.close()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _kill(self) -> None:
        """Send SIGKILL.

        Why by a descriptor and not asyncio's way: `Popen.send_signal` polls, and takes the exit status of a process
        that has just died away from asyncio's watcher, which then reports 255 (CPython, gh-127049).
        """
        if self._descriptor is None:
            self._process.kill()
            return
        try:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        except ProcessLookupError:
            pass

    async def _listen(self) -> None:
        """Keep the last of what it complains about."""
        if self._process.stderr is not None:
            while data := await self._process.stderr.read(4096):
                self._last_words = (self._last_words + data)[-LAST_WORDS:]

    def _told_end(self) -> str:
        code = self._process.returncode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        words = self._last_words.decode(errors="replace").strip()
        if "No module named 'ladybug'" in words or "No module named 'pyarrow'" in words:
            return f"{how}: its packages are missing; pip install 'labd[graph]'"
        return f"{how}: {' '.join(words.split())}" if words else f"{how} without a word"


def _refusal(told: Json) -> LabdError:
    kind = REFUSALS.get(str(told.get("code")), GraphRefused)
    return kind(str(told.get("message")), **dict(told.get("details") or {}))


def _descriptor(pid: int) -> int | None:
    """Of the process itself, so that no other is ever meant; None where the system has none or it has ended."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _environ() -> dict[str, str]:
    """Little: neither secrets nor settings of the daemon go to the child."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LD_PRELOAD", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ}

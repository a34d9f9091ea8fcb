"""A worker on another host: ssh is the child process here, and a relay there runs the worker and stands for it.

Why nothing is installed there: the relay's text goes first over ssh's stdin, then labd's own side and the task files in
one parcel; they lie in a temporary folder named after their content.
Why lines of its own beside ssh's keep-alive: they are answered by the relay, so they also find a host whose ssh is
alive and whose relay is not, and they let the relay see that labd is gone.
"""

from __future__ import annotations

import base64
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from labd.engine.worker_process import WorkerProcess, told
from labd.settings_types import REMOTE_PYTHON, EnvironmentSettings

KILL_S = 2.0
MORE_SILENCE_S = 3.0
LAST_WORDS = 300
# Ours come first, and ssh takes the first value: a host whose key is not known, or a password, is never asked about.
OPTIONS = (
    "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ClearAllForwardings=yes",
    "-o", "ControlMaster=no", "-o", "ControlPath=none",
)  # fmt: skip
# After those of the settings, which may say otherwise.
DEFAULTS = ("-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=3", "-o", "ServerAliveCountMax=3")
BOOT = """import sys
f, b = open(0, "rb", 0, closefd=False), b""
n = int(f.readline())
while len(b) < n:
    p = f.read(n - len(b))
    if not p: sys.exit("the connection ended early")
    b += p
g = {"__name__": "labd_relay"}
exec(compile(b, "relay.py", "exec"), g)
g["main"]()"""
_encode = msgspec.json.Encoder().encode


class RelayWord(msgspec.Struct):
    """What the relay says of itself; the fields that do not belong to its word keep their defaults."""

    relay: str
    files: str = ""
    pid: int = 0
    stream: str = "stdout"
    text: str = ""
    code: int = 0
    size_bytes: int = 0


_decode = msgspec.json.Decoder(RelayWord).decode


def command(settings: EnvironmentSettings) -> list[str]:
    """The whole command line of ssh."""
    known = () if settings.ssh_known_hosts is None else ("-o", f"UserKnownHostsFile={settings.ssh_known_hosts}")
    python = f"{shlex.quote(settings.python or REMOTE_PYTHON)} -X utf8 -c {shlex.quote(BOOT)}"
    words = [*shlex.split(settings.ssh_command), *OPTIONS, *known, *settings.ssh_options, *DEFAULTS]
    return [*words, "--", settings.ssh or "", python]


class RemoteWorker(WorkerProcess):
    """A worker behind ssh; in the words of `WorkerProcess`, with `pid` that of ssh.

    Args:
        content: The parcel and its digest.
        variables: The whole environment of ssh; that of the worker is its host's with those of the settings.
        on_end: Called once when ssh has ended.
    """

    def __init__(
        self, settings: EnvironmentSettings, lend: Path, content: tuple[bytes, str], variables: Mapping[str, str],
        folder: Path, on_end: Callable[[WorkerProcess], None],
    ) -> None:  # fmt: skip
        self.host = settings.ssh or ""
        self._settings = settings
        self._content = content
        self._files = b""
        self._remote_pid = 0
        self._remote_code: int | None = None
        self._size_bytes = 0
        self._heard_at = 0.0
        self._last_words = ""
        self._silent = False
        super().__init__(command(settings), lend, variables, folder, settings.memory_mib * 2**20, on_end)

    def _spawn(
        self, python: list[str], lend: Path, variables: Mapping[str, str], folder: Path, memory_bytes: int
    ) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    python, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE,
                    start_new_session=True, env=dict(variables), cwd=folder,
                )  # fmt: skip
            except OSError:
                self._socket.close()
                raise
        self._attach()
        archive, digest = self._content
        self._content = b"", ""
        start = {
            "archive": base64.b64encode(archive).decode(), "digest": digest, "grace_s": self._settings.grace_s,
            "silence_s": self._settings.ssh_silence_s + MORE_SILENCE_S, "memory_bytes": memory_bytes,
            "variables": self._settings.worker_variables,
        }  # fmt: skip
        relay = (lend / "labd" / "worker" / "relay.py").read_bytes()
        self._send(b"%d\n" % len(relay) + relay + _encode(start) + b"\n")

    @property
    def where(self) -> str:
        """The process there, for messages."""
        return f"pid {self._remote_pid} on {self.host}"

    def kill(self, signal_number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the worker and its children there; after SIGKILL the connection is closed in any case."""
        if not self.is_alive:
            return
        if not self._remote_pid:
            self._disconnect()
            return
        self._send(_encode({"relay": "signal", "number": int(signal_number)}) + b"\n")
        if signal_number is signal.SIGKILL:
            self._loop.call_later(KILL_S, self._disconnect)

    def _disconnect(self) -> None:
        super().kill(signal.SIGKILL)

    def size_bytes(self) -> int:
        """Memory that the process there held a moment ago."""
        return self._size_bytes

    def limit_processor_time(self, more_s: int) -> None:
        """As on this host."""
        self._send(_encode({"relay": "cpu", "more_s": more_s}) + b"\n")

    def _beat(self) -> None:
        """Speak and listen: a link that carries nothing is ended."""
        if not self.is_alive:
            return
        if self._loop.time() - self._heard_at > self._settings.ssh_silence_s:
            self._silent = True
            self._disconnect()
            return
        self._send(b'{"relay":"alive"}\n')
        self._loop.call_later(self._settings.ssh_silence_s / 4, self._beat)

    def _read_socket(self) -> bool:
        self._heard_at = self._loop.time()
        return super()._read_socket()

    def _take(self, line: bytes) -> None:
        if line.startswith(b'{"relay":'):
            try:
                self._take_word(_decode(line))
            except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
                self._break(f"sent what is no word of the relay: {line[:80]!r} ({fault})")
        elif not self._remote_pid:
            self._output.feed("stdout", line + b"\n")  # a greeting of the shell there
        elif line.startswith((b'{"type":"tasks"', b'{"type":"failed"')):
            super()._take(line.replace(self._files, b""))  # paths as they are here
        else:
            super()._take(line)

    def _take_word(self, word: RelayWord) -> None:
        if word.relay == "started" and not self._remote_pid:
            self._files, self._remote_pid = word.files.encode(), word.pid
            self._beat()
        elif word.relay == "output":
            self._output.feed(word.stream, word.text.encode("latin-1"))
        elif word.relay == "alive":
            self._size_bytes = word.size_bytes
        elif word.relay == "ended":
            self._remote_code = word.code
            self._loop.call_later(KILL_S, self._disconnect)

    def _read_pipe(self, number: int) -> bool:
        """What ssh itself complains about."""
        try:
            data = os.read(number, 65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(number)
            self._pipes.pop(number, None)
            return False
        self._last_words = (data.decode(errors="replace").strip() or self._last_words)[-LAST_WORDS:]
        self._output.feed("stderr", data)
        return True

    def _died(self) -> None:
        for _ in range(64):  # output may be under way, and the worker's end is behind it
            before = self._remote_code
            super()._read_socket()
            if before is not None:
                break
        super()._died()

    def _known_code(self, code: int) -> int | None:
        if self._remote_code is not None:
            return self._remote_code
        return None if self._silent else code

    def _told_end(self, code: int) -> str:
        if self._remote_code is not None:
            return told(self._remote_code)
        if self._silent:
            return f"is out of reach: nothing was heard of {self.host} for {self._settings.ssh_silence_s:g} s"
        words = f": {self._last_words.splitlines()[-1]}" if self._last_words else ""
        return f"is out of reach: ssh to {self.host} {told(code)}{words}"

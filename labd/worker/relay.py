"""What ssh starts on another host: unpacks what labd lends, runs one worker there, and stands between it and ssh.

Its text comes in over stdin, before it is a file there: nothing is installed. Lines of the worker's protocol pass
through; lines that begin with `{"relay":` are between the relay and labd.

Why a process between: the worker is started, signalled, limited and heard exactly as on labd's own host, with its
output on two pipes and its end told with the signal's name.
Why labd is listened for: a host that is cut off hears of it from nobody. After `silence_s` without a line from labd,
as at the end of the connection, the run is asked to end and then killed.
"""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

READ_BYTES = 256 * 1024
LOOKS_AT_MOST = 8
KEPT_S = 86400.0
BOOT = (
    "import resource as r, sys; {limits}lend = {lend!r}; early = {{}}; "
    "exec(open(lend + '/labd/worker/whole_cache.py').read(), early); early['install'](lend); "
    "sys.path.insert(0, lend); from labd.worker.main import main; main({number})"
)


class Relay:
    """One worker and its line to labd, over the descriptors 0 and 1."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._lines = os.fdopen(read_fd, "rb")
        self._write_fd = write_fd
        self._lock = threading.Lock()  # of the descriptor above
        self._heard_at = time.monotonic()
        self._run: Optional[int] = None

    def serve(self) -> None:
        """Until the worker has ended, or labd is gone."""
        start = json.loads(self._lines.readline())
        self._grace_s = float(start["grace_s"])
        self._silence_s = float(start["silence_s"])
        self._folder = unpack(base64.b64decode(start["archive"]), start["digest"])
        self._files = str(self._folder / "files")
        self._spawn(start)
        self._tell({"relay": "started", "files": self._files, "pid": self._process.pid})
        threading.Thread(target=self._listen, name="labd-listen", daemon=True).start()
        threading.Thread(target=self._watch, name="labd-watch", daemon=True).start()
        self._carry()

    def _spawn(self, start: Dict[str, Any]) -> None:
        self._socket, theirs = socket.socketpair()
        memory = int(start["memory_bytes"])
        limits = "r.setrlimit(r.RLIMIT_DATA, ({0}, {0})); ".format(memory) if memory else ""
        boot = BOOT.format(limits=limits, lend=str(self._folder / "lend"), number=theirs.fileno())
        variables = {**os.environ, "PYTHONUNBUFFERED": "1", **start["variables"]}
        work = self._folder / "work"
        work.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-c", boot], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, pass_fds=(theirs.fileno(),), start_new_session=True, env=variables, cwd=str(work),
        )  # fmt: skip
        theirs.close()

    # labd -> worker

    def _listen(self) -> None:
        for line in self._lines:
            self._heard_at = time.monotonic()
            message = json.loads(line)
            word = message.get("relay")
            if word is None:
                self._pass_on(message, line)
            elif word == "signal":
                self._signal(message["number"])
            elif word == "cpu":
                self._limit_processor_time(int(message["more_s"]))
            elif word == "alive":
                self._tell({"relay": "alive", "size_bytes": self._size_bytes()})
        self._end("the connection to labd ended")

    def _pass_on(self, message: Dict[str, Any], line: bytes) -> None:
        if message.get("type") == "run":
            self._run = message.get("run")
        elif message.get("type") == "load":
            message["files"] = [self._files + path for path in message["files"]]
            line = json.dumps(message).encode() + b"\n"
        try:
            self._socket.sendall(line)
        except OSError:
            return  # the worker has ended; `_carry` tells

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def _limit_processor_time(self, more_s: int) -> None:
        try:
            text = Path("/proc/{}/stat".format(self._process.pid)).read_text()
            fields = text.rpartition(")")[2].split()
            used_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            hard = resource.prlimit(self._process.pid, resource.RLIMIT_CPU)[1]
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (int(used_s) + more_s + 1, hard))
        except OSError:
            return

    def _size_bytes(self) -> int:
        try:
            os.utime(str(self._folder))  # in use: another relay forgets what nobody touched for a day
            text = Path("/proc/{}/statm".format(self._process.pid)).read_text()
            return int(text.split()[1]) * resource.getpagesize()
        except (OSError, IndexError):
            return 0

    def _watch(self) -> None:
        while True:
            quiet_s = time.monotonic() - self._heard_at
            if quiet_s >= self._silence_s:
                self._end("nothing was heard of labd for {:.0f} s".format(quiet_s))
            time.sleep(max(0.05, self._silence_s - quiet_s))

    def _end(self, why: str) -> None:
        """Ask the run to end, then SIGTERM, then SIGKILL for the worker and all its children; does not return."""
        if self._run is not None:
            try:
                self._socket.sendall(json.dumps({"type": "cancel", "run": self._run}).encode() + b"\n")
                deadline = time.monotonic() + self._grace_s
                while time.monotonic() < deadline and self._is_busy():
                    time.sleep(0.02)
            except OSError:
                pass
        self._signal(signal.SIGTERM)  # a worker that has hardware brings it to rest here
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        sys.stderr.write("labd relay: {}; the worker was ended\n".format(why))
        os._exit(1)

    def _is_busy(self) -> bool:
        return self._run is not None and self._process.poll() is None

    # worker -> labd

    def _carry(self) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None
        pipes = {self._process.stdout.fileno(): "stdout", self._process.stderr.fileno(): "stderr"}
        for number in pipes:
            os.set_blocking(number, False)
        ours = self._socket.fileno()
        watched: List[int] = [ours, *pipes]
        rest = b""
        while ours in watched:
            ready = select.select(watched, (), ())[0]
            data = self._receive() if ours in ready else None
            for number in [one for one in pipes if one in watched]:  # what was printed before the end is told first
                if data or number in ready:
                    self._carry_output(number, pipes[number], watched)
            if data == b"":
                watched.remove(ours)
            elif data is not None:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if not line.startswith((b'{"type":"log"', b'{"type":"progress"', b'{"type":"consume"')):
                        self._run = None
                    self._write(line + b"\n")
        code = self._process.wait()
        for number in [one for one in pipes if one in watched]:
            self._carry_output(number, pipes[number], watched)
        self._signal(signal.SIGKILL)
        self._tell({"relay": "ended", "code": code})

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(READ_BYTES)
        except ConnectionResetError:
            return b""  # it was killed and had not read everything

    def _carry_output(self, number: int, name: str, watched: List[int]) -> None:
        for _ in range(LOOKS_AT_MOST):
            try:
                data = os.read(number, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                watched.remove(number)
                return
            self._tell({"relay": "output", "stream": name, "text": data.decode("latin-1")})

    def _tell(self, message: Dict[str, Any]) -> None:
        self._write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with self._lock:
            rest = memoryview(line)
            try:
                while rest:
                    rest = rest[os.write(self._write_fd, rest) :]
            except OSError:
                return  # labd is gone; `_listen` hears of it


def unpack(archive: bytes, digest: str) -> Path:
    """The folder of this content below this user's own one in the temporary folder; made where it is not there yet.

    Raises:
        PermissionError: The folder of that name belongs to somebody else, who could change the code in it.
    """
    own = Path(tempfile.gettempdir()) / "labd-{}".format(os.getuid())
    own.mkdir(mode=0o700, exist_ok=True)
    facts = own.lstat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o170077 != 0o040000:
        raise PermissionError("{} is not a folder of this user alone; remove it".format(own))
    target = own / digest
    if not target.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=str(own)))
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                source = tar.extractfile(member)
                if source is not None:
                    path = fresh / member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(source.read())
        try:
            fresh.rename(target)
        except OSError:  # another relay was first
            shutil.rmtree(str(fresh), ignore_errors=True)
    os.utime(str(target))
    _forget(own, target)
    return target


def _forget(own: Path, kept: Path) -> None:
    """Remove what no relay has touched for a day."""
    for path in own.iterdir():
        try:
            if path != kept and time.time() - path.stat().st_mtime > KEPT_S:
                shutil.rmtree(str(path), ignore_errors=True)
        except OSError:
            continue


def main() -> None:
    """Take ssh's stdin and stdout for the lines; nothing else may write there."""
    read_fd, write_fd = (os.dup(number) for number in (0, 1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    Relay(read_fd, write_fd).serve()
    os._exit(0)

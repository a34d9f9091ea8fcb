"""The processes of one peer: started by command, weighed as a whole, ended by their own ids.

Why PSS: forked workers share their pages, and a database server shares its buffers; the sum of resident sizes would
count them once for every process.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from tests.bench.idle import cpu_s

READY_S = 240.0
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []


class Services:
    """Named processes with everything below them.

    Args:
        folder: Gets their logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def spawn(self, name: str, command: list[str], environ: Mapping[str, str]) -> None:
        """Begin one, in a session of its own."""
        with (self._folder / f"{name}.log").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, env=dict(environ),
            )  # fmt: skip

    def log(self, name: str) -> str:
        """The end of what it wrote."""
        path = self._folder / f"{name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until it is ready.

        Raises:
            RuntimeError: It ended, or was not ready in time; has the end of its log.
        """
        deadline = time.monotonic() + READY_S
        while not ready():
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not come up; its log ends with\n{self.log(name)}")
            time.sleep(0.005)

    def members(self, names: list[str] | None = None) -> list[psutil.Process]:
        """All processes of the named ones (of all) that live."""
        found: list[psutil.Process] = []
        for name, process in self._processes.items():
            if (names is None or name in names) and process.poll() is None:
                try:
                    top = psutil.Process(process.pid)
                    found += [top, *top.children(recursive=True)]
                except psutil.NoSuchProcess:
                    continue
        return found

    def kill(self, names: list[str] | None = None) -> None:
        """kill -9 of the named ones (of all) and everything below them."""
        members = self.members(names)
        for member in members:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        for name in list(self._processes):
            if names is None or name in names:
                self._processes.pop(name).wait(30)
        psutil.wait_procs(members, timeout=30)

    def end(self, names: list[str]) -> None:
        """SIGINT to the first process of each, where a kill would leave shared memory behind; then kill."""
        for name in names:
            process = self._processes.get(name)
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    pass
        self.kill(names)

    def weight(self, settle_s: float, seconds: float) -> dict[str, float]:
        """Memory and processor share of all of them while nothing is asked."""
        time.sleep(settle_s)
        members = self.members()
        before, begin = {one.pid: cpu_s(one) for one in members}, time.monotonic()
        time.sleep(seconds)
        spent = sum(cpu_s(one) - before.get(one.pid, 0.0) for one in members if one.is_running())
        took_s = time.monotonic() - begin
        return {
            "pss_mb": sum(one.memory_full_info().pss for one in members if one.is_running()) / 1e6,
            "cpu_percent": spent / took_s * 100, "processes": len(members),
        }  # fmt: skip


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def make_cluster(folder: Path) -> None:
    """An empty PostgreSQL cluster as its packagers make it: fsync and synchronous_commit are on."""
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    command = [str(POSTGRES[-1] / "initdb"), "-D", str(folder), "-U", "peers", "-A", "trust", "--no-sync"]
    subprocess.run([*_as_postgres(), *command], check=True, stdout=subprocess.DEVNULL, timeout=READY_S)


def postgres(folder: Path, port: int) -> list[str]:
    """The command of a server on a cluster."""
    places = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    return [*_as_postgres(), str(POSTGRES[-1] / "postgres"), "-D", str(folder), "-p", str(port), *places]


def postgres_answers(port: int) -> bool:
    """Whether it takes queries."""
    command = [str(POSTGRES[-1] / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "peers"]
    return answers(port) and subprocess.run(command, check=False, timeout=READY_S).returncode == 0


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]

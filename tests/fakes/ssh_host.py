"""Another host for tests: Debian's sshd on a loopback port, with keys of its own, as the user who runs the tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from labd.settings_types import EnvironmentSettings
from tests.conftest import requires

DEADLINE_S = 10.0
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class SshHost:
    """A server that runs; `known_hosts` has its key."""

    def __init__(self, folder: Path, port: int, process: psutil.Process) -> None:
        self.folder = folder
        self.port = port
        self.known_hosts = folder / "known_hosts"
        self.process = process

    def options(self) -> tuple[str, ...]:
        """For `ssh_options`: port and key, and nothing of this user's own configuration."""
        return ("-F", "none", "-p", str(self.port), "-i", str(self.folder / "client_key"), "-o", "IdentitiesOnly=yes")

    def environment(self, **settings: object) -> EnvironmentSettings:
        """`[env.NAME]` of this host."""
        given: dict[str, object] = {
            "ssh": f"{getpass.getuser()}@127.0.0.1", "ssh_options": self.options(), "python": sys.executable,
            "ssh_known_hosts": str(self.known_hosts), "grace_s": 0.3, "start_timeout_s": 15.0, "size": 2, **settings,
        }  # fmt: skip
        return EnvironmentSettings(**given)  # type: ignore[arg-type]

    def signal_connections(self, number: signal.Signals) -> None:
        """To every process of sshd that serves a connection, and to none that a session runs; some may just end."""
        for child in self.process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name().startswith("sshd"):
                    child.send_signal(number)


def make_key(path: Path) -> str:
    """A key pair; returns the public half."""
    program = shutil.which("ssh-keygen")
    requires("ssh-keygen", program is not None, "apt-get install openssh-client")
    subprocess.run([program or "", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_name(f"{path.name}.pub").read_text().split()[:2])


@contextmanager
def ssh_host(folder: Path) -> Iterator[SshHost]:
    """A server while the block lasts; all that its sessions run has ended behind it."""
    requires("sshd", SSHD is not None, "apt-get install openssh-server")
    requires("ssh", shutil.which("ssh") is not None, "apt-get install openssh-client")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd locks itself in before a login
    folder.mkdir(mode=0o700)
    host_key = make_key(folder / "host_key")
    (folder / "authorized_keys").write_text(make_key(folder / "client_key") + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\nLogLevel ERROR\n"
        "MaxStartups 100\n"
    )
    server = subprocess.Popen([SSHD or "", "-D", "-e", "-f", config], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert server.stderr is not None
    try:
        _wait_until_open(port, server)
        yield SshHost(folder, port, psutil.Process(server.pid))
    finally:
        left = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        server.wait(DEADLINE_S)
        server.stderr.close()
        for process in psutil.wait_procs(left, timeout=3)[1]:
            process.kill()


def _wait_until_open(port: int, server: subprocess.Popen[bytes]) -> None:
    """A connection that is refused is tried again until sshd listens; each try yields the processor to it."""
    for _ in range(2000):
        if server.poll() is not None:
            raise AssertionError(f"sshd ended: {server.stderr.read().decode() if server.stderr else ''}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1.0) as tried:
                tried.settimeout(5.0)
                if tried.recv(4) == b"SSH-":
                    return
        except ConnectionRefusedError:
            server_gone = psutil.wait_procs([psutil.Process(server.pid)], timeout=0.01)[0]
            assert not server_gone, "sshd ended at once"
    raise AssertionError("sshd does not listen")

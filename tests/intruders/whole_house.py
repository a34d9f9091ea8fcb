"""The whole daemon inside the test's process: all five wings simulated, both outlets, one TCP listener, a socket.

Why inside: its table of routes is then the one that is served, not what a document says of it. Why in a thread with a
loop of its own: one daemon serves a whole module, and tests ask it through real sockets as anybody else would.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import structlog

from labd import app, settings
from labd.api.endpoint import Endpoint
from labd.clock import SystemClock
from labd.systemd import Notifier
from tests.fakes.raw_http import RawClient

T = TypeVar("T")
Tls = tuple[Path, Path, ssl.SSLContext]  # certificate, key, and what trusts them
ROOT = Path(__file__).resolve().parents[2]
START_S = 50.0  # on a machine that has a dozen other things to do
NOBODY, READER, OPERATOR, ADMIN, OF_GROUP = 61011, 61012, 61013, 61014, 61015
GROUP = 62015
ACCESS = (
    f'[access.users]\n"{READER}" = ["read"]\n"{OPERATOR}" = ["operate"]\n"{ADMIN}" = ["admin"]\n'
    f'[access.groups]\n"{GROUP}" = ["read"]\n'
)
OUTLETS = (
    '[mongo]\nurl = "mongodb://127.0.0.1:1/"\n'
    '[mqtt]\nbroker = "127.0.0.1"\nport = 1\n'
    'users = { alice = ["operate"], dashboard = ["read"], root = ["admin"], guest = [] }\n'
)
SYSCALLS = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}  # setgroups, setresgid, setresuid


@dataclass
class House:
    """One daemon that serves, and its doors."""

    app: app.App
    loop: asyncio.AbstractEventLoop
    socket: Path
    tls: ssl.SSLContext | None
    told: list[Any] = field(default_factory=list)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Its routes."""
        assert self.app._api is not None
        return self.app._api.endpoints

    @property
    def address(self) -> tuple[str, int]:
        """Of its TCP listener."""
        assert self.app._api is not None
        assert self.app._api.tcp_address is not None
        return self.app._api.tcp_address

    @property
    def origin(self) -> str:
        """What a browser with its own page says."""
        host, port = self.address
        return f"{'http' if self.tls is None else 'https'}://{host}:{port}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something inside the daemon."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_S)

    async def tcp(self) -> RawClient:
        """A new connection over TCP, with TLS where the house has it."""
        return await RawClient.tcp(self.address, self.tls)

    async def unix(self, uid: int | None = None, groups: tuple[int, ...] = ()) -> RawClient:
        """A new connection over the socket; as another user where one is named."""
        if uid is None:
            return await RawClient.unix(self.socket)
        door = await asyncio.to_thread(connect_as, self.socket, uid, groups)
        reader, writer = await asyncio.open_unix_connection(sock=door)
        return RawClient(reader, writer, "labd")


@contextmanager
def whole_house(folder: Path, *, api: str = "", tls: Tls | None = None) -> Iterator[House]:
    """A daemon of all wings over `folder`; ended in good order.

    Args:
        api: Further lines of the table `[api]`.
        tls: Certificate, key, and what trusts them; plain HTTP on loopback without.
    """
    config = folder / "labd.toml"
    demo = (ROOT / "etc/labd.demo.toml").read_text().replace('"etc/tasks.d"', f'"{ROOT}/etc/tasks.d"')
    lines = ['[api]\nlisten = "127.0.0.1:0"', api]
    if tls is not None:
        lines += [f'tls_cert = "{tls[0]}"', f'tls_key = "{tls[1]}"']
    config.write_text("\n".join([demo, *lines, ACCESS, OUTLETS]))
    found = app.factories()
    overrides = {"state_dir": str(folder / "state"), "socket": str(folder / "labd.sock")}
    environ = {"LABD_RUNTIME_DIR": str(folder / "run"), "HOME": str(folder)}
    chosen = settings.load(found, config=config, overrides=overrides, environ=environ)
    started: list[House] = []
    failed: list[BaseException] = []
    up = threading.Event()

    async def live() -> None:
        daemon = app.App(chosen, found, lambda: chosen, SystemClock(), Random(1), Notifier({}))
        over = asyncio.Event()
        try:
            await daemon.start()
            house = House(daemon, asyncio.get_running_loop(), chosen.socket, tls[2] if tls else None)
            house.told.append(over)
            started.append(house)
            up.set()
            await over.wait()
        finally:
            await daemon.drain()
            await daemon.stop()

    def work() -> None:
        try:
            asyncio.run(live())
        except BaseException as fault:
            failed.append(fault)
        finally:
            up.set()

    thread = threading.Thread(target=work, name="whole-house")
    with structlog.testing.capture_logs():
        thread.start()
        try:
            assert up.wait(START_S), "the daemon does not come up"
            if failed:
                raise failed[0]
            yield started[0]
        finally:
            for house in started:
                house.loop.call_soon_threadsafe(house.told[0].set)
            thread.join(START_S)
    assert not thread.is_alive(), "the daemon does not end"
    if failed:
        raise failed[0]


@contextmanager
def temporary_house(tls: Tls | None = None) -> Iterator[House]:
    """The same over a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="labd-"))
    try:
        with whole_house(folder, tls=tls) as found:
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def may_be_others() -> bool:
    """Whether this process can connect as somebody else: root on a processor whose calls are known here."""
    return os.geteuid() == 0 and platform.machine() in SYSCALLS


def connect_as(path: Path, uid: int, groups: tuple[int, ...] = ()) -> socket.socket:
    """A connection to a Unix socket by another user, as the kernel tells it to the server; needs root.

    Why system calls by number in a thread that ends: the C library changes the user of all threads at once, the
    kernel that of the calling one; who is at the other end is settled when it connects.
    """
    setgroups, setresgid, setresuid = SYSCALLS[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    found: list[socket.socket | BaseException] = []

    def connect() -> None:
        door = socket.socket(socket.AF_UNIX)
        try:
            listed = (ctypes.c_uint32 * len(groups))(*groups)
            for number, words in (
                (setgroups, (len(groups), listed)),
                (setresgid, (uid, uid, uid)),
                (setresuid, (uid, uid, uid)),
            ):
                if libc.syscall(number, *words) != 0:
                    raise OSError(ctypes.get_errno(), f"system call {number}")
            door.connect(os.fspath(path))
            found.append(door)
        except BaseException as fault:
            door.close()
            found.append(fault)

    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    found[0].setblocking(False)
    return found[0]

"""The manager's end of sd_notify: a real datagram socket that sees sender, fields and descriptors, and closes them."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Notice:
    """One datagram; `pid` comes from the kernel, `descriptors` counts the passed ones, already closed."""

    fields: dict[str, str]
    pid: int
    descriptors: int


class ServiceManager:
    """Listens where NOTIFY_SOCKET points."""

    def __init__(self, listener: socket.socket, address: str) -> None:
        self.address = address
        self._listener = listener

    def receive(self, within_s: float = 5.0) -> Notice:
        """The next datagram; TimeoutError if none comes."""
        self._listener.settimeout(within_s)
        body, ancillary, _, _ = self._listener.recvmsg(65536, 1024)
        pid, passed = 0, array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                pid = struct.unpack("3i", data[:12])[0]
            elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                passed.frombytes(data[: len(data) - len(data) % passed.itemsize])
        for descriptor in passed:
            os.close(descriptor)
        fields = dict(line.split("=", 1) for line in body.decode().splitlines())
        return Notice(fields, pid, len(passed))

    def silent(self) -> bool:
        """Whether nothing waits to be read."""
        self._listener.setblocking(False)
        try:
            self._listener.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


@contextmanager
def service_manager(address: str | Path) -> Iterator[ServiceManager]:
    """A manager at a path, or at an abstract name that starts with `@`."""
    name = str(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        yield ServiceManager(listener, name)

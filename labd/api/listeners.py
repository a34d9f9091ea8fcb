"""The two listeners as bound sockets: how the Unix socket is taken over safely, and TLS for TCP."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from pathlib import Path

from labd.errors import AlreadyServing, SettingsFault

SOCKET_MODE = 0o660
PATH_AT_MOST = 107  # sun_path has 108 bytes with its closing NUL; Linux, unix(7)
BACKLOG = 512


def bind_unix(path: Path) -> socket.socket:
    """A socket bound to `path` with mode 0660, not yet listening.

    A leftover is removed only if it is a socket that nobody answers on: anything else belongs to somebody.

    Why not listening yet: between bind and chmod the socket has the mode that the umask gives, but a connection before
    listen is refused, so nobody can slip in.

    Raises:
        AlreadyServing: Another process answers on it.
        SettingsFault: The path is too long, or something that is no socket is there.
    """
    length = len(os.fsencode(path))
    if length > PATH_AT_MOST:
        raise SettingsFault(f"socket {path}: {length} bytes, a Unix socket takes {PATH_AT_MOST}; use a shorter path")
    _clear(path)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        door.bind(os.fspath(path))
        path.chmod(SOCKET_MODE)
        door.setblocking(False)
    except OSError as fault:
        door.close()
        raise SettingsFault(f"socket {path}: {fault.strerror}; its folder must exist and be writable") from fault
    return door


def _clear(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise SettingsFault(f"socket {path}: {fault.strerror}") from fault
    if not stat.S_ISSOCK(found.st_mode):
        raise SettingsFault(f"socket {path}: something that is no socket is there; move it away or use another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except OSError as fault:
            # A full backlog (EAGAIN) or no permission: somebody is there.
            raise AlreadyServing(f"socket {path} is in use: {fault.strerror or fault}") from fault
    raise AlreadyServing(f"socket {path}: another process answers there; stop it first or use another path")


def inode_of(path: Path) -> tuple[int, int] | None:
    """Which file the path is, to tell later whether it is still ours."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def bind_tcp(host: str, port: int) -> socket.socket:
    """A TCP socket bound to the address, not yet listening.

    Raises:
        SettingsFault: The address is not this host's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((host, port))
        door.setblocking(False)
    except OSError as fault:
        door.close()
        raise SettingsFault(f"api.listen = {host}:{port}: {fault.strerror or fault}") from fault
    return door


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with the operator's certificate.

    Raises:
        SettingsFault: The files can not be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as fault:
        raise SettingsFault(f"api.tls_cert = {certificate}, api.tls_key = {key}: {fault}") from fault
    return context

"""Who asks, and what they may: from the peer of a Unix socket to a `Caller`.

Why numbers: the table's names are turned into uids and gids once, when it is made. A request then compares integers;
only the name of a user who comes for the first time is looked up.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from labd.engine.job import Caller
from labd.errors import SettingsFault

log = structlog.get_logger()

SO_PEERGROUPS = 59  # Linux, asm-generic/socket.h; not in Python's socket module
GRANTS: dict[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "operate": frozenset({"read", "operate"}),
    "admin": frozenset({"read", "operate", "admin"}),
}
NOTHING: frozenset[str] = frozenset()


def grant(scopes: tuple[str, ...] | list[str] | frozenset[str]) -> frozenset[str]:
    """All scopes that the named ones bring: `admin` includes `operate`, `operate` includes `read`.

    Raises:
        SettingsFault: A scope that labd does not know.
    """
    granted = NOTHING
    for scope in scopes:
        if scope not in GRANTS:
            raise SettingsFault(f"scope {scope} is unknown; labd knows {', '.join(GRANTS)}", scope=scope)
        granted |= GRANTS[scope]
    return granted


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a Unix socket, as the kernel saw it when it connected."""

    pid: int
    uid: int
    gids: frozenset[int]


class AccessTable:
    """Users and groups of this host with their scopes; root and the daemon's own user are always `admin`."""

    def __init__(self, users: Mapping[str, tuple[str, ...]], groups: Mapping[str, tuple[str, ...]]) -> None:
        self._by_uid: dict[int, frozenset[str]] = {}
        self._by_gid: dict[int, frozenset[str]] = {}
        self._names: dict[int, str] = {}
        self._everybody = grant(users.get("*", ()))
        for name, scopes in users.items():
            if name != "*":
                _enter(self._by_uid, name, grant(scopes), lambda text: pwd.getpwnam(text).pw_uid, "user")
        for name, scopes in groups.items():
            _enter(self._by_gid, name, grant(scopes), lambda text: grp.getgrnam(text).gr_gid, "group")
        for uid in (0, os.geteuid()):
            self._by_uid[uid] = GRANTS["admin"]

    def scopes(self, peer: Peer) -> frozenset[str]:
        """Everything the user and the groups of the peer are granted."""
        granted = self._everybody | self._by_uid.get(peer.uid, NOTHING)
        for gid in peer.gids & self._by_gid.keys():
            granted |= self._by_gid[gid]
        return granted

    def caller(self, peer: Peer) -> Caller:
        """The peer as the engine and the audit know it."""
        name = self._names.get(peer.uid)
        if name is None:
            name = self._names[peer.uid] = _user_name(peer.uid)
        return Caller(f"unix:{name}", self.scopes(peer), "unix")


def _enter(
    table: dict[int, frozenset[str]], name: str, scopes: frozenset[str], find: Callable[[str], int], kind: str
) -> None:
    try:
        number = int(name) if name.isdigit() else find(name)
    except KeyError:
        # Settings are often shared by several hosts; somebody who does not exist here can not connect here either.
        log.warning("access.name_unknown", kind=kind, name=name)
        return
    table[number] = table.get(number, NOTHING) | scopes


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def peer_of(connection: socket.socket) -> Peer:
    """Who is at the other end of a connected Unix socket.

    The ids are the peer's effective ones when it connected. The pid may have been given to another process since, so
    nothing is ever decided by it.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)  # Python takes 1024 bytes at most
        gids = frozenset(struct.unpack(f"{len(groups) // 4}I", groups))
    except OSError:
        # ERANGE beyond 256 groups, ENOPROTOOPT before Linux 4.13: ask the user database instead.
        gids = _groups_of(uid, gid)
    return Peer(pid, uid, gids | {gid})


def _groups_of(uid: int, gid: int) -> frozenset[int]:
    try:
        return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (KeyError, OSError):
        return frozenset()

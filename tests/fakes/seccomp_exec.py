"""Run a program under the system-call rules of a unit file: `seccomp_exec.py UNIT PROGRAM ARGS...`.

Loads through libseccomp what systemd would load for SystemCallFilter=, SystemCallErrorNumber= and
RestrictAddressFamilies=, then executes the program; the filter goes on to all its children. The other limits of the
unit (devices, file system, namespaces, capabilities) are not put in force here.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000  # SCMP_ACT_ALLOW, seccomp.h
ERRNO = 0x00050000  # SCMP_ACT_ERRNO(x) = this | x
COMPARE_EQUAL = 4  # SCMP_CMP_EQ
FAMILIES = range(1, 46)  # AF_UNIX to the last one that Linux 6 knows


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp.h."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def library() -> ctypes.CDLL | None:
    """libseccomp, or None where it is not installed."""
    try:
        loaded = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        return None
    loaded.seccomp_init.restype = ctypes.c_void_p
    loaded.seccomp_load.argtypes = [ctypes.c_void_p]
    loaded.seccomp_release.argtypes = [ctypes.c_void_p]
    loaded.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison),
    ]  # fmt: skip
    return loaded


def values_of(unit: Path, key: str) -> list[str]:
    """All values of a key, in order."""
    lines = (line.strip() for line in unit.read_text().splitlines())
    return [line.partition("=")[2] for line in lines if line.startswith(key + "=")]


def expand(group: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The calls of a group such as `@system-service`, nested groups included, as this host's systemd knows them."""
    if not group.startswith("@"):
        return {group}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in listed.stdout.splitlines()[1:] if line.strip() and "#" not in line]
    return set().union(*(expand(name, seen | {group}) for name in names if name not in seen))


def allowed_calls(unit: Path) -> set[str]:
    """The allow-list of the unit: its first line adds, lines with `~` take away; @default always belongs to it."""
    allowed = expand("@default")
    for value in values_of(unit, "SystemCallFilter"):
        calls = set().union(*(expand(name) for name in value.lstrip("~").split()))
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


def restrict_families(seccomp: ctypes.CDLL, unit: Path) -> None:
    """Answer EAFNOSUPPORT to socket() of any family that the unit does not list."""
    kept = {
        int(getattr(socket, name)) for value in values_of(unit, "RestrictAddressFamilies") for name in value.split()
    }
    context = seccomp.seccomp_init(ALLOW)
    call = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in FAMILIES:
        if family not in kept:
            rule = Comparison(0, COMPARE_EQUAL, family, 0)
            must(seccomp.seccomp_rule_add_array(context, ERRNO | errno.EAFNOSUPPORT, call, 1, ctypes.byref(rule)))
    must(seccomp.seccomp_load(context))
    seccomp.seccomp_release(context)


def restrict_calls(seccomp: ctypes.CDLL, unit: Path) -> int:
    """Answer the unit's error number to any call that it does not list; returns how many it lists."""
    number = getattr(errno, values_of(unit, "SystemCallErrorNumber")[0])
    context = seccomp.seccomp_init(ERRNO | number)
    count = 0
    for name in sorted(allowed_calls(unit)):
        call = seccomp.seccomp_syscall_resolve_name(name.encode())
        if call >= 0:  # others belong to another architecture or a newer kernel
            must(seccomp.seccomp_rule_add_array(context, ALLOW, call, 0, None))
            count += 1
    must(seccomp.seccomp_load(context))
    return count


def must(answer: int) -> None:
    """libseccomp answers with a negative errno."""
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))


def main(arguments: list[str]) -> None:
    """Load the rules and become the program."""
    seccomp = library()
    if seccomp is None:
        raise SystemExit("libseccomp.so.2 is missing: apt-get install libseccomp2")
    unit, program = Path(arguments[0]), arguments[1:]
    restrict_families(seccomp, unit)
    restrict_calls(seccomp, unit)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])

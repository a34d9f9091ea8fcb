"""The child's own standard streams: flushed line by line, kept apart from the protocol, with last words on a crash."""

from __future__ import annotations

import faulthandler
import fcntl
import os
import signal
import sys
from typing import Any, Tuple

FIRST_FREE_FD = 3


def set_up() -> None:
    """Lines leave at once; a crash, a SIGTERM and a SIGXCPU write where the body stood to stderr.

    Why on SIGTERM: it is sent when a body did not follow a cancel, so its stack is what the reader wants to know. The
    dump is written below Python, so it works while a C extension holds the interpreter.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True, errors="backslashreplace")
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        for number in (signal.SIGTERM, signal.SIGXCPU):
            faulthandler.register(number, all_threads=True, chain=True)


def keep_for_protocol(read_fd: int, write_fd: int) -> Tuple[int, int]:
    """Take the protocol off the standard streams (a worker over ssh) and off what children of a body inherit.

    Returns:
        The descriptors to use: `print` and `input` of a body reach neither of them.
    """
    read_kept, write_kept = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD) for fd in (read_fd, write_fd))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if write_fd == 1:
        os.dup2(2, 1)
    for fd in {read_fd, write_fd} - {0, 1, 2}:
        os.close(fd)
    os.set_blocking(read_kept, True)
    os.set_blocking(write_kept, True)
    return read_kept, write_kept


def flush() -> None:
    """What a body printed is out before its end is told."""
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)


def last_words(text: str) -> None:
    """One line on stderr, below whatever a body made of `sys.stderr`."""
    os.write(2, f"labd worker: {text}\n".encode("utf-8", "backslashreplace"))


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (AttributeError, OSError, ValueError):
        return  # a body replaced or closed it

"""The virtual bus as a process of its own, so that it outlives a killed daemon and bears witness.

Why a lock beside the link: two simulators that take turns in replacing one link look like a motor that jumps.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from labd.errors import AlreadyServing
from labd.resort.virtual.bus_control import ControlSocket
from labd.resort.virtual.simulator import VirtualBus
from labd.resort.virtual.virtual_servo import VirtualServo


def serve(
    link: Path,
    record: Path | None = None,
    control: Path | None = None,
    *,
    servos: list[VirtualServo],
    seed: int | None = None,
    check_baud: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until SIGTERM or SIGINT, then remove link, lock and control socket. Only for the main thread.

    Args:
        link: Symbolic link to the pseudo-terminal, re-made after unplug and plug.
        record: See `bus_record`.
        control: Unix socket for `bus_control` commands.
        say: Where the one line of readiness goes.

    Raises:
        AlreadyServing: Another simulator holds the link, or something else is there.
    """
    if link.exists() and not link.is_symlink():
        raise AlreadyServing(f"{link} exists and is no symbolic link; choose another --link", path=str(link))
    lock = _lock(link)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    # First the descriptor, then the handlers: a signal in between would be taken and never seen.
    signal.set_wakeup_fd(wake_write)
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    selector = selectors.DefaultSelector()
    selector.register(wake_read, selectors.EVENT_READ)
    try:
        with VirtualBus(servos, seed=seed, link=link, record=record, check_baud=check_baud) as bus:
            door = ControlSocket(control, bus, selector) if control else None
            try:
                motors = ", ".join(f"servo {servo.servo_id}: {servo.model.name}" for servo in servos)
                say(f"virtual bus ready at {link} ({motors}), seed {bus.seed}")
                _until_signal(selector, wake_read)
            finally:
                if door is not None:
                    door.close()
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        selector.close()
        os.close(wake_read)
        os.close(wake_write)
        _lock_path(link).unlink(missing_ok=True)
        os.close(lock)


def _until_signal(selector: selectors.BaseSelector, wake: int) -> None:
    """Answer commands until a signal has written its number."""
    while True:
        for key, _ in selector.select():
            if key.fd == wake:
                return
            key.data()


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor tells; a handler is needed for it to be written."""


def _lock_path(link: Path) -> Path:
    return link.with_name(f".{link.name}.lock")


def _lock(link: Path) -> int:
    """Hold the link.

    Raises:
        AlreadyServing: Somebody else does.
    """
    file = os.open(_lock_path(link), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 32).decode() or "unknown"
        os.close(file)
        raise AlreadyServing(
            f"another virtual bus (process {holder}) serves {link}; end it first or choose another --link",
            path=str(link),
        ) from None
    os.ftruncate(file, 0)
    os.pwrite(file, str(os.getpid()).encode(), 0)
    return file

"""What labd and systemd tell each other: readiness, watchdog, inherited sockets. Standard library only.

Why no library: the protocol is one datagram of KEY=VALUE lines (sd_notify(3)) and three variables (sd_listen_fds(3)).

Why the variables go: `Notifier` and `listen_sockets` take theirs out of the environment, so that no child of labd
speaks to the manager in its name or takes a descriptor for its own. Outside systemd all of this does nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import NamedTuple

import structlog

from labd.clock import Clock
from labd.errors import LabdError, SettingsFault, StoreFull

log = structlog.get_logger()


class Notifier:
    """Speaks to the service manager that started this process, if one did.

    Args:
        environ: Usually `os.environ`; `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are taken out of it.
        pid: Of this process; a watchdog meant for another pid is ignored.
    """

    def __init__(self, environ: MutableMapping[str, str], pid: int | None = None) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        interval_us = environ.pop("WATCHDOG_USEC", "")
        meant_for = environ.pop("WATCHDOG_PID", "")
        self._address: str | None = None
        if address.startswith("/"):
            self._address = address
        elif address.startswith("@"):
            self._address = "\0" + address[1:]
        self._unsent: list[bytes] = []
        self._failing = False
        self.watchdog_s: float | None = None
        if interval_us.isdecimal() and int(interval_us) > 0 and meant_for in {"", str(pid or os.getpid())}:
            self.watchdog_s = int(interval_us) / 1e6

    @property
    def managed(self) -> bool:
        """Whether a service manager listens."""
        return self._address is not None

    def ready(self, status: str = "") -> None:
        """Starting or reloading is over."""
        self._send({"READY": "1"} | ({"STATUS": status} if status else {}))

    def reloading(self) -> None:
        """A reload begins; `ready` must follow. The time is what Type=notify-reload of newer systemd waits for."""
        self._send({"RELOADING": "1", "MONOTONIC_USEC": str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)})

    def stopping(self, status: str = "") -> None:
        """The end has begun."""
        self._send({"STOPPING": "1"} | ({"STATUS": status} if status else {}))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send({"STATUS": text}, keep=False)

    def extend_timeout(self, seconds: float) -> None:
        """That long from now before start or stop counts as hung; repeat within it."""
        self._send({"EXTEND_TIMEOUT_USEC": str(int(seconds * 1e6))}, keep=False)

    def watchdog(self) -> None:
        """The daemon is alive."""
        self._send({"WATCHDOG": "1"}, keep=False)

    def _send(self, fields: dict[str, str], keep: bool = True) -> None:
        """One datagram, after those that could not go before.

        Never blocks: the manager's queue may be full (EAGAIN) while it starts a hundred units. What must not be lost
        (`keep`: READY=1 above all) goes with the next call, and the watchdog calls often; the rest would be stale.
        """
        if self._address is None:
            return
        body = "\n".join(f"{key}={value}".replace("\n", " ") for key, value in fields.items()).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
            waiting, self._unsent = [*self._unsent, body], []
            for number, message in enumerate(waiting):
                try:
                    sender.sendto(message, self._address)
                except OSError as fault:
                    self._unsent = waiting[number:] if keep else waiting[number:-1]
                    if not self._failing:
                        log.warning("systemd.notify_failed", reason=fault.strerror, unsent=len(self._unsent))
                    self._failing = True
                    return
        self._failing = False


class Inherited(NamedTuple):
    """A listening socket that a `.socket` unit opened; `name` is its FileDescriptorName=."""

    name: str
    socket: socket.socket


def listen_sockets(environ: MutableMapping[str, str], pid: int | None = None, first_fd: int = 3) -> list[Inherited]:
    """The sockets systemd opened for this process, closed to children; a second call gives none.

    Raises:
        SettingsFault: A descriptor is not a listening stream socket.
    """
    meant_for = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if meant_for != str(pid or os.getpid()) or not count.isdecimal():
        return []
    inherited = []
    for number in range(int(count)):
        fd = first_fd + number
        name = names[number] if number < len(names) and names[number] else "unknown"
        try:
            os.set_inheritable(fd, False)
            listener = socket.socket(fileno=fd)
        except OSError as fault:
            raise SettingsFault(f"systemd socket {name} (descriptor {fd}): {fault.strerror}") from fault
        if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.close()
            raise SettingsFault(
                f"systemd socket {name} (descriptor {fd}) is no listening stream; "
                "labd.socket needs ListenStream= and Accept=no"
            )
        listener.setblocking(False)
        inherited.append(Inherited(name, listener))
    return inherited


class Watchdog:
    """Feeds systemd's watchdog only while the event loop runs this and the journal answers.

    Why a store that is full counts as an answer: labd then still serves reads and the stop, and a restart would free no
    space. Why no thread: a thread would go on feeding while the loop hangs.

    Args:
        probe: Goes through the journal's writer and comes back; `StoreFull` is an answer as well.
    """

    def __init__(self, notifier: Notifier, probe: Callable[[], Awaitable[object]], clock: Clock) -> None:
        self._notifier = notifier
        self._probe = probe
        self._clock = clock
        self._withheld_since: float | None = None

    async def run(self) -> None:
        """Feed three times in each watchdog period until cancelled; returns at once where no watchdog is set.

        A third of the period to wait and a third for the probe leave a third for a busy host.
        """
        watchdog_s = self._notifier.watchdog_s
        if watchdog_s is None or not self._notifier.managed:
            return
        while True:
            await self.feed(watchdog_s / 3)
            await self._clock.sleep(watchdog_s / 3)

    async def feed(self, limit_s: float) -> bool:
        """Ask the journal once and feed if it answers within `limit_s`; tells whether it did."""
        problem = await self._ask(limit_s)
        if problem:
            if self._withheld_since is None:
                self._withheld_since = self._clock.monotonic()
                log.error("watchdog.withheld", reason=problem, watchdog_s=self._notifier.watchdog_s)
            self._notifier.status(f"watchdog not fed: {problem}")
            return False
        if self._withheld_since is not None:
            log.warning("watchdog.fed_again", after_s=round(self._clock.monotonic() - self._withheld_since, 3))
            self._notifier.status("serving")
            self._withheld_since = None
        self._notifier.watchdog()
        return True

    async def _ask(self, limit_s: float) -> str:
        """Why the journal gave no answer; empty if it did."""
        probe = asyncio.ensure_future(self._probe())
        limit = asyncio.ensure_future(self._clock.sleep(limit_s))
        try:
            await asyncio.wait({probe, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not probe.done():
                return f"the journal has not answered within {limit_s:g} s"
            await probe
        except StoreFull:
            pass
        except LabdError as fault:
            return fault.message
        finally:
            probe.cancel()
            limit.cancel()
        return ""

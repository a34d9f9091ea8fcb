"""The pseudo-terminal of a virtual bus, and the symbolic link that follows it."""

from __future__ import annotations

import os
import termios
import tty
from pathlib import Path


class PtyPort:
    """One plugged-in adapter; pulling it is `close`, and the next one is a new object.

    Args:
        link: Made to point to it; removed when it closes.
    """

    def __init__(self, link: Path | None = None) -> None:
        self._link = link
        self.master, self._slave = os.openpty()
        # Raw before anybody knows the name: a fresh pseudo-terminal echoes early answers back as input.
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        if link is not None:
            waiting = link.with_name(link.name + ".new")
            waiting.unlink(missing_ok=True)
            waiting.symlink_to(self.path)
            waiting.replace(link)

    def read(self) -> bytes:
        """What hosts have sent; empty if nothing."""
        try:
            return os.read(self.master, 4096)
        except OSError:
            return b""

    def write(self, data: bytes) -> str:
        """Send to the host; gives what went wrong, empty for nothing."""
        try:
            sent = os.write(self.master, data)
        except OSError as error:
            return f"not taken by the pseudo-terminal: {error.strerror}"
        return "" if sent == len(data) else f"only {sent} of {len(data)} bytes taken by the pseudo-terminal"

    @property
    def speed(self) -> int:
        """The line speed that the host has set, as a termios constant; it has no effect of its own."""
        return int(termios.tcgetattr(self._slave)[5])

    def close(self) -> None:
        """Hosts that have it open see a hang-up."""
        if self._link is not None and self._link.is_symlink():
            self._link.unlink()
        os.close(self.master)
        # Kept open until now: without any open slave, reading the master fails whenever no host is there.
        os.close(self._slave)
